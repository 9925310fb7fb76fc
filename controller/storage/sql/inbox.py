"""Requests on disk: one row each, committed before anybody is told."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from controller.flow.ports.ingest import Answered, Received
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import Database, database_now
from controller.storage.sql.schema.inbox import BatchRow, InboxRow, LineageRow

MOST_SHARED: Final = 32
"""Most requests in one commit."""


class SqlInbox:
    """Implements `flow.ports.ingest.Inbox`: one row a request, told of after its commit.

    On SQLite, where one commit at a time reaches the disk, the threads of a process share commits:
    whoever gets the turn writes for all who wait. A commit that fails fails for the one who tried;
    the others try again themselves.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = Lock()
        self._gate = Lock()
        self._waiting: deque[_Waiting] = deque()

    def put(self, received: Received) -> Answered | None:
        """Commit one request; what was answered before where the batch id is taken."""
        if not self._database.is_sqlite:
            return self._write([received])[0]
        mine = _Waiting(received)
        with self._gate:
            self._waiting.append(mine)
        with self._turn:
            if not mine.written:
                self._write_for_all(mine)
        return mine.answer

    def _write_for_all(self, mine: _Waiting) -> None:
        """One commit for this thread and those who wait behind it; called by one at a time."""
        with self._gate:
            self._waiting.remove(mine)
            others = list(self._waiting)[: MOST_SHARED - 1]
        group = [mine, *others]
        answers = self._write([waiting.received for waiting in group])
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer, waiting.written = answer, True
        with self._gate:
            for waiting in others:
                self._waiting.remove(waiting)

    def _write(self, group: Sequence[Received]) -> list[Answered | None]:
        with self._database.begin_inbox() as connection:
            return [_store(connection, received) for received in group]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request whose thread waits for a commit."""

    received: Received
    written: bool = False
    answer: Answered | None = None


def _store(connection: Connection, received: Received) -> Answered | None:
    received_us = to_micros(received.received_at)
    if not _claim_name(connection, received, received_us):
        return _answered(connection, received)
    connection.execute(
        insert(InboxRow),
        {
            "project": received.project,
            "batch_id": received.batch_id,
            "key_id": received.key_id,
            "received_us": received_us,
            "events": received.events,
            "body": received.body,
        },
    )
    return None


def _answered(connection: Connection, received: Received) -> Answered | None:
    row = connection.execute(
        select(BatchRow.digest, BatchRow.verdict).where(
            BatchRow.project == received.project, BatchRow.batch_id == received.batch_id
        )
    ).one_or_none()
    return None if row is None else Answered(digest=row.digest, verdict=row.verdict)


def _claim_name(connection: Connection, received: Received, received_us: int) -> bool:
    """Whether the batch id was free; a request that claims the same one waits for this commit."""
    claim = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    result = connection.execute(
        claim(BatchRow).on_conflict_do_nothing().returning(BatchRow.batch_id),
        {
            "project": received.project,
            "batch_id": received.batch_id,
            "digest": received.digest,
            "received_us": received_us,
            "verdict": received.verdict,
        },
    )
    return result.one_or_none() is not None


def lineage(database: Database) -> str:
    """The name of this inbox, given on first use."""
    with database.inbox.connect().execution_options(reading=True) as connection:
        found = connection.scalar(select(LineageRow.id))
        connection.rollback()
    return found or _name(database)


def rename_lineage(connection: Connection) -> str:
    """Give the inbox a new name: a restored one is read from its start again."""
    connection.execute(delete(LineageRow))
    name = secrets.token_hex(16)
    now_us = to_micros(database_now(connection))
    connection.execute(insert(LineageRow), {"id": name, "created_us": now_us})
    return name


def _name(database: Database) -> str:
    with database.begin_inbox() as connection:
        return connection.scalar(select(LineageRow.id)) or rename_lineage(connection)
