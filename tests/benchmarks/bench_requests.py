"""What one request costs: processor time of the web processes, read from /proc.

The service runs as `controller up` starts it, with two web processes. Four kept connections of this
process ask one after the other (`closed`); or another process offers 500 requests a second on 32
connections whatever the answers do (`paced`). Beside them, in the same run, the floors: gunicorn's
own threaded worker and ours around an application that says hello, with the same settings.

    python -m tests.benchmarks.bench_requests [--requests 6000] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.hello import BARE, OURS, greeting
from tests.benchmarks.load import Load, Target, ofrep
from tests.benchmarks.stage import BUSY, SWITCHED, TICK, Stage, load_average, settle, staged
from tests.processes import descendants

CONNECTIONS = 4
PACED_RATE, PACED_SECONDS = 500.0, 8.0
BATCH = 500
OFREP_BAR_MS, ASSIGN_BAR_MS = 0.25, 0.5

Body = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One kind of request; `body` is made from a unit.

    `again` asks for units that were asked for before, so that no exposure is left to be written.
    """

    name: str
    path: str
    body: Body
    bar: float | None = None
    again: bool = True
    share: float = 1.0


def flag(unit: str) -> object:
    """An OFREP evaluation of one unit."""
    return {"context": {"targetingKey": unit}}


def question(slot: str) -> Body:
    """The body of `/v1/assign`."""
    return lambda unit: {"slot": slot, "unit": unit}


def questions(slot: str) -> Body:
    """The body of `/v1/assign/batch`."""
    return lambda unit: {"requests": [{"slot": slot, "unit": f"{unit}-{n}"} for n in range(BATCH)]}


EVALUATE = "/ofrep/v1/evaluate/flags/"
ASKED = (
    Asking(name="OFREP, slot at rest", path=EVALUATE + SWITCHED, body=flag, bar=OFREP_BAR_MS),
    Asking(name="OFREP, enrolled unit, one pin round trip", path=EVALUATE + BUSY, body=flag),
    Asking(
        name="OFREP, enrolled unit's first: pin and exposure written",
        path=EVALUATE + BUSY,
        body=flag,
        again=False,
    ),
    Asking(name="/v1/assign, champion", path="/v1/assign", body=question(SWITCHED)),
    Asking(
        name="/v1/assign, one pin round trip",
        path="/v1/assign",
        body=question(BUSY),
        bar=ASSIGN_BAR_MS,
    ),
    Asking(
        name="/v1/assign, a unit's first: pin and exposure written",
        path="/v1/assign",
        body=question(BUSY),
        again=False,
    ),
    Asking(
        name=f"/v1/assign/batch, {BATCH} units, the whole request",
        path="/v1/assign/batch",
        body=questions(SWITCHED),
        share=0.02,
    ),
)
HELLO = Asking(name="hello", path="/hello", body=flag)


@contextmanager
def kept_lines(port: int) -> Iterator[list[socket.socket]]:
    """The connections; each stays with the process that accepted it."""
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    try:
        yield lines
    finally:
        for line in lines:
            line.close()


