"""Whether a claim can be decided within its limits, and what would make it so.

A plan that cannot decide is refused before it costs anybody anything: a rollout that ends as
"no difference" because it never had a chance teaches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.stats.calendar import (
    RampStage,
    Span,
    Traffic,
    arrivals,
    days_until,
    lengthened,
)
from controller.stats.planning import (
    detectable_effect,
    horizon_units,
    power_at,
    required_size,
)
from controller.stats.results import Alternative

FEWEST_POWER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One claim to be shown.

    Attributes
    ----------
    key : str
        Of the metric.
    effect : float
        Smallest effect worth finding, or the margin to clear, in the metric's units.
    variance : float
        Of one unit's outcome.
    alpha, power : float
        alpha is two-sided for "two-sided", else one-sided.
    alternative : {"two-sided", "larger", "smaller"}
    inflation : float
        Sequential horizon over the fixed one.
    expected_fraction, null_fraction : float
        Mean size at the stop over the horizon's, when `effect` is true and when there is none.
    delay_days : float
        Window plus lateness of the metric.
    horizon : int or None
        Units of all arms at which the test ends, if the plan states them.
    """

    key: str
    effect: float
    variance: float
    alpha: float
    power: float
    alternative: Alternative = "two-sided"
    inflation: float = 1.0
    expected_fraction: float = 1.0
    null_fraction: float = 1.0
    delay_days: float = 0.0
    horizon: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will happen to one claim.

    Attributes
    ----------
    key : str
    units : int
        Horizon in units of all arms.
    first_look, decision, no_effect, end : Span
        Days until the first look, until the mean decision if the effect is true and if there is
        none, and until the horizon.
    power_at_limit : float
        P(shown) with the units that are complete when the time limit ends.
    effect_at_limit : float
        Smallest effect found with the wanted power by then; inf if no unit will be complete.
    feasible : bool
        The horizon is reached within the limit under expected traffic.
    days_needed : float
        The time limit that would do.
    traffic_factor : float
        How many times the traffic would do within the limit; inf if none would.
    mde_curve : tuple of (day, effect)
        At the end of each day of the limit, in at most 60 steps.
    """

    key: str
    units: int
    first_look: Span
    decision: Span
    no_effect: Span
    end: Span
    power_at_limit: float
    effect_at_limit: float
    feasible: bool
    days_needed: float
    traffic_factor: float
    mde_curve: tuple[tuple[int, float], ...]


def forecast(
    demand: Demand,
    *,
    stages: Sequence[RampStage],
    traffic: Traffic,
    treatment_weight: float,
    control_weight: float,
    limit_days: float,
    first_look: float = 0.05,
    gate_delay_days: float = 0.0,
) -> Forecast:
    """Horizon, calendar, power and feasibility of one claim.

    Parameters
    ----------
    demand : Demand
    stages : sequence of RampStage
    traffic : Traffic
    treatment_weight, control_weight : float
        Shares of the two arms among enrolled units.
    limit_days : float
        Deadline in days from the start.
    first_look : float
        Share of the horizon at which the first look may happen.
    gate_delay_days : float
        From exposure to completeness of the metric whose complete units open the next stage.

    Returns
    -------
    Forecast
        A claim is feasible when its horizon is reached in time, or when a stated horizon is and it
        has a power of at least one half.
    """
    wanted = horizon_units(
        _required(demand),
        treatment_weight=treatment_weight,
        control_weight=control_weight,
        what=demand.key,
    )
    units = wanted if demand.horizon is None else demand.horizon
    per_unit = treatment_weight * control_weight / (treatment_weight + control_weight)

    def ramp(daily: float) -> tuple[RampStage, ...]:
        return lengthened(stages, daily=daily, delay_days=gate_delay_days)

    def days(count: float, daily: float) -> float:
        return days_until(count, ramp(daily), daily=daily, delay_days=demand.delay_days)

    def span(fraction: float) -> Span:
        return traffic.span(lambda daily: days(fraction * units, daily))

    end = span(1.0)
    arrived = _arrived(ramp(traffic.expected), traffic.expected, demand.delay_days, limit_days)
    within = min(float(arrived[-1]) if arrived.size else 0.0, float(units))
    power = power_with(
        demand, within, treatment_weight=treatment_weight, control_weight=control_weight
    )
    needed = max(wanted, units)
    return Forecast(
        key=demand.key,
        units=units,
        first_look=span(first_look),
        decision=span(demand.expected_fraction),
        no_effect=span(demand.null_fraction),
        end=end,
        power_at_limit=power,
        effect_at_limit=_detectable(demand, [within * per_unit])[0],
        feasible=end.expected <= limit_days and power >= FEWEST_POWER,
        days_needed=days(needed, traffic.expected),
        traffic_factor=_smallest_factor(
            lambda factor: days(needed, factor * traffic.expected) <= limit_days
        ),
        mde_curve=_curve(demand, np.minimum(arrived, units), per_unit),
    )


def power_with(
    demand: Demand, units: float, *, treatment_weight: float, control_weight: float
) -> float:
    """P(shown) once so many units of all arms are complete, if the effect is as large as asked."""
    per_unit = treatment_weight * control_weight / (treatment_weight + control_weight)
    power = power_at(
        units * per_unit / demand.inflation,
        demand.effect,
        demand.variance,
        alpha=demand.alpha,
        alternative=demand.alternative,
    )
    return float(power)


def _smallest_factor(enough: Callable[[float], bool]) -> float:
    """The least factor that is enough, to a thousandth; inf where a million-fold is not."""
    low, high = 1e-6, 1e6
    if not enough(high):
        return math.inf
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _required(demand: Demand) -> float:
    return required_size(
        demand.effect,
        demand.variance,
        alpha=demand.alpha,
        power=demand.power,
        alternative=demand.alternative,
        inflation=demand.inflation,
    )


def _detectable(demand: Demand, sizes: Sequence[float]) -> list[float]:
    found = detectable_effect(
        sizes,
        demand.variance,
        alpha=demand.alpha,
        power=demand.power,
        alternative=demand.alternative,
        inflation=demand.inflation,
    )
    return [float(value) for value in found]


def _arrived(
    stages: Sequence[RampStage], daily: float, delay_days: float, limit_days: float
) -> NDArray[np.float64]:
    """Complete units by the end of each whole day of the limit."""
    days = max(0, math.floor(limit_days))
    return arrivals(stages, daily=daily, days=days, delay_days=delay_days)


def _curve(
    demand: Demand, arrived: NDArray[np.float64], per_unit: float
) -> tuple[tuple[int, float], ...]:
    whole = arrived.size
    if whole < 1:
        return ()
    every = max(1, math.ceil(whole / 60))
    days = [*range(every, whole, every), whole]
    effects = _detectable(demand, [float(arrived[day - 1]) * per_unit for day in days])
    return tuple(
        (day, effect) for day, effect in zip(days, effects, strict=True) if math.isfinite(effect)
    )
