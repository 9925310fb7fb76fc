"""One unit's outcomes, folded into one number per metric.

A pure function of the metric, the unit's first exposure and the set of its outcomes: order and
moment of arrival play no part, so a late outcome, a correction and a recomputation from the ledger
all come to the same contribution.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import ceil, fsum
from typing import Final, NamedTuple

from controller.aggregation.sums import MISSING, Contribution
from controller.experiments.metrics import Closes, Metric, MetricType, ZeroMeans

_NO_HISTORY: Final = (None, None)
CLOCK_SKEW_US: Final = 60_000_000
"""An outcome up to this long before the exposure counts as after it: clocks differ."""
NO_CAP: Final = sys.float_info.max


class Happened(NamedTuple):
    """One outcome of one unit. An absent `value` counts as 1."""

    occurred_us: int
    event_id: str
    name: str
    value: float | None
    corrects: str | None


def micros(seconds: float) -> int:
    """Whole microseconds of a duration in seconds."""
    return round(seconds * 1_000_000)


class Fold:
    """One metric's way from a unit's outcomes to its contribution; made once, used for every unit.

    Attributes
    ----------
    closes_us : int
        A unit is complete so long after its exposure: window (or expected delay) + lateness.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._name, self._below = metric.outcome, metric.denominator
        self._first_only = metric.closes is Closes.FIRST_OUTCOME
        self._looks_back = metric.lookback_seconds > 0
        self._lookback_us = micros(metric.lookback_seconds)
        self.closes_us = micros(metric.window_seconds) + micros(metric.lateness_seconds)
        # A metric that closes with its first outcome has no window of its own: what happens before
        # the unit is complete counts.
        self._last_us = self.closes_us if self._first_only else micros(metric.window_seconds)
        ratio = metric.type is MetricType.RATIO
        self._zero = Contribution(0.0, 0.0 if ratio else None)
        self._silent = MISSING if metric.zero_means is ZeroMeans.UNKNOWN else self._zero

    def __call__(
        self, exposed_us: int, outcomes: Sequence[Happened], *, cap: float | None = None
    ) -> Contribution:
        """What one complete unit says about the metric.

        Parameters
        ----------
        exposed_us : int
            The unit's first exposure, microseconds since 1970.
        outcomes : sequence of Happened
            All of the unit's outcomes that may count for this slot, in any order.
        cap : float or None
            Largest value one unit may have (winsorize).
        """
        if not outcomes:
            return self._silent
        start, end = exposed_us - CLOCK_SKEW_US, exposed_us + self._last_us
        values = self._values(self._name, outcomes, start, end)
        below = self._values(self._below, outcomes, start, end) if self._below else None
        covariate, second = self._before(exposed_us, outcomes) if self._looks_back else _NO_HISTORY
        if not values and not below:
            if covariate is None or self._silent is MISSING:
                return self._silent
            return Contribution(0.0, self._zero.denominator, covariate, second=second)
        value = self._folded(values)
        if cap is not None and value > cap:
            value = cap
        quantile = self._metric.type is MetricType.QUANTILE
        return Contribution(
            value,
            None if below is None else fsum(below),
            covariate,
            tuple(sorted(values)) if quantile else None,
            second,
        )

    def _values(self, name: str, outcomes: Sequence[Happened], start: int, end: int) -> list[float]:
        """Values of the standing outcomes of one name inside [start, end]."""
        mine = [outcome for outcome in outcomes if outcome.name == name]
        if len(mine) > 1:
            mine = standing(mine)
        found = [
            1.0 if outcome.value is None else outcome.value
            for outcome in mine
            if start <= outcome.occurred_us <= end
        ]
        return found[:1] if self._first_only else found

    def _folded(self, values: Sequence[float]) -> float:
        if self._metric.type is MetricType.BINARY:
            return 1.0 if any(values) else 0.0
        if self._metric.type is MetricType.COUNT:
            return float(len(values))
        return values[0] + 0.0 if len(values) == 1 else fsum(values) + 0.0

    def _before(
        self, exposed_us: int, outcomes: Sequence[Happened]
    ) -> tuple[float | None, float | None]:
        """The same fold over the look-back, which ends where outcomes begin; None without any.

        Of a ratio numerator and denominator, both known as soon as either was there.
        """
        first, last = exposed_us - self._lookback_us, exposed_us - CLOCK_SKEW_US - 1
        before = self._values(self._name, outcomes, first, last)
        if self._below is None:
            return (self._folded(before), None) if before else _NO_HISTORY
        below = self._values(self._below, outcomes, first, last)
        if not before and not below:
            return _NO_HISTORY
        return self._folded(before), fsum(below) + 0.0


def quantile_cap(values: Sequence[float], quantile: float) -> float | None:
    """The smallest value with at least that share of all values at or below it; None of none.

    A cap of zero would leave nothing of the metric. Where so many units have none that the quantile
    is zero, the values above zero give the cap alone; where there are none yet, nothing is capped.
    """
    rising = sorted(values)
    if not rising:
        return None
    cap = rising[max(0, ceil(quantile * len(rising)) - 1)]
    if cap != 0.0:
        return cap
    return quantile_cap([value for value in rising if value > 0.0], quantile) or NO_CAP


def standing(outcomes: Sequence[Happened]) -> list[Happened]:
    """Outcomes that have not been replaced, in order of (occurred_us, event_id).

    An outcome replaces the event it names. Where several replace the same event, the latest of
    them stands. A replacement that arrives before what it replaces counts at once.
    """
    ordered = sorted(outcomes, key=_moment)
    if not any(outcome.corrects for outcome in ordered):
        return ordered
    replaced: dict[str, str] = {}
    gone: set[str] = set()
    for outcome in ordered:
        target = outcome.corrects
        if target is None or target == outcome.event_id:
            continue
        if target in replaced:
            gone.add(replaced[target])
        replaced[target] = outcome.event_id
    gone.update(replaced)
    return [outcome for outcome in ordered if outcome.event_id not in gone]


def _moment(outcome: Happened) -> tuple[int, str]:
    return outcome.occurred_us, outcome.event_id
