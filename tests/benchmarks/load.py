"""Requests at a fixed rate from a process of its own, however the service answers.

An open loop: the next request is due when the clock says so, not when the last answer came, so a
service that stalls is seen as late answers and not as fewer questions. Latency counts from the
moment a request was due.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

LINES = 32
WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a load did: answers a second, how many were no 200, milliseconds from due to answer."""

    rate: float
    refused: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked: `{unit}` in path and body is replaced by a fresh unit each time."""

    port: int
    key: str
    path: str
    body: str
    lines: int = LINES

    def request(self, number: int) -> bytes:
        """The bytes of one request."""
        body = self.body.replace("{unit}", f"unit-{number:07d}").encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(slots=True)
class _Tally:
    latencies: list[float] = field(default_factory=list)
    refused: int = 0


class Load:
    """A running load; `stop` ends it and says what it was."""

    def __init__(self, target: Target, per_second: float) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_run, args=(theirs, target, per_second), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(WAIT_SECONDS)

    def stop(self) -> Asked:
        """End it."""
        self._pipe.send("stop")
        asked: Asked = self._pipe.recv()
        return asked


def _run(pipe: Connection, target: Target, per_second: float) -> None:
    pipe.send("ready")
    pipe.send(asyncio.run(_offer(pipe, target, per_second)))


async def _offer(pipe: Connection, target: Target, per_second: float) -> Asked:
    tally, due = _Tally(), asyncio.Queue[tuple[int, float]]()
    lines = [asyncio.create_task(_line(target, due, tally)) for _ in range(target.lines)]
    started, number = time.monotonic(), 0
    while not pipe.poll():
        now = time.monotonic()
        while started + number / per_second <= now:
            due.put_nowait((number, started + number / per_second))
            number += 1
        await asyncio.sleep(0.002)
    took = time.monotonic() - started
    for line in lines:
        line.cancel()
    await asyncio.gather(*lines, return_exceptions=True)
    ordered = sorted(tally.latencies) or [float("nan")]
    return Asked(
        rate=len(tally.latencies) / took,
        refused=tally.refused,
        p50=1000 * ordered[len(ordered) // 2],
        p99=1000 * ordered[int(0.99 * len(ordered))],
    )


async def _line(target: Target, due: asyncio.Queue[tuple[int, float]], tally: _Tally) -> None:
    """One kept connection, opened again when it is lost."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            try:
                while True:
                    number, moment = await due.get()
                    writer.write(target.request(number))
                    status = await _answer(reader)
                    tally.latencies.append(time.monotonic() - moment)
                    tally.refused += status != 200
            finally:
                writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def assignment(port: int, key: str, slot: str) -> Target:
    """`POST /v1/assign`, a new unit each time: its pin and its exposure are written."""
    body = json.dumps({"slot": slot, "unit": "{unit}"})
    return Target(port=port, key=key, path="/v1/assign", body=body)


def ofrep(port: int, key: str, slot: str) -> Target:
    """OFREP for one flag."""
    body = json.dumps({"context": {"targetingKey": "{unit}"}})
    return Target(port=port, key=key, path=f"/ofrep/v1/evaluate/flags/{slot}", body=body)
