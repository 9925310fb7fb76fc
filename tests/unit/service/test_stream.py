"""The stream process over a real Valkey: notes out at once, and nobody in by guessing."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from controller.service.http.tickets import sign_ticket
from controller.service.stream.runtime import StreamRuntime
from controller.service.stream.server import STREAM_PATH, Streams
from controller.storage.redis.connection import connect
from controller.storage.redis.embedded import EmbeddedValkey
from controller.storage.redis.notes import RedisNotes, RulesetCopy, follow_all
from controller.telemetry import Telemetry
from tests.loops import run_apart

HOST = "Host: 127.0.0.1"
SECRET = "a secret that web and stream share, long enough"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def streaming(valkey: EmbeddedValkey, **options: Any) -> AsyncIterator[Streams]:
    client = Redis.from_url(valkey.url)
    streams = Streams(
        StreamRuntime(
            **{
                "host": "127.0.0.1",
                "port": 0,
                "secret": SECRET,
                "notes": lambda: follow_all(client, namespace="n", wait_seconds=0.05),
                "telemetry": Telemetry(),
                **options,
            }
        )
    )
    running = asyncio.create_task(streams.run())
    await streams.listening.wait()
    try:
        async with asyncio.timeout(30):
            while (await ask(streams, "/readyz"))[0] != 200:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.02)
            yield streams
    finally:
        streams.stop()
        await running
        await client.aclose()


async def ask(streams: Streams, target: str, *lines: str, method: str = "GET") -> tuple[int, bytes]:
    """One request; its status and everything until the end."""
    reader, writer = await open_line(streams, target, *lines, method=method)
    try:
        raw = await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


async def open_line(
    streams: Streams, target: str, *lines: str, method: str = "GET"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", streams.port)
    writer.write("\r\n".join((f"{method} {target} HTTP/1.1", HOST, *lines, "", "")).encode())
    await writer.drain()
    return reader, writer


class Listener:
    """One open stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, streams: Streams, project: str = "default") -> Listener:
        ticket = sign_ticket(SECRET, project, now=time.time())
        listener = cls(*await open_line(streams, f"{STREAM_PATH}?ticket={ticket}"))
        head = await listener.reader.readuntil(b"\r\n\r\n")
        assert b" 200 OK" in head
        assert b"text/event-stream" in head
        assert b"retry: " in await listener.reader.readline()
        return listener

    async def version(self) -> int:
        while True:
            line = await self.reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data:"):
                return int(json.loads(line[5:])["version"] or 0)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


def publish(valkey: EmbeddedValkey, version: int, project: str = "default") -> None:
    client = connect(valkey.url, connect_seconds=2.0, answer_seconds=2.0)
    RedisNotes(client, namespace="n").publish(
        project, RulesetCopy(version=version, etag="0" * 64, body=b"{}")
    )
    client.close()


