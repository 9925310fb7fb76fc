"""Before the start: how many units, how long, with what power, and whether the plan can decide.

Everything is counted in effective size W = sum n1 n0 / (n1 + n0), the clock of the tests: the
estimate's variance is s2 / W whatever the split, so a horizon in units is W / (w1 w0). The answers
for sequential tests come from the same recursion that judges the looks, not from a rule of thumb.
numpy and scipy.special only, so a web process may answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from controller.errors import InvalidInput
from controller.stats.mixture import critical_z, tuned_rho
from controller.stats.recursion import (
    START,
    Step,
    SubDensity,
    advance,
    probability_above,
    probability_below,
)
from controller.stats.results import Alternative

MOST_UNITS = 10**12
_DRIFT_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What a sequential test does under one true effect.

    Attributes
    ----------
    power : float
        P(reject in the effect's direction) by the horizon.
    expected_fraction : float
        Mean effective size at the stop over the horizon's; 1 if it never stops early.
    stopped_by : ndarray, shape (n_looks,)
        Cumulative probability of having stopped by each look.
    """

    power: float
    expected_fraction: float
    stopped_by: NDArray[np.float64]


def required_size(
    effect: float,
    variance: float,
    *,
    alpha: float,
    power: float,
    alternative: Alternative = "two-sided",
    inflation: float = 1.0,
) -> float:
    """Effective size W at which a true effect is found with the wanted power.

    Parameters
    ----------
    effect : float
        Difference to find (or margin to clear), in the metric's units, not 0.
    variance : float
        Of one unit's outcome, > 0.
    alpha : float
        Two-sided for "two-sided", one-sided otherwise.
    power : float
        In (alpha, 1).
    alternative : {"two-sided", "larger", "smaller"}
    inflation : float
        Factor of a sequential design over the fixed one (see `inflation`), >= 1.

    Returns
    -------
    float
        W = inflation (z_{1-a} + z_{power})^2 s2 / effect^2; W / (w1 w0) units for weights w.

    References
    ----------
    .. [1] Lachin (1981), "Introduction to sample size determination and power analysis for
       clinical trials", eq. (5).
    """
    _check(alpha, power)
    if not (math.isfinite(effect) and effect != 0.0 and math.isfinite(variance) and variance > 0.0):
        raise InvalidInput("effect not 0 and variance > 0, both finite", field="effect")
    return inflation * _drift(alpha, power, alternative) ** 2 * variance / effect / effect


def horizon_units(
    size: float, *, treatment_weight: float, control_weight: float, what: str = "effect"
) -> int:
    """Units of all arms at which one comparison reaches effective size `size`.

    The weights are those of the two arms among all enrolled units; with two arms they sum to 1 and
    the answer is size / (w1 w0), and no less than one unit of either. `what` is to be shown: the
    refusal names it.

    Raises
    ------
    InvalidInput
        If a weight is not positive, or more than 10^12 units were needed.
    """
    if not (treatment_weight > 0.0 and control_weight > 0.0):
        raise InvalidInput("weights must be positive", field="treatment_weight")
    total = treatment_weight + control_weight
    units = size * total / (treatment_weight * control_weight) * (1.0 - 1e-12)
    if not units <= MOST_UNITS:
        raise InvalidInput(
            f"{what}: more than {MOST_UNITS:,} units would be needed; the effect or margin to find "
            "is too small for outcomes that vary so much.",
            field="effect",
        )
    return max(2, math.ceil(units))


def power_at(
    size: ArrayLike,
    effect: float,
    variance: float,
    *,
    alpha: float,
    alternative: Alternative = "two-sided",
) -> NDArray[np.float64]:
    """Power of one look at effective size `size`, elementwise; 0 size has power alpha/2 or alpha.

    `effect` counts in the direction of the claim; a two-sided test is credited with the right side.
    """
    _check_alpha(alpha)
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    drift = abs(effect) * np.sqrt(np.asarray(size, dtype=np.float64) / variance)
    return np.asarray(ndtr(drift + ndtri(tail)), dtype=np.float64)


def detectable_effect(
    size: ArrayLike,
    variance: float,
    *,
    alpha: float,
    power: float,
    alternative: Alternative = "two-sided",
    inflation: float = 1.0,
) -> NDArray[np.float64]:
    """Smallest effect found with the wanted power at each effective size; inf at size 0.

    The inverse of `required_size`; over days it is the MDE curve.
    """
    _check(alpha, power)
    w = np.asarray(size, dtype=np.float64)
    drift = _drift(alpha, power, alternative)
    scaled = np.divide(inflation * variance, w, out=np.full_like(w, math.inf), where=w > 0.0)
    return np.asarray(drift * np.sqrt(scaled), dtype=np.float64)


def contrast_variance(variance: float, *, scale: float, treatment_weight: float) -> float:
    """Variance of one unit in the score of a relative margin.

    Control outcomes are multiplied by `scale` (1 - m or 1 + m) before they meet the treatment's, so
    the pooled variance is s2 (w1 + scale^2 w0).
    """
    return variance * (treatment_weight + scale * scale * (1.0 - treatment_weight))


