"""An answer in one piece: status, headers and body in one send.

What is not one piece (a stream, no body, a header between two hops) is written by gunicorn's own
`Response`, and so are the refusals of headers that cannot be sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from gunicorn import SERVER  # type: ignore[import-untyped]
from gunicorn.http.message import TOKEN_RE  # type: ignore[import-untyped]
from gunicorn.http.wsgi import (  # type: ignore[import-untyped]
    HEADER_VALUE_RE,
    STATUS_RE,
    Response,
)
from gunicorn.util import is_hoppish  # type: ignore[import-untyped]

from controller.service.web.plain import PlainRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BODILESS: Final = ("1", "204", "304")


class Sending:
    """The answer to one plain request: what WSGI calls `start_response`, and the sending."""

    def __init__(
        self, request: PlainRequest, sock: socket, make: Callable[[], Response], *, closes: bool
    ) -> None:
        self._request = request
        self._sock = sock
        self._make = make
        self._closes = closes
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._long: Response | None = None
        self.begun = False

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """WSGI's `start_response`."""
        if self._long is not None:
            self._long.start_response(status, headers, exc_info)
        elif self._status and exc_info is None:
            raise AssertionError("start_response was called twice")
        elif self.begun and exc_info is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        self._status, self._headers = status, headers
        return self._write

    def send(self, app: WSGIApplication) -> bool:
        """Call the application and write what it says; whether the connection may be kept."""
        pieces = app(self._request.environ, self.start)
        try:
            self._send_all(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if self._long is None:
            return not self._closes
        self._long.close()
        return not self._long.should_close()

    def _send_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if self.begun or not self._send_whole(piece):
                self._write(piece)
        if not self.begun:
            self._response()

    def _send_whole(self, body: bytes) -> bool:
        """Send everything at once, if this piece is the whole body."""
        if self._request.method == "HEAD" or self._status.startswith(_BODILESS):
            return False
        lines = [head_line(name, value) for name, value in self._headers]
        length = f"Content-Length: {len(body)}\r\n"
        if None in lines or lines.count(length) != 1 or not STATUS_RE.fullmatch(self._status):
            return False
        connection = "close" if self._closes else "keep-alive"
        head = (
            f"HTTP/1.1 {self._status}\r\nServer: {SERVER}\r\nDate: {http_date()}\r\n"
            f"Connection: {connection}\r\n{''.join(filter(None, lines))}\r\n"
        )
        self.begun = True
        self._sock.sendall(head.encode("latin-1") + body)
        return True

    def _write(self, piece: bytes) -> None:
        if self.begun and self._long is None:
            if piece:
                raise AssertionError("the body is longer than its Content-Length")
            return
        self._response().write(piece)

    def _response(self) -> Response:
        """gunicorn's own, with what the application said so far."""
        if self._long is None:
            self.begun = True
            self._long = self._make()
            if self._closes:
                self._long.force_close()
            self._long.start_response(self._status, self._headers)
        return self._long


def head_line(name: str, value: str) -> str | None:
    """A header as it is sent; None where gunicorn has to look at it."""
    return _made(name, value) if name == "Set-Cookie" else _kept(name, value)


def _made(name: str, value: str) -> str | None:
    if not TOKEN_RE.fullmatch(name) or not HEADER_VALUE_RE.fullmatch(value) or is_hoppish(name):
        return None
    stripped = value.strip(" \t")
    shown = "Content-Length" if name.lower() == "content-length" else name
    return f"{shown}: {stripped}\r\n"


_kept = lru_cache(maxsize=2048)(_made)

_dated: tuple[int, str] = (0, "")


def http_date() -> str:
    """Now, as the Date header has it; made once a second."""
    global _dated  # noqa: PLW0603 - one pair, replaced whole
    now = int(time.time())
    second, text = _dated
    if second != now:
        text = formatdate(now, usegmt=True)
        _dated = now, text
    return text
