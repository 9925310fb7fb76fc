"""One unit to two uniform integers: the arithmetic that server, SDK and every port share.

``H(salt, unit_type, unit)`` is the hash of ``utf8(salt) 0x1F utf8(unit_type) 0x1F utf8(unit)``:
SHA-256, or for the split of a rollout that says ``algo: 2`` XXH3-64 in its canonical byte order.
Bytes 0-3 (big endian) are `hi`, bytes 4-7 are `lo`. `hi` decides who is enrolled, `lo` which arm:
two independent integers, so raising the enrolled share can never move a unit between arms. There is
no float and no modulo anywhere, and no normalisation of ids (no case folding, no Unicode forms).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from controller.assignment.digest import sha256
from controller.errors import InvalidInput

SHA256: Final = 1
XXH3: Final = 2
ALGORITHMS: Final = (SHA256, XXH3)
BUCKETS = 10_000
PPM = 1_000_000
MAX_UNIT_BYTES = 256

_SEPARATOR = "\x1f"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def prefix(salt: str, unit_type: str) -> bytes:
    """The part of the hashed message that does not depend on the unit."""
    return f"{salt}{_SEPARATOR}{unit_type}{_SEPARATOR}".encode()


def hasher(algo: int) -> Callable[[bytes], bytes]:
    """The function from a message to its digest (at least 8 bytes) under one algorithm id.

    Raises
    ------
    InvalidInput
        If this version does not know the algorithm.
    """
    if algo == SHA256:
        return _sha256_digest
    if algo == XXH3:
        from controller.assignment.xxh3 import xxh3_digest

        return xxh3_digest
    raise InvalidInput(f"Hash algorithm {algo} is not known.", field="algo")


def hash_unit(salt: str, unit_type: str, unit: str, *, algo: int = SHA256) -> tuple[int, int]:
    """The pair (hi, lo) of one unit under one salt, each in [0, 2**32).

    Raises
    ------
    InvalidInput
        If the unit is not a string that `check_unit` accepts, or the algorithm is not known.
    """
    digest = hasher(algo)(prefix(salt, unit_type) + check_unit(unit).encode())
    return int.from_bytes(digest[:4]), int.from_bytes(digest[4:8])


def _sha256_digest(message: bytes) -> bytes:
    return sha256(message).digest()


def keyed_hash(key: str, unit_type: str, unit: str) -> str:
    """The 16 hex digits under which a ruleset names a unit without holding its id."""
    return sha256(prefix(key, unit_type) + unit.encode()).hexdigest()[:16]


def bucket(x: int, n: int) -> int:
    """The bucket in [0, n) of a uniform 32-bit integer, by multiplication and shift.

    Examples
    --------
    >>> bucket(0, 10_000), bucket(2**31, 10_000), bucket(2**32 - 1, 10_000)
    (0, 5000, 9999)
    """
    return (x * n) >> 32


def threshold(end: int, n: int) -> int:
    """The smallest 32-bit integer whose bucket of `n` is at least `end`; 2**32 when there is none.

    ``bucket(x, n) < end`` holds exactly when ``x < threshold(end, n)``, which turns a
    multiplication per unit into a comparison per rule.
    """
    return -((-end << 32) // n)


def valid_unit(unit: object) -> bool:
    """Whether this is an id that may be hashed: see `check_unit`."""
    if not isinstance(unit, str):
        return False
    if unit.isascii():
        return unit.isprintable() and 0 < len(unit) <= MAX_UNIT_BYTES
    if _CONTROL.search(unit):
        return False
    try:
        return len(unit.encode()) <= MAX_UNIT_BYTES
    except UnicodeEncodeError:
        return False


def check_unit(unit: object) -> str:
    """The unit itself, or an error that says what is wrong with it.

    A unit id is a string of 1 to 256 bytes of UTF-8 without control characters (C0 with NUL and
    0x1F, DEL, C1) and without lone surrogates.

    Raises
    ------
    InvalidInput
        Naming the rule that is broken.
    """
    if valid_unit(unit):
        assert isinstance(unit, str)
        return unit
    if not isinstance(unit, str):
        problem = f"must be a string, not {type(unit).__name__}; convert ids with str()"
    elif not unit:
        problem = "must not be empty"
    elif _CONTROL.search(unit):
        problem = "must not contain control characters"
    elif any("\ud800" <= character <= "\udfff" for character in unit):
        problem = "must not contain lone surrogates"
    else:
        problem = f"must be at most {MAX_UNIT_BYTES} bytes of UTF-8"
    raise InvalidInput(f"The unit {problem}.", field="unit")
