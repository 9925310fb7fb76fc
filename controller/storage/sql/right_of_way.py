"""Who writes next on SQLite: a change of control goes before the next heap of events.

SQLite has one writing lock and no queue in front of it: who waits asks again after a growing pause.
A worker that aggregates one heap after another leaves gaps of a millisecond, which a kill may miss
time after time. So whoever changes control stands in a shared lock of the kernel on a small file,
and a worker looks there before it takes the next heap. The lock ends with its process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LONGEST_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.002


class RightOfWay:
    """The file that control writers stand in.

    Parameters
    ----------
    file : Path or None
        Beside the database; None where nobody has to queue (PostgreSQL, a database in memory).
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Work on heaps lets this block go first."""
        if self._file is None:
            yield
            return
        with _opened(self._file) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    def give(self) -> None:
        """Before a heap: wait while somebody is in `claimed`, at most half a second.

        The limit is for a crowd of control writers: events must get on as well.
        """
        if self._file is None:
            return
        until = time.monotonic() + LONGEST_SECONDS
        with _opened(self._file) as descriptor:
            while not _is_free(descriptor) and time.monotonic() < until:
                time.sleep(PAUSE_SECONDS)


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    """A lock belongs to an open file, so each wait opens its own; closing lets go of it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
