"""Who arrived, when, in which arm: the first pass over a table of units or events.

It keeps about 30 bytes a row: a hash of the unit, the time, and codes of arm and epoch. Everything
else is read in a second pass and summed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.arms import with_declared
from controller.analysis.offline.columns import texts
from controller.analysis.offline.ordering import Ordering
from controller.analysis.offline.spec import AnalysisSpec, Rows
from controller.analysis.offline.tables import Chunk, Progress, Table
from controller.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.signedinteger[Any]]
_ONE_EPOCH = "all"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """The units of a table in order of arrival.

    Attributes
    ----------
    arms, epochs : tuple of str
        Names; codes below are positions in them. Epochs are in order of their first unit.
    unit_of_row : ndarray or None
        Event rows: the unit of each row; None for unit rows, where they are the same.
    arm, epoch : ndarray, shape (n_units,)
        Codes; arm is -1 for a unit that met two arms and is not analysed.
    first_row : ndarray, shape (n_units,), or None
        Row of the unit's arrival; None for unit rows.
    position : ndarray, shape (n_units,)
        Place in the order of arrival among analysed units, from 0; -1 for the others.
    double_exposed : int
    """

    arms: tuple[str, ...]
    epochs: tuple[str, ...]
    unit_of_row: Ints | None
    arm: Ints
    epoch: Ints
    first_row: Ints | None
    position: Ints
    double_exposed: int

    @property
    def count(self) -> int:
        """Analysed units."""
        return int((self.arm >= 0).sum())


def arrivals_of(table: Table, spec: AnalysisSpec, progress: Progress) -> Arrivals:
    """Read unit, arm, epoch and time of every row.

    Raises
    ------
    InvalidInput
        For an empty cell, an arm without a weight, a time that is none, a unit row that comes
        twice, or fewer than two arms.
    """
    rows = _read(table, spec, progress)
    order = _order(rows.times, len(rows.arm))
    if spec.rows is Rows.EVENTS:
        return _of_events(table, rows, order)
    if rows.hashes is not None and spec.unit is not None:
        _refuse_repeats(table, spec.unit, rows.hashes)
    position = np.empty(len(order), dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    return Arrivals(
        arms=rows.arms,
        epochs=rows.epochs,
        unit_of_row=None,
        arm=rows.arm,
        epoch=rows.epoch,
        first_row=None,
        position=position,
        double_exposed=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    hashes: NDArray[np.uint64] | None
    times: NDArray[Any] | None
    arm: Ints
    epoch: Ints
    arms: tuple[str, ...]
    epochs: tuple[str, ...]


class _Names:
    """Codes for names in the order they are met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def codes(self, series: pd.Series) -> NDArray[np.int16]:
        import pandas as pd

        local, names = pd.factorize(series)
        known = [self._codes.setdefault(str(name), len(self._codes)) for name in names]
        if len(self._codes) > 10_000:
            raise InvalidInput("more than 10,000 arms or epochs: is this the right column?")
        return np.asarray(known, dtype=np.int16)[local]

    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)


def _read(table: Table, spec: AnalysisSpec, progress: Progress) -> _Rows:
    import pandas as pd

    text = [name for name in (spec.unit, spec.arm, spec.epoch) if name is not None]
    columns = [*text, *([spec.time] if spec.time else [])] or list(table.columns[:1])
    arms, epochs = _Names(), _Names()
    hashes: list[NDArray[np.uint64]] = []
    times: list[NDArray[Any]] = []
    arm: list[NDArray[np.int16]] = []
    epoch: list[NDArray[np.int16]] = []
    arrived = Ordering(table, spec.time, what="its time") if spec.time is not None else None
    for chunk in table.chunks(columns, text=text):
        arm.append(_arm_codes(table, chunk, spec, arms))
        if spec.epoch is not None:
            epoch.append(epochs.codes(texts(table, chunk, spec.epoch, what="its epoch")))
        if spec.unit is not None:
            units = texts(table, chunk, spec.unit, what="its unit")
            hashes.append(
                pd.util.hash_pandas_object(units, index=False).to_numpy().astype(np.uint64)
            )
        if arrived is not None:
            times.append(arrived.keys(chunk))
        progress("reading arrivals", chunk.share)
    if not arm:
        raise InvalidInput(f"{table.name}: the table has no row.", field="data")
    names = with_declared(spec, arms.names())
    if len(names) < 2:
        raise InvalidInput(
            f"{table.name}: column {spec.arm!r} holds fewer than two arms.",
            field=spec.arm or "spec.arm.weights",
        )
    codes = np.concatenate(arm)
    return _Rows(
        hashes=np.concatenate(hashes) if hashes else None,
        times=np.concatenate(times) if times else None,
        arm=codes,
        epoch=np.concatenate(epoch) if epoch else np.zeros_like(codes),
        arms=names,
        epochs=epochs.names() or (_ONE_EPOCH,),
    )


