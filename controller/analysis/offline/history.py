"""Baselines from a file of past units: one row a unit, one column a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.columns import numbers
from controller.analysis.offline.tables import open_table, require_columns
from controller.errors import InvalidInput
from controller.experiments.metrics import Baseline

FEWEST_UNITS = 100


def baselines(data: Any, columns: Mapping[str, str]) -> dict[str, Baseline]:
    """Mean and standard deviation of one unit of each metric.

    Parameters
    ----------
    data : path or DataFrame
        CSV or Parquet, one row a unit that met the champion.
    columns : mapping of metric to column
        A ratio metric names two: ``numerator/denominator``; its standard deviation is that of the
        linearised unit, (numerator - ratio denominator) / mean denominator.

    Raises
    ------
    InvalidInput
        At the first cell that is no number, for a missing column, and where there are fewer than
        100 units or all of them are equal: that says nothing about how the metric varies.
    """
    table = open_table(data)
    parts = {metric: column.split("/", 1) for metric, column in columns.items()}
    needed = sorted({name for names in parts.values() for name in names})
    require_columns(table, needed)
    sums = {metric: _Sums(len(names)) for metric, names in parts.items()}
    for chunk in table.chunks(needed, text=()):
        for metric, names in parts.items():
            sums[metric].add(np.stack([numbers(table, chunk, name) for name in names]))
    return {metric: _baseline(metric, one) for metric, one in sums.items()}


class _Sums:
    """Count, means and centred cross products, merged piece by piece without cancellation.

    References
    ----------
    .. [1] Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
       sample variances", eq. (2.1).
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.means: NDArray[np.float64] = np.zeros(width)
        self.cross: NDArray[np.float64] = np.zeros((width, width))

    def add(self, values: NDArray[np.float64]) -> None:
        """Rows of one piece, shape (width, n)."""
        n = values.shape[1]
        if n == 0:
            return
        means = values.mean(axis=1)
        centred = values - means[:, None]
        moved, total = means - self.means, self.n + n
        self.cross += centred @ centred.T + np.outer(moved, moved) * (self.n * n / total)
        self.means = self.means + moved * (n / total)
        self.n = total


def _baseline(metric: str, sums: _Sums) -> Baseline:
    if sums.n < FEWEST_UNITS:
        raise InvalidInput(
            f"history: {sums.n} units of {metric!r:.80}; {FEWEST_UNITS} are needed.",
            field="history",
        )
    spread: list[list[float]] = (sums.cross / (sums.n - 1)).tolist()
    mean, variance = float(sums.means[0]), spread[0][0]
    if sums.means.size == 2:
        below = float(sums.means[1])
        if below == 0.0:
            raise InvalidInput(f"history: the denominator of {metric!r:.80} is 0.", field="history")
        mean /= below
        residual = spread[0][0] - 2.0 * mean * spread[0][1] + mean * mean * spread[1][1]
        variance = residual / below / below
    if not math.isfinite(mean) or not math.isfinite(variance):
        raise InvalidInput(
            f"history: the denominator of {metric!r:.80} is too close to 0.", field="history"
        )
    if not variance > 0.0:
        raise InvalidInput(f"history: every unit of {metric!r:.80} is the same.", field="history")
    return Baseline(mean=mean, sd=math.sqrt(variance))
