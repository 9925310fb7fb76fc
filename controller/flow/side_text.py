"""The bytes of a side document, made of blocks of hashes: as text, and as one gzip member.

The text is canonical JSON, ``{"key":…,"schema":1,"units":["e9f3…","ff01…"]}``. Each block is
compressed by itself and ends on a whole byte, so that blocks stand one behind another in one
deflate stream, as pigz writes it: a document of a million units is sent without being compressed,
or held, as a whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import pack
from typing import Final

from controller.experiments.canonical import canonical_json

HASH_BYTES: Final = 8
_TAIL: Final = b"]}"
_GZIP_HEAD: Final = bytes.fromhex("1f8b08000000000000ff")  # deflate, no name, no time
_UNIT_TEXT: Final = 2 * HASH_BYTES + 2  # sixteen hex digits between quotes


def head_text(salt: str) -> str:
    """What stands before the first hash of a rollout's document."""
    whole = canonical_json({"schema": 1, "key": key_of(salt), "units": []})
    return whole.removesuffix(_TAIL).decode()


def key_of(salt: str) -> str:
    """The key under which a rollout's excepted units are hashed."""
    return f"exceptions.{salt}"


def block_text(hashes: bytes) -> bytes:
    """Hashes, eight bytes each, as the strings of a JSON list without its brackets."""
    if not hashes:
        return b""
    return b'"%s"' % hashes.hex(",", HASH_BYTES).replace(",", '","').encode()


def deflated(text: bytes, *, last: bool = False) -> bytes:
    """A part of a deflate stream that needs no other part.

    Hex digits of hashes hold nothing that repeats: coding their frequencies alone takes a tenth of
    the time of looking for repeats and gives the same size.
    """
    packing = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return packing.compress(text) + packing.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


_COMMA: Final = deflated(b",")
_PACKED_TAIL: Final = deflated(_TAIL, last=True)


def text_bytes(head: str, units: int) -> int:
    """Length of the whole text."""
    return len(head.encode()) + units * _UNIT_TEXT + max(units - 1, 0) + len(_TAIL)


def plain(head: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The text of a document whose blocks have these hashes."""
    yield head.encode()
    yield from _separated((block_text(hashes) for hashes in blocks), b",")
    yield _TAIL


def packed(head: str, blocks: Iterable[bytes], *, crc: int, units: int) -> Iterator[bytes]:
    """The gzip member of a document whose blocks were deflated to these parts."""
    yield _GZIP_HEAD + deflated(head.encode())
    yield from _separated(blocks, _COMMA)
    yield _PACKED_TAIL + pack("<II", crc, text_bytes(head, units) & 0xFFFFFFFF)


class Summing:
    """Name and measures of a document whose blocks come one after another."""

    def __init__(self, head: str) -> None:
        self._sha256 = sha256(head.encode())
        self._any = False
        self._packed_bytes = len(_GZIP_HEAD) + len(deflated(head.encode()))
        self.crc = zlib.crc32(head.encode())
        self.units = 0

    def add(self, hashes: bytes, packed_bytes: int) -> None:
        """The next block, and what it takes deflated."""
        if not hashes:
            return
        if self._any:
            self._text(b",")
            self._packed_bytes += len(_COMMA)
        self._text(block_text(hashes))
        self._packed_bytes += packed_bytes
        self.units += len(hashes) // HASH_BYTES
        self._any = True

    def finish(self) -> tuple[str, int]:
        """The sha256 of the text, in hex, and the length of its gzip member; once, at the end."""
        self._text(_TAIL)
        return self._sha256.hexdigest(), self._packed_bytes + len(_PACKED_TAIL) + 8

    def _text(self, part: bytes) -> None:
        self._sha256.update(part)
        self.crc = zlib.crc32(part, self.crc)


def _separated(parts: Iterable[bytes], comma: bytes) -> Iterator[bytes]:
    first = True
    for part in parts:
        if part:
            if not first:
                yield comma
            yield part
            first = False
