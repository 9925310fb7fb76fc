"""A client's connection: what has come on it, and how long an answer may take to leave."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Any, Final

from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

MOST_HEAD: Final = 128 * 1024
HEAD_END: Final = b"\r\n\r\n"
SEND_SECONDS: Final = 20.0
"""For so long may a client take nothing of what is sent."""
SLOWEST: Final = 64 * 1024
"""Bytes a second that a client takes at least, of an answer that is more than the system holds."""


class Sock(socket.socket):
    """A blocking socket that does not wait for ever for a client that does not read."""

    @classmethod
    def of(cls, accepted: socket.socket) -> Sock:
        """The same socket."""
        return cls(accepted.family, accepted.type, accepted.proto, accepted.detach())

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything, unless the client takes nothing, or too little of it.

        Raises
        ------
        ConnectionResetError
            If it has not all left in time.
        """
        if self.gettimeout() is not None:
            super().sendall(data, flags)
            return
        try:
            sent = self.send(data, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        try:
            self._send_patiently(memoryview(data)[sent:])
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read") from error
        finally:
            self.settimeout(None)

    def _send_patiently(self, rest: memoryview) -> None:
        ends = time.monotonic() + SEND_SECONDS + len(rest) / SLOWEST
        while rest:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.settimeout(min(left, SEND_SECONDS))
            rest = rest[self.send(rest) :]


class Connection(TConn):  # type: ignore[misc]
    """A connection with what has come on it and was not read yet."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, Sock.of(sock), client, server)
        # Blocking for the threads; the main loop asks for what is there and no more.
        self.sock.setblocking(True)
        self.head = b""
        self.base: dict[str, Any] | None = None
        self.poll: select.poll | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a head is there, or more than any head may have."""
        return HEAD_END in self.head or len(self.head) >= MOST_HEAD

    def close(self, graceful: bool = False) -> None:
        """Close it, unless gunicorn did so itself where it broke off an answer."""
        if self.sock.fileno() >= 0:
            super().close(graceful)
