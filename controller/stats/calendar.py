"""When things will happen: a ramp's stages and the units that are complete by each day.

Days are counted from the start. A stage lasts its dwell, and longer where too few units have been
exposed in it, or too few of them are complete, to open the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from controller.errors import InvalidInput

WaitsFor = Literal["dwell", "min_units", "min_matured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RampStage:
    """One step of a ramp. The last one lasts until the test ends.

    Attributes
    ----------
    enrolled : float
        Share of eligible traffic that is split.
    days : float
        Its shortest length.
    units, matured : int
        Units that must have been exposed in it, and have become complete, before the next one.
    """

    enrolled: float
    days: float
    units: int = 0
    matured: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """New eligible units a day: what is expected, and the range the answer should cover."""

    low: float
    expected: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.expected <= self.high < math.inf:
            raise InvalidInput("0 <= low <= expected <= high", field="traffic")

    def span(self, days: Callable[[float], float]) -> Span:
        """What a question about daily units answers over the range."""
        return Span(soonest=days(self.high), expected=days(self.expected), latest=days(self.low))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days from the start under expected traffic, and the range: soonest with the most traffic."""

    soonest: float
    expected: float
    latest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When the step after a stage opens, and what it will have waited for under this traffic."""

    days: float
    waits_for: WaitsFor


def openings(
    stages: Sequence[RampStage], *, daily: float, delay_days: float = 0.0
) -> tuple[Opening, ...]:
    """When each stage has done its part: the next one opens, after the last the decision is due.

    Parameters
    ----------
    stages : sequence of RampStage
    daily : float
        New eligible units a day.
    delay_days : float
        From exposure to completeness of the metric whose complete units are counted.
    """
    opened, found = 0.0, []
    for stage in stages:
        rate = stage.enrolled * daily
        lengths: dict[WaitsFor, float] = {
            "dwell": stage.days,
            "min_units": _days(stage.units, rate),
            "min_matured": _days(stage.matured, rate) + (delay_days if stage.matured else 0.0),
        }
        slowest = max(lengths, key=lambda name: lengths[name])
        opened += lengths[slowest]
        found.append(Opening(days=opened, waits_for=slowest))
    return tuple(found)


def lengthened(
    stages: Sequence[RampStage], *, daily: float, delay_days: float = 0.0
) -> tuple[RampStage, ...]:
    """The same ramp with the lengths its gates give it under this traffic."""
    found, before = [], 0.0
    for stage, opening in zip(
        stages, openings(stages, daily=daily, delay_days=delay_days), strict=True
    ):
        days = math.inf if math.isinf(opening.days) else opening.days - before
        found.append(replace(stage, days=days))
        before = opening.days
    return tuple(found)


def arrivals(
    stages: Sequence[RampStage], *, daily: float, days: int, delay_days: float = 0.0
) -> NDArray[np.float64]:
    """Analysed units that are complete by the end of each day.

    Parameters
    ----------
    stages : sequence of RampStage
        In order, as long as their `days`; the last one continues to the end.
    daily : float
        Eligible units a day that have not been seen before.
    days : int
        Length of the answer.
    delay_days : float
        Window plus lateness: a unit counts so long after its exposure.

    Returns
    -------
    ndarray, shape (days,)
        Cumulative; entry i is the end of day i + 1.
    """
    if not stages or not daily >= 0.0 or days < 0 or not delay_days >= 0.0:
        raise InvalidInput("a ramp, traffic >= 0, days >= 0, delay >= 0", field="stages")
    time = np.maximum(np.arange(1, days + 1) - delay_days, 0.0)
    units = np.zeros(days)
    start = 0.0
    for index, stage in enumerate(stages):
        end = math.inf if index == len(stages) - 1 else start + stage.days
        units += stage.enrolled * daily * np.clip(time - start, 0.0, end - start)
        if math.isinf(end):
            break
        start = end
    return units


def days_until(
    units: float, stages: Sequence[RampStage], *, daily: float, delay_days: float = 0.0
) -> float:
    """Days until `units` analysed units are complete; inf without traffic."""
    left, elapsed = float(units), 0.0
    if daily == 0.0 and left > 0.0:
        return math.inf
    for index, stage in enumerate(stages):
        rate = stage.enrolled * daily
        last = index == len(stages) - 1
        if last or rate * stage.days >= left:
            return elapsed + _days(left, rate) + delay_days
        left -= rate * stage.days
        elapsed += stage.days
    return math.inf


def _days(units: float, rate: float) -> float:
    if units <= 0.0:
        return 0.0
    return units / rate if rate > 0.0 else math.inf
