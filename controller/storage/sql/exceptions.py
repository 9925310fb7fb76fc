"""Exceptions of one rollout as pins and side documents are made from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from controller.flow.ports.identities import Because, SideDocument, ToPin
from controller.storage.sql import bulk
from controller.storage.sql.database import database_now
from controller.storage.sql.identities import EXCEPTIONS
from controller.storage.sql.schema.identities import SideDocumentRow
from controller.storage.sql.units import UNITS

KEPT: Final = timedelta(seconds=120)
"""A side document that is out of force is served for so long: an SDK may be about to fetch it."""
_C = EXCEPTIONS.c


class SqlExceptions:
    """Implements `flow.ports.identities.Exceptions` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def some(self) -> bool:
        """Whether there is any exception in any rollout."""
        return self._connection.scalar(select(_C.unit).limit(1)) is not None

    def unpinned(
        self, project: str, rollout: str, allocation: int, *, most: int
    ) -> Sequence[ToPin]:
        """Exceptions whose pin has not been written for this allocation."""
        rows = self._connection.execute(
            select(_C.unit, _C.stands_for, _C.pinned)
            .where(*_of(project, rollout), _C.pinned < allocation)
            .limit(most)
        )
        return [ToPin(*row) for row in rows]

    def after(self, project: str, rollout: str, unit: str, *, most: int) -> Sequence[ToPin]:
        """The next exceptions in order of unit."""
        rows = self._connection.execute(
            select(_C.unit, _C.stands_for, _C.pinned)
            .where(*_of(project, rollout), _C.unit > unit)
            .order_by(_C.unit)
            .limit(most)
        )
        return [ToPin(*row) for row in rows]

    def mark_pinned(
        self, project: str, rollout: str, allocation: int, pins: Sequence[ToPin]
    ) -> None:
        """Their pins are written; one that has changed since is left to be written again."""
        bulk.update(
            self._connection,
            EXCEPTIONS,
            (_C.project, _C.rollout, _C.unit, _C.stands_for),
            (_C.pinned,),
            [(project, rollout, pin.unit, pin.stands_for, allocation) for pin in pins],
        )

    def counts(self, project: str, rollout: str) -> dict[str, int]:
        """How many units are excepted, by reason."""
        rows = self._connection.execute(
            select(_C.reason, func.count()).where(*_of(project, rollout)).group_by(_C.reason)
        )
        return {reason: n for reason, n in rows}  # noqa: C416 - rows are not pairs to mypy

    def units(self, project: str, rollout: str) -> Sequence[str]:
        """Every excepted unit."""
        return self._connection.scalars(select(_C.unit).where(*_of(project, rollout))).all()

    def except_met(self, project: str, rollout: str, series: Sequence[int]) -> int:
        """Every analysed unit of these series keeps its arm, whatever it is asked; how many."""
        kept = "project, rollout, unit, stands_for, reason, pinned"
        place, collation = "%s", ' collate "C"'
        if self._connection.dialect.name == "sqlite":
            place, collation = "?", ""
        marks = ", ".join(place for _ in series)
        result = self._connection.exec_driver_sql(
            f"insert into exceptions ({kept}) "
            f"select project, rollout, unit, unit, '{Because.ELIGIBILITY.value}', 0 "
            f"from (select distinct project, rollout, unit from {UNITS.name} "
            f"where project = {place} and rollout = {place} and series in ({marks}) "
            # In the order in which others insert, so that nobody deadlocks.
            f"and left_for is null) as met where true order by unit{collation} "
            "on conflict do nothing",
            (project, rollout, *series),
        )
        return result.rowcount

    def document(self, project: str, rollout: str) -> SideDocument | None:
        """The side document in force."""
        row = self._connection.execute(
            select(
                SideDocumentRow.sha256,
                SideDocumentRow.number,
                SideDocumentRow.units,
                SideDocumentRow.created_at,
            )
            .where(SideDocumentRow.project == project, SideDocumentRow.rollout == rollout)
            .order_by(SideDocumentRow.number.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        age = database_now(self._connection) - row.created_at
        return SideDocument(row.sha256, row.number, row.units, age.total_seconds())

    def add_document(
        self, project: str, rollout: str, *, sha256: str, number: int, units: int, body: bytes
    ) -> None:
        """Put a side document in force; those that nobody can still need are dropped."""
        now = database_now(self._connection)
        self._connection.execute(
            delete(SideDocumentRow).where(
                SideDocumentRow.project == project,
                SideDocumentRow.rollout == rollout,
                SideDocumentRow.number < number - 1,
                SideDocumentRow.created_at < now - KEPT,
            )
        )
        self._connection.execute(
            insert(SideDocumentRow).values(
                project=project,
                sha256=sha256,
                rollout=rollout,
                number=number,
                units=units,
                body=body,
                created_at=now,
            )
        )

    def body(self, project: str, sha256: str) -> bytes | None:
        """The bytes of a side document."""
        return self._connection.scalar(
            select(SideDocumentRow.body).where(
                SideDocumentRow.project == project, SideDocumentRow.sha256 == sha256
            )
        )


def _of(project: str, rollout: str) -> tuple[Any, ...]:
    return (_C.project == project, _C.rollout == rollout)
