"""One request as its handler sees it, and the answer it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from werkzeug.wrappers import Request

from controller.flow.actors import Actor
from controller.flow.ports.people import Key, Session

JSON: Final = "application/json"
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, in which project, and with what they came in."""

    actor: Actor
    project: str
    key: Key | None = None
    session: Session | None = None


ANONYMOUS: Final = Caller(
    actor=Actor(name="anonymous", kind="anonymous", method="none"), project=""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in, with its parts decoded.

    Attributes
    ----------
    path : mapping of str to str
        The named parts of the address.
    query, body
        An instance of the route's `query` and `body` type; None where it declares none.
    raw : bytes
        The body as it came, after decompression.
    """

    request: Request
    caller: Caller
    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    raw: bytes = b""

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return self.caller.actor

    @property
    def project(self) -> str:
        """The project the caller works in."""
        return self.caller.project


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back. `body` is bytes, or an iterable of bytes for a stream."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def encode(value: Any) -> bytes:
    """JSON bytes of wire Structs, dicts, lists and dataclasses; instants as RFC 3339."""
    return _ENCODER.encode(value)


def answer(value: Any, *, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names are given with `_` for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status=status, body=encode(value), headers=named)
