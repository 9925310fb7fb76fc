"""The sums a look reads, changed under a lock in the order of their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from controller.aggregation.exposures import Target
from controller.aggregation.sums import Sums
from controller.storage.sql import bulk
from controller.storage.sql.schema.events import AccumulatorRow, CarriedRow

ACCUMULATORS: Table = AccumulatorRow.__table__  # type: ignore[assignment]
CARRIED: Table = CarriedRow.__table__  # type: ignore[assignment]
_C = ACCUMULATORS.c
Cell = tuple[str, int, str]


class SqlAccumulators:
    """Implements `flow.ports.ingest.Accumulators` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, target: Target, changes: Mapping[Cell, Sums]) -> None:
        """Add to the sums of (metric, epoch, arm)."""
        if not changes:
            return
        stored = self._locked(target, sorted({metric for metric, _, _ in changes}))
        new = [(cell, changes[cell]) for cell in sorted(changes) if cell not in stored]
        known = [
            (cell, stored[cell].plus(changes[cell])) for cell in sorted(changes) if cell in stored
        ]
        name = (target.project, target.rollout)
        bulk.insert(
            self._connection, ACCUMULATORS, [(*name, *cell, *_values(sums)) for cell, sums in new]
        )
        bulk.update(
            self._connection,
            ACCUMULATORS,
            (_C.project, _C.rollout, _C.metric, _C.epoch, _C.arm),
            (_C.n, _C.missing, _C.nonzero, _C.covariate_n, _C.sums, _C.grid),
            [(*name, *cell, *_values(sums)) for cell, sums in known],
        )

    def read(self, target: Target) -> Mapping[Cell, Sums]:
        """The stored sums."""
        return self._all(ACCUMULATORS, target)

    def carried(self, target: Target) -> Mapping[Cell, Sums]:
        """The part of them whose rows are gone."""
        return self._all(CARRIED, target)

    def _all(self, table: Table, target: Target) -> dict[Cell, Sums]:
        rows = self._connection.execute(
            select(table).where(
                table.c.project == target.project, table.c.rollout == target.rollout
            )
        )
        return {(row.metric, row.epoch, row.arm): read_sums(row) for row in rows}

    def _locked(self, target: Target, metrics: Sequence[str]) -> dict[Cell, Sums]:
        """The cells of these metrics, locked in the order of their keys."""
        rows = self._connection.execute(
            select(ACCUMULATORS)
            .where(
                _C.project == target.project,
                _C.rollout == target.rollout,
                _C.metric.in_(metrics),
            )
            .order_by(_C.metric, _C.epoch, _C.arm)
            .with_for_update()
        ).all()
        return {(row.metric, row.epoch, row.arm): read_sums(row) for row in rows}


def read_sums(row: Any) -> Sums:
    """Sums of one stored row."""
    return Sums.read(
        n=row.n,
        missing=row.missing,
        nonzero=row.nonzero,
        covariate_n=row.covariate_n,
        texts=row.sums,
        grid=row.grid,
    )


def _values(sums: Sums) -> tuple[Any, ...]:
    grid = None if sums.grid is None else bulk.json_text(sums.grid.document())
    return (
        sums.n,
        sums.missing,
        sums.nonzero,
        sums.covariate_n,
        bulk.json_text(sums.texts()),
        grid,
    )
