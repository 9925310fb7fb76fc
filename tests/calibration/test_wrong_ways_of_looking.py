"""The tempting ways to look again and again, shown failing beside the one that holds.

Thousands of runs at once, as arrays; bounds, mixture and e-values are the product's. The worlds are
without an effect unless the test says otherwise. A rate p of n runs has a Monte Carlo standard
error of sqrt(p (1 - p) / n); ours is allowed two of them over its level.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.mixture import log_e_value, tuned_rho
from controller.stats.srm import log_e_value as log_e_of_split

pytestmark = pytest.mark.calibration

Floats = NDArray[np.float64]
LEVEL = 0.05
CRITICAL = -float(ndtri(LEVEL / 2.0))
LOOKS = 20


def allowed(level: float, runs: int) -> float:
    return level + 2.0 * math.sqrt(level * (1.0 - level) / runs)


def planned(fraction: Floats) -> Floats:
    """Critical values of the planned test at these looks."""
    taken = boundaries(SequentialPlan(alpha=LEVEL), fraction)
    return np.array([look.critical_value for look in taken])


def ever(flags: NDArray[np.bool_]) -> float:
    """Share of runs with a claim at any look."""
    return float(flags.any(axis=1).mean())


def coins(rng: np.random.Generator, runs: int, units: int, rate: float | Floats) -> Floats:
    """Cumulative successes of two arms, [2, runs, looks]."""
    return rng.binomial(units, rate, (2, runs, LOOKS)).cumsum(axis=2).astype(np.float64)


def pooled_z(x: Floats, n: Floats) -> Floats:
    """The score's z of two arms with n units each."""
    both = x.sum(axis=0) / (2.0 * n)
    variance = np.maximum(both * (1.0 - both) * 2.0 / n * (2.0 * n) / (2.0 * n - 1.0), 1e-300)
    return np.asarray((x[1] - x[0]) / n / np.sqrt(variance))


def test_a_peeked_t_test_fails_where_planned_bounds_and_the_mixture_hold() -> None:
    runs = 8000
    rng = np.random.default_rng(1)
    n = 500.0 * np.arange(1.0, LOOKS + 1.0)
    z = np.abs(pooled_z(coins(rng, runs, 500, 0.1), n))
    assert ever(z > CRITICAL) > 0.22
    assert ever(z >= planned(n / n[-1])) <= allowed(LEVEL, runs)
    ratio = n / tuned_rho(n[-1] / 2.0, alpha=LEVEL)
    assert ever(log_e_value(z, ratio) >= -math.log(LEVEL)) <= allowed(0.025, runs)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1)])
def test_a_peeked_chi_square_cries_wolf_where_the_multinomial_e_process_does_not(
    weights: tuple[float, float],
) -> None:
    runs, looks, block = 4000, 200, 500
    rng = np.random.default_rng(2)
    arrived = rng.binomial(block, weights[1], (runs, looks)).cumsum(axis=1)
    units = block * np.arange(1, looks + 1)
    z = (arrived - weights[1] * units) / np.sqrt(units * weights[0] * weights[1])
    assert ever(np.abs(z) > -float(ndtri(0.0005))) > 0.01
    counts = np.stack([units - arrived, arrived], axis=-1)
    assert ever(log_e_of_split(counts, weights) >= math.log(1000.0)) <= allowed(0.001, runs)


def test_a_clock_of_estimated_information_fails_where_effective_size_holds() -> None:
    """1 / Var(estimate) falls when the spread grows; alpha is then spent on another schedule."""
    runs, units = 8000, 250
    rng = np.random.default_rng(3)
    spread = np.where(np.arange(LOOKS) * 3 >= 2 * LOOKS - 1, 9.0, 3.0)
    means = rng.normal(0.0, spread / math.sqrt(units), (2, runs, LOOKS))
    within = spread**2 * rng.chisquare(units - 1, (2, runs, LOOKS))
    total = (units * means).cumsum(axis=2)
    squares = (within + units * means**2).cumsum(axis=2).sum(axis=0)
    n = units * np.arange(1.0, LOOKS + 1)
    common = (squares - total.sum(axis=0) ** 2 / (2.0 * n)) / (2.0 * n - 1.0)
    z = np.abs((total[1] - total[0]) / n / np.sqrt(common * 2.0 / n))
    information = np.median(n / (2.0 * common), axis=0)
    reached = np.maximum.accumulate(information)
    rises = np.concatenate(([True], np.diff(reached) > 1e-9 * reached[-1]))
    wrong = np.full(LOOKS, np.inf)
    wrong[rises] = planned(reached[rises] / reached[-1])
    wrong[~rises] = wrong[rises][-1]  # past the "end" of the plan its last bound stays
    gathered = np.cumsum(spread**2)
    taken = boundaries(SequentialPlan(alpha=LEVEL), gathered, spending_time=n / n[-1])
    ours = np.array([look.critical_value for look in taken])
    assert ever(z >= wrong) > 0.06
    assert ever(z >= ours) <= allowed(LEVEL, runs)