def test_a_note_reaches_its_project_and_no_other(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with streaming(valkey) as streams:
            mine = [await Listener.open(streams) for _ in range(20)]
            other = await Listener.open(streams, "another")
            publish(valkey, 100)
            publish(valkey, 200, "another")
            assert [await one.version() for one in mine] == [100] * 20
            assert await other.version() == 200
            for one in (*mine, other):
                await one.close()

    run_apart(story())


def test_streams_that_came_and_went_leave_nothing_behind(valkey: EmbeddedValkey) -> None:
    """Counts what is alive, not memory: an allocator may keep what Python gave back."""

    async def story() -> None:
        async with streaming(valkey) as streams:
            counts = [await _come_and_go(streams, f"round-{number}", 100) for number in range(5)]
        assert counts[-1] - counts[1] < 100, f"300 streams leave something: {counts}"

    run_apart(story())


async def _come_and_go(streams: Streams, name: str, size: int) -> int:
    """Objects that are alive after so many streams, each of a project of its own, have gone."""
    listeners = [await Listener.open(streams, f"{name}-{number}") for number in range(size)]
    assert streams.count == size
    for listener in listeners:
        await listener.close()
    async with asyncio.timeout(10):
        while streams.count:  # noqa: ASYNC110 - the other side notices
            await asyncio.sleep(0.01)
    del listener, listeners
    await asyncio.sleep(0.05)
    gc.collect()
    return len(gc.get_objects())


def test_a_repeated_or_older_note_is_not_passed_on(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        client = connect(valkey.url, connect_seconds=2.0, answer_seconds=2.0)
        async with streaming(valkey) as streams:
            listener = await Listener.open(streams, "gated")
            for version in (700, 700, 650, 701):
                client.publish("ruleset-note:n:gated", f"{version} {'0' * 64}")
            assert [await listener.version(), await listener.version()] == [700, 701]
            await listener.close()
        client.close()

    run_apart(story())


@pytest.mark.parametrize(
    ("target", "lines", "status"),
    [
        (STREAM_PATH, (), 401),
        (f"{STREAM_PATH}?ticket=", (), 401),
        (f"{STREAM_PATH}?ticket=default~9999999999~00", (), 401),
        (f"{STREAM_PATH}?ticket=" + sign_ticket("another secret" * 3, "default", now=1e9), (), 401),
        (f"{STREAM_PATH}?ticket=" + sign_ticket(SECRET, "default", now=1e9), (), 401),
        (STREAM_PATH, ("Authorization: Basic x",), 401),
        (STREAM_PATH, ("Authorization: Bearer rc_abcd_aaaaaaaaaaaaaaaaaaaa",), 503),
        ("/", (), 404),
        ("/v1/slots", (), 404),
        (STREAM_PATH, ("broken header",), 400),
        (STREAM_PATH, tuple(f"h{n}: x" for n in range(200)), 400),
    ],
)
def test_nobody_comes_in_without_a_fresh_ticket(
    valkey: EmbeddedValkey, target: str, lines: tuple[str, ...], status: int
) -> None:
    async def story() -> None:
        async with streaming(valkey) as streams:
            got, body = await ask(streams, target, *lines)
            assert got == status, body
            assert streams.count == 0

    run_apart(story())


def test_only_get_is_spoken(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with streaming(valkey) as streams:
            assert (await ask(streams, STREAM_PATH, method="POST"))[0] == 405

    run_apart(story())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 101 + b"\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ],
    ids=["no host", "two hosts", "long", "many lines", "1.0", "plain"],
)
def test_every_head_gets_an_answer(valkey: EmbeddedValkey, head: bytes, status: int) -> None:
    async def story() -> None:
        async with streaming(valkey) as streams:
            reader, writer = await asyncio.open_connection("127.0.0.1", streams.port)
            writer.write(head)
            answer = await reader.read()
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            writer.close()

    run_apart(story())


def test_noise_ends_the_connection_and_not_the_process(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with streaming(valkey) as streams:
            for noise in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"x" * 100_000, b"\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", streams.port)
                with suppress(OSError):
                    writer.write(noise)
                    writer.write_eof()
                    await reader.read()
                writer.close()
            assert (await ask(streams, "/livez"))[0] == 200

    run_apart(story())


def test_a_silent_caller_is_shown_the_door(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.service.stream.server.HEAD_SECONDS", 0.2)

    async def story() -> None:
        async with streaming(valkey) as streams:
            reader, writer = await asyncio.open_connection("127.0.0.1", streams.port)
            writer.write(b"GET /livez")
            with suppress(OSError):
                assert await reader.read() == b""
            writer.close()

    run_apart(story())


def test_beyond_the_cap_a_stream_is_told_to_return(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with streaming(valkey, most_streams=2) as streams:
            held = [await Listener.open(streams) for _ in range(2)]
            ticket = sign_ticket(SECRET, "default", now=time.time())
            status, _ = await ask(streams, f"{STREAM_PATH}?ticket={ticket}")
            assert status == 503
            await held[0].close()
            async with asyncio.timeout(5):
                while streams.count > 1:  # noqa: ASYNC110 - another task closes it
                    await asyncio.sleep(0.01)
            await (await Listener.open(streams)).close()
            await held[1].close()

    run_apart(story())


def test_a_stream_is_kept_alive_and_ends_in_time(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with streaming(valkey, heartbeat_seconds=0.05, life_seconds=0.4) as streams:
            listener = await Listener.open(streams)
            rest = await listener.reader.read()
            assert rest.count(b": alive") >= 2
            assert rest.rstrip().splitlines()[-1].startswith(b"retry: ")
            assert streams.count == 0
            await listener.close()

    run_apart(story())


def test_after_a_lost_subscription_everybody_is_woken(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path / "valkey")
    first.start()

    async def story() -> None:
        async with streaming(first) as streams:
            listener = await Listener.open(streams)
            pid = first.pid
            assert pid is not None
            first._process.kill()  # type: ignore[union-attr]
            first._process.wait()  # type: ignore[union-attr]
            first.start()
            async with asyncio.timeout(20):
                assert await listener.version() == 0, "a wake names no version"
            publish(first, 300)
            assert await listener.version() == 300
            await listener.close()

    try:
        run_apart(story())
    finally:
        first.stop()
