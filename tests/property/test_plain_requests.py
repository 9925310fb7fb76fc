"""Our reader of plain requests beside gunicorn's: what it takes, it takes in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.wsgi import base_environ, create  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.service.http.loader import WHOLE_BODY
from controller.service.web.plain import MOST_BODY, Limits, PlainRequest, read_plain
from controller.service.web.server import configuration
from controller.settings import Settings

CLIENT, SERVER = ("192.0.2.7", 4711), ("127.0.0.1", 8080)
OWN = {"wsgi.input", "wsgi.errors", "wsgi.early_hints", "gunicorn.socket", WHOLE_BODY}


def _config() -> Any:
    cfg = Config()
    for name, value in configuration(Settings(data_dir=Path())).items():
        cfg.set(name, value)
    return cfg


CFG = _config()
LIMITS = Limits(
    line=CFG.limit_request_line,
    field=CFG.limit_request_field_size,
    fields=CFG.limit_request_fields,
)
BASE = {
    **base_environ(CFG),
    "wsgi.url_scheme": "http",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": CLIENT[0],
    "REMOTE_PORT": str(CLIENT[1]),
    "SERVER_NAME": SERVER[0],
    "SERVER_PORT": str(SERVER[1]),
    "SCRIPT_NAME": "",
}


@dataclass(frozen=True, slots=True)
class Read:
    """One request as an application sees it, and what is left on the connection."""

    environ: dict[str, Any]
    body: bytes
    rest: bytes
    closes: bool


def by_us(data: bytes) -> Read | None:
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    found = read_plain(data, head_end, BASE, LIMITS)
    if found is None or len(data) < found.start + found.length:
        return None
    found.take_body(data)
    environ = {key: value for key, value in found.environ.items() if key not in OWN}
    body = found.environ["wsgi.input"].read()
    assert body == found.environ[WHOLE_BODY]
    return Read(environ, body, data[found.start + found.length :], found.should_close())


def by_gunicorn(data: bytes) -> Read:
    """Raises whatever gunicorn refuses with."""
    parser = RequestParser(CFG, iter([data]), CLIENT)
    request = next(parser)
    _, environ = create(request, None, CLIENT, SERVER, CFG)
    body = request.body.read()
    seen = {key: value for key, value in environ.items() if key not in OWN}
    return Read(seen, body, parser.unreader.take_buffered(), request.should_close())


PLAIN = (
    b"POST /v1/assign?x=%20 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Connection: keep-alive\r\nX-Odd:  \tq\xe9 \t\r\nContent-Length: 2\r\n\r\n{}GET /next"
)

methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "get", "CONNECT", "", "G T", "OPTIONS"])
_TARGETS = (
    "/|/v1/assign|//evil|/a%2Fb|/a?b=c|/a#b|*|http://h/x|/a b||/é|/%|/%zz?%41|/a;b|/a\\b|/a:b/c"
    f"|/x\x7f|/[|/%e9|/{'x' * 8200}"
)
_NAMES = (
    "Host|host|Content-Length|content-length|Transfer-Encoding|Connection|Te|Content-Type|Expect"
    "|X_Forwarded_For|X-Forwarded-For|X-Forwarded-Proto|A b|Upgrade|Script-Name|Authorization"
    "|Origin|| X|X |X\tY|Naïve|À|Proxy|Trailer|Keep-Alive|Content_Length|X-Real|Cookie|\x0bX"
)
targets = st.sampled_from(_TARGETS.split("|"))
versions = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""])
names = st.sampled_from(_NAMES.split("|"))
values = st.one_of(
    st.sampled_from(["2", "+2", "02", "2, 2", "-1", "", " 2\t", "²", "chunked", "close", "Close"])
    | st.sampled_from(["keep-alive", "100-continue", "h2c", "identity", "x" * 8190, "a\x00b"]),
    st.text(st.characters(codec="latin-1"), max_size=12),
)
ends = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\n ", "\r\n\t"])
fields = st.lists(
    st.tuples(names, st.sampled_from([":", ": ", " :", ""]), values, ends), max_size=6
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = f"{draw(methods)} {draw(targets)} {draw(versions)}{draw(ends)}"
    head = line + "".join("".join(field) for field in draw(fields)) + "\r\n"
    return head.encode("latin-1") + draw(st.binary(max_size=20))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The plain request with a few bytes put in, taken out or changed."""
    data = bytearray(PLAIN)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data) - 1))
        piece = draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"0", b"", b"\xff"])
        )
        data[place : place + draw(st.integers(0, 2))] = piece
    return bytes(data)


@settings(max_examples=600, deadline=None)
@given(st.one_of(requests(), damaged()))
@example(PLAIN)
@example(b"GET / HTTP/1.1\r\nX: \xa0a\xa0\r\n\r\n")
@example(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
@example(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_what_we_read_gunicorn_reads_in_the_same_way(data: bytes) -> None:
    ours = by_us(data)
    if ours is not None:
        assert ours == by_gunicorn(data)


def test_the_usual_request_is_read_by_us() -> None:
    read = by_us(PLAIN)
    assert read is not None
    assert (read.body, read.rest, read.closes) == (b"{}", b"GET /next", False)
    assert read.environ["PATH_INFO"] == "/v1/assign"
    assert read.environ["HTTP_X_ODD"] == "q\xe9"


FRAMING = {
    "chunks": b"Transfer-Encoding: chunked\r\n",
    "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n",
    "lengths in one": b"Content-Length: 2, 2\r\n",
    "a sign": b"Content-Length: +2\r\n",
    "a digit of another script": b"Content-Length: \xb2\r\n",
    "too long to be read whole": b"Content-Length: %d\r\n" % (MOST_BODY + 1),
    "a folded line": b"X: a\r\n b\r\n",
    "a space before the colon": b"X : a\r\n",
    "no colon": b"X\r\n",
    "an underscore": b"X_Y: a\r\n",
    "NUL": b"X: a\x00\r\n",
    "a bare LF": b"X: a\nY: b\r\n",
    "a bare CR": b"X: a\rY: b\r\n",
    "vertical tab before a name": b"\x0bX: a\r\n",
    "a name twice": b"X: a\r\nX: b\r\n",
    "an expectation": b"Expect: 100-continue\r\n",
    "an upgrade": b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    "a long field": b"X: " + b"a" * 8190 + b"\r\n",
    "many fields": b"".join(b"X-%d: 1\r\n" % number for number in range(101)),
}


@pytest.mark.parametrize("name", FRAMING)
def test_what_could_be_read_twice_is_left_to_gunicorn(name: str) -> None:
    data = b"POST / HTTP/1.1\r\n" + FRAMING[name] + b"\r\n{}"
    assert read_plain(data, data.find(b"\r\n\r\n"), BASE, LIMITS) is None


def test_a_connection_shares_its_environment_with_nobody() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    first, second = (read_plain(data, len(data) - 4, BASE, LIMITS) for _ in range(2))
    assert isinstance(first, PlainRequest)
    assert isinstance(second, PlainRequest)
    first.environ["controller.caller"] = "somebody"
    assert "controller.caller" not in second.environ
    assert "controller.caller" not in BASE
