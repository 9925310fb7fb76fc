from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.aggregation.statistics import Moments, QuantileGrid, Statistics
from controller.analysis import report as reports_room
from controller.analysis.history import memory_before
from controller.analysis.look import take_look
from controller.analysis.report import Claim, LookInput, LookReport, MetricVerdict
from controller.analysis.verification import verify_evidence
from controller.experiments.canonical import canonical_json
from controller.experiments.metrics import Direction, MetricType, Observed, ZeroMeans
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, GuardrailRules, Mode, OecRules
from controller.experiments.slots import Goal, Guardrail
from controller.stats import chain
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.stagewise import stagewise
from tests.worlds import (
    EVEN,
    binary,
    metric,
    moments,
    plan,
    ratio_moments,
    shelve,
    statistics,
)

RNG = np.random.default_rng(5)
ERRORS = {
    "errors": (
        metric("errors", direction=Direction.DECREASE),
        Guardrail(metric="errors", margin=0.02),
    )
}


def counts(n: int, champion: float, challenger: float, **others: tuple[float, float]) -> Statistics:
    """n units an arm; shares of successes for conversion and any other binary metric."""
    cells: dict[tuple[str, int, str], Moments] = {}
    for key, (a, b) in {"conversion": (champion, challenger), **others}.items():
        cells[key, 0, "champion"] = binary(n, round(a * n))
        cells[key, 0, "challenger"] = binary(n, round(b * n))
    return statistics(cells)


def walk(the_plan: Plan, *snapshots: Statistics) -> list[LookReport]:
    reports: list[LookReport] = []
    previous: Mapping[str, Any] | None = None
    for number, snapshot in enumerate(snapshots, start=1):
        look = LookInput(plan=the_plan, statistics=snapshot, number=number, previous=previous)
        reports.append(take_look(look))
        previous = reports[-1].memory
    return reports


def verdict(report: LookReport, key: str = "conversion") -> tuple[MetricVerdict, str]:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[0].verdict, found.comparisons[0].reason


def claim(report: LookReport, key: str = "conversion", arm: int = 0) -> reports_room.Test:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[arm].tests[0]


def alarm(report: LookReport, key: str = "errors") -> reports_room.Test:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[0].tests[1]


# ------------------------------------------------------------------ the OEC


def test_bounds_are_those_of_the_plan_at_the_looks_that_counted() -> None:
    reports = walk(plan(), *(counts(n, 0.1, 0.1) for n in (500, 2000, 5000)))
    expected = boundaries(SequentialPlan(alpha=0.05), [0.1, 0.4, 1.0])
    # Equal rates have equal variances, so the ratio of variances is the ratio of sizes.
    for report, look in zip(reports, expected, strict=True):
        assert claim(report).bound == pytest.approx(look.critical_value, abs=1e-6)
        assert claim(report).alpha_spent == pytest.approx(look.alpha_spent, rel=1e-9)


def test_a_better_challenger_crosses_and_stays_crossed() -> None:
    crossing, later = walk(plan(), counts(2000, 0.10, 0.16), counts(3000, 0.10, 0.08))
    assert verdict(crossing) == (MetricVerdict.BETTER, "boundary_crossed")
    crossed = claim(crossing).crossed
    assert crossed is not None
    assert (crossed.look, crossed.direction, crossed.n) == (1, "better", 4000)
    assert crossed.estimate == pytest.approx(0.06)
    assert claim(crossing).p is not None
    assert claim(crossing).p < 0.05  # type: ignore[operator]
    assert verdict(later) == (MetricVerdict.BETTER, "boundary_crossed")
    assert claim(later).crossed == crossed
    assert claim(later).alpha_spent == claim(crossing).alpha_spent
    # The over-run is shown: fresh estimate, fresh statistic, the clock beyond the crossing.
    assert later.metrics[0].comparisons[0].estimate == pytest.approx(-0.02)
    assert claim(later).z is not None
    assert claim(later).z < 0  # type: ignore[operator]
    assert claim(later).t == pytest.approx(0.6)


def test_a_worse_challenger_crosses_downwards_in_either_direction_of_better() -> None:
    assert verdict(walk(plan(), counts(2000, 0.16, 0.10))[0])[0] is MetricVerdict.WORSE
    falling = plan(oec=metric(direction=Direction.DECREASE))
    assert verdict(walk(falling, counts(2000, 0.16, 0.10))[0])[0] is MetricVerdict.BETTER
    assert verdict(walk(falling, counts(2000, 0.10, 0.16))[0])[0] is MetricVerdict.WORSE


