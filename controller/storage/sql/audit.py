"""The audit chain in SQL. Appending locks the head, so the chain never forks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text

from controller.audit.chain import GENESIS, Entry, make_entry
from controller.storage.sql.schema.control import AuditRow


class SqlAudit:
    """Implements `flow.ports.control.Audit` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(
        self, project: str, *, at: datetime, actor: str, action: str, object: str, **details: Any
    ) -> Entry:
        """Add the next link. On PostgreSQL an advisory lock keeps two writers in line."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(
                text("select pg_advisory_xact_lock(hashtext('audit'), hashtext(:project))"),
                {"project": project},
            )
        head = self.head(project)
        entry = make_entry(
            seq=1 if head is None else head.seq + 1,
            previous=GENESIS if head is None else head.hash,
            project=project,
            at=at,
            actor=actor,
            action=action,
            object=object,
            details=details,
        )
        self._connection.execute(
            insert(AuditRow).values(
                project=project,
                seq=entry.seq,
                at=entry.at,
                actor=entry.actor,
                action=entry.action,
                object=entry.object,
                record=entry.record,
                previous=entry.previous,
                hash=entry.hash,
            )
        )
        return entry

    def entries(
        self, project: str, *, after: int = 0, most: int = 200, object: str | None = None
    ) -> Sequence[Entry]:
        """Entries after a sequence number, in order."""
        query = select(AuditRow.__table__).where(AuditRow.project == project, AuditRow.seq > after)
        if object is not None:
            query = query.where(AuditRow.object == object)
        rows = self._connection.execute(query.order_by(AuditRow.seq).limit(most))
        return [_entry(row) for row in rows]

    def head(self, project: str) -> Entry | None:
        """The newest entry, or None."""
        row = self._connection.execute(
            select(AuditRow.__table__)
            .where(AuditRow.project == project)
            .order_by(AuditRow.seq.desc())
            .limit(1)
        ).one_or_none()
        return None if row is None else _entry(row)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        object=row.object,
        record=row.record,
        previous=row.previous,
        hash=row.hash,
    )
