"""HTTP/1.1 as the background threads need it: one connection, one request after another.

The standard library's client reads heads with the parser of mail and loads TLS, whoever asks for
what: 6 MB and 25 ms of processor time in every process of an application, most of them for
services at ``http://`` beside it (docs/decisions/0045-the-sdk-reads-http-itself.md). TLS is loaded
here when an ``https://`` address is opened.

Framing follows RFC 9112: sections 4 (status line), 5 (fields), 6.3 (length of a body) and 7.1
(chunks).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from controller.sdk.loading import ensure_loaded

if TYPE_CHECKING:
    from ssl import SSLContext

PORTS: Final = {"http": 80, "https": 443}
MAX_LINE_BYTES: Final = 65536
MAX_FIELDS: Final = 100
MAX_INTERIM: Final = 10
BODILESS: Final = frozenset({204, 304})


class NotHttp(ValueError):
    """What came is no answer in HTTP/1."""


class Response:
    """The head of an answer, and its body as it comes. Names of `headers` are in lower case."""

    def __init__(self, wire: socket.socket) -> None:
        self._file = wire.makefile("rb")
        self._line = bytearray()
        self._in_chunk = 0
        version, self.status = _status(self._line_of_head())
        self.headers = self._fields()
        for _ in range(MAX_INTERIM):
            if self.status >= 200:
                break
            version, self.status = _status(self._line_of_head())
            self.headers = self._fields()
        else:
            raise NotHttp("nothing but interim answers")
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = self._length()
        stays = self.headers.get("connection", "").lower()
        self.will_close = (
            "close" in stays
            or (version == b"HTTP/1.0" and "keep-alive" not in stays)
            or (self._left is None and not self._chunked)
        )

    def read1(self, most: int) -> bytes:
        """What is there of the body, at most so many bytes; nothing at its end.

        Raises
        ------
        OSError
            If the connection broke before the end.
        NotHttp
            If the chunks of the body are none.
        """
        if self._chunked:
            return self._read_chunk(most)
        if self._left is None:
            return self._file.read1(most)
        if self._left == 0:
            return b""
        part = self._some(min(most, self._left))
        self._left -= len(part)
        return part

    def readline(self, most: int) -> bytes:
        """The next line of a body that goes on and on; nothing when the other side hung up."""
        while b"\n" not in self._line and len(self._line) < most:
            try:
                part = self.read1(most)
            except ConnectionError:
                part = b""
            if not part:
                break
            self._line += part
        end = self._line.find(b"\n") + 1 or len(self._line)
        line = bytes(self._line[: min(end, most)])
        del self._line[: len(line)]
        return line

    def close(self) -> None:
        """Read no more of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ the head

    def _line_of_head(self) -> bytes:
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise ConnectionError("the service hung up")
        if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
            raise NotHttp("a line of the answer's head is too long or cut short")
        return line.rstrip(b"\r\n")

    def _fields(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(MAX_FIELDS):
            line = self._line_of_head()
            if not line:
                return found
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise NotHttp(f"not a header field: {line[:40]!r}")
            key, text = name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")
            if key == "content-length" and found.get(key, text) != text:
                raise NotHttp("two lengths of one body")
            found[key] = text if key == "content-length" else _joined(found.get(key), text)
        raise NotHttp("too many header fields")

    def _length(self) -> int | None:
        """Bytes of the body, or None where it goes on to the end of the connection."""
        if self.status in BODILESS:
            self._chunked = False
            return 0
        if "transfer-encoding" in self.headers:
            if not self._chunked:
                raise NotHttp(f"unknown transfer coding {self.headers['transfer-encoding'][:40]!r}")
            return None
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotHttp(f"not a length: {text[:40]!r}")
        return int(text)

    # ------------------------------------------------------------ the body

    def _some(self, most: int) -> bytes:
        part = self._file.read1(most)
        if not part:
            raise ConnectionError("the answer was cut short")
        return part

    def _read_chunk(self, most: int) -> bytes:
        if self._in_chunk == 0:
            self._in_chunk = self._chunk_size()
            if self._in_chunk == 0:
                while self._line_of_head():
                    """Trailers say nothing to us."""
                self._chunked, self._left = False, 0
                return b""
        part = self._some(min(most, self._in_chunk))
        self._in_chunk -= len(part)
        if self._in_chunk == 0 and self._line_of_head():
            raise NotHttp("a chunk is longer than it says")
        return part

    def _chunk_size(self) -> int:
        digits = self._line_of_head().partition(b";")[0].strip()
        if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
            raise NotHttp(f"not the size of a chunk: {digits[:40]!r}")
        return int(digits, 16)


class Connection:
    """A connection to one service.

    Parameters
    ----------
    scheme, host, port : str, str, int or None
        Where to; without a port, the usual one of ``http`` or ``https``.
    context : SSLContext or None
        For ``https``; without one, the machine's certificates and the host's name are checked.

    Raises
    ------
    OSError
        If it cannot be opened in time.
    """

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int | None,
        *,
        timeout_seconds: float,
        context: SSLContext | None = None,
    ) -> None:
        usual = PORTS[scheme]
        named = f"[{host}]" if ":" in host else host
        self._host = named if port in (None, usual) else f"{named}:{port}"
        if scheme == "https" or not host.isascii():
            ensure_loaded("encodings.idna")
        # As bytes: a name in text would load that codec (0.4 MB), though it stays as it is.
        address: tuple[Any, int] = (host.encode() if host.isascii() else host, port or usual)
        self.sock: socket.socket = socket.create_connection(address, timeout_seconds)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                self.sock = (context or usual_context()).wrap_socket(
                    self.sock, server_hostname=host
                )
        except BaseException:
            self.sock.close()
            raise

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Response:
        """Send a request and read the head of its answer.

        Raises
        ------
        OSError
            If the connection breaks or times out.
        ValueError
            If the request cannot be written in HTTP, or the answer is not HTTP (`NotHttp`).
        """
        fields = {"Host": self._host, "Accept-Encoding": "identity", **headers}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {_plain(target)} HTTP/1.1"]
        lines += [f"{name}: {_plain(value, b' ')}" for name, value in fields.items()]
        head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
        self.sock.sendall(head + body if body is not None else head)
        return Response(self.sock)

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def usual_context() -> SSLContext:
    """TLS that checks the certificate and the name, by the machine's authorities."""
    ensure_loaded("ssl")
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _status(line: bytes) -> tuple[bytes, int]:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    known = version in (b"HTTP/1.0", b"HTTP/1.1") and rest[3:4] in (b"", b" ")
    if not known or len(code) != 3 or not code.isdigit() or not 100 <= int(code) <= 599:
        raise NotHttp(f"not a status line: {line[:40]!r}")
    return version, int(code)


def _joined(before: str | None, text: str) -> str:
    return text if before is None else f"{before}, {text}"


def _plain(text: str, also: bytes = b"") -> str:
    """Text that stays in its line: visible ASCII, and what else may stand there."""
    if not text.isascii() or any((c < 33 and c not in also) or c == 127 for c in text.encode()):
        raise ValueError(f"cannot be sent in a head: {text[:40]!r}")
    return text
