"""Side documents as SDKs read them: canonical text in pieces, anything else as JSON says it."""

from __future__ import annotations

import json
from array import array
from hashlib import sha256

import pytest

from controller.assignment.hashing import keyed_hash
from controller.sdk.side_document import SideDocument, read_side_document

KEY = "exceptions.salt"
TYPE = "customer"


def named(count: int) -> list[str]:
    return sorted(keyed_hash(KEY, TYPE, f"unit-{number}") for number in range(count))


def canonical(units: list[str]) -> bytes:
    document = {"key": KEY, "schema": 1, "units": units}
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize("count", [0, 1, 2, 4_095, 4_096, 4_097, 8_192, 12_289])
def test_however_long_it_is_the_document_holds_its_units_and_no_other(count: int) -> None:
    body = canonical(named(count))
    document = read_side_document(body)
    assert document == read_side_document(body.replace(b",", b", ")), "as JSON reads it"
    assert [f"{name:016x}" for name in document.hashes] == named(count)
    assert all(document.holds(TYPE, f"unit-{number}") for number in range(count))
    assert not any(document.holds(TYPE, f"unit-{number}") for number in range(count, count + 99))
    assert not any(document.holds("device", f"unit-{number}") for number in range(count))


def test_the_least_and_the_greatest_hash_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = ["0" * 16, "f" * 16]
    document = read_side_document(canonical(ends))
    assert document == SideDocument(key=KEY, hashes=array("Q", [0, 2**64 - 1]))
    for name in ends:
        monkeypatch.setattr("controller.sdk.side_document.keyed_hash", lambda *_, name=name: name)
        assert document.holds(TYPE, "anybody")


@pytest.mark.parametrize("count", [1, 2, 4_097])
def test_what_is_no_document_raises_and_never_gives_a_shorter_one(count: int) -> None:
    body = canonical(named(count))
    broken = [
        b"",
        b"{}",
        b"null",
        body[:-1],
        body[:-19],
        body[: len(body) // 2],
        body[1:],
        body.replace(b'"]}', b'x"]}'),
        body.replace(b'"]}', b'","]}'),
        body[:-4] + b"g" + body[-3:],
        body[:-4] + b" " + body[-3:],
        body[:-4] + b"\xff" + body[-3:],
    ]
    for one in broken:
        with pytest.raises((ValueError, KeyError, TypeError)):
            read_side_document(one)


def test_a_digit_amid_that_is_none_is_refused() -> None:
    """Bytes that keep the length: two spaces, a quote, a letter beyond f."""
    body = canonical(named(50))
    place = body.index(b'["') + 19 + 4
    for wrong in (b"  ", b'""', b"zz", b"\x00\x00", b"-1", b"+1"):
        broken = body[:place] + wrong + body[place + 2 :]
        assert sha256(broken).digest() != sha256(body).digest()
        with pytest.raises((ValueError, KeyError, TypeError)):
            read_side_document(broken)
