"""One number to test: how far a challenger lies from a null, on which clock.

Every kind of metric ends here as a score, its variance and an effective size; what differs is how
neighbouring looks are compared. Moments know their epochs' counts; a quantile, whose variance is
that of shares below one place, takes the ratio of the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from controller.aggregation.statistics import QuantileGrid, Statistics
from controller.analysis.pairs import Pair, moments_under
from controller.experiments.metrics import MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.quantile import quantile_score
from controller.stats.restricted import Law
from controller.stats.results import Inconclusive, Reason
from controller.stats.score import EQUAL, Null, Score, score, variance_ratio

_LAWS: Mapping[MetricType, Law] = MappingProxyType(
    {MetricType.BINARY: "binary", MetricType.COUNT: "count"}
)

Grids = tuple[tuple[QuantileGrid, QuantileGrid], ...]


class Reading(NamedTuple):
    """One challenger against one null at one look.

    Attributes
    ----------
    score, variance, size : float
        S, V > 0 and W; S is positive where the challenger's value is larger than the null's.
    parts : Score or None
        What it consists of; None for a quantile.
    columns : int or None
        Of the regression it is the t of: arm, mean and covariates; None where it is none.
    """

    score: float
    variance: float
    size: float
    parts: Score | None = None
    columns: int | None = None

    @property
    def counts(self) -> Mapping[int, tuple[int, int]]:
        """Units of (challenger, champion) by epoch, empty for a quantile."""
        return {} if self.parts is None else self.parts.counts

    @property
    def regression(self) -> tuple[int, int] | None:
        """Units, and degrees of freedom, where z is that of a single regression; else None.

        One epoch, equal weights: then V is the variance about the common mean, and z the t of an
        ordinary regression on arm and covariates.
        """
        parts = self.parts
        if parts is None or self.columns is None or len(parts.epochs) != 1:
            return None
        if not parts.equal_weights:
            return None
        units = parts.epochs[0].n_treatment + parts.epochs[0].n_control
        freedom = units - self.columns
        return (units, freedom) if freedom > 0 else None

    @property
    def z(self) -> float:
        """S / sqrt(V)."""
        return self.score / math.sqrt(self.variance)

    @property
    def distance(self) -> float:
        """S / W, in the metric's units (shares for a quantile)."""
        return self.score / self.size

    @property
    def standard_error(self) -> float:
        """Of `distance`."""
        return math.sqrt(self.variance) / self.size

    def ratio_to(self, counts: Mapping[int, tuple[int, int]], size: float) -> float:
        """Squared correlation with an earlier look that had these counts and this size."""
        if self.parts is not None:
            return variance_ratio(counts, self.parts)
        return min(size / self.size, 1.0)


def read(pair: Pair, grids: Grids, *, null: Null = EQUAL) -> Reading | Inconclusive:
    """The reading of one pair against `null`."""
    if pair.metric.type is MetricType.QUANTILE:
        assert pair.metric.q is not None
        place = quantile_score(grids, q=pair.metric.q, scale=null.scale, shift=null.shift)
        if isinstance(place, Inconclusive):
            return place
        return Reading(score=place.score, variance=place.variance, size=place.size)
    fitted = _covariates(pair)
    if _too_few_units(pair, fitted):
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    now = _score(pair, null)
    if isinstance(now, Inconclusive):
        return now
    if null != EQUAL and not _varies(pair, null, now, fitted):
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    return Reading(
        score=now.score,
        variance=now.variance,
        size=now.size,
        parts=now,
        columns=_columns(pair, null, fitted),
    )


def _score(pair: Pair, null: Null) -> Score | Inconclusive:
    epochs, left = moments_under(pair, null)
    if pair.epochs and not epochs:
        return Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    law = _LAWS.get(pair.metric.type)
    return score(epochs, null=left, equal_weights=pair.equal_weights, law=law)


def _varies(pair: Pair, null: Null, now: Score, fitted: int) -> bool:
    """Whether values vary at all: the displacement of a margin is none of theirs.

    A null that only shifts leaves each arm as it is; any other is asked again at equality.
    """
    if null.shift and not fitted and _at_its_bound(pair):
        return True
    if null.scale == 1.0 and pair.metric.type is not MetricType.RATIO:
        return now.varies
    return isinstance(_score(pair, EQUAL), Score)


def _at_its_bound(pair: Pair) -> bool:
    """No unit is hit, or every one: the null's own variance tells what that says of a margin."""
    if pair.metric.type not in _LAWS:
        return False
    hits = sum([a.nonzero + b.nonzero for _, a, b in pair.epochs])
    return not hits or (pair.metric.type is MetricType.BINARY and hits == pair.units)


def _too_few_units(pair: Pair, fitted: int) -> bool:
    """One unit in an arm, or no more in both than the regression on epochs and covariates fits."""
    epochs = champion = challenger = 0
    for _, a, b in pair.epochs:
        if a.n > 0 and b.n > 0:
            epochs, champion, challenger = epochs + 1, champion + a.n, challenger + b.n
    if not epochs:
        return False  # an empty arm has a name of its own
    return min(champion, challenger) < 2 or champion + challenger <= epochs + 1 + fitted


def _columns(pair: Pair, null: Null, fitted: int) -> int | None:
    """A ratio is linearised, and a scaled null compares unlike spreads: no regression of these."""
    if pair.metric.type is MetricType.RATIO or null.scale != 1.0:
        return None
    return 2 + fitted


def _covariates(pair: Pair) -> int:
    """How many coefficients the adjustment has fitted."""
    if not pair.looks_back:
        return 0
    second = any(a.second_m2 + b.second_m2 > 0.0 for _, a, b in pair.epochs)
    return max(pair.covariates, 2 if second else 1)


def grids_of(statistics: Statistics, pair: Pair) -> Grids:
    """The quantile grids of both arms, champion first, in epochs where both have one."""
    both = (
        (
            statistics.grids.get((pair.metric.key, epoch.number, CHAMPION)),
            statistics.grids.get((pair.metric.key, epoch.number, pair.challenger)),
        )
        for epoch in statistics.epochs
    )
    return tuple((a, b) for a, b in both if a is not None and b is not None)
