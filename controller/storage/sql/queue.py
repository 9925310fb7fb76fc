"""The inbox as a queue: which requests wait, claiming them, and marking them done.

SQLite: the inbox is another file, so the consumed position (lineage, seq) moves in the main file
together with the effects; requests are taken in order by the one writer there can be.
PostgreSQL: requests are rows of the same database, claimed with SKIP LOCKED by any number of
aggregators and marked done in the transaction of their effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from controller.flow.ports.ingest import Claimed
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import lineage
from controller.storage.sql.schema.events import ConsumedRow
from controller.storage.sql.schema.inbox import InboxRow

_SWEPT_AT_ONCE: Final = 200
_WHOLE = (
    InboxRow.seq,
    InboxRow.project,
    InboxRow.batch_id,
    InboxRow.key_id,
    InboxRow.received_us,
    InboxRow.events,
    InboxRow.body,
)


class Queue:
    """The waiting requests, as one transaction on the main database sees them."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def claim(self, budget: int) -> list[Claimed]:
        """The next requests that together hold at most `budget` events, and at least one."""
        with self._inbox() as inbox:
            query = select(InboxRow.seq, InboxRow.events).where(*self._undone)
            query = query.order_by(InboxRow.seq).limit(budget)
            waiting = inbox.execute(self._locked(query)).all()
            chosen = _within(waiting, budget)
            rows = inbox.execute(
                select(*_WHOLE).where(InboxRow.seq.in_(chosen)).order_by(InboxRow.seq)
            ).all()
        return [Claimed(**row._mapping) for row in rows]

    def finish(self, claimed: Sequence[Claimed], now_us: int) -> None:
        """Mark requests done, in the transaction of their effects."""
        if not claimed:
            return
        if self._database.is_sqlite:
            self._move_position(claimed[-1].seq)
            return
        self._connection.execute(
            update(InboxRow)
            .where(InboxRow.seq.in_([row.seq for row in claimed]))
            .values(done_us=now_us)
        )

    def sweep(self, *, received_before_us: int, now_us: int) -> int:
        """Drop bodies of done requests received before an instant; ids and verdicts stay.

        In short transactions, so that requests which are being accepted meanwhile do not wait.
        """
        sqlite = self._database.is_sqlite
        done = InboxRow.seq <= self.position if sqlite else InboxRow.done_us.is_not(None)
        old = (
            select(InboxRow.seq)
            .where(done, InboxRow.body.is_not(None), InboxRow.received_us < received_before_us)
            .limit(_SWEPT_AT_ONCE)
        )
        drop = update(InboxRow).where(InboxRow.seq.in_(old)).values(body=None, done_us=now_us)
        swept = 0
        while True:
            with self._database.begin_inbox() as inbox:
                dropped = inbox.execute(drop).rowcount
            swept += dropped
            if dropped < _SWEPT_AT_ONCE:
                return swept

    def oldest_us(self, project: str) -> int | None:
        """When the oldest undone request of a project was received; None where none waits."""
        with self._inbox() as inbox:
            oldest: int | None = inbox.scalar(
                select(func.min(InboxRow.received_us)).where(
                    InboxRow.project == project, *self._undone
                )
            )
        return oldest

    def size(self, *, most: int = 1_000_000) -> int:
        """How many requests wait, counted up to `most`."""
        waiting = select(InboxRow.seq).where(*self._undone).limit(most).subquery()
        with self._inbox() as inbox:
            return inbox.scalar(select(func.count()).select_from(waiting)) or 0

    @cached_property
    def position(self) -> int:
        """Up to which seq this inbox has been aggregated (SQLite)."""
        return (
            self._connection.scalar(
                select(ConsumedRow.seq).where(ConsumedRow.lineage == self._lineage)
            )
            or 0
        )

    @cached_property
    def _lineage(self) -> str:
        return lineage(self._database)

    @property
    def _undone(self) -> tuple[ColumnElement[bool], ...]:
        kept = InboxRow.body.is_not(None)
        if self._database.is_sqlite:
            return (InboxRow.seq > self.position, kept)
        return (InboxRow.done_us.is_(None), kept)

    @contextmanager
    def _inbox(self) -> Iterator[Connection]:
        """The connection that sees the inbox: on SQLite another file, which is only read here."""
        if not self._database.is_sqlite:
            yield self._connection
            return
        with self._database.inbox.connect().execution_options(reading=True) as inbox:
            yield inbox
            inbox.rollback()

    def _locked(self, query: Select[int, int]) -> Select[int, int]:
        if self._database.is_sqlite:
            return query
        return query.with_for_update(skip_locked=True)

    def _move_position(self, seq: int) -> None:
        moved = self._connection.execute(
            update(ConsumedRow).where(ConsumedRow.lineage == self._lineage).values(seq=seq)
        )
        if moved.rowcount == 0:
            self._connection.execute(insert(ConsumedRow).values(lineage=self._lineage, seq=seq))


def _within(waiting: Sequence[Row[int, int]], budget: int) -> list[int]:
    fitting = sum(1 for total in accumulate(row.events for row in waiting) if total <= budget)
    return [row.seq for row in waiting[: max(1, fitting)]]
