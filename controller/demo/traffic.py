"""The applications at work: one thread each, stepping until their recorded time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

STEP_SECONDS: Final = 0.1


class Desk(Protocol):
    """An application that is called again and again."""

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""

    def step(self) -> None:
        """Do what has become due."""


class Traffic:
    """Runs desks until they are finished or stopped; a failure is kept for whoever asks.

    Parameters
    ----------
    desks : sequence of Desk
    flush : callable
        Delivers what the desks have reported; called once when all are finished.
    """

    def __init__(self, desks: Sequence[Desk], flush: Callable[[], object]) -> None:
        self._desks = desks
        self._flush = flush
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(desk,), name="demo-desk", daemon=True)
            for desk in desks
        ]

    def start(self) -> None:
        """Open the desks."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close the desks and wait for them."""
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5.0)

    @property
    def finished(self) -> bool:
        """Whether every desk has nothing left to do."""
        return all(desk.finished for desk in self._desks)

    def check(self) -> None:
        """Raise what ended a desk before its time."""
        if self._failure is not None:
            raise self._failure

    def _run(self, desk: Desk) -> None:
        try:
            while not desk.finished and not self._stopped.wait(STEP_SECONDS):
                desk.step()
        except Exception as failure:  # noqa: BLE001 - a thread's door: kept, raised by `check`
            self._failure = failure
        self._flush()
