"""Which units have already been reported as exposed: once per (unit, allocation) and window."""

from __future__ import annotations

import threading
import time
from typing import Final

GENERATION_UNITS: Final = 50_000
GENERATION_SECONDS: Final = 12 * 3600.0


class Seen:
    """The units of one (slot, rollout, allocation) reported in the last 12 to 24 hours.

    Two generations bound the memory to 100,000 ids: when the younger one is full or old it becomes
    the older one, which is forgotten. A forgotten unit is reported again; the service counts
    repeats and never analyses them.
    """

    __slots__ = ("_lock", "_older", "_since", "recent")

    def __init__(self) -> None:
        self.recent: set[str] = set()
        self._older: set[str] = set()
        self._since = time.monotonic()
        self._lock = threading.Lock()

    def first(self, unit: str) -> bool:
        """Whether this unit is new here; from now on it is not."""
        with self._lock:
            now = time.monotonic()
            if len(self.recent) >= GENERATION_UNITS or now - self._since > GENERATION_SECONDS:
                self._older = self.recent.copy()
                self.recent.clear()
                self._since = now
            new = unit not in self.recent and unit not in self._older
            self.recent.add(unit)
            return new
