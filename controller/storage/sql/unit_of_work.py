"""The unit of work: one connection, one transaction, every store on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection, text

from controller.flow.ports.rollouts import PublishedRuleset
from controller.storage.sql.approvals import SqlApprovals
from controller.storage.sql.audit import SqlAudit
from controller.storage.sql.base import from_micros
from controller.storage.sql.completeness import read_watermark
from controller.storage.sql.control import SqlDeployments, SqlLeases, SqlOutbox
from controller.storage.sql.database import Database, database_now
from controller.storage.sql.decisions import SqlDecisions
from controller.storage.sql.definitions import SqlDefinitions
from controller.storage.sql.evidence import SqlEvidence
from controller.storage.sql.exceptions import SqlExceptions
from controller.storage.sql.identities import SqlAliases
from controller.storage.sql.ingest import INGEST_LOCK
from controller.storage.sql.measurements import SqlMeasurements
from controller.storage.sql.people import SqlPeople
from controller.storage.sql.replays import SqlReplays
from controller.storage.sql.rollouts import SqlRollouts
from controller.storage.sql.rulesets import SqlRulesets
from controller.storage.sql.side_documents import SqlSideDocuments
from controller.storage.sql.tallies import SqlProcesses, SqlTallies
from controller.storage.sql.traffic import SqlTraffic
from controller.storage.sql.views import SqlViews

HEAPS_MS = 30_000
"""The longest that an edit waits for heaps of events which are being aggregated."""


class SqlWork:
    """Implements `flow.ports.work.Work`; each store is made when first asked for."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @cached_property
    def now(self) -> datetime:
        """Database time, read once."""
        return database_now(self.connection)

    def take_turn(self, project: str) -> None:
        """One control writer of a project at a time; SQLite has one writer anyway."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(
                text("select pg_advisory_xact_lock(hashtext('control'), hashtext(:project))"),
                {"project": project},
            )

    def stop_maturing(self, project: str, *, and_aggregating: bool = False) -> datetime:
        """Let no unit enter a metric until this transaction ends; database time from then on."""
        if self.connection.dialect.name == "postgresql":
            shared = "" if and_aggregating else "_shared"
            self._wait_long(f"select pg_advisory_xact_lock{shared}({INGEST_LOCK})")
            now = database_now(self.connection)
        else:
            now = self.now
        return max(now, from_micros(read_watermark(self.connection, project)))

    def _wait_long(self, statement: str) -> None:
        """Ask for a lock that heaps of events hold: longer than for any other."""
        for part in (f"set local lock_timeout = {HEAPS_MS}", statement):
            self.connection.execute(text(part))
        self.connection.execute(text("set local lock_timeout to default"))

    @cached_property
    def definitions(self) -> SqlDefinitions:
        """Metrics, policies, slots."""
        return SqlDefinitions(self.connection)

    @cached_property
    def rollouts(self) -> SqlRollouts:
        """Rollouts, allocations, epochs."""
        return SqlRollouts(self.connection)

    @cached_property
    def rulesets(self) -> SqlRulesets:
        """What SDKs are told."""
        return SqlRulesets(self.connection)

    @cached_property
    def evidence(self) -> SqlEvidence:
        """Evidence snapshots and looks."""
        return SqlEvidence(self.connection)

    @cached_property
    def approvals(self) -> SqlApprovals:
        """Proposals and votes."""
        return SqlApprovals(self.connection)

    @cached_property
    def decisions(self) -> SqlDecisions:
        """Each rollout's gap-free log."""
        return SqlDecisions(self.connection)

    @cached_property
    def measurements(self) -> SqlMeasurements:
        """Sufficient statistics."""
        return SqlMeasurements(self.connection)

    @cached_property
    def people(self) -> SqlPeople:
        """Operators, sessions, keys."""
        return SqlPeople(self.connection)

    @cached_property
    def replays(self) -> SqlReplays:
        """Answers to repeated requests."""
        return SqlReplays(self.connection)

    @cached_property
    def audit(self) -> SqlAudit:
        """The hash chain."""
        return SqlAudit(self.connection)

    @cached_property
    def outbox(self) -> SqlOutbox:
        """Side effects that are due."""
        return SqlOutbox(self.connection)

    @cached_property
    def leases(self) -> SqlLeases:
        """Who may act."""
        return SqlLeases(self.connection)

    @cached_property
    def deployments(self) -> SqlDeployments:
        """Who this deployment is."""
        return SqlDeployments(self.connection)

    @cached_property
    def traffic(self) -> SqlTraffic:
        """Holdouts, layers, overrides."""
        return SqlTraffic(self.connection)

    @cached_property
    def aliases(self) -> SqlAliases:
        """Which ids were stated to be one."""
        return SqlAliases(self.connection)

    @cached_property
    def exceptions(self) -> SqlExceptions:
        """Units that a rollout does not answer by the pure function of their id."""
        return SqlExceptions(self.connection)

    @cached_property
    def side_documents(self) -> SqlSideDocuments:
        """What SDKs are told of exceptions."""
        return SqlSideDocuments(self.connection)

    @cached_property
    def tallies(self) -> SqlTallies:
        """Numbers that only grow."""
        return SqlTallies(self.connection)

    @cached_property
    def processes(self) -> SqlProcesses:
        """What running processes say of their pin stores."""
        return SqlProcesses(self.connection)

    @cached_property
    def views(self) -> SqlViews:
        """What lists show."""
        return SqlViews(self.connection)


class SqlStore:
    """Implements `flow.ports.work.Store` over a `Database`.

    Parameters
    ----------
    published : callable or None
        Told of a ruleset right after the transaction that published it has committed; it must not
        raise. Whatever it cannot do is left to the message in the outbox.
    """

    def __init__(
        self, database: Database, published: Callable[[PublishedRuleset], None] | None = None
    ) -> None:
        self.database = database
        self._published = published

    @contextmanager
    def writing(self) -> Iterator[SqlWork]:
        """A transaction that commits when the block ends without an error."""
        with self.database.right_of_way.claimed(), self.database.begin() as connection:
            work = SqlWork(connection)
            yield work
        newest = work.rulesets.added
        if newest is not None and self._published is not None:
            self._published(newest)

    @contextmanager
    def reading(self) -> Iterator[SqlWork]:
        """One consistent snapshot, rolled back at the end."""
        with self.database.read() as connection:
            yield SqlWork(connection)
