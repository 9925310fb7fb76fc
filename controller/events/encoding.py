"""Events as canonical bytes: what travels, what is stored, and what a repeat is recognised by."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from controller.events.contracts import Event, Exposure, Outcome
from controller.events.times import format_time
from controller.experiments.canonical import canonical_json

DIGEST_BYTES: Final = 16


def kind(event: Event) -> str:
    """The event's ``type`` on the wire."""
    if isinstance(event, Exposure):
        return "exposure"
    return "outcome" if isinstance(event, Outcome) else "prediction"


def document(event: Event) -> dict[str, Any]:
    """The wire form. Absent optional parts are left out; an exposure at rest says null."""
    fields: dict[str, Any] = {"type": kind(event)}
    for name in event.__slots__:
        value = getattr(event, name)
        if value is None and not (isinstance(event, Exposure) and name in _SAID_WHEN_NULL):
            continue
        fields[name] = format_time(value) if isinstance(value, datetime) else value
    return fields


_SAID_WHEN_NULL: Final = frozenset({"rollout", "allocation"})


def canonical(event: Event) -> bytes:
    """Sorted keys, no spaces, UTF-8, times in UTC with microseconds, numbers as floats."""
    return canonical_json(document(event))


def digest(event: Event) -> bytes:
    """The first 16 bytes of the sha256 of the canonical form: same id, same digest = a repeat."""
    return sha256(canonical(event)).digest()[:DIGEST_BYTES]