def test_the_first_look_waits_for_its_share_of_the_horizon() -> None:
    early, due = walk(plan(), counts(249, 0.10, 0.60), counts(250, 0.10, 0.60))
    assert verdict(early) == (MetricVerdict.INCONCLUSIVE, "too_few_units")
    assert (claim(early).look, claim(early).z, claim(early).bound) == (0, None, None)
    assert claim(early).alpha_spent == 0.0
    assert verdict(due)[0] is MetricVerdict.BETTER


def test_a_look_counts_only_when_the_clock_has_moved_by_a_two_hundredth() -> None:
    first, between, counted = walk(
        plan(), counts(500, 0.1, 0.1), counts(524, 0.1, 0.9), counts(525, 0.1, 0.9)
    )
    assert claim(between).look == claim(first).look == 1
    assert claim(between).alpha_spent == claim(first).alpha_spent
    assert between.memory == first.memory
    assert verdict(between) == (MetricVerdict.INCONCLUSIVE, "keep_collecting")
    assert claim(counted).look == 2
    assert verdict(counted)[0] is MetricVerdict.BETTER


def test_passing_the_horizon_counts_however_small_the_step() -> None:
    almost, passed = walk(plan(), counts(4999, 0.1, 0.1), counts(5001, 0.1, 0.1))
    assert claim(almost).look == 1
    assert claim(passed).look == 2
    assert claim(passed).alpha_spent == pytest.approx(0.05, rel=1e-12)
    assert verdict(passed) == (MetricVerdict.NO_DIFFERENCE, "horizon_reached")
    crossed = claim(passed).crossed
    assert crossed is not None
    assert crossed.direction == "ended"
    p = claim(passed).p
    assert p is not None
    assert 0.5 < p <= 1.0


def test_after_the_horizon_nothing_can_cross_any_more() -> None:
    _, later = walk(plan(), counts(5000, 0.1, 0.1), counts(9000, 0.1, 0.2))
    assert verdict(later) == (MetricVerdict.NO_DIFFERENCE, "horizon_reached")
    assert claim(later).t == pytest.approx(1.8)


def test_futility_ends_a_test_that_can_show_neither() -> None:
    rules = OecRules(futility=Futility.NON_BINDING, gamma=-2.0)
    reports = walk(plan(rules=rules), *(counts(n, 0.1, 0.1) for n in (1000, 2000, 3000, 4000)))
    assert verdict(reports[0])[0] is MetricVerdict.INCONCLUSIVE
    assert verdict(reports[-1]) == (MetricVerdict.NO_DIFFERENCE, "futile")
    assert claim(reports[-1]).t < 1.0
    assert claim(reports[0]).futility_bound is not None


def test_futility_waits_while_worse_may_still_be_shown() -> None:
    rules = OecRules(futility=Futility.NON_BINDING, gamma=-2.0)
    worse = walk(plan(rules=rules), *(counts(n, 0.11, 0.09) for n in (1000, 1500, 2000, 3000)))
    verdicts = [verdict(report)[0] for report in worse]
    assert MetricVerdict.NO_DIFFERENCE not in verdicts
    assert verdicts[-1] is MetricVerdict.WORSE


def test_futility_leaves_the_efficacy_bounds_alone() -> None:
    rules = OecRules(futility=Futility.NON_BINDING, gamma=-2.0)
    snapshots = [counts(n, 0.1, 0.104) for n in (500, 1000, 1500)]
    binding = [claim(report).bound for report in walk(plan(rules=rules), *snapshots)]
    without = [claim(report).bound for report in walk(plan(), *snapshots)]
    assert binding == without


def test_not_worse_is_shown_against_the_margin_at_half_alpha() -> None:
    chosen = plan(goal=Goal.NOT_WORSE, margin=0.03)
    report = walk(chosen, counts(4000, 0.10, 0.10))[0]
    assert verdict(report) == (MetricVerdict.NOT_WORSE, "boundary_crossed")
    assert claim(report).claim is Claim.NOT_WORSE
    assert claim(report).alpha == 0.025
    comparison = report.metrics[0].comparisons[0]
    assert comparison.margin == pytest.approx(0.03)
    assert comparison.interval is not None
    assert comparison.interval.high is None
    assert comparison.interval.low is not None
    assert comparison.interval.low > -0.03
    assert verdict(walk(chosen, counts(4000, 0.10, 0.06))[0])[0] is MetricVerdict.INCONCLUSIVE


