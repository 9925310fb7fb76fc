"""Numbers of the whole service: tallies that only grow, and what running processes report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Table, delete, select

from controller.flow.ports.identities import ProcessReport
from controller.storage.sql import bulk
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import database_now
from controller.storage.sql.schema.identities import ProcessRow, TallyRow

TALLIES: Final[Table] = TallyRow.__table__  # type: ignore[assignment]
PROCESSES: Final[Table] = ProcessRow.__table__  # type: ignore[assignment]
SILENT: Final = timedelta(seconds=30)
FORGOTTEN: Final = timedelta(hours=1)


class SqlTallies:
    """Implements `flow.ports.identities.Tallies` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, project: str, changes: Mapping[tuple[str, str], int]) -> None:
        """Add to (subject, name)."""
        now_us = to_micros(database_now(self._connection))
        bulk.insert(
            self._connection,
            TALLIES,
            [(project, *key, n, now_us) for key, n in sorted(changes.items()) if n],
            tail=" on conflict (project, subject, name) do update set "
            "n = tallies.n + excluded.n, grown_at = excluded.grown_at",
        )

    def read(self, project: str, subject: str | None = None) -> Mapping[tuple[str, str], int]:
        """Every number of a project, or of one subject."""
        query = select(TALLIES.c.subject, TALLIES.c.name, TALLIES.c.n).where(
            TALLIES.c.project == project
        )
        if subject is not None:
            query = query.where(TALLIES.c.subject == subject)
        return {(row.subject, row.name): row.n for row in self._connection.execute(query)}

    def grown(self, project: str, name: str) -> Mapping[str, tuple[int, datetime]]:
        """One number of every subject that has it, with when it last grew."""
        rows = self._connection.execute(
            select(TALLIES.c.subject, TALLIES.c.n, TALLIES.c.grown_at)
            .where(TALLIES.c.project == project, TALLIES.c.name == name)
            .order_by(TALLIES.c.subject)
        )
        return {subject: (n, grown_at) for subject, n, grown_at in rows}


class SqlProcesses:
    """Implements `flow.ports.identities.Processes` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def report(self, report: ProcessReport) -> None:
        """Say how this process finds its pin store; those that fell silent long ago go."""
        now = database_now(self._connection)
        self._connection.execute(delete(PROCESSES).where(PROCESSES.c.seen_at < now - FORGOTTEN))
        bulk.insert(
            self._connection,
            PROCESSES,
            [(report.process, to_micros(now), report.pins_waiting, report.pins_available)],
            tail=" on conflict (process) do update set seen_at = excluded.seen_at, "
            "pins_waiting = excluded.pins_waiting, pins_available = excluded.pins_available",
        )

    def running(self) -> Sequence[ProcessReport]:
        """What each process said that has spoken in the last 30 seconds."""
        since = database_now(self._connection) - SILENT
        rows = self._connection.execute(
            select(PROCESSES.c.process, PROCESSES.c.pins_waiting, PROCESSES.c.pins_available)
            .where(PROCESSES.c.seen_at >= since)
            .order_by(PROCESSES.c.process)
        )
        return [ProcessReport(*row) for row in rows]