def test_requests_taken_for_units_fail_where_the_ratio_of_units_holds() -> None:
    """Ten requests a unit with one common rate of failure: the unit is what was randomised."""
    runs, units, requests = 4000, 100, 10
    rng = np.random.default_rng(4)
    failed = rng.binomial(requests, rng.beta(0.5, 4.5, (2, runs, LOOKS, units)))
    n = units * np.arange(1.0, LOOKS + 1)
    x = failed.sum(axis=3).cumsum(axis=2).astype(np.float64)
    squares = (failed**2).sum(axis=3).cumsum(axis=2).sum(axis=0)
    common = (squares - x.sum(axis=0) ** 2 / (2.0 * n)) / (2.0 * n - 1.0)
    by_unit = np.abs((x[1] - x[0]) / n / np.sqrt(common * 2.0 / n))
    by_request = np.abs(pooled_z(x, n * requests))
    bounds = planned(n / n[-1])
    assert ever(by_request >= bounds) > 0.20
    assert ever(by_unit >= bounds) <= allowed(LEVEL, runs)


def test_values_so_far_of_open_windows_fail_where_whole_windows_hold() -> None:
    """Equal conversion within 5 days, but the challenger's come on the fifth; half-day looks."""
    runs, units = 1000, 200
    rng = np.random.default_rng(5)
    day = 0.5 * np.arange(1.0, LOOKS + 1.0)
    exposed = rng.uniform(0.0, day[-1], (2, runs, units * LOOKS // 2))
    converts = rng.random(exposed.shape) < 0.3
    delay = np.where(np.arange(2)[:, None, None] == 0, 1.0, 5.0) * rng.random(exposed.shape)
    told = exposed + delay
    wrong, ours = np.zeros((2, runs, LOOKS))
    for look, now in enumerate(day):
        seen, whole = exposed < now, exposed + 5.0 <= now
        wrong[:, look] = _two_shares(converts & seen & (told < now), seen)
        ours[:, look] = _two_shares(converts & whole, whole)
    bounds = planned(day / day[-1])
    assert ever(np.abs(wrong) >= bounds) > 0.30
    closed = day > 5.0
    later = planned((day[closed] - 5.0) / 5.0)
    assert ever(np.abs(ours[:, closed]) >= later) <= allowed(LEVEL, runs)


def _two_shares(hits: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Floats:
    """Pooled z of two shares whose arms need not have the same size, [runs]."""
    x, n = hits.sum(axis=2).astype(np.float64), seen.sum(axis=2).astype(np.float64)
    both = x.sum(axis=0) / np.maximum(n.sum(axis=0), 1.0)
    each = np.maximum(n, 1.0)
    variance = both * (1.0 - both) * (1.0 / each).sum(axis=0)
    return np.asarray((x[1] / each[1] - x[0] / each[0]) / np.sqrt(np.maximum(variance, 1e-300)))


def test_a_harm_alarm_against_zero_fires_on_half_a_margin_where_ours_stays_calm() -> None:
    """True harm is half of what the slot tolerates: no reason to roll back."""
    runs, n, margin = 4000, 500.0 * np.arange(1, LOOKS + 1), 0.1
    rng = np.random.default_rng(6)
    noise = rng.normal(0.0, math.sqrt(2.0 / 500.0), (runs, LOOKS)).cumsum(axis=1)
    harm = margin / 2.0 + noise / np.arange(1.0, LOOKS + 1.0)
    ratio = n / 2.0 / tuned_rho(n[-1] / 8.0, alpha=0.01, alternative="larger")

    def alarms(null: float) -> float:
        z = (harm - null) / np.sqrt(2.0 / n)
        return ever(log_e_value(z, ratio, alternative="larger") >= -math.log(0.01))

    assert alarms(0.0) > 0.25
    assert alarms(margin) <= allowed(0.01, runs)


def test_a_plug_in_variance_fails_on_the_first_units_of_a_ramp_where_the_null_variance_holds() -> (
    None
):
    """Challenger at 1 %: its first units have no conversion, hence "no variance"."""
    runs, looks, block = 4000, 40, 500
    rng = np.random.default_rng(7)
    n1 = rng.binomial(block, 0.01, (runs, looks)).cumsum(axis=1).astype(np.float64)
    n0 = block * np.arange(1.0, looks + 1.0) - n1
    x1 = rng.binomial(np.diff(n1, axis=1, prepend=0.0).astype(int), 0.06).cumsum(axis=1)
    x0 = rng.binomial(np.diff(n0, axis=1, prepend=0.0).astype(int), 0.06).cumsum(axis=1)
    p1, p0 = x1 / np.maximum(n1, 1.0), x0 / n0
    size = n1 * n0 / (n1 + n0)
    own = p1 * (1.0 - p1) / np.maximum(n1, 1.0) + p0 * (1.0 - p0) / n0
    both = (x1 + x0) / (n1 + n0)
    null = both * (1.0 - both) / np.maximum(size, 1e-9)
    ratio = np.maximum(size, 1e-9) / tuned_rho(float(size.max()) / 2.0, alpha=LEVEL)
    seen = (n1 > 0.0) & (x1 + x0 > 0.0)

    def claims(variance: Floats) -> float:
        z = np.where(seen, (p1 - p0) / np.sqrt(np.where(seen, variance, 1.0)), 0.0)
        return ever(log_e_value(z, ratio) >= -math.log(LEVEL))

    assert claims(own) > 0.30
    assert claims(null) <= allowed(0.025, runs)
