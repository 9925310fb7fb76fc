"""The strict reader: every rule of RFC 8259 that parsers like to bend, and every bound."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from controller.errors import ControllerError, InvalidInput
from controller.service.http import refusals
from controller.service.http.loader import (
    MOST_DEPTH,
    MOST_INFLATED,
    inflate,
    parse_json,
    parse_yaml,
    typed,
)

MALFORMED = [
    b"",
    b"  \n",
    b"{",
    b'{"a":1,}',
    b"{} {}",
    b"{'a':1}",
    b'{"a":1} // no',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":"\xff"}',
    b'\xef\xbb\xbf{"a":1}',
    '{"a":1}'.encode("utf-16"),
    b'{"a":"\x01"}',
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":1.}',
    b'{"a":"\\x41"}',
]


@pytest.mark.parametrize("raw", MALFORMED, ids=repr)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(refusals.MalformedJson) as refused:
        parse_json(raw)
    assert refused.value.code == "malformed_json"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"a":1,"a":2}', refusals.DuplicateKey),
        (b'{"a":1,"\\u0061":2}', refusals.DuplicateKey),
        (b'[{"x":{"b":1,"b":1}}]', refusals.DuplicateKey),
        (b"[" * 100_000, refusals.TooDeep),
        (b'{"a":' * 100_000, refusals.TooDeep),
        (b"[" * 33 + b"]" * 33, refusals.TooDeep),
        (b'{"a":1e999}', refusals.NonFinite),
        (b'{"a":' + b"9" * 4000 + b"}", refusals.OutOfRange),
        (b'{"a":"\\ud800"}', refusals.BadUnicode),
        (b'{"\\udfff":1}', refusals.BadUnicode),
        (b'{"a":"x\\u0000"}', refusals.BadUnicode),
        (b'{"a":"' + b"x" * 70_000 + b'"}', refusals.TooLong),
        (
            json.dumps({str(number): 1 for number in range(1001)}).encode(),
            refusals.TooManyKeys,
        ),
    ],
)
def test_what_could_be_read_two_ways_or_not_kept_is_refused(
    raw: bytes, kind: type[ControllerError]
) -> None:
    with pytest.raises(kind):
        parse_json(raw)


def test_the_deepest_nesting_allowed_is_read() -> None:
    raw = b"[" * MOST_DEPTH + b"]" * MOST_DEPTH
    assert json.loads(raw) == parse_json(raw)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**18), 10**18)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_every_good_document_comes_back_as_it_was(document: Any) -> None:
    assert parse_json(json.dumps(document).encode()) == document


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    known = (refusals.MalformedJson, refusals.BadUnicode, refusals.OutOfRange, refusals.NonFinite)
    with suppress(*known):
        parse_json(raw)


# ---------------------------------------------------------------- yaml


def test_a_definition_may_be_yaml_and_reads_as_json_would() -> None:
    raw = b"unit: departure\nsince: 2026-01-31\nshare: 0.5\nmodels: [{name: a}, {name: b}]\n"
    assert parse_yaml(raw) == {
        "unit": "departure",
        "since": "2026-01-31",
        "share": 0.5,
        "models": [{"name": "a"}, {"name": "b"}],
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"!!python/object/apply:os.system ['true']",
        b"a: &x [1]\nb: *x\n",
        b"a: 1\na: 2\n",
        b"1: one\n",
        b"a: .nan\n",
        b"a: !!binary aGk=\n",
        b"a: [1\n",
        b"? [a]\n: 1\n",
        b"[" * 500,
    ],
    ids=repr,
)
def test_yaml_that_json_could_not_say_is_refused(raw: bytes) -> None:
    with pytest.raises((refusals.MalformedJson, InvalidInput)):
        parse_yaml(raw)


def test_a_long_yaml_is_refused_before_it_costs_seconds() -> None:
    with pytest.raises(refusals.BodyTooLarge):
        parse_yaml(b"- a\n" * 20_000)


# ---------------------------------------------------------------- gzip


def test_gzip_is_unpacked_within_its_bounds() -> None:
    assert inflate(gzip.compress(b'{"events": []}')) == b'{"events": []}'


def test_a_bomb_is_refused_before_it_grows() -> None:
    with pytest.raises(refusals.InflatedTooLarge):
        inflate(gzip.compress(b"\0" * (MOST_INFLATED + 1)))
    with pytest.raises(refusals.InflatedTooLarge):
        inflate(gzip.compress(b"\0" * 1_000_000))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not gzip",
        gzip.compress(b"{}", mtime=0)[:-4],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0),
    ],
)
def test_damaged_gzip_is_refused(raw: bytes) -> None:
    with pytest.raises(refusals.BadEncoding):
        inflate(raw)


# ---------------------------------------------------------------- types


class Inner(Struct, forbid_unknown_fields=True):
    size: int


class Outer(Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ({"nam": "x"}, "unknown_field", "nam"),
        ({}, "missing_field", "name"),
        ({"name": 1}, "wrong_type", "name"),
        ({"name": None}, "wrong_type", "name"),
        ({"name": "x", "inner": {"size": True}}, "wrong_type", "inner.size"),
        ({"name": "x", "inner": {"size": 1, "status": "x"}}, "unknown_field", "inner.status"),
        ([], "wrong_type", ""),
        (None, "wrong_type", ""),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value: Any, code: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        typed(value, Outer)
    assert (refused.value.code, refused.value.field) == (code, field)
