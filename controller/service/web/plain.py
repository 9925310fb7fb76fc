"""Heads that can be read in one way only, read without ceremony.

Nearly every request is one line, a few headers each of which stands once, and a body whose length
is said. Those are read here, straight into a WSGI environment. Whatever is anything else (chunks,
`Expect`, folded lines, a name twice, a stray control character, a length that is no number, a line
that is too long) is not judged here: it goes to gunicorn's parser, byte for byte, which refuses it
or serves it. So this reader may only ever be narrower than that one, never wider:
`tests/property/test_plain_requests.py` holds the two beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from controller.service.http.loader import WHOLE_BODY

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_BODY: Final = 64 * 1024
"""Bytes of a body that is read here; a longer one is read piece by piece, by gunicorn."""

_STRAY: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_TARGET: Final = re.compile(r"/(?!/)[!\"$-~]*+")  # printable ASCII without a fragment
_NAME: Final = re.compile(r"[!#$%&'*+\-.^`|~0-9A-Za-z]+")  # a token without an underscore
_NOT_PLAIN: Final = frozenset(
    {
        "TRANSFER-ENCODING",
        "EXPECT",
        "UPGRADE",
        "HTTP2-SETTINGS",
        "TE",
        "TRAILER",
        "SCRIPT-NAME",
        "KEEP-ALIVE",
        "PROXY-CONNECTION",
    }
)
_MOST_NAMES: Final = 2000
_names: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What gunicorn is configured to refuse: a longer line, a longer field, more fields."""

    line: int
    field: int
    fields: int


@dataclass(slots=True, kw_only=True, eq=False)
class PlainRequest:
    """A request without its body, with the attributes that gunicorn's own answers read.

    Attributes
    ----------
    length : int
        Bytes of the body that follow the head.
    start : int
        Where the body begins.
    closes : bool
        Whether the client wants the connection closed after the answer.
    """

    method: str
    uri: str
    query: str
    environ: dict[str, Any]
    length: int
    start: int
    closes: bool
    headers: tuple[tuple[str, str], ...] = ()
    body: BytesIO | None = None
    version: tuple[int, int] = (1, 1)

    def take_body(self, data: bytes) -> None:
        """Keep the body of what has come on the connection."""
        body = data[self.start : self.start + self.length]
        self.body = self.environ["wsgi.input"] = BytesIO(body)
        self.environ[WHOLE_BODY] = body

    def should_close(self) -> bool:
        """As gunicorn asks it."""
        return self.closes


def read_plain(
    data: bytes, head_end: int, base: Mapping[str, Any], limits: Limits
) -> PlainRequest | None:
    """The request whose head ends at `head_end`; None where gunicorn has to look at it.

    Parameters
    ----------
    data : bytes
        What has come on the connection, from the first byte of the head.
    head_end : int
        Where the blank line begins.
    base : mapping
        The part of the environment that every request of this connection shares.
    """
    text = data[:head_end].decode("latin-1")
    if _STRAY.search(text):
        return None
    lines = text.split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or len(lines[0]) > limits.line or len(lines) - 1 > limits.fields:
        return None
    method, uri, version = words
    if method not in METHODS or version != "HTTP/1.1" or not _TARGET.fullmatch(uri):
        return None
    path, _, query = uri.partition("?")
    environ = {
        **base,
        "REQUEST_METHOD": method,
        "RAW_URI": uri,
        "QUERY_STRING": query,
        "PATH_INFO": path if "%" not in path else unquote_to_bytes(path).decode("latin-1"),
    }
    if not _read_fields(lines, environ, limits.field):
        return None
    said = environ.get("CONTENT_LENGTH", "0")
    connection = environ.get("HTTP_CONNECTION", "keep-alive").lower()
    plain_length = said.isascii() and said.isdigit() and len(said) <= 5 and int(said) <= MOST_BODY
    if not plain_length or connection not in ("keep-alive", "close"):
        return None
    return PlainRequest(
        method=method,
        uri=uri,
        query=query,
        environ=environ,
        length=int(said),
        start=head_end + 4,
        closes=connection == "close",
    )


def _read_fields(lines: list[str], environ: dict[str, Any], most: int) -> bool:
    """Put the fields into the environment; False where one is not plain."""
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        key = _names.get(name) or _key(name)
        if not colon or not key or key in environ or len(line) + 2 > most:
            return False
        environ[key] = value.strip(" \t")
    return True


def _key(name: str) -> str:
    """The environment's key of a field; empty where it is not plain."""
    upper = name.upper()
    if not _NAME.fullmatch(name) or upper in _NOT_PLAIN:
        return ""
    key = upper.replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    if len(_names) < _MOST_NAMES and len(name) <= 64:
        _names[name] = key
    return key
