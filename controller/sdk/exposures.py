"""Which units have already been reported as exposed: once per (unit, allocation) and window."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

GENERATION_UNITS: Final = 50_000
GENERATION_SECONDS: Final = 12 * 3600.0

Allocation = tuple[str, str | None, int | None]
"""Slot, rollout and number of its allocation."""


class Seen:
    """The units of one allocation that were reported in the last 12 to 24 hours.

    `recent` is the same set for good, so that whoever asks often asks it directly.
    """

    __slots__ = ("_all", "older", "recent")

    def __init__(self, together: Exposed) -> None:
        self.recent: set[str] = set()
        self.older: set[str] = set()
        self._all = together

    def first(self, unit: str) -> bool:
        """Whether this unit is new here; from now on it is not."""
        return self._all.add(self, unit)


class Exposed:
    """The reported units of every allocation.

    Two generations bound the memory to 100,000 ids over all slots: when the younger one is full or
    old it becomes the older one, which is forgotten. A forgotten unit is reported again; the
    service counts repeats and never analyses them.
    """

    def __init__(self) -> None:
        self._seen: dict[Allocation, Seen] = {}
        self._recent = 0
        self._since = time.monotonic()
        self._lock = threading.Lock()

    def of(self, allocation: Allocation) -> Seen:
        """The units of one allocation."""
        with self._lock:
            return self._seen.setdefault(allocation, Seen(self))

    def keep(self, allocations: Iterable[Allocation]) -> None:
        """Forget every other allocation."""
        with self._lock:
            self._seen = {name: self._seen[name] for name in allocations}
            self._recent = sum(len(seen.recent) for seen in self._seen.values())

    def add(self, seen: Seen, unit: str) -> bool:
        """Whether the unit is new in `seen`; from now on it is not."""
        with self._lock:
            now = time.monotonic()
            if self._recent >= GENERATION_UNITS or now - self._since > GENERATION_SECONDS:
                self._begin_generation(now)
            if unit in seen.recent:
                return False
            seen.recent.add(unit)
            self._recent += 1
            return unit not in seen.older

    def _begin_generation(self, now: float) -> None:
        for seen in self._seen.values():
            seen.older = seen.recent.copy()
            seen.recent.clear()
        self._recent = 0
        self._since = now
