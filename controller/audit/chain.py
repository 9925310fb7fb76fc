"""The audit's hash chain: each entry names the one before it, so tampering shows.

An entry's hash is SHA-256 over 0x00, the previous hash and the canonical JSON of the record. The
chain alone shows any change, insertion, removal or reordering inside it; that its end was cut off
shows only against a head kept elsewhere (`controller audit export`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.experiments.canonical import canonical_json

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who did what, when, to which thing; `record` is the canonical JSON that was hashed."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str
    record: str
    previous: str
    hash: str


def link(previous: str, record: bytes) -> str:
    """Hash of the next entry.

    Parameters
    ----------
    previous : str
        Hash of the entry before, or `GENESIS`.
    record : bytes
        Canonical JSON of the new entry.
    """
    return hashlib.sha256(b"\x00" + bytes.fromhex(previous) + record).hexdigest()


def make_entry(
    *,
    seq: int,
    previous: str,
    project: str,
    at: datetime,
    actor: str,
    action: str,
    object: str,
    details: dict[str, Any],
) -> Entry:
    """The next entry of a project's chain."""
    record = canonical_json(
        {
            "schema": 1,
            "project": project,
            "seq": seq,
            "at": at.isoformat(),
            "actor": actor,
            "action": action,
            "object": object,
            "details": details,
        }
    )
    return Entry(
        seq=seq,
        at=at,
        actor=actor,
        action=action,
        object=object,
        record=record.decode(),
        previous=previous,
        hash=link(previous, record),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of walking a chain: `broken_at` is the first entry that does not fit, if any."""

    entries: int
    head: str
    broken_at: int | None
    why: str | None

    @property
    def intact(self) -> bool:
        """Every entry follows from the one before it."""
        return self.broken_at is None


def verify(entries: Iterable[Entry]) -> Verification:
    """Walk a chain from its first entry and recompute every hash (I11)."""
    previous, count = GENESIS, 0
    for entry in entries:
        count += 1
        why = None
        if entry.seq != count:
            why = f"expected entry {count}, found {entry.seq}"
        elif entry.previous != previous:
            why = "does not name the entry before it"
        elif link(entry.previous, entry.record.encode()) != entry.hash:
            why = "its content does not give its hash"
        elif not _row_agrees(entry):
            why = "its columns differ from the record that was hashed"
        if why is not None:
            return Verification(entries=count, head=previous, broken_at=count, why=why)
        previous = entry.hash
    return Verification(entries=count, head=previous, broken_at=None, why=None)


def _row_agrees(entry: Entry) -> bool:
    record = json.loads(entry.record)
    shown = {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "object": entry.object,
    }
    return all(record.get(name) == value for name, value in shown.items())
