"""Where undelivered batches wait: what a store does, and the one in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from controller.sdk.spool import Frame

MEMORY_FRAMES: Final = 200


class Store(Protocol):
    """Where undelivered batches wait: `Spool`, or memory where there is no disk."""

    def append(self, frame: Frame) -> None:
        """Keep one batch."""
        ...

    def oldest(self) -> tuple[Path, list[Frame]] | None:
        """The batches to send next."""
        ...

    def keep_rest(self, path: Path, frames: list[Frame]) -> None:
        """Forget the delivered ones of `oldest`."""
        ...

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class MemoryStore:
    """The spool's stand-in where nothing can be written: a bounded deque, oldest dropped."""

    def __init__(self, lost: Callable[[str, int], None]) -> None:
        self._lost = lost
        self._frames: deque[Frame] = deque()

    def append(self, frame: Frame) -> None:
        """See `Store.append`."""
        self._frames.append(frame)
        while len(self._frames) > MEMORY_FRAMES:
            self._lost("memory_full", self._frames.popleft().events)

    def oldest(self) -> tuple[Path, list[Frame]] | None:
        """See `Store.oldest`."""
        return (Path("memory"), [self._frames[0]]) if self._frames else None

    def keep_rest(self, path: Path, frames: list[Frame]) -> None:
        """See `Store.keep_rest`."""
        if not frames and self._frames:
            self._frames.popleft()

    @property
    def empty(self) -> bool:
        """See `Store.empty`."""
        return not self._frames

    def close(self) -> None:
        """What is in memory ends with the process, counted."""
        self._lost("memory_full", sum(frame.events for frame in self._frames))
