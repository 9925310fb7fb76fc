"""Where undelivered batches wait: on disk, and in memory while there is no disk for them."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Final

from controller.sdk.journal import Journal
from controller.sdk.spool import Frame, Lost, Spool, Waiting

MEMORY_FRAMES: Final = 200
RETRY_SECONDS: Final = 30.0


class Backlog:
    """What could not be delivered. Used by one thread, `empty` by any.

    A disk that is full or gone is tried again later; meanwhile memory takes what is new, and what
    is on disk is still read and sent. Nothing here raises.

    Parameters
    ----------
    directory : Path or None
        Of the spool; None keeps everything in memory.
    lost : callable
        Told the reason and the number of events whenever some are given up.
    """

    def __init__(self, directory: Path | None, lost: Lost, journal: Journal) -> None:
        self._directory = directory
        self._lost = lost
        self._journal = journal
        self._memory = Memory(lost)
        self._spool: Spool | None = None
        self._disk_not_before = 0.0
        self._save()

    def append(self, frame: Frame) -> None:
        """Keep one batch."""
        self._memory.append(frame)
        self._save()

    def oldest(self) -> Waiting | None:
        """The batches to send next: those set aside when there are no others."""
        found = [self._memory.oldest()]
        if self._spool is not None:
            try:
                found.insert(0, self._spool.oldest())
            except OSError as error:
                self._failed(error)
        waiting = [one for one in found if one is not None]
        return min(waiting, key=lambda one: one.aside, default=None)

    def keep_rest(
        self, waiting: Waiting, frames: list[Frame], *, aside: Frame | None = None
    ) -> bool:
        """Forget the delivered ones of `oldest`; `aside` of them waits behind everything else.

        False where the disk would not write it down: then `oldest` gives them all again.
        """
        if waiting.path is None or self._spool is None:
            self._memory.keep_rest(waiting, frames, aside=aside)
            return True
        try:
            self._spool.keep_rest(waiting, frames, aside=aside)
        except OSError as error:
            self._failed(error)
            return False
        return True

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        try:
            return self._memory.empty and (self._spool is None or self._spool.empty)
        except OSError:
            return False

    def close(self) -> None:
        """Leave to the next process what the disk takes; the rest ends here, counted."""
        self._disk_not_before = 0.0
        self._save()
        self._memory.close()
        if self._spool is not None:
            self._spool.close()

    def _save(self) -> None:
        """Move what is in memory to the disk, unless that has failed a moment ago."""
        if self._directory is None or time.monotonic() < self._disk_not_before:
            return
        try:
            if self._spool is not None and self._spool.gone:
                self._spool.close()
                self._spool = None
            if self._spool is None:
                self._spool = Spool(self._directory, self._lost)
            self._memory.move_to(self._spool)
        except (OSError, ValueError) as error:  # ValueError: no path of this system
            self._failed(error)
        else:
            self._journal.state("spool", "ok", good=True)

    def _failed(self, error: Exception) -> None:
        self._disk_not_before = time.monotonic() + RETRY_SECONDS
        self._journal.state("spool", "memory_only", str(error))


class Memory:
    """Batches where nothing can be written: at most 200, the oldest dropped."""

    def __init__(self, lost: Lost) -> None:
        self._lost = lost
        self._frames: deque[Frame] = deque()
        self._aside: deque[Frame] = deque()

    def append(self, frame: Frame) -> None:
        """Keep one batch."""
        self._frames.append(frame)
        while len(self._frames) + len(self._aside) > MEMORY_FRAMES:
            dropped = (self._aside or self._frames).popleft()
            self._lost("memory_full", dropped.events)

    def oldest(self) -> Waiting | None:
        """The batch to send next."""
        if self.empty:
            return None
        frame = (self._frames or self._aside)[0]
        return Waiting(path=None, frames=[frame], aside=not self._frames)

    def keep_rest(
        self, waiting: Waiting, frames: list[Frame], *, aside: Frame | None = None
    ) -> None:
        """See `Backlog.keep_rest`."""
        if not frames and not self.empty:
            (self._aside if waiting.aside else self._frames).popleft()
        if aside is not None:
            self._aside.append(aside)

    def move_to(self, spool: Spool) -> None:
        """Hand everything over, one by one: what the disk refuses stays here."""
        for frames in (self._frames, self._aside):
            while frames:
                spool.append(frames[0])
                frames.popleft()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._frames and not self._aside

    def close(self) -> None:
        """What is in memory ends with the process, counted."""
        for frame in (*self._frames, *self._aside):
            self._lost("memory_full", frame.events)
