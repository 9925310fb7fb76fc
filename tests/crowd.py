"""A crowd of streams that behaves as so many SDKs would: tickets, back-off, notes, and a clock.

One asyncio process instead of a thread a stream. How long to wait after a failure is the SDK's own
full jitter (`controller.sdk.chance`), when a stream counts as healthy and how long it may be silent
are the SDK's own figures; each stream asks web for its ticket and opens a new connection for it, as
the SDK does. What arrives is written down with `time.monotonic`, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from controller.sdk.chance import ceiling, chance
from controller.sdk.refresh import (
    HEALTHY_SECONDS,
    RULESET_PATH,
    STREAM_PATH,
    STREAM_SILENCE_SECONDS,
)
from controller.sdk.transport import TIMEOUT_SECONDS

HEAD_END = b"\r\n\r\n"


class Listening(asyncio.Protocol):
    """One open stream: its head, then its events, each with the moment it came."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._buffer = b""
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at = time.monotonic()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        self._buffer += data
        if not self.status.done():
            head, end, rest = self._buffer.partition(HEAD_END)
            if not end:
                return
            self._buffer = rest
            self.status.set_result(int(head.split(b" ", 2)[1]))
        *events, self._buffer = self._buffer.split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data:"):
                    self._member.hear(json.loads(line[5:])["version"], self.heard_at)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.status.done():
            self.status.set_result(0)
        if not self.ended.done():
            self.ended.set_result(None)


@dataclass(slots=True, eq=False)
class Member:
    """One SDK's stream and what it heard; `fetched` is the version of the ruleset it holds."""

    crowd: Crowd
    versions: list[int] = field(default_factory=list)
    wakes: int = 0
    opened_at: list[float] = field(default_factory=list)
    tickets: int = 0
    fetched: int = 0
    is_open: bool = False
    etag: str = ""

    def hear(self, version: int | None, at: float) -> None:
        """A note came; without a version it is a wake."""
        if version is None:
            self.wakes += 1
            return
        self.versions.append(version)
        self.crowd.arrivals.setdefault(version, []).append(at)
        if self.crowd.refetches:
            self.crowd.spawn(self._fetch(version))

    async def keep(self) -> None:
        """Listen for ever, as `Refresher._keep_listening` does."""
        failures = 0
        while True:
            started = time.monotonic()
            with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                await self._listen_once()
            self.is_open = False
            if time.monotonic() - started > HEALTHY_SECONDS:
                failures = 0
            failures += 1
            await asyncio.sleep(chance() * ceiling(failures))

    async def _listen_once(self) -> None:
        crowd = self.crowd
        status, headers, _ = await crowd.ask(STREAM_PATH, seconds=STREAM_SILENCE_SECONDS)
        if status != 307:
            crowd.refused[status] = crowd.refused.get(status, 0) + 1
            return
        self.tickets += 1
        target = urlsplit(headers["location"])
        host, port = target.hostname or "", target.port or 80
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            transport, listening = await loop.create_connection(lambda: Listening(self), host, port)
        try:
            head = f"GET {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n"
            transport.write(head.encode())
            async with asyncio.timeout(STREAM_SILENCE_SECONDS):
                status = await listening.status
            if status != 200:
                crowd.refused[status] = crowd.refused.get(status, 0) + 1
                return
            self.is_open = True
            self.opened_at.append(time.monotonic())
            await self._fetch(0)
            await self._until_silent(listening)
        finally:
            transport.abort()

    async def _fetch(self, wanted: int) -> None:
        """What an SDK does when its stream opens, and when a note names a version.

        On a new connection: web closes a kept one after five seconds, long before the next note.
        """
        known = (f'If-None-Match: "{self.etag}"',) if self.etag else ()
        status, headers, _ = await self.crowd.ask(RULESET_PATH, "Accept-Encoding: gzip", *known)
        if status not in {200, 304}:
            self.crowd.refused[status] = self.crowd.refused.get(status, 0) + 1
            return
        self.etag = headers["etag"].strip('"')
        self.crowd.fetched += 1
        self.fetched = int(headers["controller-ruleset-version"])
        if self.fetched >= wanted > 0:
            self.crowd.adopted.setdefault(wanted, []).append(time.monotonic())

    async def _until_silent(self, listening: Listening) -> None:
        while not listening.ended.done():
            left = listening.heard_at + STREAM_SILENCE_SECONDS - time.monotonic()
            if left <= 0:
                return
            await asyncio.wait([listening.ended], timeout=left)


class Crowd:
    """`size` streams of one service.

    Parameters
    ----------
    url, key : str
        The service's web address and a key with the scope `ruleset`.
    refetches : bool
        Whether each member fetches the ruleset on every note too, as SDKs do.

    Attributes
    ----------
    arrivals, adopted : dict
        By version: when each stream was told of it; when each member had fetched it.
    """

    def __init__(self, url: str, key: str, size: int, *, refetches: bool = False) -> None:
        self._web = urlsplit(url)
        self._key = key
        self.refetches = refetches
        self.members = [Member(self) for _ in range(size)]
        self.arrivals: dict[int, list[float]] = {}
        self.adopted: dict[int, list[float]] = {}
        self.refused: dict[int, int] = {}
        self.fetched = 0
        self._fetching: set[asyncio.Task[None]] = set()

    def spawn(self, fetch: Coroutine[Any, Any, None]) -> None:
        """Run a fetch beside the streams."""
        task = asyncio.create_task(_quietly(fetch))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    @property
    def open(self) -> int:
        """Streams that are open now."""
        return sum(member.is_open for member in self.members)

    @asynccontextmanager
    async def gathered(self, *, spread_seconds: float = 0.0) -> AsyncIterator[None]:
        """All of them listening; they leave at the end."""
        tasks = []
        for member in self.members:
            tasks.append(asyncio.create_task(member.keep()))
            await asyncio.sleep(spread_seconds / len(self.members))
        try:
            yield
        finally:
            tasks += self._fetching
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def all_open(self, seconds: float) -> None:
        """Wait until every stream is open.

        Raises
        ------
        TimeoutError
            If they are not in time.
        """
        async with asyncio.timeout(seconds):
            while self.open < len(self.members):  # noqa: ASYNC110 - the other side opens them
                await asyncio.sleep(0.02)

    async def ask(
        self, path: str, *lines: str, seconds: float = TIMEOUT_SECONDS
    ) -> tuple[int, dict[str, str], bytes]:
        """One GET of web on a connection of its own."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(self._web.hostname, self._web.port)
        try:
            head = (
                f"GET {path} HTTP/1.1",
                f"Host: {self._web.netloc}",
                f"Authorization: Bearer {self._key}",
                "Connection: close",
                *lines,
            )
            writer.write("\r\n".join((*head, "", "")).encode())
            async with asyncio.timeout(seconds):
                raw = await reader.read()
        finally:
            writer.transport.abort()
        first, _, body = raw.partition(HEAD_END)
        if not first:
            raise ConnectionResetError
        status, *named = first.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in named)
        return int(status.split(" ")[1]), {n.lower(): v for n, v in headers.items()}, body


async def _quietly(fetch: Coroutine[Any, Any, None]) -> None:
    with suppress(OSError, TimeoutError, ValueError):
        await fetch
