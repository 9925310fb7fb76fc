"""Threads that serve, wait with a connection, and are called back."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.service.web.crew import KEPT_MILLISECONDS, Crew

SOON = 5.0


@contextmanager
def crew_of(most: int, serve: Callable[[Any], None]) -> Iterator[Crew]:
    crew = Crew(most, serve)
    try:
        yield crew
    finally:
        crew.shutdown(wait=True)


class Sitter:
    """Serves a socket by staying with it, and anything else by noting it."""

    def __init__(self) -> None:
        self.crew: Crew | None = None
        self.sat: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.noted: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, task: Any) -> None:
        assert self.crew is not None
        if isinstance(task, socket.socket):
            self.sat.put(self.crew.stay(self.crew.poll_of(task.fileno())))
        else:
            self.noted.put(task)


@contextmanager
def sitting(most: int, lines: int) -> Iterator[tuple[Crew, Sitter, list[socket.socket]]]:
    """A crew of which `lines` threads stay with a connection; the far ends of those."""
    sitter = Sitter()
    pairs = [socket.socketpair() for _ in range(lines)]
    with crew_of(most, sitter) as crew:
        sitter.crew = crew
        try:
            for number, (ours, _) in enumerate(pairs, start=1):
                crew.add(ours)
                until(lambda number=number: len(crew._seats) == max(0, most - 1 - number))  # type: ignore[misc]
            yield crew, sitter, [theirs for _, theirs in pairs]
            crew.disperse()
        finally:
            for pair in pairs:
                for one in pair:
                    one.close()


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_every_task_is_served_once_by_so_many_threads() -> None:
    served: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    with crew_of(3, lambda task: served.put((task, threading.get_ident()))) as crew:
        for number in range(500):
            crew.add(number)
        found = [served.get(timeout=SOON) for _ in range(500)]
    assert sorted(number for number, _ in found) == list(range(500))
    assert len({thread for _, thread in found}) <= 3


def test_a_thread_that_stays_sees_the_next_request() -> None:
    with sitting(2, 1) as (_, sitter, (far,)):
        far.sendall(b"next")
        assert sitter.sat.get(timeout=SOON) is True


def test_a_thread_that_hears_nothing_goes_back() -> None:
    with sitting(2, 1) as (_, sitter, _):
        assert sitter.sat.get(timeout=SOON + KEPT_MILLISECONDS / 1000) is False


def test_one_thread_never_stays() -> None:
    with sitting(3, 3) as (_, sitter, _):
        assert sitter.sat.get(timeout=KEPT_MILLISECONDS / 2000) is False


def test_a_thread_that_only_waits_is_called_back_for_work() -> None:
    blocked, release = threading.Event(), threading.Event()

    def serve(task: Any) -> None:
        if task == "block":
            blocked.set()
            release.wait(SOON)
        else:
            sitter(task)

    sitter = Sitter()
    ours, theirs = socket.socketpair()
    with ours, theirs, crew_of(2, serve) as crew:
        sitter.crew = crew
        crew.add(ours)
        until(lambda: not crew._seats)
        crew.add("block")  # there is a thread for it, so nobody has to stand up
        assert blocked.wait(SOON)
        assert not crew._seats
        started = time.monotonic()
        crew.add("work")  # one thread is busy, the other only waits
        assert sitter.sat.get(timeout=SOON) is False
        assert sitter.noted.get(timeout=SOON) == "work"
        assert time.monotonic() - started < KEPT_MILLISECONDS / 2000
        release.set()


def test_at_the_end_nobody_stays() -> None:
    with sitting(3, 2) as (crew, sitter, _):
        started = time.monotonic()
        crew.disperse()
        assert [sitter.sat.get(timeout=SOON) for _ in range(2)] == [False, False]
        assert time.monotonic() - started < KEPT_MILLISECONDS / 2000


def test_a_call_that_nobody_needs_any_longer_disturbs_nobody() -> None:
    with sitting(2, 1) as (crew, sitter, (far,)):
        crew._call_back(3)
        time.sleep(0.05)
        assert sitter.sat.empty()
        far.sendall(b"x")
        assert sitter.sat.get(timeout=SOON) is True


def test_a_task_that_ends_badly_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    served: queue.SimpleQueue[str] = queue.SimpleQueue()

    def serve(task: Any) -> None:
        if isinstance(task, BaseException):
            raise task
        served.put(task)

    with crew_of(2, serve) as crew:
        for error in (RuntimeError("a bug"), SystemExit(3), OSError("closed"), SystemExit(0)):
            crew.add(error)
        crew.add("next")
        assert served.get(timeout=SOON) == "next"
    assert sum("ended badly" in record.message for record in caplog.records) == 4
