"""Answers in one piece, and those that gunicorn writes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from io import BytesIO
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    InvalidResponseHeader,
    InvalidResponseHeaderName,
)
from gunicorn.http.wsgi import Response  # type: ignore[import-untyped]

from controller.service.web.answers import Sending, _kept
from controller.service.web.plain import Limits, read_plain

LIMITS = Limits(line=8190, field=8190, fields=100)
BODY = b'{"a": 1}'
LENGTH = ("Content-Length", str(len(BODY)))


class Wire:
    """Keeps what is sent, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def sendall(self, piece: bytes) -> None:
        self.pieces.append(piece)

    @property
    def head(self) -> list[str]:
        return b"".join(self.pieces).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces).partition(b"\r\n\r\n")[2]


def answer(
    *headers: tuple[str, str],
    pieces: Iterable[bytes] = (BODY,),
    status: str = "200 OK",
    method: str = "GET",
    closes: bool = False,
) -> tuple[Wire, bool]:
    """What is written, and whether the connection is kept."""
    wire = Wire()
    data = f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    request = read_plain(data, len(data) - 4, {"wsgi.input": BytesIO()}, LIMITS)
    assert request is not None

    def app(_: Any, start: Any) -> Iterable[bytes]:
        start(status, list(headers))
        return pieces

    make = partial(Response, request, wire, Config())
    sending: Any = Sending(request, wire, make, closes=closes)  # type: ignore[arg-type]
    return wire, sending.send(app)


def test_head_and_body_go_in_one_send() -> None:
    wire, kept = answer(("Content-Type", "application/json"), LENGTH, ("X-A", " b "))
    assert len(wire.pieces) == 1
    assert wire.head[0] == "HTTP/1.1 200 OK"
    named = dict(line.split(": ", 1) for line in wire.head[1:])
    assert named["Connection"] == "keep-alive"
    assert (named["Content-Type"], named["X-A"]) == ("application/json", "b")
    assert named["Date"].endswith("GMT")
    assert wire.body == BODY
    assert kept


def test_an_answer_that_closes_says_so() -> None:
    wire, kept = answer(LENGTH, closes=True)
    assert "Connection: close" in wire.head
    assert not kept


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"method": "HEAD"}, b""),
        ({"status": "304 Not Modified", "pieces": ()}, b""),
        ({"pieces": (BODY[:3], BODY[3:])}, BODY),
        ({"pieces": (b"", BODY)}, BODY),
        ({"pieces": (BODY, b"")}, BODY),
        ({"pieces": (piece for piece in (BODY,))}, BODY),
    ],
)
def test_other_forms_are_written_too(options: dict[str, Any], body: bytes) -> None:
    wire, kept = answer(LENGTH, **options)
    assert wire.body == body
    assert f"Content-Length: {len(BODY)}" in wire.head
    assert kept


def test_no_content_has_no_length() -> None:
    wire, kept = answer(("X-A", "b"), status="204 No Content", pieces=())
    assert not [line for line in wire.head if line.startswith(("Content-Length", "Transfer"))]
    assert wire.body == b""
    assert kept


def test_a_stream_is_sent_in_chunks_as_it_comes() -> None:
    wire, kept = answer(pieces=(b"one", b"three"))
    assert "Transfer-Encoding: chunked" in wire.head
    assert wire.body == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
    assert len(wire.pieces) >= 3
    assert kept


def test_a_body_never_runs_beyond_its_length() -> None:
    wire, _ = answer(("Content-Length", "4"), pieces=(b"12345678",))
    assert wire.body == b"1234"
    with pytest.raises(AssertionError, match="longer"):
        answer(LENGTH, pieces=(BODY, b"more"))


@pytest.mark.parametrize(
    "name", ["Connection", "Transfer-Encoding", "Keep-Alive", "Date", "Server"]
)
def test_an_application_says_nothing_about_the_hop(name: str) -> None:
    wire, _ = answer(LENGTH, (name, "from the application"))
    assert "from the application" not in "".join(wire.head)
    assert wire.body == BODY


@pytest.mark.parametrize("value", ["a\r\nX-Split: b", "a\nb", "a\x00"])
def test_a_header_cannot_split_the_answer(value: str) -> None:
    with pytest.raises(InvalidResponseHeader):
        answer(LENGTH, ("X-A", value))
    with pytest.raises(InvalidResponseHeaderName):
        answer(LENGTH, (f"X-{value}", "a"))
    with pytest.raises(ValueError, match="Invalid status"):
        answer(LENGTH, status=f"200 {value}")


def test_a_session_is_not_remembered() -> None:
    _kept.cache_clear()
    wire, _ = answer(LENGTH, ("Set-Cookie", "session=secret"))
    assert "Set-Cookie: session=secret" in wire.head
    assert _kept.cache_info().currsize == 1


def test_what_the_application_holds_is_closed() -> None:
    class Pieces(list[bytes]):
        closed = False

        def close(self) -> None:
            self.closed = True

    pieces = Pieces([BODY])
    answer(LENGTH, pieces=pieces)
    assert pieces.closed
