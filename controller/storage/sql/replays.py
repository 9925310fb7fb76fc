"""Answers kept so that a repeated request changes nothing, in SQL.

A request first reserves its key: of two with the same key only one gets to act. Its answer is
written when it is known; where the act failed the reservation is dropped, so that it may be tried
again. A reservation that was never answered (the process died) lapses after `LAPSE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from controller.flow.ports.people import Replay
from controller.storage.sql.schema.control import ReplayRow

LAPSE: Final = timedelta(seconds=60)


class SqlReplays:
    """Implements `flow.ports.people.Replays` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project: str, key: str) -> Replay | None:
        """What is known of a key: `status` 0 while its request is being carried out."""
        row = self._connection.execute(
            select(
                ReplayRow.request_sha256, ReplayRow.status, ReplayRow.body, ReplayRow.headers
            ).where(ReplayRow.project == project, ReplayRow.key == key)
        ).one_or_none()
        if row is None:
            return None
        return Replay(
            request_sha256=row.request_sha256,
            status=row.status,
            body=row.body,
            headers=row.headers or {},
        )

    def reserve(
        self, project: str, key: str, request_sha256: str, *, at: datetime
    ) -> Replay | None:
        """None where the key is ours now; else what is known of the request that had it first."""
        self._connection.execute(
            delete(ReplayRow).where(
                ReplayRow.project == project,
                ReplayRow.key == key,
                ReplayRow.status == 0,
                ReplayRow.created_at < at - LAPSE,
            )
        )
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        inserted = self._connection.execute(
            dialect.insert(ReplayRow)
            .values(
                project=project,
                key=key,
                request_sha256=request_sha256,
                status=0,
                body=b"",
                created_at=at,
            )
            .on_conflict_do_nothing()
            .returning(ReplayRow.key)
        ).scalar_one_or_none()
        return self.get(project, key) if inserted is None else None

    def finish(
        self,
        project: str,
        key: str,
        *,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
    ) -> None:
        """Keep the answer to the request that reserved the key."""
        self._connection.execute(
            update(ReplayRow)
            .where(ReplayRow.project == project, ReplayRow.key == key)
            .values(status=status, body=body, headers=dict(headers))
        )

    def drop(self, project: str, key: str) -> None:
        """Forget a reservation whose request did nothing."""
        self._connection.execute(
            delete(ReplayRow).where(
                ReplayRow.project == project, ReplayRow.key == key, ReplayRow.status == 0
            )
        )

    def forget(self, *, before: datetime) -> None:
        """Drop answers older than `before`."""
        self._connection.execute(delete(ReplayRow).where(ReplayRow.created_at < before))
