"""The OEC at a look: bounds, clock, latch, futility, Holm's ladder and the any-time form."""

from __future__ import annotations

import numpy as np
import pytest

from controller.aggregation.statistics import Statistics
from controller.analysis.report import Claim, MetricVerdict
from controller.experiments.metrics import Direction
from controller.experiments.policies import Futility, Mode, OecRules
from controller.experiments.slots import Goal
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.stagewise import stagewise
from tests.unit.analysis.looking import claim, counts, verdict, walk
from tests.worlds import (
    binary,
    metric,
    plan,
    statistics,
)


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
