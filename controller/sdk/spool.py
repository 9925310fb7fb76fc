"""Undelivered events on disk: framed, checked, bounded, adopted by the next process.

Each process owns a directory ``<state>/spool/<random>`` and holds a lock on it. A segment is an
append-only file of frames: length, CRC-32 and number of events (big endian), then the batch's bytes
exactly as they were or will be sent, so a repeated delivery is recognised by its batch id. A torn
or damaged frame is left out and counted; those behind it are found again. Above the cap the oldest
segment goes, counted. A directory whose lock is free belonged to a process that is gone: its
segments are moved in here. A batch that is refused again and again stands in a segment of its own,
``z<times refused>-...``, whose name sorts behind all the others.
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

from controller.sdk.delivery import BATCH_EVENTS
from controller.sdk.options import make_private

_FRAME: Final = struct.Struct(">IIH")
_SUFFIX: Final = ".seg"
_ASIDE: Final = "z"
_MOST_ASIDE: Final = 9999
_REPLACE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_MOST_BYTES: Final = 1 << 24  # of a batch; so the first byte of its length is zero

SEGMENT_BYTES: Final = 1 << 20
CAP_BYTES: Final = 64 << 20
MAX_AGE_SECONDS: Final = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One batch as it travels."""

    body: bytes
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Stored batches that come next, and the segment they lie in (None: in memory)."""

    path: Path | None
    frames: list[Frame]
    aside: bool = False


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

    def oldest(self) -> Waiting | None:
        """The oldest segment's whole frames, or None when the spool is empty."""
        for path in self._segments():
            if self._writing is not None and path == self._writing[0]:
                self._close_writing()
            if time.time() - path.stat().st_mtime > self._max_age:
                self._give_up(path, "spool_expired")
                continue
            waiting = Waiting(path=path, frames=[], aside=path.name.startswith(_ASIDE))
            damaged = _read(path, into=waiting.frames)
            if damaged:
                self.keep_rest(waiting, waiting.frames)  # so that it is told once
                self._lost("spool_damaged", damaged)
            if waiting.frames:
                return waiting
            path.unlink(missing_ok=True)
        return None

    def keep_rest(
        self, waiting: Waiting, frames: list[Frame], *, aside: Frame | None = None
    ) -> None:
        """Replace a segment by the frames of it that are still to be delivered.

        `aside` is one of its frames that shall wait behind everything else.
        """
        path = waiting.path
        assert path is not None
        if aside is not None:
            self._write(self._behind(path), [aside], like=path)
        if frames:
            self._write(path, frames, like=path)
        else:
            path.unlink(missing_ok=True)

    @property
    def empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._segments()

    @property
    def gone(self) -> bool:
        """Whether somebody removed the directory."""
        return not self._own.is_dir()

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

    def _behind(self, path: Path) -> Path:
        """A segment that comes after all that were set aside as often as this one."""
        times = int(path.name[1:5]) if path.name.startswith(_ASIDE) else 0
        fresh = self._next_path()
        return fresh.with_name(f"{_ASIDE}{min(times + 1, _MOST_ASIDE):04d}-{fresh.name}")

    def _write(self, path: Path, frames: list[Frame], *, like: Path) -> None:
        """A whole segment at once; it is as old as the one its frames come from."""
        begun = like.stat().st_mtime_ns
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, _REPLACE, 0o600), "wb") as file:
            file.write(b"".join(map(_record, frames)))
            file.flush()
            os.fsync(file.fileno())
        os.utime(fresh, ns=(begun, begun))
        fresh.replace(path)

    def _close_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            with suppress(OSError):
                os.close(writing[1])

    def _make_room(self, keep: Path) -> None:
        segments = self._segments()
        size = sum(path.stat().st_size for path in segments)
        # What the service has refused goes first.
        for path in sorted(segments, key=lambda path: not path.name.startswith(_ASIDE)):
            if size <= self._cap or path == keep:
                return
            size -= path.stat().st_size
            self._give_up(path, "spool_full")

    def _give_up(self, path: Path, reason: str) -> None:
        frames: list[Frame] = []
        damaged = _read(path, into=frames)
        path.unlink()
        self._lost(reason, damaged + sum(frame.events for frame in frames))

    def _adopt(self, directory: Path) -> None:
        for other in sorted(directory.iterdir()):
            if other == self._own or other.name.startswith("."):
                continue
            with suppress(OSError):  # another user's, say: ours works without it
                self._take_over(other)

    def _take_over(self, other: Path) -> None:
        held = _lock(other)
        if held is None:
            return
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


def _read(path: Path, *, into: list[Frame]) -> int:
    """Collect a segment's whole frames; the number of events that were in the damaged ones.

    That number is what their headers say, and at least one for each damaged stretch.
    """
    data = path.read_bytes()
    place = damaged = 0
    while place < len(data):
        frame = _whole(data, place)
        if frame is not None:
            into.append(frame)
            place += _FRAME.size + len(frame.body)
            continue
        said = _plausible(data, place)
        events = said[1] if said is not None else 1
        damaged += events
        place = _next_place(data, place, said[0] if said is not None else 0)
    return damaged


def _next_place(data: bytes, place: int, length: int) -> int:
    """Where the next frame begins: behind this one, if what it says of itself leads there."""
    behind = place + _FRAME.size + length
    if length and (behind == len(data) or _plausible(data, behind) is not None):
        return behind
    # A length begins with a zero byte and no batch's text holds one.
    place = data.find(0, place + 1)
    while place >= 0 and _whole(data, place) is None:
        place = data.find(0, place + 1)
    return place if place >= 0 else len(data)


def _whole(data: bytes, place: int) -> Frame | None:
    """The frame that begins here, if every bit of its body is as it was."""
    if place + _FRAME.size > len(data):
        return None
    length, checksum, events = _FRAME.unpack_from(data, place)
    body = data[place + _FRAME.size : place + _FRAME.size + length]
    if not 0 < length == len(body) or zlib.crc32(body) != checksum:
        return None
    return Frame(body=body, events=max(events, 1))


def _plausible(data: bytes, place: int) -> tuple[int, int] | None:
    """Length and number of events as a header here says them; None where it can be none."""
    if place + _FRAME.size > len(data):
        return None
    length, _, events = _FRAME.unpack_from(data, place)
    return (length, events) if 0 < length < _MOST_BYTES and 0 < events <= BATCH_EVENTS else None
