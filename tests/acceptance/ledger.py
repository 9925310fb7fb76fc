"""What the service has counted: rows of the ledger, read beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from tests.running import Running

Kind = Literal["exposure", "outcome", "prediction"]
_KINDS: tuple[Kind, ...] = ("exposure", "outcome", "prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One event of the ledger."""

    kind: Kind
    unit: str | None
    slot: str | None
    name: str | None
    value: float | None
    arm: str | None
    rollout: str | None
    ref: str | None


def ledger(service: Running, *, slot: str, kind: Kind | None = None) -> list[Counted]:
    """The events of one slot that have been aggregated so far, in no order."""
    columns = "kind, unit, slot, name, value, arm, rollout, ref"
    uri = f"file:{service.data_dir / 'main.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
        rows = connection.execute(f"select {columns} from ledger where slot = ?", (slot,))
        names = columns.split(", ")[1:]
        counted = [
            Counted(kind=_KINDS[row[0]], **dict(zip(names, row[1:], strict=True))) for row in rows
        ]
    return [event for event in counted if kind in (None, event.kind)]
