"""What each arm has shown, over all epochs: for people, not for tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from controller.aggregation.statistics import Moments, QuantileGrid, Statistics
from controller.analysis.pairs import pooled
from controller.analysis.report import ArmSummary
from controller.experiments.metrics import Metric, MetricType


def summarise(
    statistics: Statistics, metric: Metric, arms: Sequence[str]
) -> Mapping[str, ArmSummary]:
    """Units, missing and open units, level and spread of each arm."""
    return {arm: _summary(statistics, metric, arm) for arm in arms}


def _summary(statistics: Statistics, metric: Metric, arm: str) -> ArmSummary:
    still_open = statistics.open_units.get((metric.key, arm), 0)
    if metric.type is MetricType.QUANTILE:
        grids = [
            grid
            for epoch in statistics.epochs
            if (grid := statistics.grids.get((metric.key, epoch.number, arm))) is not None
        ]
        return ArmSummary(
            n=sum(grid.units for grid in grids),
            missing=_missing(statistics, metric, arm),
            open=still_open,
            mean=_quantile(grids, metric),
            sd=None,
        )
    cells = [
        moments
        for epoch in statistics.epochs
        if (moments := statistics.moments.get((metric.key, epoch.number, arm))) is not None
    ]
    total = pooled(cells)
    return ArmSummary(
        n=total.n,
        missing=total.missing,
        open=still_open,
        mean=_level(total, metric),
        sd=_spread(total, metric),
    )


def _missing(statistics: Statistics, metric: Metric, arm: str) -> int:
    return sum(
        moments.missing
        for epoch in statistics.epochs
        if (moments := statistics.moments.get((metric.key, epoch.number, arm))) is not None
    )


def _level(total: Moments, metric: Metric) -> float | None:
    if total.n == 0:
        return None
    if metric.type is not MetricType.RATIO:
        return _finite(total.mean)
    if total.denominator_mean == 0.0:
        return None
    return _finite(total.mean / total.denominator_mean)


def _spread(total: Moments, metric: Metric) -> float | None:
    """Standard deviation of one unit's value, n - 1; a ratio has none of its own."""
    if total.n < 2 or metric.type is MetricType.RATIO:
        return None
    return _finite(math.sqrt(max(total.m2, 0.0) / (total.n - 1)))


def _quantile(grids: Sequence[QuantileGrid], metric: Metric) -> float | None:
    """The smallest cut with at least the share q of all outcomes at or below it."""
    outcomes = sum(grid.outcomes for grid in grids)
    if not outcomes or metric.q is None:
        return None
    below = [sum(counts) for counts in zip(*(grid.below for grid in grids), strict=True)]
    reached = (
        cut for cut, count in zip(grids[0].cuts, below, strict=True) if count >= metric.q * outcomes
    )
    return next(reached, None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