def test_interval_and_test_agree() -> None:
    for challenger in np.linspace(0.08, 0.14, 31):
        report = walk(plan(), counts(2000, 0.1, float(challenger)))[0]
        interval = report.metrics[0].comparisons[0].interval
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        outside = not interval.low < 0.0 < interval.high
        assert outside == (claim(report).crossed is not None)


def test_after_crossing_estimate_and_interval_are_corrected_for_stopping() -> None:
    report = walk(plan(), *(counts(n, 0.1, 0.14) for n in (400, 900, 1600)))[2]
    crossed, z = claim(report).crossed, claim(report).z
    assert crossed is not None
    assert z is not None
    # One epoch, equal rates at every look: information follows the units.
    taken = boundaries(SequentialPlan(alpha=0.05), [0.08, 0.18, 0.32])
    last = stagewise(SequentialPlan(alpha=0.05), taken, z)
    error = 0.04 / z
    assert crossed.estimate == pytest.approx(last.drift * error, rel=1e-3)
    assert crossed.estimate is not None
    assert crossed.estimate < 0.04
    interval = report.metrics[0].comparisons[0].interval
    assert interval is not None
    assert interval.low == pytest.approx(last.lower * error, rel=1e-3)
    assert interval.high == pytest.approx(last.upper * error, rel=1e-3)


def test_several_challengers_climb_holms_ladder() -> None:
    weights = {"champion": 1 / 3, "challenger-1": 1 / 3, "challenger-2": 1 / 3}
    chosen = plan(horizon=15_000, weights=weights)

    def three(n: int, a: float, b: float, c: float) -> Statistics:
        cells = {
            ("conversion", 0, arm): binary(n, round(share * n))
            for arm, share in zip(weights, (a, b, c), strict=True)
        }
        return statistics(cells, weights=(weights,))

    alone = boundaries(SequentialPlan(alpha=0.05), [0.4])[0].critical_value
    shared = boundaries(SequentialPlan(alpha=0.025), [0.4])[0].critical_value
    # Between the two bounds: enough for alpha, not for alpha / 2.
    gap = next(
        b
        for b in np.arange(0.10, 0.14, 0.0005)
        if alone
        < (claim(walk(chosen, three(2000, 0.1, 0.1, float(b)))[0], arm=1).z or 0.0)
        < shared
    )
    waiting = walk(chosen, three(2000, 0.1, 0.1, float(gap)))[0]
    assert [c.verdict for c in waiting.metrics[0].comparisons] == [MetricVerdict.INCONCLUSIVE] * 2
    assert claim(waiting, arm=1).alpha == 0.025
    climbed = walk(chosen, three(2000, 0.1, 0.2, float(gap)))[0]
    assert [c.verdict for c in climbed.metrics[0].comparisons] == [MetricVerdict.BETTER] * 2
    assert (claim(climbed, arm=0).alpha, claim(climbed, arm=1).alpha) == (0.025, 0.05)


def test_anytime_mode_needs_no_horizon_and_keeps_its_crossing() -> None:
    chosen = plan(rules=OecRules(mode=Mode.ANYTIME))
    quiet, loud, later = walk(
        chosen, counts(200, 0.10, 0.11), counts(3000, 0.10, 0.15), counts(9000, 0.10, 0.10)
    )
    assert verdict(quiet) == (MetricVerdict.INCONCLUSIVE, "keep_collecting")
    assert claim(quiet).mode == "anytime"
    assert quiet.metrics[0].comparisons[0].interval is not None
    assert verdict(loud) == (MetricVerdict.BETTER, "boundary_crossed")
    assert claim(loud).e_value is not None
    assert claim(loud).e_value > 20.0  # type: ignore[operator]
    assert verdict(later)[0] is MetricVerdict.BETTER
    assert claim(later).p == claim(loud).p


# ------------------------------------------------------------------ guardrails


def test_a_guardrail_must_be_shown_and_says_so_when_it_was_not() -> None:
    chosen = plan(guardrails=ERRORS)
    shown = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert verdict(shown, "errors") == (MetricVerdict.NOT_WORSE, "boundary_crossed")
    unshown = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.066)))[0]
    assert verdict(unshown, "errors") == (MetricVerdict.NO_DIFFERENCE, "guardrail_not_shown")


