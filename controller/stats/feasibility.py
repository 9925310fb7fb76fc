"""Whether a claim can be decided within its limits, and what would make it so.

A plan that cannot decide is refused before it costs anybody anything: a rollout that ends as
"no difference" because it never had a chance teaches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import InvalidInput
from controller.stats.planning import (
    RampStage,
    arrivals,
    days_until,
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
    expected_fraction : float
        Mean size at the stop over the horizon's, when `effect` is true.
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
    delay_days: float = 0.0
    horizon: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """New eligible units a day: what is expected, and the range the answer should cover."""

    low: float
    expected: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.expected <= self.high < math.inf:
            raise InvalidInput("0 <= low <= expected <= high", field="traffic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days from the start under expected traffic, and the range: soonest with the most traffic."""

    soonest: float
    expected: float
    latest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will happen to one claim.

    Attributes
    ----------
    key : str
    units : int
        Horizon in units of all arms.
    first_look, decision, end : Span
        Days until the first look, until the mean decision if the effect is true, and until the
        horizon.
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

    Returns
    -------
    Forecast
        A claim is feasible when its horizon is reached in time, or when a stated horizon is and it
        has a power of at least one half.
    """
    wanted = horizon_units(
        _required(demand), treatment_weight=treatment_weight, control_weight=control_weight
    )
    units = wanted if demand.horizon is None else demand.horizon
    per_unit = treatment_weight * control_weight / (treatment_weight + control_weight)

    def span(count: float) -> Span:
        days = [
            days_until(count, stages, daily=daily, delay_days=demand.delay_days)
            for daily in (traffic.high, traffic.expected, traffic.low)
        ]
        return Span(soonest=days[0], expected=days[1], latest=days[2])

    end = span(units)
    within = _complete_by(limit_days, stages, traffic.expected, demand.delay_days)
    size = min(within, float(units)) * per_unit / demand.inflation
    power = power_at(
        size, demand.effect, demand.variance, alpha=demand.alpha, alternative=demand.alternative
    )
    most = _complete_by(limit_days, stages, 1.0, demand.delay_days)
    return Forecast(
        key=demand.key,
        units=units,
        first_look=span(first_look * units),
        decision=span(demand.expected_fraction * units),
        end=end,
        power_at_limit=float(power),
        effect_at_limit=float(_detectable(demand, [min(within, units) * per_unit])[0]),
        feasible=end.expected <= limit_days and float(power) >= FEWEST_POWER,
        days_needed=span(max(wanted, units)).expected,
        traffic_factor=(
            max(wanted, units) / (most * traffic.expected)
            if most * traffic.expected > 0.0
            else math.inf
        ),
        mde_curve=_curve(demand, stages, traffic.expected, per_unit, limit_days),
    )


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


def _complete_by(
    days: float, stages: Sequence[RampStage], daily: float, delay_days: float
) -> float:
    whole = math.floor(days)
    if whole < 1:
        return 0.0
    return float(arrivals(stages, daily=daily, days=whole, delay_days=delay_days)[-1])


def _curve(
    demand: Demand, stages: Sequence[RampStage], daily: float, per_unit: float, limit_days: float
) -> tuple[tuple[int, float], ...]:
    whole = math.floor(limit_days)
    if whole < 1:
        return ()
    units = arrivals(stages, daily=daily, days=whole, delay_days=demand.delay_days)
    every = max(1, math.ceil(whole / 60))
    days = [*range(every, whole, every), whole]
    effects = _detectable(demand, [float(units[day - 1]) * per_unit for day in days])
    return tuple(
        (day, effect) for day, effect in zip(days, effects, strict=True) if math.isfinite(effect)
    )
