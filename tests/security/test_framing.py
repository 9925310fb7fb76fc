"""Bytes on the wire that no honest client sends, against the real server process."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator

import pytest

from tests.running import ONE_WORKER, Running, running

LINE = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
TYPE = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up") / "data", *ONE_WORKER) as started:
        yield started


RESET = {errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN}
"""A connection that the other side has reset, by what was tried on it."""


def exchange(service: Running, *parts: bytes, seconds: float = 10.0) -> tuple[int, bytes]:
    """What the server says to these bytes; status 0 where it only closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=seconds) as line:
        answer = b""
        try:
            for part in parts:
                line.sendall(part)
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65536):
                answer += piece
        except OSError as error:
            if error.errno not in RESET:
                raise
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/") else b"0"
    return int(status), answer


def authorised(service: Running) -> bytes:
    return LINE + f"Authorization: Bearer {service.sdk_key}\r\n".encode() + TYPE


CASES = {
    "negative length": ((b"Content-Length: -1\r\n\r\n", b"{}"), {400}),
    "no number": ((b"Content-Length: abc\r\n\r\n", b"{}"), {400}),
    "two lengths": ((b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", b"{}x"), {400}),
    "length and chunks": (
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        {400},
    ),
    "unknown coding": ((b"Transfer-Encoding: xchunked\r\n\r\n", b"0\r\n\r\n"), {400, 501}),
    "hidden coding": ((b"Transfer-Encoding:\x0bchunked\r\n\r\n", b"0\r\n\r\n"), {400, 501}),
    "space before the colon": ((b"Content-Length : 2\r\n\r\n", b"{}"), {400}),
    "bad chunk": ((b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), {0, 400}),
    "NUL in a header": ((b"X: a\x00b\r\nContent-Length: 2\r\n\r\n", b"{}"), {400}),
    "CR in a header": ((b"X: a\rb\r\nContent-Length: 2\r\n\r\n", b"{}"), {400}),
    "folded header": ((b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n", b"{}"), {400}),
    "a header of 9 KiB": ((b"X: " + b"a" * 9000 + b"\r\n\r\n",), {400, 431}),
    "101 headers": ((b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n",), {400, 431}),
    "odd expectation": ((b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n", b"{}"), {400, 417, 422}),
    "too large, said": ((b"Content-Length: 1048577\r\n\r\n",), {413}),
    "far too large, said": ((b"Content-Length: 99999999999999999999\r\n\r\n",), {400, 413}),
    "cut off": ((b"Content-Length: 500\r\n\r\n", b"{}"), {0, 400}),
    "too large in chunks": (
        (
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"100000\r\n" + b" " * 0x100000 + b"\r\n" + b"100000\r\n" + b" " * 0x100000 + b"\r\n",
        ),
        {0, 413},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_body_that_is_framed_badly_is_refused(service: Running, name: str) -> None:
    parts, statuses = CASES[name]
    status, answer = exchange(service, authorised(service) + parts[0], *parts[1:])
    assert status in statuses, answer[:300]
    assert service.call("GET", "/livez").status == 200


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"GET /livez\r\n\r\n", {0, 400, 505}),
        (b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n", {400, 505}),
        (b"GET /v1/\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {0, 400}),
        (b"GET  /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {0, 400}),
        (b"GET http://evil.test/v1/slots HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 404}),
        (b"GET //evil.test/v1/slots HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 404}),
        (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n", {400, 405}),
        (b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 404, 405}),
        (b"GET /v1/slots HTTP/1.1\r\n\r\n", {400}),
        (b"GET /livez HTTP/1.1\r\n\r\n", {400}),
        (b"GET /livez HTTP/1.1\r\nX: a\r\n b\r\n\r\n", {400}),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", {400}),
        (b"GET /livez HTTP/1.0\r\n\r\n", {200}),
        (b"GET /v1/slots HTTP/1.1\r\nHost: evil.test\r\n\r\n", {400}),
        (b"GET /v1/slots HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.test\r\n\r\n", {400}),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 414}),
        (b"\x16\x03\x01\x02\x00\x01\x00", {0, 400}),
        (b"\r\n\r\n\r\n", {0, 400}),
    ],
    ids=repr,
)
def test_a_request_line_that_cannot_be_read_is_refused(
    service: Running, raw: bytes, statuses: set[int]
) -> None:
    status, answer = exchange(service, raw)
    assert status in statuses, answer[:300]
    assert b"Location:" not in answer
    assert service.call("GET", "/livez").status == 200


def test_a_smuggled_second_request_is_never_answered(service: Running) -> None:
    inner = b"GET /v1/slots HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = authorised(service) + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, answer = exchange(service, head, b"0\r\n\r\n", inner)
    assert answer.count(b"HTTP/1.1") <= 1


def test_a_hundred_half_open_requests_do_not_keep_others_out(service: Running) -> None:
    lines = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    try:
        for line in lines:
            line.sendall(b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        assert service.call("GET", "/livez", timeout=30.0).status == 200
    finally:
        for line in lines:
            line.close()


def test_a_trickling_body_is_cut_off_while_others_are_served(service: Running) -> None:
    head = authorised(service) + b"Content-Length: 5000\r\n\r\n{"
    lines = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(8)]
    try:
        for line in lines:
            line.sendall(head)
        assert service.call("GET", "/livez", timeout=60.0).status == 200
        for line in lines:
            line.setblocking(False)
            with pytest.raises(BlockingIOError):  # none of them had to be cut off for it
                line.recv(1)
        lines[0].settimeout(90.0)
        assert b" 400 " in lines[0].recv(4096)
    finally:
        for line in lines:
            line.close()


def test_a_connection_is_kept_for_several_requests(service: Running) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as line:
        for parts in ((one,), (one[:9], one[9:]), (one, one)):
            for part in parts:
                line.sendall(part)
                time.sleep(0.05)
            wanted = max(1, b"".join(parts).count(b"GET"))
            answer = b""
            while answer.count(b'{"status":"alive"}') < wanted:
                piece = line.recv(65536)
                assert piece, "the connection was closed"
                answer += piece