def ask_all(lines: list[socket.socket], key: str, asking: Asking, count: int, mark: str) -> None:
    """`count` requests over the kept connections, each waiting for its answer."""

    done: list[int] = []

    def one(number: int, line: socket.socket) -> None:
        for n in range(count // len(lines)):
            line.sendall(_request(key, asking, f"{mark}-{number}-{n}"))
            status, _ = _answer(line)
            assert status == 200, status
        done.append(number)
        while len(done) < len(lines):  # a connection that rests for too long is closed
            time.sleep(1.0)
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            _answer(line)

    with ThreadPoolExecutor(len(lines)) as threads:
        list(threads.map(one, range(len(lines)), lines))


def _request(key: str, asking: Asking, unit: str) -> bytes:
    body = json.dumps(asking.body(unit)).encode()
    head = (
        f"POST {asking.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        f"User-Agent: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _answer(line: socket.socket) -> tuple[int, bytes]:
    said = b""
    while (end := said.find(b"\r\n\r\n")) < 0:
        said += _some(line)
    head, body = said[:end], said[end + 4 :]
    length = next(
        int(field[15:]) for field in head.split(b"\r\n") if field.lower().startswith(b"content-le")
    )
    while len(body) < length:
        body += _some(line)
    return int(head[9:12]), body


def _some(line: socket.socket) -> bytes:
    piece = line.recv(262144)
    assert piece, "the connection was closed"
    return piece


@dataclass(slots=True)
class Meter:
    """Takes the processor time of some processes and prints it per request."""

    requests: int
    floor_ms: float = 0.0

    def closed(self, pid: int, port: int, key: str, asking: Asking, name: str) -> float:
        """Milliseconds per request, asked one after the other on four connections."""
        count = max(CONNECTIONS, int(self.requests * asking.share))
        with kept_lines(port) as lines:
            # A process remembers whom it exposed: the same units come to it again.
            ask_all(lines, key, asking, count, asking.name)
            settle()  # the rate limit's bucket fills again, and what was begun comes to rest
            begun, started = _seconds(pid), time.monotonic()
            ask_all(lines, key, asking, count, asking.name + ("" if asking.again else "'"))
            return self._say(name, _seconds(pid) - begun, count, time.monotonic() - started)

    def paced(self, pid: int, target: Target, name: str) -> None:
        """The same at a fixed rate, where every connection rests between its requests."""
        with Load(target, PACED_RATE) as load:
            settle()
            begun, started = _seconds(pid), time.monotonic()
            time.sleep(PACED_SECONDS)
            used, took = _seconds(pid) - begun, time.monotonic() - started
            asked = load.stop()
        assert not asked.refused, asked
        self._say(f"{name}, paced", used, int(asked.rate * took), took)

    def _say(self, name: str, used: float, count: int, took: float) -> float:
        each = 1000 * used / count
        beside = f"{each / self.floor_ms:5.2f} x the bare floor" if self.floor_ms else ""
        print(
            f"{name:<58} {each:6.3f} ms  {beside}  ({count / took:5.0f}/s, load {load_average()})",
            flush=True,
        )
        return each


def _seconds(pid: int) -> float:
    """User and system time of a process and those below it."""
    total = 0
    for one in (pid, *descendants(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def idle(stage: Stage) -> None:
    """What the two processes use while nobody asks anything."""
    settle()
    begun = stage.processor_seconds("web")
    time.sleep(PACED_SECONDS)
    each = 1000 * (stage.processor_seconds("web") - begun) / PACED_SECONDS
    print(f"{'the service, nobody asks':<58} {each:6.1f} ms a second  (load {load_average()})")


def floors(meter: Meter) -> None:
    """gunicorn's worker, then ours, around hello."""
    for worker, name in ((BARE, "bare gunicorn, hello"), (OURS, "our worker, hello")):
        with greeting(worker) as (port, process):
            each = meter.closed(process.pid, port, "rc_none_none", HELLO, name)
            meter.floor_ms = meter.floor_ms or each
            meter.paced(process.pid, Target(port=port, key="-", path="/hello", body="{}"), name)


def service(meter: Meter, stage: Stage, only: list[str]) -> list[str]:
    """Everything that was asked for; which bars were missed."""
    missed = []
    pid = stage.up.children()["web"]
    for asking in ASKED:
        if only and not any(word in asking.name for word in only):
            continue
        each = meter.closed(pid, stage.port, stage.key, asking, asking.name)
        if asking.bar is not None and each > asking.bar:
            missed.append(f"{asking.name}: {each:.3f} ms, bar {asking.bar} ms")
    if not only:
        idle(stage)
        meter.paced(pid, ofrep(stage.port, stage.key, SWITCHED), ASKED[0].name)
    return missed


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> int:
    """0 where both bars are kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    meter = Meter(requests=options.requests)
    floors(meter)
    with _folder() as folder, staged(folder) as stage:
        missed = service(meter, stage, options.only)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
