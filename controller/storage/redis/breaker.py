"""A circuit breaker: after a few failures in a row, ask a sick store only now and then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

FAILURES_TO_OPEN: Final = 3
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 15.0


class Breaker:
    """Lets calls through until `FAILURES_TO_OPEN` fail in a row, then one trial after each pause.

    Pauses double from 1 s to 15 s and are shortened by up to half at random, so that many processes
    do not knock together. Safe to share between threads.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._lock = Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._closed_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls flow freely (the circuit is closed)."""
        return self._failures < FAILURES_TO_OPEN

    def allow(self) -> bool:
        """Whether this call may be made; while open, True for one trial per pause."""
        if self._failures < FAILURES_TO_OPEN:
            return True
        with self._lock:
            now = self._clock()
            if now < self._closed_until:
                return False
            self._closed_until = now + self._pause
            return True

    def succeeded(self) -> None:
        """A call came back: close."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._pause = FIRST_PAUSE_SECONDS

    def failed(self) -> None:
        """A call did not come back: count it, and open or lengthen the pause."""
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES_TO_OPEN:
                return
            if self._failures > FAILURES_TO_OPEN:
                self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._closed_until = self._clock() + self._pause * (1 - self._chance() / 2)
