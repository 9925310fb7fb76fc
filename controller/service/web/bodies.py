"""Whether a request's body has come: told from the bytes, so that no thread has to wait for it.

What is found here decides when a request is handed to a thread, never what it says: where it ends
and whether it is refused is judged there (`plain`, and gunicorn's parser). So whatever cannot be
told here has come, and a thread may look at it.
"""

from __future__ import annotations

import re
from typing import Final, Self

from controller.service.http.loader import MOST_BYTES

MOST_COLLECTED: Final = 2 * MOST_BYTES
"""Bytes that are collected of one request, the sizes of chunks included."""
MOST_READ: Final = MOST_BYTES + 4096
"""Bytes in chunks from which on nobody asks for more: gunicorn reads them 1,024 at a time."""
MOST_CHUNKS: Final = 16 * 1024
"""So many chunks are a way to keep a process busy, not to send a body."""
MOST_LINE: Final = 16 * 1024
"""Bytes of a chunk's first line, of which gunicorn reads half, and of what follows the last."""

_FRAMING: Final = re.compile(
    rb"\r\n(?:content-length:[ \t]*([0-9]{1,4000})[ \t]*\r|transfer-encoding:)", re.IGNORECASE
)
_EXPECTS: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r", re.IGNORECASE)
_MODERN: Final = re.compile(rb"[^\r\n]* HTTP/1\.1\r\n")
_SIZE: Final = re.compile(rb"[0-9a-fA-F]+(?=[ \t]*;|\r\n)")


class Body:
    """The body that a head announces, and how far it has come.

    Attributes
    ----------
    start : int
        Where it begins.
    is_too_large : bool
        It is longer than any route reads, by what the head says or by what has come.
    is_endless : bool
        It has more chunks, or after its last chunk more, than anybody means.
    is_asked_for : bool
        The client sends it when it is told to go on.
    """

    __slots__ = (
        "_chunk_at",
        "_chunks",
        "_ends",
        "_whole",
        "is_asked_for",
        "is_endless",
        "is_too_large",
        "start",
    )

    def __init__(self, start: int, length: int | None, *, is_asked_for: bool) -> None:
        self.start = self._chunk_at = start
        self._chunks = self._whole = 0  # chunks, and their bytes, before the one at `_chunk_at`
        self._ends = None if length is None else start + length
        self.is_too_large = length is not None and length > MOST_BYTES
        self.is_endless = False
        self.is_asked_for = is_asked_for

    @classmethod
    def of(cls, data: bytes, head_end: int) -> Self | None:
        """What the head announces that ends at `head_end`; None where no body follows.

        Parameters
        ----------
        data : bytes
            What has come on the connection, from the first byte of the head.
        head_end : int
            Where the blank line begins; negative where there is none.
        """
        found = _FRAMING.search(data, 0, head_end + 2) if head_end > 0 else None
        if found is None:
            return None
        asks = _EXPECTS.search(data, 0, head_end + 2) is not None and _MODERN.match(data)
        length = None if found[1] is None else int(found[1])
        return cls(head_end + 4, length, is_asked_for=bool(asks))

    def has_come(self, data: bytes | bytearray) -> bool:
        """Whether everything is here of which a thread can make use."""
        if self.is_too_large or self.is_endless:
            return True
        return self._last_chunk(data) if self._ends is None else len(data) >= self._ends

    def _last_chunk(self, data: bytes | bytearray) -> bool:
        """Whether the last chunk and what follows it are here, or what is no chunk."""
        at = self._chunk_at
        while (line_end := data.find(b"\r\n", at, at + MOST_LINE)) >= 0:
            self._chunk_at = at
            size = _SIZE.match(data, at)
            if size is None:
                return True
            length = int(size[0], 16)
            if length == 0:
                self.is_endless = len(data) - line_end > MOST_LINE
                return self.is_endless or data.find(b"\r\n\r\n", line_end) >= 0
            here = min(length, len(data) - line_end - 2)
            self.is_too_large = self._whole + here > MOST_READ
            at = line_end + 4 + length
            if self.is_too_large or at > len(data):
                return self.is_too_large
            self._whole += length
            self._chunks += 1
            if self._chunks > MOST_CHUNKS:
                self.is_endless = True
                return True
        self._chunk_at = at
        return len(data) - at >= MOST_LINE
