"""What each arm has shown, over all epochs: for people, not for tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from controller.aggregation.statistics import Epoch, Moments, QuantileGrid, Statistics
from controller.analysis.memory import finite_or_none, settled
from controller.analysis.pairs import pooled
from controller.analysis.report import ArmSummary
from controller.experiments.metrics import Metric, MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.clustered import quantile_of
from controller.stats.quantile import relative_error


def summarise(
    statistics: Statistics, metric: Metric, arms: Sequence[str]
) -> Mapping[str, ArmSummary]:
    """Units, missing and open units, level and spread of each arm."""
    return {arm: _summary(statistics, metric, arm, arms) for arm in arms}


def grid_error(statistics: Statistics, metric: Metric) -> float | None:
    """Relative error of a quantile's levels, the width of its grid's cells; None without a grid."""
    if metric.type is not MetricType.QUANTILE:
        return None
    grid = next((grid for (key, _, _), grid in statistics.grids.items() if key == metric.key), None)
    return None if grid is None else settled(relative_error(grid.cuts))


def _summary(statistics: Statistics, metric: Metric, arm: str, arms: Sequence[str]) -> ArmSummary:
    still_open = statistics.open_units.get((metric.key, arm), 0)
    if metric.type is MetricType.QUANTILE:
        grids = _grids(statistics, metric, arm)
        return ArmSummary(
            n=sum(grid.units for grid in grids),
            missing=_missing(statistics, metric, arm),
            open=still_open,
            mean=_quantile(_compared(statistics, metric, arm, arms), metric),
            sd=None,
        )
    cells = [
        moments
        for epoch in statistics.epochs
        if (moments := statistics.moments.get((metric.key, epoch.number, arm))) is not None
    ]
    total = pooled(cells)
    folded = metric.type is MetricType.RATIO
    return ArmSummary(
        n=total.n,
        missing=total.missing,
        open=still_open,
        mean=_ratio(total) if folded else _mean(total),
        sd=None if folded else _spread(total),
    )


def _missing(statistics: Statistics, metric: Metric, arm: str) -> int:
    return sum(
        moments.missing
        for epoch in statistics.epochs
        if (moments := statistics.moments.get((metric.key, epoch.number, arm))) is not None
    )


def _mean(total: Moments) -> float | None:
    return total.mean if total.n > 0 and math.isfinite(total.mean) else None


def _ratio(total: Moments) -> float | None:
    if total.n == 0 or total.denominator_mean == 0.0:
        return None
    return finite_or_none(total.mean / total.denominator_mean)


def _spread(total: Moments) -> float | None:
    """Standard deviation of one unit's value, n - 1; a ratio has none of its own."""
    if total.n < 2:
        return None
    return finite_or_none(math.sqrt(max(total.m2, 0.0) / (total.n - 1)))


def _grids(statistics: Statistics, metric: Metric, arm: str) -> list[QuantileGrid]:
    return [
        grid
        for epoch in statistics.epochs
        if (grid := statistics.grids.get((metric.key, epoch.number, arm))) is not None
    ]


def _compared(
    statistics: Statistics, metric: Metric, arm: str, arms: Sequence[str]
) -> list[QuantileGrid]:
    """The arm's grids of the epochs in which it meets another arm: those the difference is of."""
    beside = [other for other in arms if other != CHAMPION] if arm == CHAMPION else [CHAMPION]

    def units(epoch: Epoch, name: str) -> int:
        grid = statistics.grids.get((metric.key, epoch.number, name))
        return 0 if grid is None else grid.units

    return [
        statistics.grids[metric.key, epoch.number, arm]
        for epoch in statistics.epochs
        if units(epoch, arm) and any(units(epoch, other) for other in beside)
    ]


def _quantile(grids: Sequence[QuantileGrid], metric: Metric) -> float | None:
    """Where the share of all outcomes reaches q, between two cuts as the difference reads it.

    None where no outcome is in, and where it lies outside the grid.
    """
    outcomes = sum(grid.outcomes for grid in grids)
    if not outcomes or metric.q is None:
        return None
    below = np.asarray([grid.below for grid in grids], dtype=np.float64).sum(axis=0)
    level = quantile_of(
        np.asarray(below / outcomes), np.asarray(grids[0].cuts, dtype=np.float64), metric.q
    )
    return None if level is None else settled(level)
