"""The unit of work: one transaction with every store in it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from controller.flow.ports.control import Audit, Deployments, Leases, Outbox
from controller.flow.ports.definitions import Definitions
from controller.flow.ports.identities import Aliases, Exceptions, Processes, Tallies
from controller.flow.ports.people import People, Replays
from controller.flow.ports.rollouts import Approvals, Decisions, Evidence, Rollouts, Rulesets
from controller.flow.ports.side_documents import SideDocuments
from controller.flow.ports.statistics import Measurements
from controller.flow.ports.traffic import Traffic
from controller.flow.ports.views import Views


class Work(Protocol):
    """One transaction. It commits when its context ends without an error, else nothing happened."""

    @property
    def now(self) -> datetime:
        """Database time, read once when the transaction began."""
        ...

    def take_turn(self, project: str) -> None:
        """Wait until no other transaction is changing the control state of a project.

        Called first by whatever moves a rollout or publishes a ruleset: a ruleset is built from
        everything that committed before it, and nobody deadlocks over rows locked in other orders.
        """
        ...

    def stop_maturing(self, project: str, *, and_aggregating: bool = False) -> datetime:
        """Let no unit enter a metric until this transaction ends.

        It waits for heaps of events that are under way, so it is asked before `take_turn`: nobody
        else, least of all a kill, waits with it.

        Parameters
        ----------
        and_aggregating : bool
            Let no exposure be aggregated either: what was is visible here, what will be finds what
            this transaction writes.

        Returns
        -------
        datetime
            Database time from then on, not before the watermark: a window that closes later has
            not been counted by anybody.
        """
        ...

    @property
    def definitions(self) -> Definitions: ...
    @property
    def rollouts(self) -> Rollouts: ...
    @property
    def rulesets(self) -> Rulesets: ...
    @property
    def evidence(self) -> Evidence: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def measurements(self) -> Measurements: ...
    @property
    def people(self) -> People: ...
    @property
    def replays(self) -> Replays: ...
    @property
    def deployments(self) -> Deployments: ...
    @property
    def traffic(self) -> Traffic: ...
    @property
    def aliases(self) -> Aliases: ...
    @property
    def exceptions(self) -> Exceptions: ...
    @property
    def side_documents(self) -> SideDocuments: ...
    @property
    def tallies(self) -> Tallies: ...
    @property
    def processes(self) -> Processes: ...
    @property
    def views(self) -> Views: ...


class Store(Protocol):
    """Where units of work come from."""

    def writing(self) -> AbstractContextManager[Work]:
        """A transaction that commits at the end."""
        ...

    def reading(self) -> AbstractContextManager[Work]:
        """A consistent snapshot; writes are an error."""
        ...
