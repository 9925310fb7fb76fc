from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from controller.errors import InvalidInput
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.stagewise import stagewise, stagewise_p

PLAN = SequentialPlan(alpha=0.05)
ONE = SequentialPlan(alpha=0.025, sides=1)


def test_with_one_look_it_is_the_ordinary_test() -> None:
    taken = boundaries(PLAN, [1.0])
    assert stagewise_p(PLAN, taken, 2.3) == pytest.approx(2 * ndtr(-2.3), rel=1e-12)
    result = stagewise(PLAN, taken, 2.3)
    assert result.drift == pytest.approx(2.3, abs=1e-8)
    assert result.lower == pytest.approx(2.3 - 1.959964, abs=1e-6)
    assert result.upper == pytest.approx(2.3 + 1.959964, abs=1e-6)


@pytest.mark.parametrize("plan", [PLAN, ONE])
def test_p_is_at_most_alpha_exactly_where_the_bound_is_crossed(plan: SequentialPlan) -> None:
    taken = boundaries(plan, np.arange(1, 11) / 10)
    for count in (1, 4, 10):
        critical = taken[count - 1].critical_value
        spent = taken[count - 1].alpha_spent
        assert stagewise_p(plan, taken[:count], critical) == pytest.approx(spent, rel=1e-9)
        assert stagewise_p(plan, taken[:count], critical + 0.01) < spent
    assert stagewise_p(plan, taken, taken[-1].critical_value - 0.01) > plan.alpha


def test_the_interval_excludes_zero_exactly_when_p_is_below_alpha() -> None:
    taken = boundaries(PLAN, [0.3, 0.6, 1.0])
    for z in (1.5, 1.99, taken[-1].critical_value - 0.01, taken[-1].critical_value + 0.01, 3.0):
        result = stagewise(PLAN, taken, z)
        assert (result.lower > 0.0) == (result.p_value < 0.05)
        assert result.lower < result.drift < result.upper


def test_stopping_early_shrinks_the_estimate() -> None:
    taken = boundaries(PLAN, [0.1, 0.2, 0.3, 1.0])
    z = taken[2].critical_value + 0.05
    result = stagewise(PLAN, taken[:3], z)
    assert 0.0 < result.drift < z
    assert result.lower > 0.0


def test_label_swap_mirrors_estimate_and_interval() -> None:
    taken = boundaries(PLAN, [0.4, 1.0])
    up, down = stagewise(PLAN, taken, 1.2), stagewise(PLAN, taken, -1.2)
    assert down.drift == pytest.approx(-up.drift, abs=1e-7)
    assert (down.lower, down.upper) == pytest.approx((-up.upper, -up.lower), abs=1e-7)
    assert down.p_value == up.p_value


def test_one_sided_plans_leave_the_upper_end_open() -> None:
    taken = boundaries(ONE, [0.5, 1.0])
    result = stagewise(ONE, taken, 2.1)
    assert result.upper == math.inf
    assert math.isfinite(result.lower)


def test_other_shares_of_the_drift_are_taken_as_given() -> None:
    taken = boundaries(PLAN, [0.5, 1.0])
    usual = stagewise(PLAN, taken, 2.0, share=(math.sqrt(0.5), 1.0))
    assert usual == stagewise(PLAN, taken, 2.0)
    assert stagewise(PLAN, taken, 2.0, share=(0.9, 1.0)).drift != usual.drift
    with pytest.raises(InvalidInput):
        stagewise(PLAN, taken, 2.0, share=(1.0,))


@pytest.mark.parametrize("drift", [0.0, 2.0, 3.5])
def test_estimate_is_median_unbiased_and_interval_covers_after_stopping(drift: float) -> None:
    times = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    taken = boundaries(PLAN, times)
    bounds = np.array([look.critical_value for look in taken])
    rng = np.random.default_rng(17)
    runs = 400
    steps = rng.normal(size=(runs, 5)) * np.sqrt(np.diff(np.r_[0.0, times]))
    z = steps.cumsum(axis=1) / np.sqrt(times) + drift * np.sqrt(times)
    below = covered = 0
    for path in z:
        crossed = np.abs(path) >= bounds
        stop = int(crossed.argmax()) if crossed.any() else 4
        result = stagewise(PLAN, taken[: stop + 1], float(path[stop]))
        truth = drift * math.sqrt(times[stop])
        below += result.drift < truth
        covered += result.lower <= truth <= result.upper
    assert abs(below / runs - 0.5) < 3.0 * 0.5 / math.sqrt(runs)
    assert abs(covered / runs - 0.95) < 3.0 * math.sqrt(0.05 * 0.95 / runs)
