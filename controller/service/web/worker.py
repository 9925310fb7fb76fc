"""A gunicorn worker that spends no thread on a request before its head is there.

gunicorn's threaded worker gives every connection a thread as soon as it is accepted, so a handful
of clients that send half a header line and wait would keep everybody else out. Here the main loop
collects the head; a thread takes over when it is complete, and a body has to arrive in time.

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
from functools import partial
from itertools import islice
from typing import Any, Final

from gunicorn.http.wsgi import Response, base_environ  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    STOP_KEEPALIVE_LINGER,
    ThreadWorker,
)

from controller.service.web.answers import Sending
from controller.service.web.connections import HEAD_END, Connection
from controller.service.web.crew import Crew
from controller.service.web.plain import Limits, PlainRequest, read_plain

HEAD_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
BEAT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.1
ROOM: Final = 50
FULL_SECONDS: Final = 1.0
FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class Worker(ThreadWorker):  # type: ignore[misc]
    """The threaded worker with patience in the main loop instead of in its threads."""

    pending_conns: deque[Connection]
    keepalived_conns: deque[Connection]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reading: dict[Any, float] = {}
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
        """SIGTERM: no thread waits for a next request any longer."""
        super().handle_exit(sig, frame)
        self.tpool.disperse()

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
        super().murder_keepalived(force)

    def murder_pending(self) -> None:
        """Close what sends no head in time, and stop reading from what sends no body in time."""
        now = time.monotonic()
        if self.alive and now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        super().murder_pending()
        for conn, deadline in self._reading.copy().items():
            if now > deadline:
                self._reading.pop(conn, None)
                _stop_reading(conn.sock)

    def _cap_keepalive(self, deadline: float) -> None:
        """A worker that stops waits as briefly for those that have not said anything yet."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            if not conn.head:
                conn.timeout = min(conn.timeout, deadline)
        self.pending_conns = deque(sorted(self.pending_conns, key=lambda conn: conn.timeout))

    # ------------------------------------------------------------ the main loop

    def _await_head(self, conn: Connection) -> None:
        self._wait_on(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._collect_head, conn))

    def _wait_on(self, conn: Connection) -> None:
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)

    def _collect_head(self, conn: Connection, client: socket.socket) -> None:
        try:
            piece = client.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        conn.head += piece
        if piece and not conn.is_complete:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if not conn.head:
            self.nr_conns -= 1
            conn.close()
            return
        self.tpool.add(conn)

    def _take_back(self, conn: Connection) -> None:
        """A thread gives a connection back: part of a head has come, or nothing."""
        if conn.head:
            self._await_head(conn)
            return
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        self.keepalived_conns.append(conn)
        on_readable = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _lose(self) -> None:
        self.nr_conns -= 1

    # ------------------------------------------------------------ the threads

    def _serve(self, conn: Connection) -> None:
        """Answer what is there; then wait with the connection, pass it on, or close it."""
        is_over = True
        try:
            is_over = self._answer_all(conn)
        finally:
            if is_over:
                try:
                    conn.close(graceful=True)
                finally:
                    self.method_queue.defer(self._lose)

    def _answer_all(self, conn: Connection) -> bool:
        """Answer while there is something; whether the connection is at its end."""
        while self._answer(conn):
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

    def _answer(self, conn: Connection) -> bool:
        """Answer one request; whether the connection may be kept."""
        request = self._plain(conn)
        return self._answer_any(conn) if request is None else self._answer_plain(conn, request)

    def _answer_any(self, conn: Connection) -> bool:
        """Let gunicorn read and answer; the body has to arrive within `READ_SECONDS`."""
        self._reading[conn] = time.monotonic() + READ_SECONDS
        try:
            conn.init()
            conn.data_ready = True
            conn.parser.unreader.unread(conn.head)
            conn.head = b""
            kept = bool(self.handle(conn))
            conn.head = conn.parser.unreader.take_buffered() if kept else b""
        finally:
            self._reading.pop(conn, None)
        return kept

    def _plain(self, conn: Connection) -> PlainRequest | None:
        """The request, its body read, if it is plain; else everything is left as it came."""
        head_end = conn.head.find(HEAD_END)
        if self._limits is None or head_end < 0:
            return None
        if conn.base is None:
            conn.base = self._base(conn)
        request = read_plain(conn.head, head_end, conn.base, self._limits)
        if request is None:
            return None
        ends = request.start + request.length
        if len(conn.head) < ends and not self._read_body(conn, ends):
            return None
        request.take_body(conn.head)
        conn.head = conn.head[ends:]
        return request

    def _read_body(self, conn: Connection, ends: int) -> bool:
        self._reading[conn] = time.monotonic() + READ_SECONDS
        try:
            while len(conn.head) < ends:
                piece = conn.sock.recv(ends - len(conn.head))
                if not piece:
                    return False
                conn.head += piece
        except OSError:
            return False
        finally:
            self._reading.pop(conn, None)
        return True

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


def _stop_reading(sock: socket.socket) -> None:
    """End the reading side alone: an answer that is being written goes on."""
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF):
            raise
