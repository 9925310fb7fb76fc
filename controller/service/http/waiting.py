"""Requests that wait for a rollout to move: long polls and event streams, few enough to fit.

Each holds a thread of the web server, so a process seats only so many; whoever finds no seat is
told when to come back. A stream ends after a minute and the browser connects again, which also
bounds for how long a revoked session or key goes on listening. A process that stops ends them all
at once and says when to come back, each client to itself, so that they do not come together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, Final

from controller.flow.ports.rollouts import Decision
from controller.flow.ports.work import Store
from controller.service.http.calls import Answer, encode
from controller.service.http.refusals import Overloaded

POLL_SECONDS: Final = 0.4
WATCH_SECONDS: Final = 15.0
STREAM_SECONDS: Final = 60.0
HEARTBEAT_SECONDS: Final = 15.0


class Seats:
    """So many may wait at once in this process."""

    def __init__(self, number: int) -> None:
        self._free = BoundedSemaphore(number)
        self.closed = False

    def take(self) -> None:
        """Sit down.

        Raises
        ------
        Overloaded
            If every seat is taken, or the process stops.
        """
        if self.closed or not self._free.acquire(blocking=False):
            raise Overloaded

    def close(self) -> None:
        """Nobody waits any longer; safe in a signal handler."""
        self.closed = True

    def leave(self) -> None:
        """Get up."""
        self._free.release()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """A seat for the length of a block."""
        self.take()
        try:
            yield
        finally:
            self.leave()


def decisions_after(store: Store, project: str, rollout: str, after: int) -> Sequence[Decision]:
    """What has happened to a rollout since one sequence number."""
    with store.reading() as work:
        return work.decisions.since(project, rollout, after)


def wait_for_decision(
    store: Store,
    project: str,
    rollout: str,
    after: int,
    *,
    seats: Seats,
    seconds: float = WATCH_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once something happened after `after`, the time is over, or the process stops."""
    with seats.seat():
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not seats.closed:
            if decisions_after(store, project, rollout, after):
                return
            sleep(POLL_SECONDS)


def event_stream(store: Store, project: str, rollout: str, after: int, *, seats: Seats) -> Answer:
    """The decisions of a rollout after one sequence number as server-sent events, as they come.

    Each has its sequence number as id, so that `Last-Event-ID` goes on where a stream broke off.
    """
    seats.take()
    return Answer(
        body=Seated(_events(store, project, rollout, after, seats), seats),
        media="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class Seated:
    """An iterable of bytes that leaves its seat when the server closes it, started or not."""

    def __init__(self, lines: Iterator[bytes], seats: Seats) -> None:
        self._lines = lines
        self._seats: Seats | None = seats

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        """Called once by the server, whatever happened."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.leave()


def _events(store: Store, project: str, rollout: str, after: int, seats: Seats) -> Iterator[bytes]:
    yield b"retry: 2000\n\n"
    ends = time.monotonic() + STREAM_SECONDS
    spoke = time.monotonic()
    while time.monotonic() < ends and not seats.closed:
        for decision in decisions_after(store, project, rollout, after):
            after = decision.seq
            data = encode(decision_document(decision)).decode()
            yield f"id: {decision.seq}\nevent: decision\ndata: {data}\n\n".encode()
            spoke = time.monotonic()
        if time.monotonic() - spoke > HEARTBEAT_SECONDS:
            yield b": alive\n\n"
            spoke = time.monotonic()
        time.sleep(POLL_SECONDS)
    if seats.closed:
        yield f"retry: {random.randint(500, 5000)}\n\n".encode()  # noqa: S311 - no secret


def decision_document(decision: Decision) -> dict[str, Any]:
    """One step of a rollout's life on the wire."""
    return {
        "seq": decision.seq,
        "at": decision.at,
        "actor": decision.actor,
        "action": decision.action,
        "from_state": decision.from_state,
        "to_state": decision.to_state,
        "details": decision.document,
    }
