"""What the SDK reads from a socket: framing as RFC 9112 has it, and nothing else taken for HTTP."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.assignment.signature import hmac_sha256
from controller.errors import Unavailable
from controller.sdk.transport import Transport
from controller.sdk.wire import Connection, NotHttp
from tests.sdk.service import KEY

LOOPBACK = Path("tests/data/loopback.pem")
OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def saying(
    *answers: bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[tuple[int, list[bytes]]]:
    """A port that gives one of these bytes to each request and hangs up after the last."""
    heard: list[bytes] = []
    listener = socket.create_server((host, 0))
    listener.settimeout(5)

    def serve() -> None:
        try:
            wire, _ = listener.accept()
            wire.settimeout(5)
            if tls is not None:
                wire = tls.wrap_socket(wire, server_side=True)
        except OSError:  # nobody came, or they did not like our certificate
            return
        with wire:
            for answer in answers:
                heard.append(wire.recv(65536))
                wire.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.close()
        thread.join(10)


def opened(port: int, **options: Any) -> Connection:
    return Connection("http", "127.0.0.1", port, timeout_seconds=5, **options)


def everything(read: Callable[[int], bytes]) -> bytes:
    parts = []
    while part := read(7):
        parts.append(part)
    return b"".join(parts)


def body_of(answer: bytes) -> tuple[int, bytes, bool]:
    with saying(answer) as (port, _):
        connection = opened(port)
        try:
            with connection.request("GET", "/", headers={}) as response:
                return response.status, everything(response.read1), response.will_close
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", (200, b"hello", False)),
        (OK + b"content-length:5\r\nCONNECTION: Close\r\n\r\nhello", (200, b"hello", True)),
        (OK + b"\r\nhello", (200, b"hello", True)),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: v\r\n\r\n",
            (200, b"hello", False),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", (200, b"x", False)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", False)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", (304, b"", False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok", True)),
        (b"HTTP/1.0 200\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", (200, b"", False)),
    ],
)
def test_a_body_ends_where_its_head_says(answer: bytes, expected: tuple[int, bytes, bool]) -> None:
    assert body_of(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Spaced : out\r\n\r\n",
        OK + b" folded: line\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n0123456789",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
        OK + b"X: " + b"x" * 70000 + b"\r\n\r\n",
        OK + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 12 + OK + b"\r\n",
    ],
)
def test_what_is_not_http_is_refused(answer: bytes) -> None:
    with pytest.raises(NotHttp):
        body_of(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        OK + b"Content-Length: 9\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ],
)
def test_what_breaks_off_is_no_whole_answer(answer: bytes) -> None:
    with pytest.raises(ConnectionError):
        body_of(answer)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0", "é", "a\tb"])
def test_nothing_that_ends_its_line_is_sent(value: str) -> None:
    with saying(OK + b"Content-Length: 0\r\n\r\n") as (port, heard):
        connection = opened(port)
        with pytest.raises(ValueError, match="cannot be sent"):
            connection.request("GET", "/", headers={"X": value})
        with pytest.raises(ValueError, match="cannot be sent"):
            connection.request("GET", f"/{value} HTTP/1.1", headers={})
        connection.close()
    assert heard in ([], [b""])


def test_a_kept_connection_asks_again_and_says_where_it_goes() -> None:
    with saying(OK + b"Content-Length: 1\r\n\r\na", OK + b"Content-Length: 1\r\n\r\nb") as (
        port,
        heard,
    ):
        transport = Transport(f"http://127.0.0.1:{port}/base", KEY)
        first = transport.request("POST", "/v1/events", body=b"{}")
        second = transport.request("GET", "/v1/ruleset", headers={"If-None-Match": '"x"'})
        transport.close()
    assert (first.body, second.body) == (b"a", b"b")
    assert heard[0].startswith(b"POST /base/v1/events HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{port}\r\n".encode() in heard[0]
    assert b"\r\nContent-Length: 2\r\n" in heard[0]
    assert heard[0].endswith(b"\r\n\r\n{}")
    assert heard[1].count(b"Accept-Encoding: gzip\r\n") == 1
    assert b"Content-Length" not in heard[1]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.booleans())
def test_chunks_read_as_the_standard_library_reads_them(parts: list[bytes], trailer: bool) -> None:
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    answer += b"".join(b"%X\r\n%s\r\n" % (len(part), part) for part in parts)
    answer += b"0\r\n" + (b"X: y\r\n" if trailer else b"") + b"\r\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        reference = HTTPResponse(ours)
        reference.begin()
        expected = reference.read()
    assert body_of(answer) == (200, expected, False)
    assert expected == b"".join(parts)


def test_lines_of_a_stream_come_one_by_one_and_end_with_it() -> None:
    events = OK + b"Transfer-Encoding: chunked\r\n\r\n8\r\n: hi\ndat\r\n5\r\na: 1\n\r\n"
    with saying(events) as (port, _):
        connection = opened(port)
        response = connection.request("GET", "/", headers={})
        lines = [response.readline(65536) for _ in range(3)]
        response.close()
        connection.close()
    assert lines == [b": hi\n", b"data: 1\n", b""]


def test_tls_is_checked_unless_a_context_knows_better() -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(LOOPBACK)
    trusting = ssl.create_default_context(cafile=str(LOOPBACK))
    answer = OK + b"Content-Length: 2\r\n\r\nok"
    with saying(answer, tls=serving) as (port, _):
        transport = Transport(f"https://localhost:{port}", KEY, ssl_context=trusting)
        assert transport.request("GET", "/").body == b"ok"
        transport.close()
    with (
        saying(answer, tls=serving) as (port, _),
        pytest.raises(Unavailable, match="SSLCertVerificationError"),
    ):
        Transport(f"https://localhost:{port}", KEY).request("GET", "/")
    with (
        saying(answer, tls=serving, host="127.0.0.2") as (port, heard),
        pytest.raises(Unavailable, match="SSLCertVerificationError"),
    ):
        Transport(f"https://127.0.0.2:{port}", KEY, ssl_context=trusting).request("GET", "/")
    assert heard == []


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_mac_is_that_of_the_standard_library(key: bytes, message: bytes) -> None:
    assert hmac_sha256(key, message) == hmac.digest(key, message, hashlib.sha256)


def test_a_connected_client_loads_neither_tls_nor_the_parser_of_mail() -> None:
    code = (
        "import sys, time\nfrom controller.sdk import Client\n"
        f"client = Client('http://127.0.0.1:1', key={KEY!r})\n"
        "client.assign('a', '1')\n"
        "while 'refresh' not in client._engine.journal.states(): time.sleep(0.01)\n"
        "heavy = {'ssl', '_ssl', '_hashlib', 'email', 'http.client', 'encodings.idna'}\n"
        "print(sorted(sys.modules.keys() & heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n", done.stderr