def operating(
    fractions: Sequence[float],
    reject_above: Sequence[float],
    *,
    drift: float,
    stop_below: Sequence[float] | None = None,
    hopeless: Sequence[tuple[float, float]] | None = None,
) -> Operating:
    """Power and expected size of a sequential test under one true effect.

    Parameters
    ----------
    fractions : sequence of float, shape (n_looks,)
        W / W_max at each look, strictly rising, in (0, 1].
    reject_above : sequence of float, shape (n_looks,)
        Critical z of each look; inf where it cannot cross.
    drift : float
        Mean of z at fraction 1: effect sqrt(W_max / s2).
    stop_below : sequence of float, optional
        z at or below which the test stops: minus `reject_above` for a two-sided test; never if not
        given.
    hopeless : sequence of (low, high), shape (n_looks,), optional
        Open interval of z in which each look gives up (`futility.FutilityLook`); empty where low is
        not below high.

    Returns
    -------
    Operating

    References
    ----------
    .. [1] Jennison and Turnbull (2000), "Group Sequential Methods", section 19.2.
    """
    looks = len(fractions)
    floor = [-math.inf] * looks if stop_below is None else list(stop_below)
    gone = [(math.inf, -math.inf)] * looks if hopeless is None else list(hopeless)
    if not looks == len(reject_above) == len(floor) == len(gone):
        raise InvalidInput("one bound a look", field="reject_above")
    before, earlier = START, 0.0
    rejected: list[float] = []
    stopped: list[float] = []
    for index, (t, high, low) in enumerate(zip(fractions, reject_above, floor, strict=True)):
        step = Step(variance_ratio=earlier / t, mean=drift * math.sqrt(t))
        up = probability_above(before, step, high)
        going_on = _going_on(low, gone[index], high)
        rejected.append(up)
        stopped.append(1.0 - math.fsum(stopped) - _inside(before, step, going_on))
        following = fractions[index + 1] if index + 1 < looks else None
        if following is None or not going_on:
            break
        before = advance(before, step, going_on=going_on, next_ratio=t / following)
        earlier = t
    stopped += [0.0] * (looks - len(stopped))
    early = math.fsum(t * p for t, p in zip(fractions, stopped, strict=True))
    left = max(0.0, 1.0 - math.fsum(stopped))
    return Operating(
        power=math.fsum(rejected),
        expected_fraction=early + left * fractions[-1],
        stopped_by=np.cumsum(stopped),
    )


def _going_on(
    low: float, hopeless: tuple[float, float], high: float
) -> tuple[tuple[float, float], ...]:
    """Where a look neither rejects nor gives up: at most two intervals."""
    start, end = hopeless
    parts = ((low, high),) if start >= end else ((low, min(start, high)), (max(end, low), high))
    return tuple((left, right) for left, right in parts if left < right)


def _inside(before: SubDensity, step: Step, intervals: Sequence[tuple[float, float]]) -> float:
    return math.fsum(
        probability_below(before, step, high) - probability_below(before, step, low)
        for low, high in intervals
    )


def always_valid_bounds(
    fractions: Sequence[float],
    *,
    alpha: float,
    tuning: float = 0.5,
    alternative: Alternative = "two-sided",
) -> list[float]:
    """Critical z of the normal mixture at each fraction, tuned at the fraction `tuning`."""
    rho = tuned_rho(tuning, alpha=alpha, alternative=alternative)
    return [critical_z(t / rho, alpha=alpha, alternative=alternative) for t in fractions]


def drift_for_power(run: Callable[[float], Operating], power: float) -> float:
    """Drift at which a sequential test reaches `power`: the root in drift of a rising function.

    Parameters
    ----------
    run : callable
        drift -> Operating, e.g. `functools.partial(operating, fractions, bounds)` with its keyword.
    power : float
        In (0, 1).
    """
    if not 0.0 < power < 1.0:
        raise InvalidInput("power must lie in (0, 1)", field="power")
    low, high = 0.0, 2.0
    while run(high).power < power:
        low, high = high, 2.0 * high
        if high > 1e3:
            raise InvalidInput("no effect reaches this power with these bounds", field="power")
    below, above = run(low).power - power, run(high).power - power
    for _ in range(_DRIFT_STEPS):
        # Regula falsi with the Illinois rule: about eight evaluations of the recursion.
        middle = high - above * (high - low) / (above - below)
        value = run(middle).power - power
        if abs(value) < 1e-10 or high - low < 1e-10:
            return middle
        if value > 0.0:
            high, above, below = middle, value, 0.5 * below
        else:
            low, below, above = middle, value, 0.5 * above
    return 0.5 * (low + high)


def inflation(
    run: Callable[[float], Operating],
    *,
    alpha: float,
    power: float,
    alternative: Alternative = "two-sided",
) -> float:
    """Factor by which a sequential test's horizon exceeds the fixed test's at the same power."""
    _check(alpha, power)
    return (drift_for_power(run, power) / _drift(alpha, power, alternative)) ** 2


def _drift(alpha: float, power: float, alternative: Alternative) -> float:
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    return float(ndtri(power) - ndtri(tail))


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")


def _check(alpha: float, power: float) -> None:
    _check_alpha(alpha)
    if not alpha < power < 1.0:
        raise InvalidInput("power must lie in (alpha, 1)", field="power")
