"""What the usual request is spared would have found nothing in it."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.errors import ControllerError
from controller.service.http.door import _HARMLESS, _check_path
from controller.service.http.headers import with_security
from controller.service.http.loader import MOST_DEPTH, MOST_TEXT, _check_values, _is_harmless

PIECES = st.sampled_from(
    ["/", "a", "Z9", ".", "..", "%2f", "%", ";", "\\", "~-_", "\x7f", "é", "//"]
)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(), max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=60,
)


def refuses(check: Callable[..., object], *given: object) -> bool:
    """Whether the look that is spared would have found something."""
    try:
        check(*given)
    except ControllerError:
        return True
    return False


@settings(deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
@example("/v1/assign")
@example("/ofrep/v1/evaluate/flags/late.slot_1")
def test_a_harmless_address_has_nothing_to_refuse(path: str) -> None:
    assert not (_HARMLESS.fullmatch(path) and refuses(_check_path, path, None))


def test_usual_addresses_are_harmless_and_others_are_looked_at() -> None:
    assert _HARMLESS.fullmatch("/v1/slots/late.slot_1")
    for path in ("/a//b", "/.", "/a/..", "/a/.b", "/%41", "/a;b", "/a\\b", "/é", "/a\n", "a", ""):
        assert not _HARMLESS.fullmatch(path), path
    assert refuses(_check_path, "/a//b", None)


@settings(deadline=None)
@given(VALUES, st.booleans())
@example("\x00", True)
@example("\ud800", True)
@example("x" * (MOST_TEXT + 1), False)
def test_harmless_text_has_nothing_to_refuse(value: object, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return
    assert not (_is_harmless(raw) and refuses(_check_values, json.loads(raw)))


def test_what_may_hide_something_is_looked_at() -> None:
    assert _is_harmless(b'{"slot": "late", "attributes": {"a": [1]}}')
    deep = b"[" * MOST_DEPTH + b"]" * MOST_DEPTH
    for raw in (b'"\\u0000"', deep, b'"' + b"x" * MOST_TEXT + b'"'):
        assert not _is_harmless(raw)
    assert refuses(_check_values, "\x00")


@given(st.booleans(), st.sampled_from(["Cache-Control", "cache-control", "X-A", "Referrer-Policy"]))
def test_what_an_answer_says_itself_stands_once(secure: bool, name: str) -> None:
    headers = with_security([("Content-Type", "text/plain"), (name, "own")], secure=secure)
    said = [key.lower() for key, _ in headers]
    assert len(said) == len(set(said))
    assert (name, "own") in headers
    assert ("strict-transport-security" in said) == secure
    assert {"content-security-policy", "x-content-type-options", "cache-control"} <= set(said)