def test_the_harm_alarm_fires_beyond_the_margin_and_not_inside_it() -> None:
    chosen = plan(guardrails=ERRORS)
    beyond = walk(chosen, *(counts(n, 0.1, 0.1, errors=(0.05, 0.11)) for n in (500, 1500, 2500)))
    assert verdict(beyond[-1], "errors") == (MetricVerdict.HARM, "harm_alarm")
    crossed = alarm(beyond[-1]).crossed
    assert crossed is not None
    assert crossed.direction == "harm"
    inside = walk(chosen, *(counts(n, 0.1, 0.1, errors=(0.05, 0.067)) for n in (500, 2000, 4900)))
    assert alarm(inside[-1]).crossed is None


def test_the_harm_alarm_does_not_wait_for_the_first_look() -> None:
    chosen = plan(guardrails=ERRORS, horizon=100_000)
    report = walk(chosen, counts(1200, 0.1, 0.1, errors=(0.05, 0.25)))[0]
    assert claim(report, "errors").look == 0
    assert alarm(report).crossed is not None
    assert verdict(report, "errors")[0] is MetricVerdict.HARM


def test_alarms_share_their_alpha() -> None:
    two = ERRORS | {
        "slow": (
            metric("slow", direction=Direction.DECREASE),
            Guardrail(metric="slow", margin=0.02),
        )
    }
    rates = next(
        rate
        for rate in np.arange(0.08, 0.14, 0.0005)
        if 0.005 < (alarm(_errors(ERRORS, float(rate))).p or 0.0) < 0.01
    )
    single = _errors(ERRORS, float(rates))
    assert alarm(single).crossed is not None
    assert alarm(_errors(two, float(rates), slow=(0.05, 0.05))).crossed is None


def _errors(
    guardrails: Mapping[str, Any], rate: float, **others: tuple[float, float]
) -> LookReport:
    chosen = plan(guardrails=guardrails)
    return walk(chosen, counts(1500, 0.1, 0.1, errors=(0.05, rate), **others))[0]


