"""Excepted units by their hashes, eight bytes each: a million of them take 8 MB, not 130.

The document is read in pieces of a few thousand hashes, each within a millisecond, because whoever
asks for an arm meanwhile waits for the interpreter as long as one piece takes.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from controller.assignment.hashing import keyed_hash

_BEGIN: Final = b'"units":["'
_BETWEEN: Final = b'","'
_END: Final = b'"]}'
_HEX: Final = 16
_STEP: Final = _HEX + len(_BETWEEN)
_PIECE: Final = 4_096 * _STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class SideDocument:
    """The hashes, under `key`, of the units that have an exception in one rollout, ascending."""

    key: str
    hashes: array[int]

    def holds(self, unit_type: str, unit: str) -> bool:
        """Whether the unit is one of them."""
        name = int(keyed_hash(self.key, unit_type, unit), 16)
        place = bisect_left(self.hashes, name)
        return place < len(self.hashes) and self.hashes[place] == name


def read_side_document(body: bytes) -> SideDocument:
    """The document of these bytes, which the signed ruleset has named.

    Raises
    ------
    ValueError, KeyError, TypeError
        If they are something else.
    """
    start = body.find(_BEGIN) + len(_BEGIN)
    length = len(body) - len(_END) - start
    as_written = start >= len(_BEGIN) and body.endswith(_END) and (length + 3) % _STEP == 0
    if not as_written:  # with spaces, in another order, or empty
        document = json.loads(body)
        names = sorted(int(name, 16) for name in document["units"])
        return SideDocument(key=document["key"], hashes=array("Q", names))
    hashes = array("Q")
    for place in range(start, start + length, _PIECE):
        piece = body[place : min(place + _PIECE, start + length)]
        hashes.frombytes(bytes.fromhex(piece.replace(_BETWEEN, b"").decode("ascii")))
    if len(hashes) * _STEP != length + len(_BETWEEN):
        raise ValueError("a hash has sixteen digits")
    if sys.byteorder == "little":
        hashes.byteswap()
    head = json.loads(body[:start] + _END)
    return SideDocument(key=head["key"], hashes=hashes)
