"""Several challengers under mode anytime: Holm latches late, and what the maximum spoke for."""

from __future__ import annotations

from typing import Any

from controller.aggregation.statistics import Moments
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.analysis.verification import verify_evidence
from controller.experiments.metrics import MetricType
from controller.experiments.plans import Plan, challenger_names
from controller.experiments.policies import Mode, OecRules
from tests.worlds import metric, plan, shelve, statistics

ONE, TWO = challenger_names(2)
ANYTIME = OecRules(mode=Mode.ANYTIME)
REVENUE = metric("revenue", type=MetricType.MEAN)


def three() -> Plan:
    shares = dict.fromkeys(("champion", ONE, TWO), 1 / 3)
    made = plan(oec=REVENUE, horizon=30_000, weights=shares, rules=ANYTIME)
    return Plan.from_document(made.document())


def walk(chosen: Plan, *looks: tuple[int, dict[str, float]]) -> tuple[list[LookReport], Any]:
    """Looks at n units an arm with these means and a standard deviation of 1."""
    shelf: dict[str, Any] = {}
    reports: list[LookReport] = []
    previous = None
    for number, (n, means) in enumerate(looks, start=1):
        cells = {
            ("revenue", 0, arm): Moments(n=n, nonzero=n, mean=means.get(arm, 0.0), m2=n - 1.0)
            for arm in chosen.arms
        }
        seen = statistics(cells, weights=(dict(chosen.weights),))
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=previous)
        reports.append(take_look(look))
        previous = shelve(shelf, reports[-1])
    return reports, shelf


def directions(report: LookReport) -> dict[str, str | None]:
    crossed = {each.arm: each.tests[0].crossed for each in report.metrics[0].comparisons}
    return {arm: found.direction if found else None for arm, found in crossed.items()}


def test_a_latch_says_what_its_evidence_said() -> None:
    """The first has lost beyond .05, not .025; weeks later the second wins and frees its alpha."""
    reports, shelf = walk(
        three(), (1000, {ONE: -0.15}), (9000, {ONE: 0.002}), (10_000, {ONE: 0.01, TWO: 0.3})
    )
    assert directions(reports[1]) == {ONE: None, TWO: None}
    assert directions(reports[2]) == {ONE: "worse", TWO: "better"}
    for evidence in shelf.values():
        assert verify_evidence(evidence, three().document(), shelf.get).intact


def test_a_later_maximum_speaks_for_itself() -> None:
    reports, _ = walk(
        three(), (1000, {ONE: -0.08}), (9000, {ONE: 0.046}), (10_000, {ONE: 0.0, TWO: 0.3})
    )
    assert directions(reports[1]) == {ONE: None, TWO: None}
    assert directions(reports[2]) == {ONE: "better", TWO: "better"}


def test_one_challenger_alone_is_latched_at_its_maximum_and_remembers_no_sign() -> None:
    chosen = plan(oec=REVENUE, horizon=20_000, rules=ANYTIME)
    reports, _ = walk(chosen, (1000, {"challenger": -0.3}))
    assert directions(reports[0]) == {"challenger": "worse"}
    (memory,) = reports[0].memory["anytime"].values()
    assert "towards" not in memory