def test_a_relative_margin_is_a_fraction_of_champion() -> None:
    relative = {
        "errors": (
            metric("errors", direction=Direction.DECREASE),
            Guardrail(metric="errors", margin_relative=0.4),
        )
    }
    report = walk(plan(guardrails=relative), counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    found = report.metric("errors")
    assert found is not None
    assert found.comparisons[0].margin == pytest.approx(0.02)
    assert found.comparisons[0].verdict is MetricVerdict.NOT_WORSE
    assert found.comparisons[0].interval is not None
    assert found.comparisons[0].interval.low is None


def test_a_guardrail_may_run_at_any_time() -> None:
    chosen = plan(guardrails=ERRORS, guardrail_rules=GuardrailRules(mode=Mode.ANYTIME))
    report = walk(chosen, counts(20_000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert claim(report, "errors").mode == "anytime"
    assert verdict(report, "errors") == (MetricVerdict.NOT_WORSE, "boundary_crossed")


# ------------------------------------------------------------------ missing, stale, degenerate


@pytest.mark.parametrize(("age", "reason"), [(None, "no_data"), (7201.0, "stale")])
def test_data_that_are_not_fresh_are_unknown_and_move_nothing(
    age: float | None, reason: str
) -> None:
    fresh = counts(1000, 0.1, 0.1)
    old = replace(counts(4000, 0.1, 0.3), freshness=replace_age(fresh, age))
    first, second = walk(plan(), fresh, old)
    assert verdict(second) == (MetricVerdict.UNKNOWN, reason)
    assert not second.metrics[0].fresh
    assert second.memory["planned"] == first.memory["planned"]


def replace_age(snapshot: Statistics, age: float | None) -> dict[str, Any]:
    return {key: replace(each, age_seconds=age) for key, each in snapshot.freshness.items()}


def test_staleness_hides_a_win_but_not_a_harm() -> None:
    won = counts(2000, 0.10, 0.16)
    _, stale = walk(plan(), won, replace(won, freshness=replace_age(won, 1e6)))
    assert verdict(stale) == (MetricVerdict.UNKNOWN, "stale")
    lost = counts(2000, 0.16, 0.10)
    _, stale = walk(plan(), lost, replace(lost, freshness=replace_age(lost, 1e6)))
    assert verdict(stale) == (MetricVerdict.WORSE, "boundary_crossed")


def test_stale_data_do_not_move_an_alarm() -> None:
    chosen = plan(guardrails=ERRORS)
    calm = counts(1000, 0.1, 0.1, errors=(0.05, 0.05))
    harmful = counts(2000, 0.1, 0.1, errors=(0.05, 0.30))
    old = replace(harmful, freshness=replace_age(harmful, 1e6))
    first, second, third = walk(chosen, calm, old, harmful)
    assert alarm(second).look == alarm(first).look
    assert alarm(second).crossed is None
    assert alarm(third).crossed is not None


def test_selected_outcomes_decide_nothing_unless_the_policy_allows_it() -> None:
    chosen = metric(observed=Observed.AFTER_DECISION)
    report = walk(plan(oec=chosen), counts(2000, 0.10, 0.16))[0]
    assert verdict(report) == (MetricVerdict.UNKNOWN, "after_decision")
    allowed = walk(plan(oec=chosen, allow_selected=True), counts(2000, 0.10, 0.16))[0]
    assert verdict(allowed)[0] is MetricVerdict.BETTER


def test_values_that_are_missing_unevenly_make_the_metric_unknown() -> None:
    chosen = plan(oec=metric(zero_means=ZeroMeans.UNKNOWN))
    cells = {
        ("conversion", 0, "champion"): replace(binary(2000, 200), missing=100),
        ("conversion", 0, "challenger"): replace(binary(2000, 320), missing=300),
    }
    assert verdict(walk(chosen, statistics(cells))[0]) == (
        MetricVerdict.UNKNOWN,
        "missing_differs",
    )
    even = {key: replace(cell, missing=100) for key, cell in cells.items()}
    assert verdict(walk(chosen, statistics(even))[0])[0] is MetricVerdict.BETTER


def test_an_arm_that_lost_its_outcomes_never_wins_by_its_silence() -> None:
    """Zeros for want of a pipeline look like a perfect score where less is better."""
    less_is_better = plan(oec=metric(direction=Direction.DECREASE))
    silent = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 900),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    report = walk(less_is_better, silent)[0]
    assert verdict(report) == (MetricVerdict.UNKNOWN, "arm_silent")
    assert claim(report).look == 0
    cured = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 300),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    assert verdict(walk(less_is_better, cured)[0])[0] is MetricVerdict.BETTER


def test_silence_that_speaks_against_the_challenger_is_heard() -> None:
    lost = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 900),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    assert verdict(walk(plan(), lost)[0]) == (MetricVerdict.WORSE, "boundary_crossed")


