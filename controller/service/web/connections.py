"""A client's connection: what has come on it, and how long an answer may take to leave."""

from __future__ import annotations

import errno
import select
import socket
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

from controller.service.web.bodies import Body

MOST_HEAD: Final = 128 * 1024
HEAD_END: Final = b"\r\n\r\n"
SEND_SECONDS: Final = 20.0
"""For so long may a client take nothing of what is sent."""
SLOWEST: Final = 64 * 1024
"""Bytes a second that a client takes at least, of an answer that is more than the system holds."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Sock(socket.socket):
    """A blocking socket that does not wait for ever for a client that does not read.

    Attributes
    ----------
    told : bool
        The client was told to go on while its body was awaited; gunicorn would say it again.
    """

    told = False

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As a socket does, but for what was said before."""
        if self.told and data == CONTINUE:
            self.told = False
            return len(CONTINUE)
        return super().send(data, flags)

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


class Replayed:
    """A socket for gunicorn's parser that gives out again what has come, in pieces as one does.

    In one piece, its parser would copy all of it for every chunk.
    """

    __slots__ = ("_at", "_data", "_sock")

    def __init__(self, data: bytes, sock: Sock) -> None:
        self._data, self._at, self._sock = data, 0, sock

    def recv(self, size: int) -> bytes:
        """The next bytes of those; once they are out, what the socket has."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece or self._sock.recv(size)

    @property
    def rest(self) -> bytes:
        """What was not given out."""
        return self._data[self._at :]

    def gettimeout(self) -> float | None:
        """The socket's."""
        return self._sock.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        """The socket's."""
        self._sock.settimeout(seconds)


class Connection(TConn):  # type: ignore[misc]
    """A connection with what has come on it and was not read yet.

    Attributes
    ----------
    head : bytes
        The head of the next request, or its beginning, and what has come after it.
    body, coming : Body and bytearray
        What the main loop waits for, and the request as far as it has come.
    cut : bool
        Nothing more is read of this request: what is there is all that a thread gets.
    drained : int
        Bytes that came after the last answer and are nobody's.
    """

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, Sock.of(sock), client, server)
        # Blocking for the threads; the main loop asks for what is there and no more.
        self.sock.setblocking(True)
        self.head = b""
        self.body: Body | None = None
        self.coming = bytearray()
        self.cut = False
        self.drained = 0
        self.base: dict[str, Any] | None = None
        self.poll: select.poll | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a head is there, or more than any head may have."""
        return HEAD_END in self.head or len(self.head) >= MOST_HEAD

    @property
    def announced(self) -> Body | None:
        """The body that the head there announces."""
        return Body.of(self.head, self.head.find(HEAD_END))

    def tell_to_go_on(self) -> bool:
        """Tell a client that asked first to send its body; whether that could be said."""
        try:
            self.sock.told = self.sock.send(CONTINUE, socket.MSG_DONTWAIT) == len(CONTINUE)
        except OSError:
            return False
        return bool(self.sock.told)

    def end_answer(self) -> None:
        """Tell the client that nothing follows."""
        with suppress(OSError):  # it is gone already
            self.sock.shutdown(socket.SHUT_WR)

    def close(self, graceful: bool = False) -> None:
        """Close it, unless gunicorn did so itself where it broke off an answer."""
        if self.sock.fileno() >= 0:
            super().close(graceful)
