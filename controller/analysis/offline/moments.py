"""Sums of several variables in many cells at once, merged without cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments, QuantileGrid

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]


class CellMoments:
    """Counts, means and co-deviations of p variables in each of many cells.

    Pieces are added by the pairwise update of Chan, Golub and LeVeque (1983), "Algorithms for
    computing the sample variance", Am. Statistician 37(3), which stays exact to rounding at any
    mean.
    """

    def __init__(self, cells: int, variables: int) -> None:
        self.n = np.zeros(cells)
        self.nonzero = np.zeros(cells, dtype=np.int64)
        self.missing = np.zeros(cells, dtype=np.int64)
        self.known = np.zeros(cells, dtype=np.int64)
        self.mean = np.zeros((cells, variables))
        self.scatter = np.zeros((cells, variables, variables))

    def add(self, cell: Ints, values: Floats, *, known: NDArray[np.bool_] | None = None) -> None:
        """Add units.

        Parameters
        ----------
        cell : ndarray, shape (n,)
        values : ndarray, shape (n, p)
            The metric's value first; NaN there counts the unit as missing.
        known : ndarray of bool, shape (n,), optional
            Units that have their covariates.
        """
        cells, variables = self.mean.shape
        missing = np.isnan(values[:, 0])
        self.missing += np.bincount(cell[missing], minlength=cells)
        cell, values = cell[~missing], values[~missing]
        if known is not None:
            self.known += np.bincount(cell[known[~missing]], minlength=cells)
        self.nonzero += np.bincount(cell[values[:, 0] != 0.0], minlength=cells)
        n = np.bincount(cell, minlength=cells).astype(np.float64)
        mean = np.zeros((cells, variables))
        for i in range(variables):
            total = np.bincount(cell, weights=values[:, i], minlength=cells)
            np.divide(total, n, out=mean[:, i], where=n > 0)
        gaps = values - mean[cell]
        scatter = np.zeros((cells, variables, variables))
        for i in range(variables):
            for j in range(i, variables):
                product = np.bincount(cell, weights=gaps[:, i] * gaps[:, j], minlength=cells)
                scatter[:, i, j] = scatter[:, j, i] = product
        self._merge(n, mean, scatter)

    def _merge(self, n: Floats, mean: Floats, scatter: Floats) -> None:
        total = self.n + n
        share = np.divide(n, total, out=np.zeros_like(n), where=total > 0)
        gap = mean - self.mean
        weight = (self.n * share)[:, None, None]
        self.scatter += scatter + weight * gap[:, :, None] * gap[:, None, :]
        self.mean += share[:, None] * gap
        self.n = total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """One cell, or several cells taken together."""

    n: int
    nonzero: int
    missing: int
    known: int
    mean: Floats
    scatter: Floats

    def plus(self, other: Joint) -> Joint:
        """Both together."""
        n = self.n + other.n
        gap = other.mean - self.mean
        share = other.n / n if n else 0.0
        return Joint(
            n=n,
            nonzero=self.nonzero + other.nonzero,
            missing=self.missing + other.missing,
            known=self.known + other.known,
            mean=self.mean + share * gap,
            scatter=self.scatter + other.scatter + self.n * share * np.outer(gap, gap),
        )


def joint_of(cells: CellMoments, index: int) -> Joint:
    """One cell."""
    return Joint(
        n=int(cells.n[index]),
        nonzero=int(cells.nonzero[index]),
        missing=int(cells.missing[index]),
        known=int(cells.known[index]),
        mean=cells.mean[index],
        scatter=cells.scatter[index],
    )


def plain_moments(joint: Joint) -> Moments:
    """The form a look reads, for a value alone."""
    return Moments(
        n=joint.n,
        missing=joint.missing,
        nonzero=joint.nonzero,
        mean=float(joint.mean[0]),
        m2=float(joint.scatter[0, 0]),
    )


def ratio_moments(joint: Joint) -> Moments:
    """The form a look reads, for numerator and denominator."""
    return Moments(
        n=joint.n,
        missing=joint.missing,
        nonzero=joint.nonzero,
        mean=float(joint.mean[0]),
        m2=float(joint.scatter[0, 0]),
        denominator_mean=float(joint.mean[1]),
        denominator_m2=float(joint.scatter[1, 1]),
        cross_m2=float(joint.scatter[0, 1]),
    )


def covariate_moments(joint: Joint, theta: Floats) -> Moments:
    """The form a look reads, for a value and one covariate: theta times the covariates.

    With theta from the regression on all of them, the look's own regression on this one finds the
    coefficient 1 and adjusts for all.
    """
    return Moments(
        n=joint.n,
        missing=joint.missing,
        nonzero=joint.nonzero,
        mean=float(joint.mean[0]),
        m2=float(joint.scatter[0, 0]),
        covariate_n=joint.known,
        covariate_mean=float(theta @ joint.mean[1:]),
        covariate_m2=float(theta @ joint.scatter[1:, 1:] @ theta),
        covariate_cross_m2=float(theta @ joint.scatter[0, 1:]),
    )


class CellGrids:
    """Clustered counts below the cuts of one quantile metric, in many cells (DESIGN 9)."""

    def __init__(self, cells: int, cuts: tuple[float, ...]) -> None:
        self.cuts = cuts
        self.units = np.zeros(cells, dtype=np.int64)
        self.outcomes = np.zeros(cells, dtype=np.int64)
        self.outcomes_squared = np.zeros(cells, dtype=np.int64)
        shape = (cells, len(cuts) + 1)
        self.below = np.zeros(shape, dtype=np.int64)
        self.below_squared = np.zeros(shape, dtype=np.int64)
        self.below_outcomes = np.zeros(shape, dtype=np.int64)

    def add(self, cell: Ints, unit: Ints, values: Floats) -> None:
        """Add whole units.

        Parameters
        ----------
        cell : ndarray, shape (n,)
            Of the outcome's unit.
        unit : ndarray, shape (n,)
            Any code; every outcome of a unit is in this call.
        values : ndarray, shape (n,)
            Outcomes.

        Notes
        -----
        Sorted within its unit, the k-th smallest outcome raises the unit's C^2 by 2k - 1 and its
        C n by n at the first cut not below it; sums over units need no table of units by cuts.
        """
        slot = np.searchsorted(self.cuts, values, side="left")
        order = np.lexsort((slot, unit))
        cell, unit, slot = cell[order], unit[order], slot[order]
        starts = np.flatnonzero(np.r_[True, unit[1:] != unit[:-1]]) if len(unit) else np.array([])
        starts = starts.astype(np.int64)
        sizes = np.diff(np.r_[starts, len(unit)])
        rank = np.arange(len(unit)) - np.repeat(starts, sizes) + 1
        cells, width = self.below.shape
        place = cell * width + slot
        for sums, weight in (
            (self.below, np.ones_like(rank)),
            (self.below_squared, 2 * rank - 1),
            (self.below_outcomes, np.repeat(sizes, sizes)),
        ):
            np.add.at(sums.reshape(-1), place, weight)
        of_unit = cell[starts]
        self.units += np.bincount(of_unit, minlength=cells)
        np.add.at(self.outcomes, of_unit, sizes)
        np.add.at(self.outcomes_squared, of_unit, sizes * sizes)

    def cumulate(self, shape: tuple[int, int, int]) -> None:
        """Add every look's earlier looks to it; `shape` is looks, epochs, arms."""
        for sums in (self.units, self.outcomes, self.outcomes_squared):
            np.cumsum(sums.reshape(shape), axis=0, out=sums.reshape(shape))
        for wide in (self.below, self.below_squared, self.below_outcomes):
            by_look = wide.reshape(*shape, -1)
            np.cumsum(by_look, axis=0, out=by_look)

    def grid(self, cell: int) -> QuantileGrid:
        """One cell in the form a look reads, counts cumulated over the cuts."""

        def cumulated(sums: Ints) -> tuple[int, ...]:
            return tuple(np.cumsum(sums[cell])[:-1].tolist())

        return QuantileGrid(
            cuts=self.cuts,
            units=int(self.units[cell]),
            outcomes=int(self.outcomes[cell]),
            outcomes_squared=int(self.outcomes_squared[cell]),
            below=cumulated(self.below),
            below_squared=cumulated(self.below_squared),
            below_outcomes=cumulated(self.below_outcomes),
        )
