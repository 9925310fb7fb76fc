"""What goes wrong with events in one transaction: problems by batch and code, and dead letters."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

from controller.flow.batches import WireEvent
from controller.flow.ports.ingest import Claimed, DeadLetter, LedgerEntry, Problem

MOST_EXAMPLES: Final = 10


class Arrived(NamedTuple):
    """One event of one request, with the ledger row it becomes."""

    source: Claimed
    place: int
    event: WireEvent
    entry: LedgerEntry


class Findings:
    """Problems of one transaction, gathered by batch and code."""

    def __init__(self) -> None:
        self._sources: dict[int, Claimed] = {}
        self._examples: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        self._counts: dict[tuple[int, str], int] = defaultdict(int)
        self.letters: list[DeadLetter] = []

    def note(self, source: Claimed, code: str, index: int, event_id: str, detail: str = "") -> None:
        """Count one event; the first few of a batch are named."""
        key = (source.seq, code)
        self._sources[source.seq] = source
        self._counts[key] += 1
        if len(self._examples[key]) < MOST_EXAMPLES:
            example = {"index": index, "event_id": event_id, "detail": detail}
            self._examples[key].append({name: part for name, part in example.items() if part != ""})

    def bury(
        self,
        source: Claimed,
        code: str,
        detail: str,
        *,
        body: bytes,
        index: int = -1,
        event_id: str | None = None,
    ) -> None:
        """Keep as it came what cannot be counted."""
        self.letters.append(
            DeadLetter(
                source.project,
                source.batch_id,
                index,
                source.key_id,
                code,
                event_id,
                detail,
                body,
            )
        )

    def problems(self) -> list[Problem]:
        """One problem a batch and code."""
        return [
            Problem(
                project=self._sources[seq].project,
                batch_id=self._sources[seq].batch_id,
                key_id=self._sources[seq].key_id,
                code=code,
                count=count,
                examples=self._examples[seq, code],
            )
            for (seq, code), count in self._counts.items()
        ]
