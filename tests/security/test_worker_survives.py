"""What would cost a web process its threads, its files or its stop, against a real one."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.service.web.server import LEAST_CONNECTIONS, OWN_FILES
from tests.misbehaving import (
    LARGE,
    SEND_SECONDS,
    THREADS,
    TOGETHER_SECONDS,
    misbehaving,
)
from tests.processes import descendants, wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, int]]:
    with misbehaving(tmp_path / "log") as found:
        yield found


def connect(port: int, seconds: float = 15.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=seconds)


def request(path: str, *, version: str = "1.1", extra: str = "") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n{extra}\r\n".encode()


def ask(port: int, sent: bytes) -> bytes:
    """Everything that is answered until the server closes."""
    answer = b""
    with connect(port) as line:
        line.sendall(sent)
        while piece := line.recv(65536):
            answer += piece
    return answer


def serves(port: int) -> bool:
    """Whether a request gets its whole answer."""
    answer = ask(port, request("/", extra="Connection: close\r\n"))
    return answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"served")


def every_thread_serves(port: int) -> bool:
    """Whether as many requests as there are threads are answered, each waiting for the others."""
    with ExitStack() as held:
        lines = [held.enter_context(connect(port, TOGETHER_SECONDS)) for _ in range(THREADS)]
        for line in lines:
            line.sendall(request("/together", extra="Connection: close\r\n"))
        return all(line.makefile("rb").read().endswith(b"served") for line in lines)


KEEP_SECONDS = 5.0
"""So long may a kept connection rest."""
CHUNKED = "Transfer-Encoding: chunked\r\n"


FAILED = b"HTTP/1.1 500 Internal Server Error"


@pytest.mark.parametrize(
    ("path", "version", "extra", "wanted"),
    [
        ("/breaks-off", "1.1", "", b"HTTP/1.1 200 OK"),
        ("/breaks-off", "1.1", CHUNKED, b"HTTP/1.1 200 OK"),
        ("/breaks-off", "1.0", "", b"HTTP/1.0 200 OK"),
        ("/exits", "1.1", "", FAILED),
        ("/exits", "1.1", CHUNKED, b""),  # gunicorn's way with it
        ("/fails", "1.1", "", FAILED),
    ],
)
def test_an_application_that_breaks_off_costs_no_thread(
    served: tuple[int, int], path: str, version: str, extra: str, wanted: bytes
) -> None:
    port, _ = served
    body = b"0\r\n\r\n" if extra else b""
    for _ in range(THREADS + 2):
        answer = ask(port, request(path, version=version, extra=extra) + body)
        assert answer.partition(b"\r\n")[0] == wanted
        assert not answer.endswith(b"0\r\n\r\n")  # a stream that broke off does not look whole
    assert every_thread_serves(port)


def test_a_client_that_does_not_read_holds_no_thread_for_ever(served: tuple[int, int]) -> None:
    port, _ = served
    with ExitStack() as held:
        for _ in range(THREADS):
            line = held.enter_context(connect(port))
            line.sendall(request("/large"))
        time.sleep(0.3)
        started = time.monotonic()
        assert every_thread_serves(port)
        assert time.monotonic() - started < SEND_SECONDS + 5.0


def test_a_client_that_reads_slowly_gets_everything(served: tuple[int, int]) -> None:
    port, _ = served
    got, paused = 0, 0.0
    with connect(port) as line:
        line.sendall(request("/large", extra="Connection: close\r\n"))
        while piece := line.recv(1 << 20):
            got += len(piece)
            if paused < SEND_SECONDS * 1.5:  # longer than nothing may be taken, in small pauses
                time.sleep(0.1)
                paused += 0.1
    assert got > LARGE


def test_a_worker_that_stops_does_not_wait_for_who_says_nothing(served: tuple[int, int]) -> None:
    port, master = served
    (worker,) = descendants(master)
    with connect(port), connect(port) as begun:
        begun.sendall(request("/")[:9])
        time.sleep(0.3)
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.5)
        begun.sendall(request("/")[9:])
        assert b"connection: close" in begun.recv(65536).lower()
        begun.close()
        wait_until(lambda: worker not in descendants(master), "it has stopped", 6.0)


def test_more_connections_than_files_end_no_worker(tmp_path: Path) -> None:
    with misbehaving(tmp_path / "log", files=60) as (port, master), ExitStack() as held:
        workers = descendants(master)
        idle = [held.enter_context(connect(port)) for _ in range(100)]
        time.sleep(0.5)
        for line in idle:
            line.close()
        assert serves(port)
        assert descendants(master) == workers


@pytest.mark.parametrize("said", [b"", request("/"), request("/")[:9]], ids=["none", "one", "half"])
def test_idle_connections_make_room_for_a_newcomer(tmp_path: Path, said: bytes) -> None:
    files = OWN_FILES + LEAST_CONNECTIONS
    with misbehaving(tmp_path / "log", files=files) as (port, _), ExitStack() as held:
        for _ in range(LEAST_CONNECTIONS + 40):
            held.enter_context(connect(port)).sendall(said)
        started = time.monotonic()
        assert serves(port)
        assert time.monotonic() - started < KEEP_SECONDS - 1.0
