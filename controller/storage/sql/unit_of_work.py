"""The unit of work: one connection, one transaction, every store on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection, text

from controller.storage.sql.approvals import SqlApprovals
from controller.storage.sql.audit import SqlAudit
from controller.storage.sql.control import SqlDeployments, SqlLeases, SqlOutbox
from controller.storage.sql.database import Database, database_now
from controller.storage.sql.decisions import SqlDecisions
from controller.storage.sql.definitions import SqlDefinitions
from controller.storage.sql.evidence import SqlEvidence
from controller.storage.sql.measurements import SqlMeasurements
from controller.storage.sql.people import SqlPeople
from controller.storage.sql.replays import SqlReplays
from controller.storage.sql.rollouts import SqlRollouts
from controller.storage.sql.rulesets import SqlRulesets
from controller.storage.sql.views import SqlViews


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
    def views(self) -> SqlViews:
        """What lists show."""
        return SqlViews(self.connection)


class SqlStore:
    """Implements `flow.ports.work.Store` over a `Database`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def writing(self) -> Iterator[SqlWork]:
        """A transaction that commits when the block ends without an error."""
        with self.database.begin() as connection:
            yield SqlWork(connection)

    @contextmanager
    def reading(self) -> Iterator[SqlWork]:
        """One consistent snapshot, rolled back at the end."""
        with self.database.read() as connection:
            yield SqlWork(connection)
