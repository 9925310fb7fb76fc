"""What one process counts for the whole service: gathered in memory, added to SQL now and then.

A process that is killed takes the numbers of its last seconds with it. They say how well the
service does; nothing is decided from them.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections import Counter, defaultdict
from typing import Final, Protocol

from controller.errors import Unavailable
from controller.flow.ports.identities import ProcessReport
from controller.flow.ports.work import Store
from controller.flow.ports_pins import PinCounts, Pins
from controller.flow.service_counts import DEPLOYMENT, EVENTS_LOST, PINS

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0
_GROWING: Final = ("skipped", "written_later", "lost")


class Telemetry(Protocol):
    """The process's own counters and gauges."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None: ...
    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class ProcessCounts:
    """Counts of one process on their way to SQL and to its telemetry. Make it after a fork.

    Parameters
    ----------
    answers : bool
        Whether this process answers applications: a worker that found no pins skipped no answer.
    """

    def __init__(
        self, store: Store, pins: Pins, telemetry: Telemetry, *, answers: bool = True
    ) -> None:
        self._answers = answers
        self._store = store
        self._pins = pins
        self._telemetry = telemetry
        self._process = f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._seen = PinCounts()
        self._waiting: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._closed = threading.Event()

    def events_lost(self, project: str, key_id: str, events: int) -> None:
        """An SDK said that its spool had to drop so many events."""
        self._telemetry.count("events_lost", events)
        with self._lock:
            self._waiting[project][key_id, EVENTS_LOST] += events

    def measure(self) -> PinCounts:
        """Bring the process's telemetry up to date with its pin store."""
        counts = self._pins.counts()
        with self._lock:
            for name in _GROWING:
                more = getattr(counts, name) - getattr(self._seen, name)
                if self._answers:
                    self._waiting[DEPLOYMENT][DEPLOYMENT, f"{PINS}{name}"] += more
                self._telemetry.count(f"{PINS}{name}", more)
            for name in ("reads", "claims"):
                more = getattr(counts, name) - getattr(self._seen, name)
                self._telemetry.count(f"{PINS}{name}", more)
            self._seen = counts
        self._telemetry.gauge(f"{PINS}waiting", counts.waiting)
        self._telemetry.gauge(f"{PINS}available", counts.available)
        return counts

    def flush(self) -> None:
        """Add what was counted to SQL, and say how this process finds the pin store now.

        Raises
        ------
        Unavailable
            If the database does not answer; the counts are kept for the next time.
        """
        with self._flushing:
            self._pins.try_again()
            counts = self.measure()
            with self._lock:
                taken, self._waiting = self._waiting, defaultdict(Counter)
            report = ProcessReport(self._process, counts.waiting, counts.available)
            try:
                with self._store.writing() as work:
                    for project, changes in sorted(taken.items()):
                        work.tallies.add(project, changes)
                    work.processes.report(report)
            except Unavailable:
                with self._lock:
                    for project, changes in taken.items():
                        self._waiting[project].update(changes)
                raise

    def start(self) -> None:
        """Flush every few seconds in a thread of its own."""
        threading.Thread(target=self._keep_flushing, name="counts", daemon=True).start()

    def close(self) -> None:
        """Flush a last time and stop."""
        self._closed.set()
        self._try()

    def _keep_flushing(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.flush()
        except Unavailable as problem:
            log.warning("counts_wait", extra={"why": problem.message})