def _arm_codes(table: Table, chunk: Chunk, spec: AnalysisSpec, arms: _Names) -> NDArray[np.int16]:
    """Arms as recorded; without a column (only where they will be drawn) all the first."""
    if spec.arm is None:
        return np.zeros(len(chunk.frame), dtype=np.int16)
    named = texts(table, chunk, spec.arm, what="its arm")
    _check_arms(table, chunk, spec, named)
    return arms.codes(named)


def _check_arms(table: Table, chunk: Chunk, spec: AnalysisSpec, named: pd.Series) -> None:
    if not spec.weights:
        return
    known = set().union(*spec.weights.values()) | ({spec.champion} if spec.champion else set())
    strange = ~named.isin(list(known)).to_numpy()
    if strange.any():
        index = int(np.flatnonzero(strange)[0])
        raise InvalidInput(
            f"{table.name}: {table.place(chunk.start + index)}, column {spec.arm!r:.60}: "
            f"arm {str(named.iloc[index])!r:.60} has no weight.",
            field=spec.arm or "",
            row=chunk.start + index + 1,
        )


def _order(times: NDArray[Any] | None, count: int) -> Ints:
    """Rows by time, ties in the order of the table."""
    if times is None:
        return np.arange(count, dtype=np.int32)
    if (times[1:] >= times[:-1]).all():
        return np.arange(len(times), dtype=np.int32)
    return np.argsort(times, kind="stable")


def _refuse_repeats(table: Table, column: str, hashes: NDArray[np.uint64]) -> None:
    """Refuse a unit that comes twice; equal hashes are looked up before anything is said."""
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    del ordered
    by_hash = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[by_hash[1:]] == hashes[by_hash[:-1]])
    suspects = np.sort(np.concatenate([by_hash[same], by_hash[same + 1]]))
    first: dict[str, int] = {}
    for chunk in table.chunks([column], text=[column]):
        inside = suspects[(suspects >= chunk.start) & (suspects < chunk.start + len(chunk.frame))]
        for row in inside.tolist():
            unit = str(chunk.frame[column].iloc[row - chunk.start])
            if unit in first:
                raise InvalidInput(
                    f"{table.name}: {table.place(row)}, column {column!r:.60}: unit {unit!r:.60} "
                    f"came before in {table.place(first[unit])}; a unit has one row "
                    "(rows: events sums several).",
                    field=column,
                    row=row + 1,
                )
            first[unit] = row


def _of_events(table: Table, rows: _Rows, order: Ints) -> Arrivals:
    """Units from event rows: arm and epoch of the first event, unless another arm follows."""
    assert rows.hashes is not None
    _, unit_of_row = np.unique(rows.hashes, return_inverse=True)
    seen = unit_of_row[order]
    _, first_place = np.unique(seen, return_index=True)
    first_row = order[first_place]
    arm = rows.arm[first_row]
    double = np.zeros(len(arm), dtype=np.bool_)
    double[unit_of_row[rows.arm != arm[unit_of_row]]] = True
    arm = np.where(double, -1, arm)
    by_arrival = np.argsort(first_place, kind="stable")
    analysed = by_arrival[arm[by_arrival] >= 0]
    if not analysed.size:
        raise InvalidInput(
            f"{table.name}: each of the {len(arm):,} units met two arms: none can be analysed.",
            field="data",
        )
    position = np.full(len(arm), -1, dtype=np.int32)
    position[analysed] = np.arange(len(analysed))
    return Arrivals(
        arms=rows.arms,
        epochs=rows.epochs,
        unit_of_row=unit_of_row,
        arm=arm,
        epoch=rows.epoch[first_row],
        first_row=first_row,
        position=position,
        double_exposed=int(double.sum()),
    )
