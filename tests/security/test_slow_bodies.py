"""Clients that send a head and then take their time, against the real server with two threads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from controller.service.web.bodies import MOST_COLLECTED
from tests.running import ONE_WORKER, Running, running

THREADS = 2
CROWD = 8
SOON_SECONDS = 5.0
"""Far below the twenty that a body may take, far above an answer on a busy machine."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up") / "data"
    with running(folder, *ONE_WORKER, env={"CONTROLLER_WEB_THREADS": str(THREADS)}) as started:
        yield started


def head(service: Running, fields: str, *, method: str = "POST", version: str = "1.1") -> bytes:
    lines = (
        f"{method} /v1/events HTTP/{version}\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {service.sdk_key}\r\nContent-Type: application/json\r\n"
    )
    return f"{lines}{fields}\r\n".encode()


CHUNKED = "Transfer-Encoding: chunked\r\n"
SLOW = {
    "a small body": ("POST", "1.1", "Content-Length: 50\r\n", b"{"),
    "nothing of it": ("POST", "1.1", "Content-Length: 50\r\n", b""),
    "a body of 200 KB": ("POST", "1.1", "Content-Length: 200000\r\n", b"{" * 1000),
    "a body of 1 MiB": ("POST", "1.1", "Content-Length: 1048576\r\n", b"{" * 1_000_000),
    "more than anybody reads": ("POST", "1.1", "Content-Length: 1048577\r\n", b"{"),
    "a body to be read": ("GET", "1.1", "Content-Length: 50\r\n", b"{"),
    "an old client": ("POST", "1.0", "Content-Length: 50\r\n", b"{"),
    "one that asks first": ("POST", "1.1", "Expect: 100-continue\r\nContent-Length: 50\r\n", b""),
    "a chunk": ("POST", "1.1", CHUNKED, b"50\r\n{"),
    "leading zeros": ("POST", "1.1", CHUNKED, b"0" * 40 + b"50\r\n{"),
    "an end inside a chunk": ("POST", "1.1", CHUNKED, b"50\r\n0\r\n\r\n"),
    "no last chunk": ("POST", "1.1", CHUNKED, b"2\r\n{}\r\n"),
    "half a trailer": ("POST", "1.1", CHUNKED, b"2\r\n{}\r\n0\r\nA: b\r\n"),
    "trailers without end": ("POST", "1.1", CHUNKED, b"2\r\n{}\r\n0\r\nA: " + b"b" * 20_000),
    "a size without end": ("POST", "1.1", CHUNKED, b"1" * 20_000),
    "small chunks without end": ("POST", "1.1", CHUNKED, b"1\r\n{\r\n" * (MOST_COLLECTED // 6 + 9)),
}


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("name", SLOW)
def test_slow_uploads_keep_nobody_out(service: Running, name: str, kept: bool) -> None:
    method, version, fields, begun = SLOW[name]
    with ExitStack() as held:
        for _ in range(CROWD):
            line = held.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            if kept:
                line.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert line.recv(65536).startswith(b"HTTP/1.1 200")
                time.sleep(0.05)  # so that the thread that has answered waits for what follows
            line.sendall(head(service, fields, method=method, version=version) + begun)
        time.sleep(0.2)
        started = time.monotonic()
        assert service.call("GET", "/livez", timeout=15.0).status == 200
        assert time.monotonic() - started < SOON_SECONDS


def test_clients_that_do_not_close_keep_nobody_out(service: Running) -> None:
    with ExitStack() as held:
        for _ in range(CROWD):
            line = held.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        time.sleep(0.2)
        started = time.monotonic()
        assert service.call("GET", "/livez", timeout=15.0).status == 200
        assert time.monotonic() - started < SOON_SECONDS


def test_a_body_that_comes_in_drops_is_served_whole(service: Running) -> None:
    body = json.dumps({"events": [{"type": "exposure"}]}).encode()
    for fields, sent in (
        (f"Content-Length: {len(body)}\r\n", body),
        (CHUNKED, b"%x;x=y\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(body), body)),
        (f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n", body),
    ):
        with socket.create_connection(("127.0.0.1", service.port), 10) as line:
            line.sendall(head(service, fields))
            for at in range(len(sent)):
                line.sendall(sent[at : at + 1])
                time.sleep(0.002)
            answer = b""
            while b'"rejected"' not in answer:
                answer += line.recv(65536)
            assert answer.count(b"HTTP/1.1 202") == 1


def test_whoever_asks_first_is_told_to_go_on_once(service: Running) -> None:
    body = b'{"events": [{"type": "exposure"}]}'
    fields = f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", service.port), 10) as line:
        for _ in range(2):
            line.sendall(head(service, fields))
            assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            line.sendall(body)
            answer = b""
            while b'"rejected"' not in answer:
                answer += line.recv(65536)
            assert answer.startswith(b"HTTP/1.1 202")
            assert b"100 Continue" not in answer


def test_a_large_batch_is_served_while_others_dawdle(service: Running) -> None:
    event = {"type": "exposure", "padding": "x" * 400}
    body = json.dumps({"events": [event] * 400}).encode()
    with ExitStack() as held:
        for _ in range(CROWD):
            line = held.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            line.sendall(head(service, f"Content-Length: {len(body)}\r\n") + body[:-1])
        answer = service.call("POST", "/v1/events", service.sdk_key, body=body, headers={
            "Content-Type": "application/json"
        })  # fmt: skip
        assert answer.status == 202


def test_a_body_that_does_not_come_in_time_is_refused(service: Running) -> None:
    lines = {name: socket.create_connection(("127.0.0.1", service.port), 60) for name in SLOW}
    try:
        for name, line in lines.items():
            method, version, fields, begun = SLOW[name]
            line.sendall(head(service, fields, method=method, version=version))
            try:
                line.sendall(begun)
            except (BrokenPipeError, ConnectionResetError):
                continue  # refused before everything was sent
        for name, line in lines.items():
            answer = b""
            try:
                while piece := line.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            except TimeoutError:
                raise AssertionError(f"{name}: never closed after {answer[:100]!r}") from None
            said = answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
            assert not said or said.split(b" ")[1] in (b"400", b"405", b"413"), (name, answer)
    finally:
        for line in lines.values():
            line.close()
