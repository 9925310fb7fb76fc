"""Data that may not be believed: which comparison that holds, and for how long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis.look import take_look
from controller.analysis.report import Held, LookInput, LookReport, MetricVerdict
from controller.experiments.metrics import Direction, ZeroMeans
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, Mode, OecRules
from controller.experiments.slots import Guardrail
from tests.worlds import binary, metric, plan, statistics

ONE, TWO = "challenger-1", "challenger-2"
THREE = {"champion": 0.4, ONE: 0.3, TWO: 0.3}
WITHOUT_ONE = {"champion": 4 / 7, TWO: 3 / 7}
LESS = metric(direction=Direction.DECREASE)
MISSING = metric(zero_means=ZeroMeans.UNKNOWN)
ERRORS = metric("errors", direction=Direction.DECREASE)

Cells = dict[tuple[str, int, str], Moments]


def three(epoch: int, champion: Moments, one: Moments, two: Moments) -> Cells:
    arms = {"champion": champion, ONE: one, TWO: two}
    return {("conversion", epoch, arm): cell for arm, cell in arms.items()}


def look(the_plan: Plan, seen: Statistics, before: LookReport | None = None) -> LookReport:
    memory: Mapping[str, Any] | None = json.loads(json.dumps(before.memory)) if before else None
    number = before.number + 1 if before else 1
    return take_look(LookInput(plan=the_plan, statistics=seen, number=number, previous=memory))


def said(report: LookReport, key: str = "conversion") -> dict[str, tuple[MetricVerdict, str]]:
    found = report.metric(key)
    assert found is not None
    return {each.arm: (each.verdict, each.reason) for each in found.comparisons}


def held(report: LookReport, key: str = "conversion") -> Mapping[str, Held]:
    found = report.metric(key)
    assert found is not None
    return found.held


def looks_taken(report: LookReport, arm: str) -> int:
    found = report.metric("conversion")
    assert found is not None
    return next(each for each in found.comparisons if each.arm == arm).tests[0].look


SILENT_ONE = three(0, binary(2000, 1000), binary(1500, 0), binary(1500, 300))
SILENT = Held(reason="arm_silent", cause=ONE)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_silent_challenger_holds_its_own_comparison_and_the_other_goes_on(mode: Mode) -> None:
    chosen = plan(oec=LESS, weights=THREE, rules=OecRules(mode=mode, futility=Futility.NONE))
    report = look(chosen, statistics(SILENT_ONE, weights=(THREE,)))
    assert said(report)[ONE] == (MetricVerdict.UNKNOWN, "arm_silent")
    assert said(report)[TWO] == (MetricVerdict.BETTER, "boundary_crossed")
    assert held(report) == {ONE: SILENT}
    assert (looks_taken(report, ONE), looks_taken(report, TWO)) == (0, 1)


def test_a_silent_challenger_is_heard_again_when_its_outcomes_are_back() -> None:
    chosen = plan(oec=LESS, weights=THREE)
    before = look(chosen, statistics(SILENT_ONE, weights=(THREE,)))
    back = SILENT_ONE | {("conversion", 0, ONE): binary(1600, 500)}
    after = look(chosen, statistics(back, weights=(THREE,)), before)
    assert held(after) == {}
    assert said(after)[ONE][0] is MetricVerdict.BETTER


def test_a_silent_champion_holds_every_comparison() -> None:
    cells = three(0, binary(2000, 0), binary(1500, 900), binary(1500, 800))
    report = look(plan(weights=THREE), statistics(cells, weights=(THREE,)))
    champion = Held(reason="arm_silent", cause="champion")
    assert held(report) == {ONE: champion, TWO: champion}
    assert set(said(report).values()) == {(MetricVerdict.UNKNOWN, "arm_silent")}
    later = cells | {
        ("conversion", 1, "champion"): binary(500, 200),
        ("conversion", 1, TWO): binary(400, 300),
    }
    dropped = look(plan(weights=THREE), statistics(later, weights=(THREE, WITHOUT_ONE)), report)
    assert said(dropped)[TWO] == (MetricVerdict.UNKNOWN, "arm_silent")


def test_the_busiest_arm_makes_silence_suspicious_though_the_champion_is_quiet_too() -> None:
    cells = three(0, binary(2000, 0), binary(1500, 0), binary(1500, 900))
    report = look(plan(oec=LESS, weights=THREE), statistics(cells, weights=(THREE,)))
    assert held(report) == {ONE: SILENT}


def test_a_harm_alarm_listens_to_each_challenger_alone() -> None:
    guarded = plan(
        weights=THREE, guardrails={"errors": (ERRORS, Guardrail(metric="errors", margin=0.02))}
    )
    cells = three(0, *(binary(n, n // 2) for n in (2000, 1500, 1500))) | {
        ("errors", 0, "champion"): binary(2000, 600),
        ("errors", 0, ONE): binary(1500, 0),
        ("errors", 0, TWO): binary(1500, 900),
    }
    report = look(guarded, statistics(cells, weights=(THREE,)))
    assert said(report, "errors") == {
        ONE: (MetricVerdict.UNKNOWN, "arm_silent"),
        TWO: (MetricVerdict.HARM, "harm_alarm"),
    }


# ---------------------------------------------------------------- values that are missing


def missing(cells: Cells, *counts: int, epoch: int = 0) -> Cells:
    """These cells with so many missing values: of all three arms, or of those after the drop."""
    arms = ("champion", ONE, TWO) if len(counts) == 3 else ("champion", TWO)
    return cells | {
        ("conversion", epoch, arm): replace(cells["conversion", epoch, arm], missing=count)
        for arm, count in zip(arms, counts, strict=True)
    }


EVEN_ARMS = three(0, binary(2000, 200), binary(1500, 150), binary(1500, 260))
AFTER = {("conversion", 1, "champion"): binary(800, 80), ("conversion", 1, TWO): binary(600, 100)}
ONE_LACKS = missing(EVEN_ARMS, 100, 400, 75)
CHAMPION_LACKS = missing(EVEN_ARMS, 400, 75, 75)


def test_values_missing_unevenly_hold_all_arms_that_live() -> None:
    report = look(plan(oec=MISSING, weights=THREE), statistics(ONE_LACKS, weights=(THREE,)))
    assert set(said(report).values()) == {(MetricVerdict.UNKNOWN, "missing_differs")}
    assert held(report)[TWO] == Held(reason="missing_differs", cause=ONE)


def test_what_a_dropped_challenger_lacks_holds_its_own_comparison_alone() -> None:
    chosen = plan(oec=MISSING, weights=THREE)
    before = look(chosen, statistics(ONE_LACKS, weights=(THREE,)))
    cells = missing(ONE_LACKS | AFTER, 40, 30, epoch=1)
    after = look(chosen, statistics(cells, weights=(THREE, WITHOUT_ONE)), before)
    assert said(after)[ONE] == (MetricVerdict.UNKNOWN, "missing_differs")
    assert said(after)[TWO] == (MetricVerdict.BETTER, "boundary_crossed")
    assert set(held(after)) == {ONE}


def test_what_the_champion_lacks_holds_the_rest_after_a_drop() -> None:
    chosen = plan(oec=MISSING, weights=THREE)
    before = look(chosen, statistics(CHAMPION_LACKS, weights=(THREE,)))
    cells = missing(CHAMPION_LACKS | AFTER, 40, 30, epoch=1)
    after = look(chosen, statistics(cells, weights=(THREE, WITHOUT_ONE)), before)
    assert held(after)[TWO] == Held(reason="missing_differs", cause="champion")


def test_an_alarm_among_the_living_is_for_good() -> None:
    """Evenly missing values afterwards do not make those of before come back."""
    chosen = plan(oec=MISSING, weights=THREE)
    weights = (THREE, WITHOUT_ONE)
    cells = missing(CHAMPION_LACKS | AFTER, 40, 30, epoch=1)
    before = look(chosen, statistics(cells, weights=weights))
    healed = missing(EVEN_ARMS | AFTER, 40, 30, epoch=1)
    assert held(look(chosen, statistics(healed, weights=weights))) == {}
    assert set(held(look(chosen, statistics(healed, weights=weights), before))) == {ONE, TWO}


def test_stale_data_hold_every_comparison_and_name_no_arm() -> None:
    seen = statistics(SILENT_ONE, weights=(THREE,), ages={"conversion": 1e9})
    report = look(plan(oec=LESS, weights=THREE), seen)
    assert set(said(report).values()) == {(MetricVerdict.UNKNOWN, "stale")}
    assert held(report) == {}


def test_evidence_names_what_is_held_and_nothing_where_nothing_is() -> None:
    chosen = plan(oec=LESS, weights=THREE)
    (silent,) = look(chosen, statistics(SILENT_ONE, weights=(THREE,))).document()["metrics"]
    assert silent["held"] == {ONE: {"reason": "arm_silent", "cause": ONE}}
    (heard,) = look(chosen, statistics(EVEN_ARMS, weights=(THREE,))).document()["metrics"]
    assert "held" not in heard
