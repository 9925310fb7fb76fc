"""HTTP for the background threads: one kept connection, bounded time, bounded answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from controller.errors import Unavailable
from controller.sdk.options import check_url
from controller.sdk.wire import Connection, Response, usual_context

if TYPE_CHECKING:
    from ssl import SSLContext

TIMEOUT_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
USER_AGENT: Final = "rollout-controller-sdk/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer with lower-case header names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def retry_after(self) -> float | None:
        """Seconds of a numeric ``Retry-After``, at most an hour; None without one."""
        text = self.headers.get("retry-after", "").strip()
        return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An open answer that keeps coming, line by line."""

    response: Response
    connection: Connection

    def close(self) -> None:
        """Let go of it, in the thread that reads."""
        self.response.close()
        self.connection.close()


class Transport:
    """Talks to one service. One request at a time; a lost connection is opened again.

    Raises
    ------
    InvalidInput
        If the URL is not ``http://`` or ``https://`` with a host.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._base = check_url(url)
        self._key = key
        self._timeout = timeout_seconds
        self._ssl = ssl_context
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._wire: socket.socket | None = None
        self._aborted = False

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its whole answer.

        Raises
        ------
        Unavailable
            If there is no answer in time, or it is too large or not HTTP.
        """
        with self._lock:
            for attempt in (1, 2):
                reused = self._connection is not None
                try:
                    return self._once(method, path, body, headers or {})
                except (OSError, ValueError) as error:
                    self._drop()
                    # A kept connection may have been closed by the other side meanwhile.
                    again = reused and attempt == 1 and not self._aborted
                    if not again or isinstance(error, TimeoutError):
                        raise Unavailable(f"{type(error).__name__}: {error}") from error
        raise Unavailable

    def open_stream(self, path: str, *, timeout_seconds: float) -> Stream:
        """An open answer to a GET; follows one redirect, without the key.

        Raises
        ------
        Unavailable
            If there is no answer in time.
        """
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        try:
            stream = self._get(
                urlsplit(self._join(path)), {**headers, **self._authorization()}, timeout_seconds
            )
            location = stream.response.headers.get("location")
            if stream.response.status in {302, 303, 307, 308} and location:
                stream.close()
                target = urlsplit(urljoin(self._join(path), location))
                # The ticket in the location is what opens the stream: the key stays here.
                stream = self._get(target, headers, timeout_seconds)
        except (OSError, ValueError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return stream

    def abort(self) -> None:
        """End the request or stream that another thread waits for, and every later one."""
        self._aborted = True
        wire = self._wire
        if wire is not None:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the kept connection."""
        with self._lock:
            self._drop()

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        deadline = time.monotonic() + self._timeout
        if self._aborted:
            raise ConnectionError("this client was closed")
        if self._connection is None:
            self._connection = self._open(self._base)
        base_path = self._base.path.rstrip("/")
        self._wire = self._connection.sock
        response = self._connection.request(
            method,
            base_path + path,
            body=body,
            headers={
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "gzip",
                **self._authorization(),
                **headers,
            },
        )
        content = _read(response, deadline)
        if response.will_close:
            self._drop()
        received = response.headers
        if received.get("content-encoding") == "gzip":
            content = _unpack(content)
        return Answer(status=response.status, headers=received, body=content)

    def _get(
        self, target: SplitResult, headers: Mapping[str, str], timeout_seconds: float
    ) -> Stream:
        if self._aborted:
            raise ConnectionError("this client was closed")
        connection = self._open(target)
        query = f"?{target.query}" if target.query else ""
        try:
            connection.sock.settimeout(timeout_seconds)
            self._wire = connection.sock
            response = connection.request(
                "GET", (target.path or "/") + query, headers={"User-Agent": USER_AGENT, **headers}
            )
            return Stream(response=response, connection=connection)
        except BaseException:
            connection.close()
            raise

    def _open(self, target: SplitResult) -> Connection:
        if target.scheme == "https" and self._ssl is None:
            self._ssl = usual_context()
        return Connection(
            target.scheme,
            target.hostname or "",
            target.port,
            timeout_seconds=self._timeout,
            context=self._ssl,
        )

    def _join(self, path: str) -> str:
        return self._base.geturl().rstrip("/") + path

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()


def _read(response: Response, deadline: float) -> bytes:
    """The whole body, in time and within the size limit; a trickling answer is given up."""
    parts: list[bytes] = []
    size = 0
    with response:
        while part := response.read1(65536):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise ValueError("the answer is too large")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer did not end in time")
    return b"".join(parts)


def _unpack(content: bytes) -> bytes:
    """A gzip body, unpacked within the size limit."""
    import zlib

    unpacking = zlib.decompressobj(wbits=31)
    try:
        body = unpacking.decompress(content, MAX_ANSWER_BYTES)
    except zlib.error as error:
        raise ValueError(f"the answer is not gzip: {error}") from error
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError("the answer is too large or cut short")
    return body
