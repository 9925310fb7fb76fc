"""A quantile's evidence: counts of outcomes below the cuts of a log grid, clustered by unit.

Per cut x the grid keeps the sums over units of C, C squared and C n, where C counts a unit's
outcomes at or below x and n all of them. They are whole numbers, so a unit can be taken out again.
The cuts follow from the frozen definition of the metric alone: nothing about the data moves them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, Final

from controller.aggregation.statistics import QuantileGrid
from controller.experiments.metrics import Metric, MetricType

COUNT: Final = 256
LOW: Final = 1e-3
HIGH: Final = 1e6
AROUND_BASELINE: Final = 100.0


def cuts_of(metric: Metric) -> tuple[float, ...]:
    """The cuts of a quantile metric; none for another.

    With a baseline they run from a hundredth of its mean to a hundred times it (one cell is 3.7 %
    wide), else from 0.001 to 1,000,000 (8.5 %).
    """
    if metric.type is not MetricType.QUANTILE:
        return ()
    if metric.baseline is not None and metric.baseline.mean > 0:
        mean = metric.baseline.mean
        return _geometric(mean / AROUND_BASELINE, mean * AROUND_BASELINE)
    return _geometric(LOW, HIGH)


@cache
def _geometric(low: float, high: float) -> tuple[float, ...]:
    """Cuts evenly spaced on the log scale, at six digits: the same on every machine."""
    return tuple(
        float(f"{low * (high / low) ** (place / (COUNT - 1)):.6g}") for place in range(COUNT)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Sums over the units of one arm of one epoch, one entry a cut; see `QuantileGrid`."""

    units: int
    outcomes: int
    outcomes_squared: int
    below: tuple[int, ...]
    below_squared: tuple[int, ...]
    below_outcomes: tuple[int, ...]

    @classmethod
    def of(cls, cuts: Sequence[float], units: Iterable[Sequence[float]]) -> Grid:
        """The sums of these units, each given by its outcomes in rising order.

        Each outcome raises C from c to c + 1 at the first cut that holds it, C squared by 2c + 1
        and C n by n; running sums over the cuts do the rest.
        """
        rises = [[0] * (len(cuts) + 1) for _ in range(3)]
        counts = []
        for outcomes in units:
            n = len(outcomes)
            counts.append(n)
            for c, outcome in enumerate(outcomes):
                place = bisect_left(cuts, outcome)
                rises[0][place] += 1
                rises[1][place] += 2 * c + 1
                rises[2][place] += n
        below, squared, crossed = (tuple(accumulate(rise[:-1])) for rise in rises)
        return cls(
            units=len(counts),
            outcomes=sum(counts),
            outcomes_squared=sum(n * n for n in counts),
            below=below,
            below_squared=squared,
            below_outcomes=crossed,
        )

    def plus(self, other: Grid, sign: int = 1) -> Grid:
        """Both together, or with `sign` -1 this without the other."""
        return Grid(
            units=self.units + sign * other.units,
            outcomes=self.outcomes + sign * other.outcomes,
            outcomes_squared=self.outcomes_squared + sign * other.outcomes_squared,
            below=_add(self.below, other.below, sign),
            below_squared=_add(self.below_squared, other.below_squared, sign),
            below_outcomes=_add(self.below_outcomes, other.below_outcomes, sign),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is left in it."""
        return not (self.units or self.outcomes or any(self.below))

    def document(self) -> dict[str, Any]:
        """The stored form."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Grid:
        """Read the stored form back."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in document.items()
        }
        return cls(**fields)

    def quantiles(self, cuts: tuple[float, ...]) -> QuantileGrid:
        """What a look reads."""
        return QuantileGrid(
            cuts=cuts,
            units=self.units,
            outcomes=self.outcomes,
            outcomes_squared=self.outcomes_squared,
            below=self.below,
            below_squared=self.below_squared,
            below_outcomes=self.below_outcomes,
        )


def _add(ours: tuple[int, ...], theirs: tuple[int, ...], sign: int) -> tuple[int, ...]:
    return tuple(a + sign * b for a, b in zip(ours, theirs, strict=True))
