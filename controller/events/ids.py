"""Event ids that sort by time (UUID version 7, RFC 9562 section 5.7), minted without a system call.

A process draws a random 62-bit tail once; each id takes the millisecond, a 12-bit counter inside it
and the tail plus a running number, so ids of one process never repeat and those of two processes
collide only if two 62-bit draws do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Final

_TAIL: Final = (1 << 62) - 1


class EventIds:
    """Mints event ids for one process. After a fork the child makes a new one.

    Parameters
    ----------
    clock : callable
        Unix seconds; injected by tests.
    seed : callable
        Gives `n` random bytes.
    """

    __slots__ = ("_clock", "_next", "_tail")

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        seed: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock = clock
        self._tail = int.from_bytes(seed(8))
        self._next = count(int.from_bytes(seed(2))).__next__

    def __call__(self) -> str:
        """A new id in the usual 8-4-4-4-12 form."""
        number = self._next()
        milliseconds = int(self._clock() * 1000) & 0xFFFFFFFFFFFF
        low = 0x8000_0000_0000_0000 | ((self._tail + number * 0x9E37_79B9_7F4A_7C15) & _TAIL)
        text = f"{milliseconds:012x}7{number & 0xFFF:03x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
