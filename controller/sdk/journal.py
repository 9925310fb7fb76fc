"""What the SDK has to say: counters for health pages, and one log line per change of state."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from controller.sdk.loading import ensure_loaded

LOGGER_NAME: Final = "controller.sdk"


class Journal:
    """Counters and states of one client. Logging is imported when the first line is written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._states: dict[str, str] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += number

    def take(self, name: str) -> int:
        """Read a counter and set it back to zero."""
        with self._lock:
            return self._counts.pop(name, 0)

    def counts(self) -> dict[str, int]:
        """Every counter that is not zero."""
        with self._lock:
            return {name: number for name, number in self._counts.items() if number}

    def states(self) -> dict[str, str]:
        """The present state of each topic."""
        with self._lock:
            return dict(self._states)

    def state(self, topic: str, state: str, detail: str = "", *, good: bool = False) -> None:
        """Enter a state of a topic; logged once, when it differs from the one before.

        The first good state of a topic is not news and is not logged.
        """
        with self._lock:
            before = self._states.get(topic)
            if before == state:
                return
            self._states[topic] = state
        if before is None and good:
            return
        ensure_loaded("logging")
        import logging

        level = logging.INFO if good else logging.WARNING
        logging.getLogger(LOGGER_NAME).log(
            level, "sdk_state topic=%s state=%s%s", topic, state, detail and f" ({detail})"
        )
