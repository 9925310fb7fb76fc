"""Whether a body has come, beside gunicorn: no thread waits for bytes, and none waits in vain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gunicorn.http import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.service.http.loader import MOST_BYTES
from controller.service.web.bodies import MOST_CHUNKS, MOST_LINE, MOST_READ, Body
from tests.property.test_plain_requests import CFG, CLIENT

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


class Wanting(Exception):
    """gunicorn asks for bytes that have not come."""


def source(data: bytes) -> Iterator[bytes]:
    yield data
    raise Wanting


def wants_more(data: bytes) -> bool | None:
    """Whether gunicorn waits for more of this request; None where it refuses it."""
    try:
        request = next(RequestParser(CFG, source(data), CLIENT))
        request.body.read(MOST_BYTES + 1)
    except Wanting:
        return True
    except (ParseException, OSError, ValueError):
        return None
    return False


def has_come(data: bytes) -> bool:
    body = Body.of(data, data.find(b"\r\n\r\n"))
    return body is None or body.has_come(data)


lengths = st.sampled_from([b"2", b"02", b"0", b" 5\t", b"-1", b"+2", b"2, 2", b"\xb2", b""])
names = st.sampled_from(
    [b"Content-Length", b"content-length", b"Content-Length ", b"X-Content-Length"]
)
codings = st.sampled_from(
    [b"chunked", b"Chunked", b" chunked ", b"identity", b"gzip, chunked", b"x"]
)
framing = st.one_of(
    st.tuples(names, lengths).map(lambda field: b":".join(field) + b"\r\n"),
    codings.map(lambda coding: b"Transfer-Encoding:" + coding + b"\r\n"),
)
sizes = st.sampled_from(
    [b"2", b"02", b"00000000000002", b"a", b"2;x=y", b"2 ;x", b"2 ", b"zz", b""]
)
chunks = st.tuples(sizes, st.sampled_from([b"{}", b"{", b"0\r\n\r\n{}{}{}", b"\r\n", b""])).map(
    lambda chunk: chunk[0] + b"\r\n" + chunk[1] + b"\r\n"
)
last = st.sampled_from(
    [b"", b"0\r\n\r\n", b"0\r\n", b"0\r\nA: b\r\n\r\n", b"000\r\nA: b\r\n", b"0;x\r\n\r\nGET"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    head = HEAD + b"".join(draw(st.lists(framing, min_size=1, max_size=2))) + b"\r\n"
    body = b"".join(draw(st.lists(chunks, max_size=3))) + draw(last)
    return head + body[: draw(st.integers(0, len(body)))]


@settings(max_examples=1500, deadline=None)
@given(requests())
@example(HEAD + b"Content-Length: 2\r\n\r\n{")
@example(HEAD + b"Content-Length: 2\r\n\r\n{}")
@example(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
@example(HEAD + b"Transfer-Encoding: chunked\r\n\r\n7\r\n0\r\n\r\n{}\r\n")
@example(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n")
def test_a_body_has_come_when_gunicorn_waits_for_no_more_of_it(data: bytes) -> None:
    more = wants_more(data)
    if more is not None:
        assert has_come(data) is not more


@settings(max_examples=300, deadline=None)
@given(requests(), st.data())
def test_it_makes_no_difference_in_which_pieces_a_body_comes(
    data: bytes, drawn: st.DataObject
) -> None:
    start = data.find(b"\r\n\r\n") + 4
    body = Body.of(data[:start], start - 4)
    if body is None:
        return
    told = []
    at = start
    while at < len(data):
        at = drawn.draw(st.integers(at + 1, len(data)))
        told.append(body.has_come(data[:at]))
        assert told[-1] is has_come(data[:at])
    assert told == sorted(told), "what has come stays there"


def test_chunks_that_no_route_reads_are_waited_for_by_nobody() -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body = Body.of(head, len(head) - 4)
    assert body is not None
    data = head + b"%x\r\n" % MOST_READ + b" " * MOST_READ
    assert not body.has_come(data)
    data += b"\r\n2\r\n"
    assert (body.has_come(data), body.is_too_large) == (False, False)
    data += b"{"
    assert (body.has_come(data), body.is_too_large) == (True, True)
    assert has_come(data)
    assert wants_more(data) is False, "what has come is more than is read"


def test_a_length_that_no_route_reads_is_waited_for_by_nobody() -> None:
    for length, too_large in ((MOST_BYTES, False), (MOST_BYTES + 1, True), (10**400, True)):
        head = HEAD + b"Content-Length: %d\r\n\r\n" % length
        body = Body.of(head, len(head) - 4)
        assert body is not None
        assert (body.is_too_large, body.has_come(head)) == (too_large, too_large)


@pytest.mark.parametrize(
    ("rest", "is_endless"),
    [
        (b"1" * MOST_LINE, False),
        (b"0\r\nA: " + b"b" * MOST_LINE, True),
        (b"1\r\n{\r\n" * (MOST_CHUNKS + 1), True),
    ],
    ids=["a line without end", "trailers without end", "chunks without end"],
)
def test_what_never_ends_is_not_searched_for_ever(rest: bytes, is_endless: bool) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body = Body.of(head, len(head) - 4)
    assert body is not None
    assert not body.has_come(head + rest[: MOST_LINE // 2])
    assert body.has_come(head + rest)
    assert body.is_endless is is_endless


@pytest.mark.parametrize(
    ("head", "asks"),
    [
        (HEAD + b"Expect: 100-continue\r\n", True),
        (HEAD + b"expect:100-Continue \r\n", True),
        (HEAD.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\n", False),
        (HEAD + b"Expect: 200-ok\r\n", False),
        (HEAD, False),
    ],
)
def test_only_who_asks_is_told_to_go_on(head: bytes, asks: bool) -> None:
    data = head + b"Content-Length: 2\r\n\r\n"
    body = Body.of(data, len(data) - 4)
    assert body is not None
    assert body.is_asked_for is asks
