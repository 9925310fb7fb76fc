"""A gunicorn worker that spends no thread on a request before its head is there.

gunicorn's threaded worker gives every connection a thread as soon as it is accepted, so a handful
of clients that send half a header line and wait would keep everybody else out. Here the main loop
collects the head; a thread takes over when it is complete, and a body has to arrive in time.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

HEAD_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
MOST_HEAD: Final = 128 * 1024
HEAD_END: Final = b"\r\n\r\n"


class Connection(TConn):  # type: ignore[misc]
    """A connection with the part of a head that has come so far."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head = b""


class Worker(ThreadWorker):  # type: ignore[misc]
    """The threaded worker with patience in the main loop instead of in its threads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reading: dict[Any, float] = {}

    def accept(self, listener: socket.socket) -> None:
        """Take a connection in and wait for its first head."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        self._await_head(Connection(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """A kept-alive connection begins its next request."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await_head(conn)

    def handle(self, conn: Any) -> Any:
        """Serve one request; its body has to arrive within `READ_SECONDS`."""
        self._reading[conn] = time.monotonic() + READ_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def murder_pending(self) -> None:
        """Close what sends no head in time, and stop reading from what sends no body in time."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in tuple(self._reading.items()):
            if now > deadline:
                self._reading.pop(conn, None)
                _stop_reading(conn.sock)

    # ------------------------------------------------------------ heads

    def _await_head(self, conn: Any) -> None:
        conn.head = b""
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._collect_head, conn))

    def _collect_head(self, conn: Any, client: socket.socket) -> None:
        try:
            piece = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        conn.head += piece
        complete = HEAD_END in conn.head or len(conn.head) >= MOST_HEAD
        if piece and not complete:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if not conn.head:
            self.nr_conns -= 1
            conn.close()
            return
        conn.init()
        conn.sock.setblocking(True)
        conn.parser.unreader.unread(conn.head)
        conn.data_ready = True
        self.enqueue_req(conn)


def _stop_reading(sock: socket.socket) -> None:
    """End the reading side alone: an answer that is being written goes on."""
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF):
            raise
