"""What can be said after a planned test has stopped: p-value, estimate and interval.

Stopping early favours large statistics, so the naive estimate is too large and the naive interval
too narrow. Outcomes are ordered by stage: crossing up earlier is more extreme than crossing up
later, crossing down earlier is less extreme than anything after it. The probability of an outcome
at least as extreme, as a function of the true effect, is rising; inverting it gives a p-value at
no effect, a median-unbiased estimate at one half and an exact interval at the tails.

References
----------
.. [1] Tsiatis, Rosner and Mehta (1984), "Exact confidence intervals following a group sequential
   test", Biometrics 40(3).
.. [2] Armitage (1957), "Restricted sequential procedures", Biometrika 44: the ordering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import ndtri

from controller.errors import InvalidInput
from controller.stats.group_sequential import SequentialPlan, TakenLook, null_trail
from controller.stats.recursion import START, Step, advance, probability_above

_ROOT_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StagewiseResult:
    """The final word of a stopped test.

    Attributes
    ----------
    p_value : float
        Against no drift, of as many sides as the plan.
    drift : float
        Median-unbiased estimate of the mean of z at the last look.
    lower, upper : float
        Exact interval for that mean; both ends finite for two sides, `upper` inf for one.
    """

    p_value: float
    drift: float
    lower: float
    upper: float


def stagewise_p(plan: SequentialPlan, taken: Sequence[TakenLook], z: float) -> float:
    """P-value of a test that stopped at the last taken look with statistic `z`.

    Parameters
    ----------
    plan : SequentialPlan
    taken : sequence of TakenLook
        Every look including the last one.
    z : float
        Statistic of the last look; large is in the direction of the claim.

    Returns
    -------
    float
        P(cross in z's direction earlier, or get here and beyond z), doubled for a two-sided plan.
        At most alpha exactly when the last look has crossed, to the precision of the bounds.
    """
    last = taken[-1]
    earlier = taken[-2].alpha_spent / plan.sides if len(taken) > 1 else 0.0
    here = probability_above(
        null_trail(plan, taken[:-1]).density(last.variance_ratio),
        Step(variance_ratio=last.variance_ratio),
        abs(z) if plan.sides == 2 else z,
    )
    return min(1.0, plan.sides * (earlier + here))


def stagewise(
    plan: SequentialPlan,
    taken: Sequence[TakenLook],
    z: float,
    *,
    share: Sequence[float] | None = None,
    alpha: float | None = None,
) -> StagewiseResult:
    """Median-unbiased drift and exact interval after stopping at the last taken look.

    Parameters
    ----------
    plan, taken, z
        As in `stagewise_p`.
    share : sequence of float, shape (n_looks,), optional
        Mean of z at each look divided by its mean at the last one. With S = sum w d and effective
        sizes W this is (W_k / sqrt(V_k)) / (W_K / sqrt(V_K)); the default, from the variance ratios
        alone, is right where all epochs have one variance.
    alpha : float, optional
        1 - level of the interval over the plan's sides; the plan's alpha if not given.

    Returns
    -------
    StagewiseResult
        In units of the drift of the last z: times its standard error it is an effect. Exact to
        about 1e-7.
    """
    level = plan.alpha if alpha is None else alpha
    shares = _shares(taken) if share is None else tuple(share)
    if len(shares) != len(taken):
        raise InvalidInput("one share a look", field="share")

    def probability(drift: float) -> float:
        return _as_extreme(plan, taken, z, means=tuple(drift * each for each in shares))

    tail = level / plan.sides
    width = -float(ndtri(tail))
    return StagewiseResult(
        p_value=stagewise_p(plan, taken, z),
        drift=_root(probability, 0.5, start=z),
        lower=_root(probability, tail, start=z - width),
        upper=_root(probability, 1.0 - tail, start=z + width) if plan.sides == 2 else math.inf,
    )


def _shares(taken: Sequence[TakenLook]) -> tuple[float, ...]:
    """sqrt(V_k / V_K) from the chain of ratios."""
    shares = [1.0]
    for look in reversed(taken[1:]):
        shares.append(shares[-1] * math.sqrt(look.variance_ratio))
    return tuple(reversed(shares))


def _as_extreme(
    plan: SequentialPlan, taken: Sequence[TakenLook], z: float, *, means: tuple[float, ...]
) -> float:
    """P(cross up before the last look, or reach it with at least z), under these means."""
    density, total = START, 0.0
    for index, (look, mean) in enumerate(zip(taken, means, strict=True)):
        step = Step(variance_ratio=look.variance_ratio, mean=mean)
        if index == len(taken) - 1:
            return total + probability_above(density, step, z)
        total += probability_above(density, step, look.critical_value)
        low = -look.critical_value if plan.sides == 2 else -math.inf
        density = advance(
            density,
            step,
            going_on=((low, look.critical_value),),
            next_ratio=taken[index + 1].variance_ratio,
        )
    return total


def _root(rising: Callable[[float], float], target: float, *, start: float) -> float:
    """x with rising(x) = target: a bracket that widens, then the Illinois rule."""
    low, high, at_low, at_high = _bracket(lambda x: rising(x) - target, start)
    side = 0
    for _ in range(_ROOT_STEPS):
        if high - low < 1e-8:
            break
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = rising(middle) - target
        if abs(value) < 1e-11:
            return middle
        if value > 0.0:
            high, at_high = middle, value
            at_low *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            low, at_low = middle, value
            at_high *= 0.5 if side == -1 else 1.0
            side = -1
    return 0.5 * (low + high)


def _bracket(rising: Callable[[float], float], start: float) -> tuple[float, float, float, float]:
    """low < high with rising(low) <= 0 <= rising(high), and both values."""
    low, high, width = start - 0.5, start + 0.5, 1.0
    at_low, at_high = rising(low), rising(high)
    for _ in range(_ROOT_STEPS):
        if at_low <= 0.0 <= at_high:
            break
        width *= 2.0
        if at_low > 0.0:
            low, high, at_high = low - width, low, at_low
            at_low = rising(low)
        else:
            low, high, at_low = high, high + width, at_high
            at_high = rising(high)
    return low, high, at_low, at_high
