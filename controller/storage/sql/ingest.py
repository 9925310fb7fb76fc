"""One transaction from the inbox to the sums, on either database.

On PostgreSQL a maturing transaction excludes aggregating ones, so that a unit can never enter
between an outcome's insert and its commit; SQLite has one writer anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError

from controller.flow.ports.ingest import Claimed, Indigestible
from controller.storage.sql.accumulators import SqlAccumulators
from controller.storage.sql.base import to_micros
from controller.storage.sql.completeness import SqlClock
from controller.storage.sql.database import Database, database_now
from controller.storage.sql.identities import SqlIdentities
from controller.storage.sql.ledger import SqlLedger
from controller.storage.sql.maturation import SqlMaturations
from controller.storage.sql.problems import SqlProblems
from controller.storage.sql.queue import Queue
from controller.storage.sql.tallies import SqlTallies
from controller.storage.sql.targets import SqlTargets, TargetCache
from controller.storage.sql.units import SqlUnits

KEEP_BODIES_SECONDS: Final = 2 * 86_400.0
Prepared = TypeVar("Prepared")
INGEST_LOCK = 0x696E6765
TURNSTILE_LOCK = 0x74757273
"""Taken before `INGEST_LOCK` is taken alone: of many workers one stands in its queue."""


class SqlIngestWork:
    """Implements `flow.ports.ingest.IngestWork`."""

    def __init__(
        self,
        connection: Connection,
        queue: Queue,
        cache: TargetCache,
        claimed: Sequence[Claimed] = (),
    ) -> None:
        self.connection = connection
        self.claimed = claimed
        self._queue = queue
        self._cache = cache

    @cached_property
    def now_us(self) -> int:
        """Database time, read once."""
        return to_micros(database_now(self.connection))

    @cached_property
    def ledger(self) -> SqlLedger:
        """Every accepted event, once."""
        return SqlLedger(self.connection)

    @cached_property
    def units(self) -> SqlUnits:
        """First exposures."""
        return SqlUnits(self.connection)

    @cached_property
    def maturations(self) -> SqlMaturations:
        """Which metrics of which units wait."""
        return SqlMaturations(self.connection)

    @cached_property
    def accumulators(self) -> SqlAccumulators:
        """The sums a look reads."""
        return SqlAccumulators(self.connection)

    @cached_property
    def problems(self) -> SqlProblems:
        """What was wrong with events."""
        return SqlProblems(self.connection)

    @cached_property
    def clock(self) -> SqlClock:
        """Watermarks and declarations."""
        return SqlClock(self.connection, self.now_us, self._queue.oldest_us)

    @cached_property
    def targets(self) -> SqlTargets:
        """Rollouts and slots as events meet them."""
        return SqlTargets(self.connection, self._cache, self.now_us)

    @cached_property
    def identities(self) -> SqlIdentities:
        """Which ids are one."""
        return SqlIdentities(self.connection)

    @cached_property
    def tallies(self) -> SqlTallies:
        """Numbers that only grow."""
        return SqlTallies(self.connection)


class SqlIngest:
    """Implements `flow.ports.ingest.IngestStore` over a `Database`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._cache = TargetCache()

    def waiting(self) -> bool:
        """Whether any request waits; asked without a lock."""
        with self.database.read() as connection:
            return Queue(self.database, connection).size(most=1) > 0

    @contextmanager
    def aggregating(
        self, budget: int, prepare: Callable[[Sequence[Claimed]], Prepared]
    ) -> Iterator[tuple[SqlIngestWork, Prepared]]:
        """Claim undone requests holding about `budget` events; done when the block commits."""
        with _digesting(), ExitStack() as stack:
            lock = self._in_line if self.database.is_sqlite else self._any_free
            connection, claimed, prepared = lock(stack, budget, prepare)
            queue = Queue(self.database, connection)
            work = SqlIngestWork(connection, queue, self._cache, claimed)
            yield work, prepared
            queue.finish(claimed, work.now_us)

    def _in_line(
        self, stack: ExitStack, budget: int, prepare: Callable[[Sequence[Claimed]], Prepared]
    ) -> tuple[Connection, Sequence[Claimed], Prepared]:
        """SQLite: read and prepare first, so that the one writing lock is held for less time."""
        while True:
            with self.database.read() as connection:
                queue = Queue(self.database, connection)
                claimed, position = queue.claim(budget), queue.position
            prepared = prepare(claimed)
            self.database.right_of_way.give()
            with ExitStack() as attempt:
                connection = attempt.enter_context(self.database.begin())
                if Queue(self.database, connection).position == position:
                    stack.push(attempt.pop_all())
                    return connection, claimed, prepared

    def _any_free(
        self, stack: ExitStack, budget: int, prepare: Callable[[Sequence[Claimed]], Prepared]
    ) -> tuple[Connection, Sequence[Claimed], Prepared]:
        """PostgreSQL: rows that nobody else holds, prepared before anybody has to wait for it."""
        connection = stack.enter_context(self.database.begin())
        claimed = Queue(self.database, connection).claim(budget)
        prepared = prepare(claimed)
        connection.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": INGEST_LOCK})
        return connection, claimed, prepared

    def sweep(self, *, keep_seconds: float = KEEP_BODIES_SECONDS) -> int:
        """Drop bodies of requests that were aggregated and are older than that.

        A backup of main that is restored without its inbox can only be brought up to date from
        bodies that are still there: keep them longer than the time between two backups.
        """
        with self.database.read() as connection:
            queue = Queue(self.database, connection)
            now_us = to_micros(database_now(connection))
            before_us = now_us - round(keep_seconds * 1_000_000)
            return queue.sweep(received_before_us=before_us, now_us=now_us)

    @contextmanager
    def reading(self) -> Iterator[SqlIngestWork]:
        """A consistent snapshot, rolled back at the end."""
        with self.database.read() as connection:
            yield SqlIngestWork(connection, Queue(self.database, connection), self._cache)

    @contextmanager
    def maturing(self) -> Iterator[SqlIngestWork]:
        """A transaction that no aggregating one overlaps."""
        self.database.right_of_way.give()
        with self.database.begin() as connection:
            if not self.database.is_sqlite:
                for key in (TURNSTILE_LOCK, INGEST_LOCK):
                    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})
            yield SqlIngestWork(connection, Queue(self.database, connection), self._cache)


@contextmanager
def _digesting() -> Iterator[None]:
    """What the database will never store is told apart from what is worth another try."""
    try:
        yield
    except (DataError, IntegrityError) as problem:
        raise Indigestible(f"The database refuses this request: {problem.orig}.") from problem
