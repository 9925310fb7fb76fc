"""Blocks one behind another are the canonical text, and one gzip member of it."""

from __future__ import annotations

import gzip
import json
import zlib
from hashlib import sha256
from itertools import pairwise

import pytest

from controller.experiments.canonical import canonical_json
from controller.flow.side_text import (
    HASH_BYTES,
    Summing,
    block_text,
    deflated,
    head_text,
    key_of,
    packed,
    plain,
    text_bytes,
)

UNITS = sorted(sha256(str(number).encode()).digest()[:HASH_BYTES] for number in range(1000))
HEAD = head_text("salt")


def blocks_of(cuts: list[int]) -> list[bytes]:
    return [b"".join(UNITS[start:end]) for start, end in pairwise(cuts)]


@pytest.mark.parametrize(
    "cuts",
    [[0, 0], [0, 1], [0, 1000], [0, 300, 1000], [0, 0, 300, 300, 301, 1000, 1000], [0, 0, 0]],
)
def test_however_it_is_cut_text_gzip_and_sums_agree(cuts: list[int]) -> None:
    blocks = blocks_of(cuts)
    units = [unit.hex() for unit in UNITS[: cuts[-1]]]
    whole = canonical_json({"schema": 1, "key": key_of("salt"), "units": units})
    assert b"".join(plain(HEAD, blocks)) == whole
    assert text_bytes(HEAD, len(units)) == len(whole)
    summing = Summing(HEAD)
    parts = [deflated(block_text(block)) if block else b"" for block in blocks]
    for block, part in zip(blocks, parts, strict=True):
        summing.add(block, len(part))
    name, packed_bytes = summing.finish()
    assert (name, summing.units) == (sha256(whole).hexdigest(), len(units))
    member = b"".join(packed(HEAD, parts, crc=summing.crc, units=summing.units))
    assert len(member) == packed_bytes
    assert gzip.decompress(member) == whole
    unpacking = zlib.decompressobj(wbits=31)  # as SDKs read it: one member, and nothing after it
    assert unpacking.decompress(member) == whole
    assert (unpacking.eof, unpacking.unused_data) == (True, b"")


def test_a_hash_takes_ten_bytes_packed() -> None:
    block = b"".join(UNITS)
    assert len(deflated(block_text(block))) / len(UNITS) < 10.5
    assert json.loads(b"[" + block_text(block) + b"]") == [unit.hex() for unit in UNITS]
