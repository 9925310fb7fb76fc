"""Sums of several variables in many cells at once, merged without cancellation."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    mean. Values are taken from a pivot, the median of the first piece: what does not vary adds up
    to exactly nothing, and what varies little loses no digits (same paper, section 3: shifted
    data). Within a piece sums are pairwise, whose rounding `stats/rounding.py` bounds.
    """

    def __init__(self, cells: int, variables: int) -> None:
        self.n = np.zeros(cells)
        self.nonzero = np.zeros(cells, dtype=np.int64)
        self.missing = np.zeros(cells, dtype=np.int64)
        self.known = np.zeros(cells, dtype=np.int64)
        self.scatter = np.zeros((cells, variables, variables))
        self._pivot: Floats | None = None
        self._offset = np.zeros((cells, variables))

    def mean(self, cell: int) -> Floats:
        """Of one cell, shape (p,); 0 where it is empty."""
        offset = self._offset[cell]
        empty = self._pivot is None or self.n[cell] == 0.0
        return np.asarray(offset if empty else self._pivot + offset, dtype=np.float64)

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
        cells = self.n.size
        missing = np.isnan(values[:, 0])
        self.missing += np.bincount(cell[missing], minlength=cells)
        cell, values = cell[~missing], values[~missing]
        if known is not None:
            self.known += np.bincount(cell[known[~missing]], minlength=cells)
        self.nonzero += np.bincount(cell[values[:, 0] != 0.0], minlength=cells)
        if not cell.size:
            return
        if self._pivot is None:
            self._pivot = np.asarray(np.median(values, axis=0), dtype=np.float64)
        order = np.argsort(cell, kind="stable")
        cell, values = cell[order], values[order] - self._pivot
        self._merge(cell, values)

    def _merge(self, cell: Ints, values: Floats) -> None:
        """Add values in order of their cells, taken from the pivot."""
        starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
        here, n = cell[starts], np.diff(np.r_[starts, cell.size]).astype(np.float64)
        offset = np.add.reduceat(values, starts, axis=0) / n[:, None]
        gaps = values - np.repeat(offset, n.astype(np.int64), axis=0)
        share = n / (self.n[here] + n)
        gap = offset - self._offset[here]
        weight = self.n[here] * share
        for i in range(values.shape[1]):
            for j in range(i, values.shape[1]):
                within = np.add.reduceat(gaps[:, i] * gaps[:, j], starts)
                self.scatter[here, i, j] += within + weight * gap[:, i] * gap[:, j]
                self.scatter[here, j, i] = self.scatter[here, i, j]
        self._offset[here] += share[:, None] * gap
        self.n[here] += n


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
        mean=cells.mean(index),
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


def ratio_covariate_moments(joint: Joint, made: Floats) -> Moments:
    """The form a look reads, for numerator, denominator and two covariates.

    Parameters
    ----------
    joint : Joint
        Numerator, denominator, then k covariates.
    made : ndarray, shape (2, k)
        What the two are made of; a row of zeros is none.
    """
    mean, scatter = made @ joint.mean[2:], made @ joint.scatter[2:, :]
    inner = scatter[:, 2:] @ made.T
    return replace(
        ratio_moments(joint),
        covariate_n=joint.known,
        covariate_mean=float(mean[0]),
        covariate_m2=float(inner[0, 0]),
        covariate_cross_m2=float(scatter[0, 0]),
        denominator_covariate_m2=float(scatter[0, 1]),
        second_mean=float(mean[1]),
        second_m2=float(inner[1, 1]),
        second_cross_m2=float(scatter[1, 0]),
        denominator_second_m2=float(scatter[1, 1]),
        covariate_second_m2=float(inner[0, 1]),
    )


class CellGrids:
    """Clustered counts below the cuts of one quantile metric, in many cells."""

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
