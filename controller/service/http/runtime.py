"""What the web process is made of: the stores it was given, and what it builds on them once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from urllib.parse import urlsplit

from controller.flow.exposures import ExposureLog
from controller.flow.ports.ingest import Inbox, IngestStore
from controller.flow.ports.people import Key
from controller.flow.ports.work import Store
from controller.flow.ports_pins import Pins
from controller.flow.process_counts import ProcessCounts
from controller.flow.serve import Notes, Rulesets
from controller.service.http.authentication import Authenticator
from controller.service.http.limits import Buckets, SignInThrottle
from controller.service.http.sessions import Sessions
from controller.service.http.waiting import Seats
from controller.settings import Settings
from controller.telemetry import Telemetry

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARD = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound


class CheckedKeys(Protocol):
    """Keys that were checked lately, where the stream process looks them up."""

    def remember(self, key: Key) -> None: ...
    def forget(self, key_id: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class WebRuntime:
    """Everything a handler may use. One per process, made after the fork.

    Attributes
    ----------
    inbox : Inbox
        Where accepted events are kept until they are aggregated.
    ingest : IngestStore
        What became of them: problems, completeness.
    notes : Notes or None
        The ruleset's copy in Redis; None where there is no Redis.
    checked : CheckedKeys or None
        Tells the stream process which keys were checked; None where there is no Redis.
    ready : callable
        Why the database cannot serve this version (unreachable, not migrated), or None.
    clock : callable
        Unix seconds.
    """

    settings: Settings
    store: Store
    inbox: Inbox
    ingest: IngestStore
    pins: Pins
    notes: Notes | None
    telemetry: Telemetry
    ready: Callable[[], str | None]
    checked: CheckedKeys | None = None
    clock: Callable[[], float] = time.time

    @property
    def secure(self) -> bool:
        """Whether browsers reach the console by https."""
        return self.settings.url.startswith("https://")

    @cached_property
    def hosts(self) -> frozenset[str] | None:
        """Host names this process answers for; None where it listens on every address.

        A page on a foreign name that resolves to this machine could otherwise read what a process
        on loopback says. In a container the names are the cluster's affair.
        """
        if self.settings.host in WILDCARD:
            return None
        public = urlsplit(self.settings.public_url).hostname
        return LOOPBACK | {self.settings.host.lower(), *([public] if public else [])}

    @cached_property
    def authenticator(self) -> Authenticator:
        """Keys and tokens."""
        return Authenticator(self.store)

    @cached_property
    def sessions(self) -> Sessions:
        """Signed-in browsers."""
        return Sessions(self.store, secure=self.secure, throttle=SignInThrottle())

    @cached_property
    def buckets(self) -> Buckets:
        """Rate limits of this process: its share of the deployment's."""
        return Buckets(share=1 / self.settings.web_workers)

    @cached_property
    def seats(self) -> Seats:
        """Who may wait for a rollout to move: half of the threads, so that the others serve."""
        return Seats(max(1, self.settings.web_threads // 2))

    @cached_property
    def rulesets(self) -> Rulesets:
        """The rulesets in force."""
        return Rulesets(self.store, self.notes)

    @cached_property
    def exposures(self) -> ExposureLog:
        """Exposures of remotely evaluated units."""
        return ExposureLog(self.inbox, clock=self.clock, telemetry=self.telemetry)

    @cached_property
    def counts(self) -> ProcessCounts:
        """What this process counts for the whole service."""
        return ProcessCounts(self.store, self.pins, self.telemetry)

    def close(self) -> None:
        """Stop the threads of this process; exposures that wait are written first."""
        self.exposures.close()
        self.counts.close()
        self.rulesets.close()
