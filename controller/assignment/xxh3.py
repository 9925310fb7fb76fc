"""XXH3-64 (seed 0, default secret) in plain Python, or the `xxhash` package's where there is one.

Both give the same 64 bits; the package is some forty times faster. Keys of 17 to 240 bytes, which
is nearly all of them, go through `hash_middle`: it is written over *words*, so that `sdk/bulk.py`
runs the same lines over whole columns.

References
----------
.. [1] Collet, "xxHash fast digest algorithm", document version 0.2.0, section XXH3. The secret is
   a constant of that algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack, unpack_from
from typing import TYPE_CHECKING, Any, Final

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1: Final = 0x9E3779B185EBCA87
_P64_2: Final = 0xC2B2AE3D27D4EB4F
_P64_3: Final = 0x165667B19E3779F9
_P64_4: Final = 0x85EBCA77C2B2AE63
_P64_5: Final = 0x27D4EB2F165667C5
_MIX_1: Final = 0x165667919E3779F9
_MIX_2: Final = 0x9FB21C651E98DF25
_START: Final = (_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1)
_SECRET: Final = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_KEY: Final = tuple(int.from_bytes(_SECRET[at : at + 8], "little") for at in range(185))
_STRIPE: Final = 64
_BLOCK: Final = 1024

SHORTEST_MIDDLE: Final = 17
LONGEST_MIDDLE: Final = 240

# An integer below 2**64, or a numpy column of them (whose arithmetic wraps there by itself).
Word = Any


def pure_digest(data: bytes) -> bytes:
    """The hash of some bytes as 8 bytes, big endian (its canonical form), without the package."""
    return pure_hash(data).to_bytes(8)


def pure_hash(data: bytes) -> int:
    """The hash of some bytes as an integer in [0, 2**64), without the package."""
    length = len(data)
    if length < SHORTEST_MIDDLE:
        return _hash_short(data, length)
    if length <= LONGEST_MIDDLE:
        return int(hash_middle(length, lambda at: unpack_from("<Q", data, at)[0], fold))
    return _hash_long(data, length)


def hash_middle(
    length: int, word: Callable[[int], Word], fold_words: Callable[[Word, Word], Word]
) -> Word:
    """The hash of keys of one length from 17 to 240 bytes.

    Parameters
    ----------
    word : callable
        The eight bytes from an offset, little endian: an integer or a column of them.
    fold_words : callable
        `fold` for that kind of word.
    """

    def mix(at: int, key: int) -> Word:
        return fold_words(word(at) ^ _KEY[key], word(at + 8) ^ _KEY[key + 8])

    total: Word = length * _P64_1 & _MASK
    if length <= 128:
        for pair in range((length - 1) // 32 + 1):
            total = total + mix(16 * pair, 32 * pair)
            total = total + mix(length - 16 * pair - 16, 32 * pair + 16)
        return _avalanche(total & _MASK)
    for part in range(8):
        total = total + mix(16 * part, 16 * part)
    total = _avalanche(total & _MASK)
    for part in range(8, length // 16):
        total = total + mix(16 * part, 16 * part - 125)
    return _avalanche((total + mix(length - 16, 119)) & _MASK)


def fold(one: int, other: int) -> int:
    """Both halves of the 128-bit product, combined by exclusive or."""
    product = one * other
    return (product & _MASK) ^ (product >> 64)


def _avalanche(word: Word) -> Word:
    word = word ^ (word >> 37)
    word = (word * _MIX_1) & _MASK
    return word ^ (word >> 32)


def _avalanche_64(word: int) -> int:
    """The final mix of the older XXH64, which keys of up to three bytes use."""
    word = (word ^ (word >> 33)) * _P64_2 & _MASK
    word = (word ^ (word >> 29)) * _P64_3 & _MASK
    return word ^ (word >> 32)


def _hash_short(data: bytes, length: int) -> int:
    if length > 8:
        low = int.from_bytes(data[:8], "little") ^ _KEY[24] ^ _KEY[32]
        high = int.from_bytes(data[-8:], "little") ^ _KEY[40] ^ _KEY[48]
        swapped = int.from_bytes(low.to_bytes(8, "little"))
        return int(_avalanche((length + swapped + high + fold(low, high)) & _MASK))
    if length > 3:
        first, last = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        return _mix_of_four((last + (first << 32)) ^ _KEY[8] ^ _KEY[16], length)
    if length == 0:
        return _avalanche_64(_KEY[56] ^ _KEY[64])
    packed = data[0] << 16 | data[length >> 1] << 24 | data[-1] | length << 8
    return _avalanche_64(packed ^ (_KEY[0] ^ _KEY[4]) & 0xFFFFFFFF)


def _mix_of_four(word: int, length: int) -> int:
    word ^= _rotated(word, 49) ^ _rotated(word, 24)
    word = word * _MIX_2 & _MASK
    word = (word ^ ((word >> 35) + length)) * _MIX_2 & _MASK
    return word ^ (word >> 28)


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK


def _hash_long(data: bytes, length: int) -> int:
    lanes = list(_START)
    blocks = (length - 1) // _BLOCK
    for block in range(blocks):
        for stripe in range(16):
            _absorb(lanes, data, block * _BLOCK + stripe * _STRIPE, 8 * stripe)
        for lane in range(8):
            mixed = lanes[lane] ^ (lanes[lane] >> 47) ^ _KEY[128 + 8 * lane]
            lanes[lane] = mixed * _P32_1 & _MASK
    for stripe in range((length - 1 - blocks * _BLOCK) // _STRIPE):
        _absorb(lanes, data, blocks * _BLOCK + stripe * _STRIPE, 8 * stripe)
    _absorb(lanes, data, length - _STRIPE, 121)
    total = length * _P64_1
    for pair in range(4):
        one, other = _KEY[11 + 16 * pair], _KEY[19 + 16 * pair]
        total += fold(lanes[2 * pair] ^ one, lanes[2 * pair + 1] ^ other)
    return int(_avalanche(total & _MASK))


def _absorb(lanes: list[int], data: bytes, at: int, key: int) -> None:
    """Add one stripe of 64 bytes to the eight lanes."""
    for lane, seen in enumerate(unpack("<8Q", data[at : at + _STRIPE])):
        keyed = seen ^ _KEY[key + 8 * lane]
        lanes[lane ^ 1] = (lanes[lane ^ 1] + seen) & _MASK
        lanes[lane] = (lanes[lane] + (keyed & 0xFFFFFFFF) * (keyed >> 32)) & _MASK


if TYPE_CHECKING:
    xxh3_digest: Callable[[bytes], bytes]
else:
    try:
        from xxhash import xxh3_64_digest as xxh3_digest
    except ImportError:
        xxh3_digest = pure_digest
