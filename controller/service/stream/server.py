"""The stream process: tells connected SDKs within milliseconds that there is a newer ruleset.

One asyncio loop, one subscription, no SQL. A stream carries version numbers only; the ruleset
itself is always fetched from web and checked by the SDK, so nothing here can make it apply
anything. Notes may be lost: SDKs poll as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import signal
from collections import defaultdict

from controller.errors import ControllerError, Unavailable
from controller.service.http.refusals import BadRequest
from controller.service.http.tickets import read_ticket
from controller.service.stream.request import MOST_HEAD, Head, read_head, refusal, respond
from controller.service.stream.runtime import Note, StreamRuntime

log = logging.getLogger(__name__)

STREAM_PATH = "/v1/ruleset/stream"
HEAD_SECONDS = 5.0
DRAIN_SECONDS = 0.5
MOST_DRAINED = 64
MOST_BUFFERED = 64 * 1024
MOST_GREETING = 1_000
RESUBSCRIBE_SECONDS = 0.5
WAKE = b'event: ruleset\ndata: {"version": null}\n\n'
HEARTBEAT = b": alive\n\n"

Writer = asyncio.StreamWriter


def serve(runtime: StreamRuntime) -> None:
    """Run until SIGTERM or Ctrl-C."""
    asyncio.run(Streams(runtime).run())


class Streams:
    """Every open stream of this process, by project."""

    def __init__(self, runtime: StreamRuntime) -> None:
        self._runtime = runtime
        self._open: defaultdict[str, set[Writer]] = defaultdict(set)
        self._greeting = 0
        self._subscribed = False
        self._told: dict[str, int] = {}
        self._stop = asyncio.Event()
        self.port = runtime.port
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError):  # not in a main thread
                loop.add_signal_handler(name, self.stop)
        server = await asyncio.start_server(
            self._meet, self._runtime.host, self._runtime.port, backlog=2048, limit=MOST_HEAD
        )
        self.port = server.sockets[0].getsockname()[1]
        log.info("stream_listening", extra={"port": self.port})
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._beat())]
        self.listening.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._dismiss()
        await asyncio.sleep(0)
        log.info("stream_stopped")

    def stop(self) -> None:
        """End every stream and return from `run`."""
        self._stop.set()

    @property
    def count(self) -> int:
        """Open streams."""
        return sum(map(len, self._open.values()))

    # ------------------------------------------------------------ notes out

    async def _follow(self) -> None:
        """Pass notes on for ever; after a lost subscription everybody is woken once."""
        while True:
            try:
                async for note in self._runtime.notes():
                    if not self._subscribed:
                        self._subscribed = True
                        self._tell_all(WAKE)
                    if note is not None:
                        self._pass_on(note)
            except Unavailable as error:
                log.warning("notes_lost", extra={"why": error.message})
            self._subscribed = False
            await asyncio.sleep(RESUBSCRIBE_SECONDS)

    def _pass_on(self, note: Note) -> None:
        """Tell a project's streams, once: notes come twice (the outbox repeats them) or late."""
        if note.version <= self._told.get(note.project, 0):
            return
        self._told[note.project] = note.version
        data = json.dumps({"version": note.version})
        line = f"event: ruleset\nid: {note.version}\ndata: {data}\n\n".encode()
        for writer in tuple(self._open.get(note.project, ())):
            self._write(writer, line)
        self._runtime.telemetry.count("stream_notes")

    def _tell_all(self, line: bytes) -> None:
        for writers in tuple(self._open.values()):
            for writer in tuple(writers):
                self._write(writer, line)

    def _write(self, writer: Writer, line: bytes) -> None:
        """Never wait for a reader: one that does not read is dropped and comes back."""
        if writer.transport.get_write_buffer_size() > MOST_BUFFERED:
            self._runtime.telemetry.count("stream_dropped")
            writer.transport.abort()
            return
        writer.write(line)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._runtime.heartbeat_seconds)
            self._tell_all(HEARTBEAT)

    def _dismiss(self) -> None:
        for writers in tuple(self._open.values()):
            for writer in tuple(writers):
                writer.write(_retry())
                writer.close()

    # ------------------------------------------------------------ streams in

    async def _meet(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        if self._greeting >= MOST_GREETING:
            writer.transport.abort()
            return
        self._greeting += 1
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await read_head(reader)
                project = await self._let_in(head, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        except asyncio.LimitOverrunError:
            respond(writer, *refusal(BadRequest("The request's head is too long.")))
            await _drained(reader)
            project = None
        except ControllerError as error:
            respond(writer, *refusal(error))
            project = None
        finally:
            self._greeting -= 1
        if project is not None:
            await self._hold(project, reader, writer)
        await _closed(writer)

    async def _let_in(self, head: Head, writer: Writer) -> str | None:
        """The project of an admitted stream; None where the request was answered here."""
        if head.path == "/livez":
            respond(writer, 200, {"status": "alive"})
        elif head.path == "/readyz":
            ready = {"status": "ready", "streams": self.count}
            if self._subscribed:
                respond(writer, 200, ready)
            else:
                respond(writer, *refusal(Unavailable("Not ready: no subscription to notes yet.")))
        elif head.path == "/metrics":
            self._runtime.telemetry.gauge("streams_open", self.count)
            respond(writer, 200, self._runtime.telemetry.exposition())
        elif head.path == STREAM_PATH:
            project = await self._project(head)
            if self.count < self._runtime.most_streams:
                return project
            respond(writer, *refusal(Unavailable("This process has as many streams as it can.")))
        else:
            respond(writer, 404, {"title": "There is no such address", "status": 404})
        return None

    async def _project(self, head: Head) -> str:
        if head.ticket is not None:
            return read_ticket(self._runtime.secret, head.ticket, now=self._runtime.clock())
        key = head.bearer()
        known = self._runtime.project_of_key
        project = await known(key) if known is not None else None
        if project is None:
            raise Unavailable(
                "This key was not checked lately: ask the service for /v1/ruleset first, or follow "
                "its redirect to the stream."
            )
        return project

    async def _hold(self, project: str, reader: asyncio.StreamReader, writer: Writer) -> None:
        """Keep one stream open until the client goes, or its time is over."""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        writer.write(_retry())
        self._open[project].add(writer)
        life = self._runtime.life_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads a crowd
        try:
            async with asyncio.timeout(life):
                while await reader.read(1024):
                    pass
        except TimeoutError:
            writer.write(_retry())
        except OSError:
            writer.transport.abort()
        finally:
            self._open[project].discard(writer)
            if not self._open[project]:
                del self._open[project]


def _retry() -> bytes:
    """How long a client should wait before it connects again: a crowd is spread over seconds."""
    return f"retry: {random.randint(500, 5000)}\n\n".encode()  # noqa: S311 - no secret


async def _drained(reader: asyncio.StreamReader) -> None:
    """Take what still comes: a connection closed over unread bytes loses its answer with them."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            for _ in range(MOST_DRAINED):
                if not await reader.read(MOST_HEAD):
                    return


async def _closed(writer: Writer) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()
