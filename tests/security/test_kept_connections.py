"""Connections that ask again and again, against the real server process with two threads."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.processes import descendants
from tests.running import ONE_WORKER, Running, running

ALIVE = b'{"status":"alive"}'
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up") / "data"
    with running(folder, *ONE_WORKER, env={"CONTROLLER_WEB_THREADS": "2"}) as started:
        yield started


class Line:
    """One connection, read answer by answer."""

    def __init__(self, service: Running, seconds: float = 10.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", service.port), timeout=seconds)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *pieces: bytes) -> None:
        for place, piece in enumerate(pieces):
            if place:
                time.sleep(0.05)
            self.sock.sendall(piece)

    def answer(self, *, bodiless: bool = False) -> tuple[int, str, bytes]:
        """Status, head in lower case, and body of the next answer."""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        text = head.decode("latin-1").lower()
        lengths = [line[15:] for line in text.split("\r\n") if line.startswith("content-length:")]
        length = 0 if bodiless or not lengths else int(lengths[0])
        while len(self._rest) < length:
            self._rest += self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(text.split(" ")[1]), text, body

    def ends(self) -> bool:
        """Whether the server closes after what was read."""
        return not self._rest and not self.sock.recv(1)

    def _more(self) -> bytes:
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionResetError("closed")
        return piece


def events(service: Running, count: int, *, chunked: bool = False, extra: str = "") -> list[bytes]:
    """Head and body of a batch of events, of some length."""
    event = {"type": "exposure", "padding": "x" * 400}
    body = json.dumps({"events": [event] * count}).encode()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {service.sdk_key}\r\n{extra}{framing}\r\n\r\n"
    )
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    return [head.encode(), sent]


def test_requests_sent_ahead_are_answered_in_order(service: Running) -> None:
    missing = GET.replace(b"livez", b"v1/nowhere")
    with Line(service) as line:
        line.send(GET + missing + GET + missing + GET[:20], GET[20:])
        statuses = [line.answer()[0] for _ in range(5)]
    assert statuses == [200, 404, 200, 404, 200]


@pytest.mark.parametrize("count", [1, 300], ids=["short", "longer than is read whole"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_comes_after_its_head_is_read(
    service: Running, count: int, chunked: bool
) -> None:
    head, body = events(service, count, chunked=chunked)
    half = len(body) // 2
    with Line(service) as line:
        line.send(head, body[:half], body[half:] + GET)
        status, _, said = line.answer()
        assert status in (200, 202)
        assert len(json.loads(said)["rejected"]) == count
        assert line.answer()[2] == ALIVE


def test_a_client_may_ask_before_it_sends_a_body(service: Running) -> None:
    head, body = events(service, 1, extra="Expect: 100-continue\r\n")
    with Line(service) as line:
        line.send(head)
        assert line.answer()[0] == 100
        line.send(body)
        assert line.answer()[0] in (200, 202)


def test_versions_and_wishes_about_the_connection_are_kept(service: Running) -> None:
    with Line(service) as line:
        line.send(GET.replace(b"GET", b"HEAD"))
        status, head, _ = line.answer(bodiless=True)
        assert (status, "connection: keep-alive" in head) == (200, True)
        line.send(GET.replace(b"Host", b"Connection: close\r\nHost"))
        assert "connection: close" in line.answer()[1]
        assert line.ends()
    with Line(service) as line:
        line.send(GET.replace(b"1.1", b"1.0"))
        assert line.answer()[2] == ALIVE
        assert line.ends()


def test_a_connection_that_rested_is_served_again(service: Running) -> None:
    with Line(service) as line:
        for pause, pieces in (
            (0.0, (GET,)),
            (1.5, (GET[:9], GET[9:])),
            (1.5, (GET,)),
            (0.2, (GET,)),
        ):
            time.sleep(pause)
            line.send(*pieces)
            assert line.answer()[2] == ALIVE


def test_a_connection_that_rests_too_long_is_closed(service: Running) -> None:
    with Line(service, seconds=20.0) as line:
        line.send(GET)
        line.answer()
        started = time.monotonic()
        assert line.ends()
        assert 3.0 < time.monotonic() - started < 15.0


def test_half_a_head_on_a_kept_connection_holds_no_thread(service: Running) -> None:
    with ExitStack() as held:
        for _ in range(4):  # twice as many as there are threads
            line = held.enter_context(Line(service))
            line.send(GET)
            line.answer()
            line.send(GET[:12])
        started = time.monotonic()
        assert service.call("GET", "/livez", timeout=10.0).status == 200
        assert time.monotonic() - started < 2.0


def test_busy_connections_starve_nobody(service: Running) -> None:
    """Twelve clients that ask without a pause, two threads: everybody gets a fair share."""
    ends = time.monotonic() + 3.0
    counts = [0] * 12

    def ask(number: int) -> None:
        with Line(service) as line:
            while time.monotonic() < ends:
                line.send(GET)
                line.answer()
                counts[number] += 1

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(counts))]
    for client in clients:
        client.start()
    time.sleep(0.5)
    waits = []
    while time.monotonic() < ends - 0.5:
        started = time.monotonic()
        assert service.call("GET", "/livez").status in (200, 429)  # the rate of one address
        waits.append(time.monotonic() - started)
    for client in clients:
        client.join()
    assert min(counts) > sum(counts) / len(counts) / 4, counts
    assert max(waits) < 1.0


def test_a_connection_that_only_waits_is_no_obstacle(service: Running) -> None:
    """Both threads may wait with a connection; a newcomer is answered before their wait ends."""
    with ExitStack() as held:
        lines = [held.enter_context(Line(service)) for _ in range(4)]
        waits = []
        for _ in range(5):
            for line in lines:
                line.send(GET)
                line.answer()
            started = time.monotonic()
            assert service.call("GET", "/livez").status in (200, 429), "answered, be it curtly"
            waits.append(time.monotonic() - started)
    assert sorted(waits)[2] < 0.7


def test_what_is_in_flight_when_the_service_stops_is_finished(tmp_path: Path) -> None:
    threads = {"CONTROLLER_WEB_THREADS": "4"}
    with running(tmp_path / "data", *ONE_WORKER, env=threads) as service, ExitStack() as held:
        head, body = events(service, 1)
        idle, asking = (held.enter_context(Line(service)) for _ in range(2))
        idle.send(GET)
        idle.answer()
        asking.send(head + body[:5])
        time.sleep(0.3)
        (worker,) = descendants(service.children()["web"])
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.2)
        asking.send(body[5:])
        idle.send(GET)
        status, text, _ = asking.answer()
        assert status in (200, 202)
        assert "connection: close" in text
        status, text, said = idle.answer()
        assert (status, said) == (200, ALIVE)
        assert "connection: close" in text
        assert asking.ends()
        assert idle.ends()
