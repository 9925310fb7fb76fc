from hashlib import sha256

import pytest

from controller.assignment.hashing import (
    BUCKETS,
    PPM,
    bucket,
    check_unit,
    hash_unit,
    keyed_hash,
    threshold,
    valid_unit,
)
from controller.errors import InvalidInput


def test_hash_is_the_first_eight_bytes_of_sha256_with_separators() -> None:
    digest = sha256(b"salt\x1fcustomer\x1f4711").digest()
    assert hash_unit("salt", "customer", "4711") == (
        int.from_bytes(digest[:4], "big"),
        int.from_bytes(digest[4:8], "big"),
    )
    assert keyed_hash("salt", "customer", "4711") == digest.hex()[:16]


def test_the_parts_of_the_message_cannot_be_shifted_into_one_another() -> None:
    assert hash_unit("a", "bc", "d") != hash_unit("ab", "c", "d")
    assert hash_unit("a", "b", "cd") != hash_unit("a", "bc", "d")


@pytest.mark.parametrize(
    ("x", "n", "expected"),
    [
        (0, BUCKETS, 0),
        (2**32 - 1, BUCKETS, BUCKETS - 1),
        (2**32 - 1, PPM, PPM - 1),
        (429_496, BUCKETS, 0),
        (429_497, BUCKETS, 1),
        (2**31, BUCKETS, 5000),
        (2**31 - 1, BUCKETS, 4999),
    ],
)
def test_bucket_is_multiplication_and_shift(x: int, n: int, expected: int) -> None:
    assert bucket(x, n) == expected


@pytest.mark.parametrize("n", [BUCKETS, PPM])
@pytest.mark.parametrize("share", [0, 1, 2, 3333, 4999, 5000, 9999])
def test_threshold_is_the_exact_border_of_a_bucket(n: int, share: int) -> None:
    border = threshold(share, n)
    assert bucket(border, n) == share
    if border:
        assert bucket(border - 1, n) == share - 1


def test_the_last_bucket_has_no_border() -> None:
    assert threshold(BUCKETS, BUCKETS) == threshold(PPM, PPM) == 2**32


@pytest.mark.parametrize(
    "unit",
    ["1", "a" * 256, "é" * 128, "\U0001d7d9" * 64, "with space", "日本", "a\u00a0b", "e\u0301"],
)
def test_good_units(unit: str) -> None:
    assert valid_unit(unit)
    assert check_unit(unit) is unit


@pytest.mark.parametrize(
    ("unit", "rule"),
    [
        ("", "empty"),
        ("a" * 257, "256 bytes"),
        ("é" * 129, "256 bytes"),
        ("a\x1fb", "control"),
        ("a\x00", "control"),
        ("a\n", "control"),
        ("\x7f", "control"),
        ("é\x85", "control"),
        ("\ud800", "surrogate"),
        (4711, "string"),
        (None, "string"),
        (True, "string"),
        (b"4711", "string"),
    ],
)
def test_bad_units_are_named(unit: object, rule: str) -> None:
    assert not valid_unit(unit)
    with pytest.raises(InvalidInput, match=rule):
        check_unit(unit)
