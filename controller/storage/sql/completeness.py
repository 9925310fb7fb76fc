"""Through when the data are complete: watermarks, declarations, and the newest arrivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, Table, func, insert, select, update

from controller.flow.ports.ingest import Declaration
from controller.storage.sql.schema.events import DeclarationRow, FreshnessRow, WatermarkRow

FRESHNESS: Table = FreshnessRow.__table__  # type: ignore[assignment]
Oldest = Callable[[str], int | None]


class SqlClock:
    """Implements `flow.ports.ingest.Clock` on one connection.

    Parameters
    ----------
    oldest : callable
        When the oldest undone request of a project was received; None where there is none.
    """

    def __init__(self, connection: Connection, now_us: int, oldest: Oldest) -> None:
        self._connection = connection
        self._now_us = now_us
        self._oldest = oldest

    def watermark(self, project: str) -> int:
        """The stored watermark; 0 before the first."""
        return read_watermark(self._connection, project)

    def reach(self, project: str) -> int:
        """What the watermark could be now."""
        oldest = self._oldest(project)
        return self._now_us if oldest is None else min(self._now_us, oldest)

    def advance(self, project: str) -> int:
        """Raise the stored watermark; it never falls, whatever the clock does."""
        stored = self._connection.scalar(
            select(WatermarkRow.instant_us).where(WatermarkRow.project == project)
        )
        instant = self.reach(project)
        if stored is None:
            self._connection.execute(
                insert(WatermarkRow).values(project=project, instant_us=instant)
            )
            return instant
        if instant <= stored:
            return stored
        self._connection.execute(
            update(WatermarkRow).where(WatermarkRow.project == project).values(instant_us=instant)
        )
        return instant

    def arrived(self, project: str, newest: Mapping[str, int]) -> None:
        """Note when outcomes of these names last arrived."""
        sqlite = self._connection.dialect.name == "sqlite"
        marks = "?, ?, ?" if sqlite else "%s, %s, %s"
        self._connection.exec_driver_sql(
            f"insert into freshness (project, outcome, received_us) values ({marks}) "
            "on conflict (project, outcome) do update set received_us = excluded.received_us "
            "where excluded.received_us > freshness.received_us",
            [(project, name, received_us) for name, received_us in sorted(newest.items())],
        )

    def declarations(self, project: str, outcome: str) -> Sequence[Declaration]:
        """Every declaration for one outcome, oldest first."""
        rows = self._connection.execute(
            select(DeclarationRow.source, DeclarationRow.through_us, DeclarationRow.posted_us)
            .where(DeclarationRow.project == project, DeclarationRow.outcome == outcome)
            .order_by(DeclarationRow.posted_us, DeclarationRow.source)
        )
        return [Declaration(*row) for row in rows]

    def declare(
        self, project: str, outcome: str, source: str, *, through_us: int, actor: str
    ) -> None:
        """Store a declaration, later than every one before it."""
        newest = self._connection.scalar(
            select(func.max(DeclarationRow.posted_us)).where(
                DeclarationRow.project == project,
                DeclarationRow.outcome == outcome,
                DeclarationRow.source == source,
            )
        )
        self._connection.execute(
            insert(DeclarationRow).values(
                project=project,
                outcome=outcome,
                source=source,
                posted_us=max(self._now_us, (newest or 0) + 1),
                through_us=through_us,
                actor=actor,
            )
        )


def read_watermark(connection: Connection, project: str) -> int:
    """The stored watermark of a project; 0 before the first."""
    return (
        connection.scalar(select(WatermarkRow.instant_us).where(WatermarkRow.project == project))
        or 0
    )
