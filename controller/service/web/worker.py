"""A gunicorn worker that spends no thread on a request before the whole of it is there.

gunicorn's threaded worker gives every connection a thread as soon as it is accepted, so a handful
of clients that send half a header line and wait would keep everybody else out. Here the main loop
collects the head and the body; a thread takes over when they are complete. A body that does not
arrive in time is cut off: a thread gets the head, and refuses the request.

A thread that has answered keeps the connection while nobody else needs the thread, so a client that
asks again costs neither a turn of the main loop nor a hand-over. Requests that can be read in one
way only (`plain`) are read and answered here; every other is gunicorn's.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any, Final

from gunicorn.http.wsgi import Response, base_environ  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    STOP_KEEPALIVE_LINGER,
    ThreadWorker,
)

from controller.service.web.answers import Sending
from controller.service.web.bodies import MOST_COLLECTED
from controller.service.web.connections import HEAD_END, Connection, Replayed
from controller.service.web.crew import Crew
from controller.service.web.plain import Limits, PlainRequest, read_plain

HEAD_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
BEAT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.1
ROOM: Final = 50
PART_SECONDS: Final = 2.0
MOST_DRAINED: Final = 64 * 1024
FULL_SECONDS: Final = 1.0
UNFINISHED_SECONDS: Final = 5.0
"""So long a process that stops waits for the rest of a request: less than its own grace, or what
it holds in memory would not be written."""
MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of incomplete requests in one process; beyond, the largest is cut off."""
FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class Worker(ThreadWorker):  # type: ignore[misc]
    """The threaded worker with patience in the main loop instead of in its threads."""

    pending_conns: deque[Connection]
    keepalived_conns: deque[Connection]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reading: dict[Any, float] = {}
        self._uploads: dict[Connection, float] = {}  # in order of their ends
        self._held = 0
        self._parting: dict[Connection, float] = {}
        self._beat_at = self._parent_seen_at = self._looked_at = self._full_until = 0.0
        self._shared: dict[str, Any] = {**base_environ(self.cfg), "wsgi.multithread": True}
        self._limits = _plain_limits(self.cfg)

    def get_thread_pool(self) -> Crew:
        """The threads that serve."""
        return Crew(self.cfg.threads, self._serve)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection in and wait for its first head."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in FULL:
                self._full_until = time.monotonic() + FULL_SECONDS
                self.set_accept_enabled(False)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        self._await_head(Connection(self.cfg, client, address, listener.getsockname()))

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take no connection in while the system has no room for one."""
        super().set_accept_enabled(enabled and time.monotonic() >= self._full_until)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """A kept-alive connection begins its next request."""
        self.keepalived_conns.remove(conn)
        self._wait_on(conn)
        self.poller.modify(client, selectors.EVENT_READ, partial(self._collect_head, conn))
        self._collect_head(conn, client)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: no thread waits for a next request, or for something to happen, any longer."""
        super().handle_exit(sig, frame)
        self.tpool.disperse()
        dismiss = getattr(self.app, "dismiss", None)
        if dismiss is not None:
            dismiss()

    # ------------------------------------------------------------ the clock

    def notify(self) -> None:
        """Tell the master once a second, not once a turn, that this process turns."""
        now = time.monotonic()
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat_at = now
            super().notify()

    def is_parent_alive(self) -> bool:
        """Look once a second."""
        now = time.monotonic()
        if now - self._parent_seen_at < BEAT_SECONDS:
            return True
        self._parent_seen_at = now
        return bool(super().is_parent_alive())

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what was idle for too long; where no other has room, what was idle longest."""
        if not force and self.alive and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        if self.nr_conns >= self.worker_connections:
            for conn in islice(self.keepalived_conns or self.pending_conns, ROOM):
                conn.timeout = 0.0
            if not (self.keepalived_conns or self.pending_conns):
                self._cut_uploads(list(islice(self._uploads, ROOM)))
            self._end_all(list(islice(self._parting, ROOM)))
        super().murder_keepalived(force)

    def murder_pending(self) -> None:
        """Close what sends no head in time, and cut off what sends no body in time."""
        now = time.monotonic()
        if self.alive and now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        super().murder_pending()
        self._cut_uploads([conn for conn, ends in self._uploads.items() if now > ends])
        self._end_all([conn for conn, ends in self._parting.items() if now > ends])
        for conn, deadline in self._reading.copy().items():
            if now > deadline:
                self._reading.pop(conn, None)
                _stop_reading(conn.sock)

    def _cap_keepalive(self, deadline: float) -> None:
        """A worker that stops waits as briefly for those that have not said anything yet."""
        super()._cap_keepalive(deadline)
        latest = time.monotonic() + UNFINISHED_SECONDS
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, latest if conn.head else deadline)
        self._uploads = {conn: min(ends, latest) for conn, ends in self._uploads.items()}
        self.pending_conns = deque(sorted(self.pending_conns, key=lambda conn: conn.timeout))

    # ------------------------------------------------------------ the main loop

    def _await_head(self, conn: Connection) -> None:
        self._wait_on(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._collect_head, conn))

    def _wait_on(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)

    def _collect_head(self, conn: Connection, client: socket.socket) -> None:
        piece = _received(client)
        if piece is None:
            return
        conn.head += piece
        if piece and not conn.is_complete:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if not conn.head:
            self.nr_conns -= 1
            conn.close()
            return
        if piece:
            self._await_body(conn)
        else:
            self._hand_over(conn, cut=True)

    def _await_body(self, conn: Connection, *, is_short: bool = False) -> None:
        """Hand a complete request over; collect the body of any other.

        Parameters
        ----------
        is_short : bool
            A thread has found that more has to come.
        """
        body = conn.announced
        if body is None or body.has_come(conn.head):
            self._hand_over(conn, cut=is_short or (body is not None and body.is_endless))
            return
        if body.is_asked_for and len(conn.head) == body.start and not conn.tell_to_go_on():
            self._hand_over(conn, cut=True)
            return
        conn.body, conn.coming, conn.head = body, bytearray(conn.head), b""
        self._held += len(conn.coming)
        self._uploads[conn] = time.monotonic() + READ_SECONDS
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._collect_body, conn))

    def _collect_body(self, conn: Connection, client: socket.socket) -> None:
        piece = _received(client)
        if piece is None:
            return
        conn.coming += piece
        self._held += len(piece)
        assert conn.body is not None
        if conn.body.has_come(conn.coming):
            self._begin(conn, cut=conn.body.is_endless)
        elif not piece or len(conn.coming) > MOST_COLLECTED:
            self._begin(conn, cut=True)
        elif self._held > MOST_HELD:
            self._begin(max(self._uploads, key=lambda one: len(one.coming)), cut=True)

    def _begin(self, conn: Connection, *, cut: bool) -> None:
        """Give what was collected to a thread; of what is cut the head, which it refuses."""
        assert conn.body is not None
        del self._uploads[conn]
        self.poller.unregister(conn.sock)
        self._held -= len(conn.coming)
        conn.head = bytes(conn.coming[: conn.body.start] if cut else conn.coming)
        conn.body, conn.coming = None, bytearray()
        self._hand_over(conn, cut=cut)

    def _hand_over(self, conn: Connection, *, cut: bool) -> None:
        conn.cut = cut
        if cut:
            _stop_reading(conn.sock)
        self.tpool.add(conn)

    def _cut_uploads(self, conns: Iterable[Connection]) -> None:
        for conn in conns:
            self._begin(conn, cut=True)

    def _take_back(self, conn: Connection) -> None:
        """A thread gives a connection back: part of a request has come, or nothing."""
        if conn.is_complete:
            self._await_body(conn, is_short=True)
            return
        if conn.head:
            self._await_head(conn)
            return
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        self.keepalived_conns.append(conn)
        on_readable = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _part(self, conn: Connection) -> None:
        """Close once the client has, or has had time to read.

        To close before could cost it the answer's end (RFC 9112, section 9.6).
        """
        self._parting[conn] = time.monotonic() + PART_SECONDS
        try:
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (ValueError, OSError):
            self._lose(conn)  # it was closed by whoever broke off

    def _drain(self, conn: Connection, client: socket.socket) -> None:
        piece = _received(client)
        if piece is None:
            return
        conn.drained += len(piece)
        if not piece or conn.drained > MOST_DRAINED:
            self._end_all([conn])

    def _end_all(self, conns: Iterable[Connection]) -> None:
        for conn in conns:
            self.poller.unregister(conn.sock)
            self._lose(conn)

    def _lose(self, conn: Connection) -> None:
        self._parting.pop(conn, None)
        self.nr_conns -= 1
        conn.close()

    # ------------------------------------------------------------ the threads

    def _serve(self, conn: Connection) -> None:
        """Answer what is there; then wait with the connection, pass it on, or close it."""
        is_over = True
        try:
            is_over = self._answer_all(conn)
        finally:
            if is_over:
                conn.end_answer()
                self.method_queue.defer(self._part, conn)

    def _answer_all(self, conn: Connection) -> bool:
        """Answer while there is something; whether the connection is at its end."""
        while (kept := self._answer(conn)) is not False:
            if kept is None:
                self.method_queue.defer(self._take_back, conn)
                return False
            if conn.is_complete:  # sent ahead; but others may have been waiting
                if self.tpool.is_wanted:
                    self.tpool.add(conn)
                    return False
            elif not self._receive_next(conn):
                self.method_queue.defer(self._take_back, conn)
                return False
        return True

    def _receive_next(self, conn: Connection) -> bool:
        """Wait for the next head; False where the main loop has to."""
        if conn.head:
            return False
        if conn.poll is None:
            conn.poll = self.tpool.poll_of(conn.sock.fileno())
        if not self.tpool.stay(conn.poll):
            return False
        try:
            conn.head = conn.sock.recv(65536)
        except OSError:
            conn.head = b""
        return conn.is_complete

    def _answer(self, conn: Connection) -> bool | None:
        """Answer one request; whether the connection may be kept, None where it has to come yet."""
        request = self._plain(conn)
        if request is None:
            return self._answer_any(conn)
        if request.body is None:
            return None
        return self._answer_plain(conn, request)

    def _answer_any(self, conn: Connection) -> bool | None:
        """Let gunicorn read and answer; None where the main loop has to see to the body first."""
        body = None if conn.cut else conn.announced
        if body is not None and (not body.has_come(conn.head) or body.is_endless):
            return None
        conn.cut |= body is not None and body.is_too_large
        self._reading[conn] = time.monotonic() + READ_SECONDS
        try:
            conn.init()
            conn.data_ready = True
            unreader = conn.parser.unreader
            unreader.sock = replayed = Replayed(conn.head, conn.sock)
            conn.head = b""
            kept = bool(self.handle(conn))
            conn.head = unreader.take_buffered() + replayed.rest if kept else b""
        finally:
            self._reading.pop(conn, None)
        return kept

    def _plain(self, conn: Connection) -> PlainRequest | None:
        """The request, with its body if that has come, if it is plain; else all is left there."""
        head_end = conn.head.find(HEAD_END)
        if self._limits is None or head_end < 0:
            return None
        if conn.base is None:
            conn.base = self._base(conn)
        request = read_plain(conn.head, head_end, conn.base, self._limits)
        if request is None:
            return None
        ends = request.start + request.length
        if len(conn.head) < ends:
            return None if conn.cut else request
        request.take_body(conn.head)
        conn.head = conn.head[ends:]
        return request

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Nobody waits for the rest of a body that was refused."""
        return not conn.cut and bool(super()._keepalive_after(conn, keepalive))

    def _base(self, conn: Connection) -> dict[str, Any]:
        """What the environment of every plain request of a connection holds."""
        return {
            **self._shared,
            "gunicorn.socket": conn.sock,
            "wsgi.url_scheme": "http",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": conn.client[0],
            "REMOTE_PORT": str(conn.client[1]),
            "SERVER_NAME": conn.server[0],
            "SERVER_PORT": str(conn.server[1]),
            "SCRIPT_NAME": "",
        }

    def _answer_plain(self, conn: Connection, request: PlainRequest) -> bool:
        closes = request.closes or not self.alive
        closes = closes or len(self.keepalived_conns) >= self.max_keepalived
        make = partial(Response, request, conn.sock, self.cfg)
        sending = Sending(request, conn.sock, make, closes=closes)
        try:
            return sending.send(self.wsgi)
        except (Exception, SystemExit) as error:
            if not sending.begun:
                self.handle_error(request, conn.sock, conn.client, error)
            elif not (isinstance(error, OSError) and error.errno in GONE):
                self.log.exception("Error handling request")
        return False


def _plain_limits(cfg: Any) -> Limits | None:
    """What plain requests are held to; None where gunicorn is told to read requests otherwise."""
    otherwise = (
        cfg.is_ssl,
        cfg.forwarded_allow_ips,
        cfg.proxy_protocol != "off",
        cfg.header_map != "drop",
        cfg.max_requests,
        os.environ.get("SCRIPT_NAME"),
    )
    if any(otherwise):
        return None
    return Limits(
        line=cfg.limit_request_line,
        field=cfg.limit_request_field_size,
        fields=cfg.limit_request_fields,
    )


def _received(client: socket.socket) -> bytes | None:
    """What has come; None where nothing has yet, nothing where the other side has ended."""
    try:
        return client.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _stop_reading(sock: socket.socket) -> None:
    """End the reading side alone: an answer that is being written goes on."""
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF):
            raise
