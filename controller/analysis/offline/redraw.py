"""Recorded units with their arms drawn anew: an A/A test from data that are already there.

Shuffling arms makes the null true by construction, whatever the experiment did, and keeps what
simulation has to guess: the tail of revenue, the share of zeros, the order in which units came.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.arrivals import Arrivals, arrivals_of
from controller.analysis.offline.columns import texts
from controller.analysis.offline.recorded import Cells, Recorded, record, weights_of
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec
from controller.analysis.offline.tables import Progress, Table, require_columns
from controller.analysis.offline.units import Frozen, Sums, Values, check_columns, freeze, values_of
from controller.errors import InvalidInput

Ints = NDArray[np.signedinteger[Any]]
Floats = NDArray[np.float64]

MOST_UNITS = 200_000
"""Values kept in memory; of a larger table a random sample of so many units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Units whose arms can be drawn again and again.

    Attributes
    ----------
    arrivals : Arrivals
        In order of arrival; the arms in it are those of the record.
    values : tuple of (MetricSpec, Values)
        Every metric's values in pieces, units numbered as in `arrivals`.
    ladders : ndarray, shape (n_epochs, n_arms)
        Cumulative shares of the arms.
    cluster : ndarray, shape (n_units,)
        Units with one number are always drawn together.
    sampled_from : int
        Analysed units of the table.
    """

    spec: AnalysisSpec
    arrivals: Arrivals
    values: tuple[tuple[MetricSpec, Values], ...]
    frozen: Frozen
    ladders: Floats
    cluster: Ints
    sampled_from: int

    @property
    def drawn_together(self) -> bool:
        """Whether any two units share their luck."""
        return int(self.cluster.max()) + 1 < len(self.cluster)

    def draw(self, rng: np.random.Generator) -> Recorded:
        """One experiment without an effect: new arms by the planned shares, the same looks."""
        luck = rng.random(int(self.cluster.max()) + 1)[self.cluster]
        arm = (luck[:, None] >= self.ladders[self.arrivals.epoch]).sum(axis=1).astype(np.int16)
        arrivals = replace(self.arrivals, arm=arm)
        cells = Cells(self.spec, arrivals)
        sums = Sums(self.spec, cells, self.frozen)
        for metric, values in self.values:
            sums.add(metric, values)
        return record(self.spec, arrivals, cells, moments=sums.moments, grids=sums.grids)


def pool_of(
    table: Table, spec: AnalysisSpec, *, drawn_by: str | None, seed: int, progress: Progress
) -> Pool:
    """Read a table of units or events into memory, once.

    Parameters
    ----------
    drawn_by : str, optional
        Column of what is really randomised, where that is coarser than the unit.
    seed : int
        Of the sample, if the table has more than `MOST_UNITS` units.

    Raises
    ------
    InvalidInput
        With row, column and rule.
    """
    check_columns(table, spec)
    arrivals = arrivals_of(table, spec, progress)
    frozen = freeze(table, spec, arrivals, progress)
    kept = _kept(arrivals, np.random.default_rng((seed, 0)))
    pieces = (
        (metric, _compact(values, kept))
        for metric, values in values_of(table, spec.metrics, arrivals, progress)
    )
    cluster = (
        np.arange(len(arrivals.arm)) if drawn_by is None else _codes(table, drawn_by, arrivals)
    )
    _, together = np.unique(cluster[kept], return_inverse=True)
    return Pool(
        spec=spec,
        arrivals=_smaller(arrivals, kept),
        values=tuple(pieces),
        frozen=frozen,
        ladders=_ladders(spec, arrivals),
        cluster=together,
        sampled_from=arrivals.count,
    )


def _kept(arrivals: Arrivals, rng: np.random.Generator) -> Ints:
    """Analysed units, at most `MOST_UNITS` of them, rising."""
    analysed = np.flatnonzero(arrivals.arm >= 0)
    if len(analysed) <= MOST_UNITS:
        return analysed
    return np.sort(rng.choice(analysed, MOST_UNITS, replace=False))


def _smaller(arrivals: Arrivals, kept: Ints) -> Arrivals:
    order = np.argsort(arrivals.position[kept], kind="stable")
    position = np.empty(len(kept), dtype=np.int32)
    position[order] = np.arange(len(kept), dtype=np.int32)
    return replace(
        arrivals,
        unit_of_row=None,
        first_row=None,
        arm=arrivals.arm[kept],
        epoch=arrivals.epoch[kept],
        position=position,
    )


def _compact(values: Values, kept: Ints) -> Values:
    """The kept units' values, numbered by their place in `kept`."""
    place = np.searchsorted(kept, values.unit)
    inside = (place < len(kept)) & (kept[np.minimum(place, len(kept) - 1)] == values.unit)
    known = None if values.known is None else values.known[inside]
    return Values(unit=place[inside], matrix=values.matrix[inside], known=known)


def _ladders(spec: AnalysisSpec, arrivals: Arrivals) -> Floats:
    shares = [weights_of(spec, epoch, arrivals.arms) for epoch in arrivals.epochs]
    ladders = np.cumsum(np.asarray(shares), axis=1)[:, :-1]
    return np.asarray(ladders, dtype=np.float64)


def _codes(table: Table, column: str, arrivals: Arrivals) -> Ints:
    """A number for each value of the column in the unit's first row."""
    import pandas as pd

    require_columns(table, [column])
    names: dict[str, int] = {}
    pieces: list[Ints] = []
    for chunk in table.chunks([column], text=[column]):
        local, found = pd.factorize(texts(table, chunk, column, what="its value"))
        known = [names.setdefault(str(name), len(names)) for name in found]
        pieces.append(np.asarray(known, dtype=np.int64)[local])
    codes = np.concatenate(pieces)
    if len(names) < 2:
        raise InvalidInput(f"{table.name}: column {column!r:.60} has one value.", field=column)
    return codes if arrivals.first_row is None else codes[arrivals.first_row]
