"""Events become ledger rows: which unit of which type they speak of, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from controller.flow.batches import Exposed, Outcome, Predicted, WireEvent
from controller.flow.findings import Arrived, Findings
from controller.flow.ports.ingest import (
    EXPOSURE,
    OUTCOME,
    PREDICTION,
    Claimed,
    LedgerEntry,
    Targets,
)

UNKNOWN_SLOT: Final = "unknown_slot"
AMBIGUOUS_UNIT: Final = "ambiguous_unit"
UNRESOLVED_REF: Final = "unresolved_ref"

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICRO: Final = timedelta(microseconds=1)


class Clerk:
    """Writes the ledger rows of one project's events."""

    def __init__(self, project: str, targets: Targets, findings: Findings) -> None:
        self._slots = targets.slots(project)
        self._findings = findings
        types = set(self._slots.values())
        self._only_type = types.pop() if len(types) == 1 else None

    def arrived(self, source: Claimed, index: int, event: WireEvent, digest: bytes) -> Arrived:
        """The event with its row."""
        if isinstance(event, Exposed):
            entry = self._exposure(source, index, event, digest)
        elif isinstance(event, Outcome):
            entry = self._outcome(source, index, event, digest)
        else:
            entry = self._prediction(source, index, event, digest)
        return Arrived(source, index, event, entry)

    def _exposure(self, source: Claimed, index: int, event: Exposed, digest: bytes) -> LedgerEntry:
        return LedgerEntry(
            source.project,
            event.event_id,
            EXPOSURE,
            digest,
            (event.occurred_at - EPOCH) // MICRO,
            source.received_us,
            event.unit,
            self._slots.get(event.slot) or self._unknown(source, index, event.event_id, event.slot),
            event.slot,
            None,
            None,
            None,
            event.rollout,
            event.allocation,
            event.arm,
            event.ruleset,
            event.reason,
            None,
            None,
            _json({"attributes": event.attributes}) if event.attributes else None,
        )

    def _outcome(self, source: Claimed, index: int, event: Outcome, digest: bytes) -> LedgerEntry:
        return LedgerEntry(
            source.project,
            event.event_id,
            OUTCOME,
            digest,
            (event.occurred_at - EPOCH) // MICRO,
            source.received_us,
            event.unit,
            self._outcome_type(source, index, event),
            event.slot,
            event.name,
            event.value,
            event.corrects,
            None,
            None,
            None,
            None,
            None,
            event.ref,
            None,
            _json({"attributes": event.attributes}) if event.attributes else None,
        )

    def _prediction(
        self, source: Claimed, index: int, event: Predicted, digest: bytes
    ) -> LedgerEntry:
        return LedgerEntry(
            source.project,
            event.event_id,
            PREDICTION,
            digest,
            (event.occurred_at - EPOCH) // MICRO,
            source.received_us,
            event.unit,
            self._slots.get(event.slot) or self._unknown(source, index, event.event_id, event.slot),
            event.slot,
            None,
            None,
            None,
            event.rollout,
            event.allocation,
            event.arm,
            None,
            None,
            event.ref,
            None,
            _json({"model": event.model, "score": event.score, "attributes": event.attributes}),
        )

    def _outcome_type(self, source: Claimed, index: int, event: Outcome) -> str | None:
        """The slot's unit type; of an outcome without slot, its own or the project's only one."""
        if event.unit is None:
            detail = "No prediction with this ref has arrived yet."
            self._findings.note(source, UNRESOLVED_REF, index, event.event_id, detail)
        if event.slot is not None:
            known = self._slots.get(event.slot)
            return known or self._unknown(source, index, event.event_id, event.slot)
        unit_type = event.unit_type or self._only_type
        if unit_type is None:
            detail = (
                "The project has several unit types (or none): say which one, or name the slot."
            )
            self._findings.note(source, AMBIGUOUS_UNIT, index, event.event_id, detail)
        return unit_type

    def _unknown(self, source: Claimed, index: int, event_id: str, slot: str) -> str | None:
        detail = f"No slot {slot!r:.80} in this project."
        self._findings.note(source, UNKNOWN_SLOT, index, event_id, detail)
        return None


def _json(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
