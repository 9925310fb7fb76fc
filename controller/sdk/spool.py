"""Undelivered events on disk: framed, checked, bounded, adopted by the next process.

Each process owns a directory ``<state>/spool/<random>`` and holds a lock on it. A segment is an
append-only file of frames: length, CRC-32 and number of events (big endian), then the batch's bytes
exactly as they were or will be sent, so a repeated delivery is recognised by its batch id. A torn
or damaged tail is cut and counted. Above the cap the oldest segment goes, counted. A directory
whose lock is free belonged to a process that is gone: its segments are moved in here.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from controller.sdk.options import make_private

_FRAME: Final = struct.Struct(">IIH")
_SUFFIX: Final = ".seg"

SEGMENT_BYTES: Final = 1 << 20
CAP_BYTES: Final = 64 << 20
MAX_AGE_SECONDS: Final = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One batch as it travels."""

    body: bytes
    events: int


Lost = Callable[[str, int], None]


class Spool:
    """One process's spool. Used by one thread; every method may raise OSError (a full disk).

    Parameters
    ----------
    directory : Path
        ``<state>/spool``; created if need be, readable by its owner alone.
    lost : callable
        Told the reason and the number of events whenever some are given up.
    """

    def __init__(
        self,
        directory: Path,
        lost: Lost,
        *,
        cap_bytes: int = CAP_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self._lost = lost
        self._cap = cap_bytes
        self._segment_bytes = segment_bytes
        self._max_age = max_age_seconds
        self._own, self._held = _claim(directory)
        self._writing: tuple[Path, int, int] | None = None  # path, descriptor, size
        self._number = 0
        self._adopt(directory)

    def append(self, frame: Frame) -> None:
        """Store one batch durably; the oldest segments make room."""
        record = _record(frame)
        path, descriptor, start = self._open_for(len(record))
        try:
            # Straight to the descriptor: a buffer would be written twice after a fork.
            left = memoryview(record)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            # Nothing may follow half a record: what was written goes, a new segment is begun.
            with suppress(OSError):
                os.ftruncate(descriptor, start)
            self._close_writing()
            raise
        self._writing = (path, descriptor, start + len(record))
        self._make_room(keep=path)

    def oldest(self) -> tuple[Path, list[Frame]] | None:
        """The oldest segment and its whole frames, or None when the spool is empty."""
        for path in self._segments():
            if self._writing is not None and path == self._writing[0]:
                self._close_writing()
            if time.time() - path.stat().st_mtime > self._max_age:
                self._give_up(path, "spool_expired")
                continue
            frames, damaged = _read(path)
            if damaged:
                self._lost("spool_damaged", 0)
            if frames:
                return path, frames
            path.unlink()
        return None

    def keep_rest(self, path: Path, frames: list[Frame]) -> None:
        """Replace a segment by the frames of it that are still to be delivered."""
        if not frames:
            path.unlink(missing_ok=True)
            return
        rest = path.with_suffix(".new")
        rest.write_bytes(b"".join(map(_record, frames)))
        rest.replace(path)

    @property
    def empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._segments()

    def close(self) -> None:
        """Let go of the directory: what is left is adopted by whoever comes next."""
        self._close_writing()
        with suppress(OSError):
            if self.empty:
                (self._own / "lock").unlink(missing_ok=True)
                self._own.rmdir()
        self._held.close()

    def _segments(self) -> list[Path]:
        return sorted(self._own.glob(f"*{_SUFFIX}"))

    def _open_for(self, size: int) -> tuple[Path, int, int]:
        if self._writing is not None and self._writing[2] + size > self._segment_bytes:
            self._close_writing()
        if self._writing is None:
            path = self._next_path()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._writing = (path, descriptor, 0)
        return self._writing

    def _next_path(self) -> Path:
        # Segments sort by the time they were begun, across processes and adoptions.
        self._number += 1
        name = f"{time.time_ns() // 1000:017d}-{self._number:06d}-{os.urandom(3).hex()}{_SUFFIX}"
        return self._own / name

    def _close_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            with suppress(OSError):
                os.close(writing[1])

    def _make_room(self, keep: Path) -> None:
        segments = self._segments()
        size = sum(path.stat().st_size for path in segments)
        for path in segments:
            if size <= self._cap or path == keep:
                return
            size -= path.stat().st_size
            self._give_up(path, "spool_full")

    def _give_up(self, path: Path, reason: str) -> None:
        frames, _ = _read(path)
        path.unlink()
        self._lost(reason, sum(frame.events for frame in frames))

    def _adopt(self, directory: Path) -> None:
        for other in sorted(directory.iterdir()):
            if other == self._own or other.name.startswith(".") or not other.is_dir():
                continue
            held = _lock(other)
            if held is None:
                continue
            with held:
                for segment in sorted(other.glob(f"*{_SUFFIX}")):
                    segment.rename(self._own / segment.name)
                for rest in other.iterdir():
                    rest.unlink()
                other.rmdir()


def _claim(directory: Path) -> tuple[Path, IO[bytes]]:
    """A new directory of our own, locked before it gets the name by which others find it."""
    make_private(directory)
    name = os.urandom(8).hex()
    hidden = directory / f".{name}"
    hidden.mkdir(mode=0o700)
    held = _lock(hidden) or (hidden / "lock").open("wb")
    return hidden.rename(directory / name), held


def _lock(directory: Path) -> IO[bytes] | None:
    """The held lock of a directory, or None while another process has it (or it is gone).

    Without POSIX locks (Windows) no directory can be proved orphaned, so none is adopted.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        file = (directory / "lock").open("wb")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _record(frame: Frame) -> bytes:
    return _FRAME.pack(len(frame.body), zlib.crc32(frame.body), frame.events) + frame.body


def _read(path: Path) -> tuple[list[Frame], bool]:
    """A segment's whole frames, and whether something after them was damaged or torn."""
    data = path.read_bytes()
    frames: list[Frame] = []
    place = 0
    while place < len(data):
        if place + _FRAME.size > len(data):
            return frames, True
        length, checksum, events = _FRAME.unpack_from(data, place)
        body = data[place + _FRAME.size : place + _FRAME.size + length]
        if len(body) != length or zlib.crc32(body) != checksum:
            return frames, True
        frames.append(Frame(body=body, events=events))
        place += _FRAME.size + length
    return frames, False