NOTHING = Moments()
DEGENERATE: dict[str, tuple[Moments, Moments, MetricVerdict, str]] = {
    "nothing": (NOTHING, NOTHING, MetricVerdict.UNKNOWN, "no_data"),
    "challenger empty": (binary(500, 50), NOTHING, MetricVerdict.INCONCLUSIVE, "arm_empty"),
    "champion empty": (NOTHING, binary(500, 50), MetricVerdict.INCONCLUSIVE, "arm_empty"),
    "all zero": (binary(900, 0), binary(900, 0), MetricVerdict.INCONCLUSIVE, "zero_variance"),
    "all one": (binary(900, 900), binary(900, 900), MetricVerdict.INCONCLUSIVE, "zero_variance"),
    "one unit each": (binary(1, 0), binary(1, 1), MetricVerdict.INCONCLUSIVE, "too_few_units"),
    "one beside many": (binary(900, 9), binary(1, 1), MetricVerdict.INCONCLUSIVE, "too_few_units"),
    "separated": (binary(900, 0), binary(900, 900), MetricVerdict.UNKNOWN, "arm_silent"),
    "overflow": (
        Moments(n=900, nonzero=900, mean=-1e200, m2=1e300),
        Moments(n=900, nonzero=900, mean=1e200, m2=1e300),
        MetricVerdict.INCONCLUSIVE,
        "not_finite",
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_have_a_name_and_never_a_nan(name: str) -> None:
    champion, challenger, expected, reason = DEGENERATE[name]
    snapshot = statistics(
        {("conversion", 0, "champion"): champion, ("conversion", 0, "challenger"): challenger}
    )
    report = walk(plan(), snapshot)[0]
    assert verdict(report) == (expected, reason)
    canonical_json(report.document())


def test_evidence_beyond_the_range_of_doubles_is_saturated() -> None:
    n = 40_000
    cells = {
        ("conversion", 0, "champion"): binary(n, 1),
        ("conversion", 0, "challenger"): binary(n, n),
    }
    exposed = {(0, "champion"): n, (0, "challenger"): 50 * n}
    report = walk(plan(guardrails=ERRORS), statistics(cells, exposed=exposed))[0]
    assert claim(report).e_value == pytest.approx(1e308)
    assert report.srm.e_value == pytest.approx(1e308)
    assert report.srm.p == 0.0
    canonical_json(report.document())


@pytest.mark.parametrize(("scale", "shift"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1e9)])
def test_the_unit_of_a_metric_changes_no_conclusion(scale: float, shift: float) -> None:
    values = RNG.normal(10, 3, (2, 3000))
    values[1] += 0.5

    def look_at(a: float, b: float) -> LookReport:
        snapshot = statistics(
            {
                ("conversion", 0, arm): moments(a * row + b)
                for arm, row in zip(EVEN, values, strict=True)
            }
        )
        return walk(plan(oec=metric(type=MetricType.MEAN)), snapshot)[0]

    assert claim(look_at(scale, shift)).z == pytest.approx(claim(look_at(1.0, 0.0)).z, rel=1e-5)


def test_information_that_goes_backwards_takes_no_look() -> None:
    first, shrunk, grown = walk(
        plan(), counts(1000, 0.1, 0.1), counts(900, 0.1, 0.4), counts(1100, 0.1, 0.4)
    )
    assert claim(shrunk).look == claim(first).look == 1
    assert verdict(shrunk) == (MetricVerdict.INCONCLUSIVE, "keep_collecting")
    assert verdict(grown)[0] is MetricVerdict.BETTER


def test_units_without_variance_bring_no_look() -> None:
    cells = {
        ("conversion", 0, "champion"): binary(1000, 100),
        ("conversion", 0, "challenger"): binary(1000, 100),
    }
    silent = cells | {
        ("conversion", 1, "champion"): binary(500, 0),
        ("conversion", 1, "challenger"): binary(500, 0),
    }
    first, second = walk(
        plan(), statistics(cells, weights=(EVEN, EVEN)), statistics(silent, weights=(EVEN, EVEN))
    )
    assert claim(second).look == claim(first).look == 1


@pytest.mark.parametrize("spread", [3.0, 1.0, 1.0 / 3.0])
def test_a_spread_that_has_changed_makes_the_next_look_newer_never_older(spread: float) -> None:
    early = RNG.normal(10, 1, (2, 1000))
    late = np.hstack([early, RNG.normal(10, spread, (2, 1000))])
    snapshots = [
        statistics({("conversion", 0, arm): moments(row) for arm, row in zip(EVEN, y, strict=True)})
        for y in (early, late)
    ]
    kind = metric(type=MetricType.MEAN)
    report = walk(plan(oec=kind), *snapshots)[1]
    ratio = report.memory["planned"]["conversion/challenger/superior"]["rows"][1][1]
    truth = 1.0 / (1.0 + spread**2)
    assert ratio == pytest.approx(min(truth, 0.5), rel=0.1)


def test_unequal_weights_wait_for_their_burn_in() -> None:
    weights = {"champion": 0.9, "challenger": 0.1}
    chosen = plan(weights=weights)

    def shares(successes: int) -> LookReport:
        cells = {
            ("conversion", 0, "champion"): binary(4500, 450),
            ("conversion", 0, "challenger"): binary(500, successes),
        }
        return walk(chosen, statistics(cells, weights=(weights,)))[0]

    assert verdict(shares(24)) == (MetricVerdict.INCONCLUSIVE, "burn_in")
    assert verdict(shares(200)) == (MetricVerdict.BETTER, "boundary_crossed")


# ------------------------------------------------------------------ kinds of metric


def test_a_ratio_is_compared_as_a_ratio() -> None:
    orders = RNG.poisson(3.0, (2, 4000)) + 1.0
    spend = orders * RNG.gamma(2.0, 5.0, (2, 4000)) * np.array([[1.0], [1.1]])
    cells = {
        ("conversion", 0, arm): ratio_moments(spend[i], orders[i]) for i, arm in enumerate(EVEN)
    }
    chosen = metric(type=MetricType.RATIO, denominator="orders")
    report = walk(plan(oec=chosen), statistics(cells))[0]
    ratios = spend.sum(axis=1) / orders.sum(axis=1)
    comparison = report.metrics[0].comparisons[0]
    assert comparison.verdict is MetricVerdict.BETTER
    assert comparison.estimate == pytest.approx(ratios[1] - ratios[0], rel=0.01)
    assert comparison.relative == pytest.approx(ratios[1] / ratios[0] - 1, rel=0.01)
    assert report.metrics[0].arms["champion"].mean == pytest.approx(ratios[0])
    empty = {key: replace(cell, denominator_mean=0.0) for key, cell in cells.items()}
    assert verdict(walk(plan(oec=chosen), statistics(empty))[0])[1] == "denominator_zero"


def test_a_covariate_takes_its_share_of_the_variance_away() -> None:
    x = RNG.normal(100, 20, (2, 3000))
    y = 0.9 * x + RNG.normal(0, 5, (2, 3000)) + np.array([[0.0], [1.0]])
    plain = {("conversion", 0, arm): moments(y[i]) for i, arm in enumerate(EVEN)}
    adjusted = {("conversion", 0, arm): moments(y[i], covariate=x[i]) for i, arm in enumerate(EVEN)}
    chosen = plan(oec=metric(type=MetricType.MEAN))
    raw = walk(chosen, statistics(plain))[0]
    sharp = walk(chosen, statistics(adjusted))[0]
    assert verdict(sharp)[0] is MetricVerdict.BETTER
    assert sharp.metrics[0].comparisons[0].estimate == pytest.approx(1.0, abs=0.4)
    assert width(sharp) < 0.4 * width(raw)


def test_a_covariate_with_a_mean_of_a_billion_loses_nothing() -> None:
    x = RNG.normal(0, 20, (2, 1000))
    y = 0.9 * x + RNG.normal(0, 5, (2, 1000))
    chosen = plan(oec=metric(type=MetricType.MEAN))

    def z_at(shift: float) -> float:
        sums = [moments(y[i], covariate=x[i]) for i in (0, 1)]
        moved = [replace(each, covariate_mean=each.covariate_mean + shift) for each in sums]
        cells = {("conversion", 0, arm): moved[i] for i, arm in enumerate(EVEN)}
        z = claim(walk(chosen, statistics(cells))[0]).z
        assert z is not None
        return z

    assert z_at(1e9) == pytest.approx(z_at(0.0), abs=1e-5)


def width(report: LookReport) -> float:
    interval = report.metrics[0].comparisons[0].interval
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_a_quantile_guardrail_is_shown_and_its_harm_found() -> None:
    cuts = tuple(np.geomspace(10, 1000, 200).tolist())

    def grid(values: Any) -> QuantileGrid:
        below = [int((values <= cut).sum()) for cut in cuts]
        n = len(values)
        return QuantileGrid(
            cuts=cuts, units=n, outcomes=n, outcomes_squared=n,
            below=tuple(below), below_squared=tuple(below), below_outcomes=tuple(below),
        )  # fmt: skip

    watched = {
        "p90": (
            metric("p90", type=MetricType.QUANTILE, q=0.9, direction=Direction.DECREASE,
                   zero_means=ZeroMeans.UNKNOWN),
            Guardrail(metric="p90", margin_relative=0.2),
        )
    }  # fmt: skip

    def slower(factor: float) -> LookReport:
        values = RNG.lognormal(4.0, 0.5, (2, 5000)) * np.array([[1.0], [factor]])
        grids = {("p90", 0, arm): grid(values[i]) for i, arm in enumerate(EVEN)}
        snapshot = counts(5000, 0.1, 0.1)
        ages = {**snapshot.freshness, "p90": snapshot.freshness["conversion"]}
        return walk(plan(guardrails=watched), replace(snapshot, grids=grids, freshness=ages))[0]

    fine = slower(1.0).metric("p90")
    assert fine is not None
    assert fine.comparisons[0].verdict is MetricVerdict.NOT_WORSE
    assert fine.comparisons[0].interval is not None
    assert fine.arms["champion"].mean == pytest.approx(np.exp(4 + 0.5 * 1.2816), rel=0.08)
    assert verdict(slower(1.6), "p90")[0] is MetricVerdict.HARM


def test_epochs_of_different_base_rates_do_not_mix() -> None:
    # Simpson: the challenger is level in each epoch, yet pooled it looks far better.
    lean, rich = {"champion": 0.5, "challenger": 0.5}, {"champion": 0.5, "challenger": 0.5}
    cells = {
        ("conversion", 0, "champion"): binary(4000, 80),
        ("conversion", 0, "challenger"): binary(400, 8),
        ("conversion", 1, "champion"): binary(1000, 300),
        ("conversion", 1, "challenger"): binary(4000, 1200),
    }
    report = walk(plan(), statistics(cells, weights=(lean, rich)))[0]
    assert report.metrics[0].comparisons[0].estimate == pytest.approx(0.0, abs=1e-12)
    arms = report.metrics[0].arms
    assert arms["challenger"].mean > 3 * arms["champion"].mean  # type: ignore[operator]


# ------------------------------------------------------------------ integrity and the record


def test_a_wrong_split_raises_an_alarm_that_stays() -> None:
    cells = {
        ("conversion", 0, "champion"): binary(5000, 500),
        ("conversion", 0, "challenger"): binary(5600, 560),
    }
    healed = {key: binary(20_000, 2000) for key in cells}
    wrong, later = walk(plan(), statistics(cells), statistics(healed))
    assert wrong.srm.alarm
    assert wrong.srm.p <= 0.001
    assert wrong.srm.expected == {"champion": 5300.0, "challenger": 5300.0}
    assert later.srm.alarm
    assert later.srm.p == wrong.srm.p


def test_the_split_is_judged_by_each_epochs_weights() -> None:
    uneven = {"champion": 0.9, "challenger": 0.1}
    cells = {
        ("conversion", 0, "champion"): binary(9000, 900),
        ("conversion", 0, "challenger"): binary(1000, 100),
        ("conversion", 1, "champion"): binary(5000, 500),
        ("conversion", 1, "challenger"): binary(5000, 500),
    }
    assert not walk(plan(), statistics(cells, weights=(uneven, EVEN)))[0].srm.alarm
    assert walk(plan(), statistics(cells, weights=(EVEN, EVEN)))[0].srm.alarm


def test_before_the_first_unit_the_split_has_no_evidence() -> None:
    report = walk(plan(), statistics({}, ages={}))[0]
    assert (report.srm.alarm, report.srm.e_value) == (False, 1.0)
    assert verdict(report) == (MetricVerdict.UNKNOWN, "no_data")


def test_a_look_taken_again_gives_the_same_bytes() -> None:
    rules = OecRules(futility=Futility.NON_BINDING, gamma=-2.0)
    chosen = Plan.from_document(plan(guardrails=ERRORS, rules=rules).document())
    snapshots = [
        counts(n, 0.1, 0.11, errors=(0.05, 0.052)) for n in (100, 400, 1000, 1700, 2600, 5000)
    ]
    shelf: dict[str, Any] = {}
    previous: dict[str, Any] | None = None
    for number, seen in enumerate(snapshots, start=1):
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=previous)
        report = take_look(look)
        previous = shelve(shelf, report)
        assert report.sha256 == previous["looked"]
    for stored in shelf.values():
        chain._CACHE = chain._DensityCache(2048)
        again = take_look(
            LookInput(
                plan=Plan.from_document(chosen.document()),
                statistics=Statistics.from_document(stored["statistics"]),
                number=stored["number"],
                previous=memory_before(stored, shelf.get),
            )
        )
        assert canonical_json(again.document()) == canonical_json(stored)


def test_a_memory_from_before_there_was_a_chain_is_stored_whole_once() -> None:
    """A rollout that was under way when looks began to name each other goes on."""
    chosen = Plan.from_document(plan().document())
    early = walk(chosen, counts(400, 0.1, 0.1), counts(800, 0.1, 0.1))[-1]
    old = json.loads(canonical_json(early.memory))
    for test in old["planned"].values():
        del test["rows_at"]
    shelf: dict[str, Any] = {}
    seen = [counts(n, 0.1, 0.1) for n in (1200, 1600)]
    first = take_look(LookInput(plan=chosen, statistics=seen[0], number=3, previous=old))
    memory = shelve(shelf, first)
    last = take_look(LookInput(plan=chosen, statistics=seen[1], number=4, previous=memory))
    shelve(shelf, last)
    (rows,) = [test["rows"] for test in first.document()["memory"]["planned"].values()]
    assert len(rows) == 3
    assert verify_evidence(last.document(), chosen.document(), shelf.get).intact


def test_a_slot_without_an_oec_still_watches_its_guardrails() -> None:
    chosen = plan(guardrails=ERRORS)
    chosen = replace(chosen, slot=replace(chosen.slot, oec=None))
    report = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert [each.key for each in report.metrics] == ["errors"]
