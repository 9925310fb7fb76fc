"""Clustered counts below the cuts of a grid, of both arms and all epochs, against many nulls.

The arithmetic behind `quantile`: shares below a place, their contrast between the arms as a ratio
metric, and the smallest e-value over the places the common quantile could have. Nulls and places
are array axes, because a single one costs as much as a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controller.errors import InvalidInput
from controller.stats.mixture import log_e_value
from controller.stats.results import Alternative, Inconclusive, Reason

TAIL_COUNT = 25.0
"""Outcomes in the smaller tail, and units, each arm needs before a share is nearly normal."""
_LOCATION_WEIGHT = 0.05
# Candidates for x, in standard errors of the pooled share around q.
_OFFSETS = np.sinh(np.linspace(-3.0, 3.0, 41))

Floats = NDArray[np.float64]


class ClusteredCounts(Protocol):
    """One arm of one epoch: sums over units of C, C^2 and C n at each cut."""

    @property
    def cuts(self) -> Sequence[float]: ...
    @property
    def units(self) -> int: ...
    @property
    def outcomes(self) -> int: ...
    @property
    def outcomes_squared(self) -> int: ...
    @property
    def below(self) -> Sequence[int]: ...
    @property
    def below_squared(self) -> Sequence[int]: ...
    @property
    def below_outcomes(self) -> Sequence[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nulls:
    """Several nulls at once: treatment's quantile is scale times control's plus shift, (n,)."""

    scale: Floats
    shift: Floats

    @classmethod
    def one(cls, scale: float, shift: float) -> Nulls:
        """A single null."""
        return cls(scale=np.array([scale]), shift=np.array([shift]))

    def move(self, x: Floats) -> Floats:
        """Where the treatment is compared, (n, ...) for control's x of that shape."""
        return np.asarray(self.scale[:, None] * x + self.shift[:, None], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One arm over epochs.

    Attributes
    ----------
    units, outcomes, outcomes_squared : ndarray, shape (n_epochs, 1, 1)
    sums : ndarray, shape (3, n_epochs, n_cuts)
        C, C^2 and C n at each cut.
    """

    units: Floats
    outcomes: Floats
    outcomes_squared: Floats
    sums: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """All epochs' arms on one grid, and the quantile asked for."""

    sides: tuple[_Side, _Side]
    cuts: Floats
    log_cuts: Floats
    q: float

    def effective_size(self) -> float:
        """W in units."""
        n0, n1 = (side.units for side in self.sides)
        return float(np.sum(n0 * n1 / (n0 + n1)))

    def at(self, x: Floats, sums: Floats) -> Floats:
        """Sums (..., n_cuts) at x, interpolated on the log scale; flat beyond the grid's ends."""
        place = np.log(np.maximum(x, self.cuts[0]))
        above = np.clip(np.searchsorted(self.log_cuts, place, side="right"), 1, self.cuts.size - 1)
        low = self.log_cuts[above - 1]
        part = np.minimum((place - low) / (self.log_cuts[above] - low), 1.0)
        return np.asarray(sums[..., above - 1] * (1.0 - part) + sums[..., above] * part)

    def arm_share(self, side: int) -> Floats:
        """Share of the arm's outcomes at or below each cut."""
        arm = self.sides[side]
        return np.asarray(arm.sums[0].sum(axis=0) / arm.outcomes.sum(), dtype=np.float64)

    def pooled(self, nulls: Nulls) -> Floats:
        """Share of all outcomes at or below each cut, moved for the treatment, (n, n_cuts)."""
        control, treatment = self.sides
        below = self.at(nulls.move(self.cuts), treatment.sums[0].sum(axis=0))
        total = control.outcomes.sum() + treatment.outcomes.sum()
        return np.asarray((control.sums[0].sum(axis=0) + below) / total, dtype=np.float64)

    def candidates(self, nulls: Nulls) -> Floats:
        """Values of x whose pooled share lies 0 to 10 standard errors from q, (n, n_candidates)."""
        outcomes = sum(float(side.outcomes.sum()) for side in self.sides)
        squares = sum(float(side.outcomes_squared.sum()) for side in self.sides)
        error = math.sqrt(self.q * (1.0 - self.q) * squares) / outcomes
        pooled = self.pooled(nulls) + 1e-15 * np.arange(self.cuts.size)  # a unique inverse
        wanted = self.q + error * _OFFSETS
        places = [np.interp(wanted, rising, self.log_cuts) for rising in pooled]
        return np.asarray(np.exp(places), dtype=np.float64)

    def contrast(self, x: Floats, nulls: Nulls) -> tuple[Floats, Floats, Floats]:
        """Score and variance of treatment - control shares at x, and z of x's location, (n, m).

        Each epoch's contrast is a ratio metric linearised at the epoch's pooled share, as in
        `ratio`; V is the larger of the pooled and the arms' own variance.
        """
        control, treatment = self.sides
        found = (self.at(x, control.sums), self.at(nulls.move(x), treatment.sums))
        units = control.units + treatment.units
        outcomes = control.outcomes + treatment.outcomes
        share = (found[0][0] + found[1][0]) / outcomes
        weight = control.units * treatment.units / units
        per_unit = outcomes / units
        means, squares, own = [], [], np.zeros_like(share)
        located, spread = np.zeros_like(share), np.zeros_like(share)
        for arm, (below, squared, crossed) in zip(self.sides, found, strict=True):
            mean = (below - share * arm.outcomes) / (arm.units * per_unit)
            raw = squared - share * (2.0 * crossed - share * arm.outcomes_squared)
            square = np.maximum(raw, 0.0) / per_unit**2
            centred = np.maximum(square - arm.units * mean * mean, 0.0)
            own += centred / np.maximum(arm.units - 1.0, 1.0) / arm.units
            located += below - self.q * arm.outcomes
            spread += squared - self.q * (2.0 * crossed - self.q * arm.outcomes_squared)
            means.append(mean)
            squares.append(square)
        score = np.sum(weight * (means[1] - means[0]), axis=0)
        pooled = np.sum(weight * (squares[0] + squares[1]) / (units - 1.0), axis=0)
        variance = np.maximum(pooled, np.sum(weight**2 * own, axis=0))
        deviation = np.sqrt(np.maximum(spread.sum(axis=0), 1e-300))
        return score, variance, located.sum(axis=0) / deviation

    def smallest_log_e(self, nulls: Nulls, ratio: float, alternative: Alternative) -> Floats:
        """Log of min over x of (1 - w) e_contrast(x) + w e_location(x), for each null."""
        score, variance, location = self.contrast(self.candidates(nulls), nulls)
        z = np.divide(score, np.sqrt(variance), out=np.zeros_like(score), where=variance > 0.0)
        # A larger quantile means a smaller share below x.
        differ = log_e_value(-z, ratio, alternative=alternative)
        elsewhere = log_e_value(location, ratio)
        mixed = np.logaddexp(
            differ + math.log1p(-_LOCATION_WEIGHT), elsewhere + math.log(_LOCATION_WEIGHT)
        )
        return np.asarray(mixed.min(axis=1), dtype=np.float64)


def prepare(
    epochs: Sequence[tuple[ClusteredCounts, ClusteredCounts]], q: float
) -> Table | Inconclusive:
    """The table of (control, treatment) pairs, or why it says nothing yet.

    Raises
    ------
    InvalidInput
        If `q` or the cuts are illegal.
    """
    if not 0.0 < q < 1.0:
        raise InvalidInput("q must lie in (0, 1)", field="q")
    live = [pair for pair in epochs if pair[0].units > 0 and pair[1].units > 0]
    if not live:
        return Inconclusive(reason=Reason.ARM_EMPTY if epochs else Reason.NO_DATA)
    first = live[0][0].cuts
    cuts = np.asarray(first, dtype=np.float64)
    if any(arm.cuts is not first and tuple(arm.cuts) != tuple(first) for p in live for arm in p):
        raise InvalidInput("all arms and epochs share one grid of cuts", field="cuts")
    if cuts.size < 2 or not (cuts[0] > 0.0 and (np.diff(cuts) > 0.0).all()):
        raise InvalidInput("cuts rise and are positive", field="cuts")
    for side in (0, 1):
        outcomes = sum(pair[side].outcomes for pair in live)
        units = sum(pair[side].units for pair in live)
        if units < TAIL_COUNT or outcomes * min(q, 1.0 - q) < TAIL_COUNT:
            return Inconclusive(reason=Reason.BURN_IN)
    sides = (_side([pair[0] for pair in live]), _side([pair[1] for pair in live]))
    if _in_one_cell(sides):
        return Inconclusive(
            reason=Reason.ZERO_VARIANCE, detail="every outcome lies between the same two cuts"
        )
    return Table(sides=sides, cuts=cuts, log_cuts=np.log(cuts), q=q)


def _in_one_cell(sides: tuple[_Side, _Side]) -> bool:
    """Whether no cut parts the outcomes: then the grid cannot tell them from a constant."""
    below = np.sum([side.sums[0].sum(axis=0) for side in sides], axis=0)
    outcomes = sum(float(side.outcomes.sum()) for side in sides)
    inside = below[0] == 0.0 and below[-1] == outcomes
    return bool(inside and not ((below > 0.0) & (below < outcomes)).any())


def _side(arms: Sequence[ClusteredCounts]) -> _Side:
    def column(values: list[int]) -> Floats:
        return np.asarray(values, dtype=np.float64)[:, None, None]

    return _Side(
        units=column([arm.units for arm in arms]),
        outcomes=column([arm.outcomes for arm in arms]),
        outcomes_squared=column([arm.outcomes_squared for arm in arms]),
        sums=np.array(
            [
                [arm.below for arm in arms],
                [arm.below_squared for arm in arms],
                [arm.below_outcomes for arm in arms],
            ],
            dtype=np.float64,
        ),
    )


def quantile_of(share: Floats, x: Floats, q: float) -> float | None:
    """Where a rising share reaches q, on the log scale; None outside the grid."""
    if share[0] > q or share[-1] < q:
        return None
    above = int(np.searchsorted(share, q, side="left"))
    if above == 0 or share[above] == share[above - 1]:
        return float(x[above])
    part = (q - share[above - 1]) / (share[above] - share[above - 1])
    return float(x[above - 1] * (x[above] / x[above - 1]) ** part)
