"""From values to pixels: linear scales, round ticks for numbers and for time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_MINUTE: Final = 60.0
_STEPS: Final = tuple(
    float(seconds)
    for seconds in (
        1, 2, 5, 10, 15, 30,
        60, 120, 300, 600, 900, 1800,
        3600, 7200, 10800, 21600, 43200,
        86400, 172800, 604800, 1209600, 2592000,
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear map of [low, high] onto [start, end]; `end` may be the smaller (upwards)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies; values outside the domain lie outside the range."""
        width = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / width * (self.end - self.start)

    def clamped(self, value: float) -> float:
        """The same, held inside the range."""
        return self(min(max(value, self.low), self.high))

    def holds(self, value: float) -> bool:
        """Whether the value lies inside the domain."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values inside [low, high], close to `about` of them, zero exact where it is one."""
    span = high - low
    if not math.isfinite(span) or span <= 1e-9 * max(abs(low), abs(high)):
        return []  # too close together for floats to tell ticks apart
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(index * step, digits) + 0.0 for index in range(first, last + 1)]


def decimals_of(values: list[float], most: int = 6) -> int:
    """The fewest decimals that tell ticks apart and write each exactly."""
    for decimals in range(most):
        if all(abs(round(value, decimals) - value) < 1e-9 for value in values):
            return decimals
    return most


def time_ticks(low: float, high: float, about: int) -> Iterator[tuple[float, str]]:
    """Round UTC instants inside [low, high] (Unix seconds) with their words."""
    span = high - low
    if span <= 0:
        return
    step = next((size for size in _STEPS if size * about >= span), _STEPS[-1])
    first = math.ceil(low / step) * step
    for index in range(int((high - first) // step) + 1):
        at = first + index * step
        yield at, _words(datetime.fromtimestamp(at, tz=UTC), step)


def _words(at: datetime, step: float) -> str:
    if step >= 86400:
        return f"{at.day} {at:%b}"
    if step >= _MINUTE:
        return f"{at:%H:%M}"
    return f"{at:%H:%M:%S}"
