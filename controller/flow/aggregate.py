"""Drain the inbox: requests become ledger rows, first exposures and problems, in one transaction.

Nothing here depends on the order in which requests are taken, and a request that is taken twice
changes nothing the second time: its events are in the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from controller.errors import InvalidInput
from controller.flow.batches import ID_REUSE, Batch, event_digest, event_json, read_batch
from controller.flow.entries import EPOCH, MICRO, Clerk
from controller.flow.findings import Arrived, Findings
from controller.flow.first_exposures import enter_exposures
from controller.flow.ports.ingest import (
    EXPOSURE,
    OUTCOME,
    Claimed,
    Indigestible,
    IngestStore,
    IngestWork,
)
from controller.flow.ports_pins import Pins
from controller.flow.restate import restate_outcomes

DUPLICATE: Final = "duplicate"
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What one call did; `requests` is 0 where nothing was waiting."""

    requests: int = 0
    events: int = 0
    new: int = 0
    problems: int = 0


def drain(store: IngestStore, *, pins: Pins | None = None, budget: int = 2000) -> Drained:
    """Aggregate about `budget` events of waiting requests in one transaction.

    Parameters
    ----------
    pins : Pins or None
        Asked about exposures whose arm the split does not explain.

    Raises
    ------
    Unavailable
        If the database does not answer; nothing happened.
    """
    if not store.waiting():
        return Drained()
    try:
        with store.aggregating(budget, read_requests) as (work, requests):
            return _Drain(work, pins).run(requests)
    except Indigestible:
        return _drain_one(store, pins)


def _drain_one(store: IngestStore, pins: Pins | None) -> Drained:
    """The next request alone; one that the database refuses is kept as a dead letter."""
    try:
        with store.aggregating(1, read_requests) as (work, requests):
            return _Drain(work, pins).run(requests)
    except Indigestible as problem:
        refused = problem
    with store.aggregating(1, list) as (work, _):
        return _Drain(work, pins).bury(refused)


class Request(NamedTuple):
    """One claimed request as read; without a batch where it cannot be read."""

    source: Claimed
    batch: Batch | None
    digests: Sequence[bytes] = ()
    problem: str = ""


def read_requests(claimed: Sequence[Claimed]) -> list[Request]:
    """Everything that can be done with requests before a database is asked."""
    return [_read_request(source) for source in claimed]


def _read_request(source: Claimed) -> Request:
    try:
        batch = read_batch(source.body, EPOCH + source.received_us * MICRO)
    except InvalidInput as problem:
        return Request(source, None, problem=problem.message)
    return Request(source, batch, [event_digest(event) for _, event in batch.events])


class _Drain:
    """One transaction's events, from bytes to rows."""

    def __init__(self, work: IngestWork, pins: Pins | None) -> None:
        self._work = work
        self._pins = pins
        self._findings = Findings()
        self._arrived: dict[tuple[str, str], Arrived] = {}
        self._clerks: dict[str, Clerk] = {}
        self._events = 0

    def run(self, requests: Sequence[Request]) -> Drained:
        for request in requests:
            self._take(request)
        new = self._settle_repeats()
        exposures = [item for item in new if item.entry.kind == EXPOSURE]
        outcomes = [item for item in new if item.entry.kind == OUTCOME]
        enter_exposures(self._work, exposures, self._pins, self._findings)
        self._note_arrivals(outcomes)
        restate_outcomes(self._work, [item.entry for item in outcomes])
        return self._report(len(new))

    def bury(self, problem: Indigestible) -> Drained:
        """Set the claimed requests aside whole."""
        for source in self._work.claimed:
            self._findings.note(source, problem.code, 0, "", problem.message)
            self._findings.bury(source, problem.code, problem.message, body=source.body)
        return self._report(0)

    def _report(self, new: int) -> Drained:
        problems = self._findings.problems()
        self._work.problems.add(problems, self._findings.letters, at_us=self._work.now_us)
        return Drained(
            requests=len(self._work.claimed),
            events=self._events,
            new=new,
            problems=len(problems),
        )

    def _take(self, request: Request) -> None:
        source, batch = request.source, request.batch
        if batch is None:
            self._findings.note(source, UNREADABLE, 0, "", request.problem)
            self._findings.bury(source, UNREADABLE, request.problem, body=source.body)
            return
        self._note_refused(source, batch)
        self._events += len(batch.events)
        clerk = self._clerks.get(source.project)
        if clerk is None:
            clerk = Clerk(source.project, self._work.targets, self._findings)
            self._clerks[source.project] = clerk
        for (index, event), digest in zip(batch.events, request.digests, strict=True):
            mine = clerk.arrived(source, index, event, digest)
            first = self._arrived.setdefault((source.project, event.event_id), mine)
            if first is not mine:
                self._repeat(mine, first.entry.digest)

    def _note_refused(self, source: Claimed, batch: Batch) -> None:
        """What the 202 refused is listed for operators too; what it did not, is kept whole."""
        for item in batch.refused:
            self._findings.note(source, item.code, item.index, "", item.detail)
        if len(batch.events) < source.events:
            detail = "Events that were accepted once are refused now."
            self._findings.bury(source, UNREADABLE, detail, body=source.body)

    def _repeat(self, item: Arrived, digest: bytes) -> None:
        event_id = item.event.event_id
        if item.entry.digest == digest:
            self._findings.note(item.source, DUPLICATE, item.place, event_id)
            return
        detail = "This event_id was used before for another event; the first one counts."
        self._findings.note(item.source, ID_REUSE, item.place, event_id, detail)
        self._findings.bury(
            item.source,
            ID_REUSE,
            detail,
            body=event_json(item.event),
            index=item.place,
            event_id=event_id,
        )

    def _settle_repeats(self) -> list[Arrived]:
        """Insert; what is new."""
        known = self._work.ledger.add([item.entry for item in self._arrived.values()])
        if not known:
            return list(self._arrived.values())
        for key, digest in known.items():
            self._repeat(self._arrived[key], digest)
        return [item for key, item in self._arrived.items() if key not in known]

    def _note_arrivals(self, outcomes: Sequence[Arrived]) -> None:
        newest: dict[str, dict[str, int]] = defaultdict(dict)
        for item in outcomes:
            entry = item.entry
            names, name = newest[entry.project], entry.name or ""
            if names.get(name, 0) < entry.received_us:
                names[name] = entry.received_us
        for project, names in sorted(newest.items()):
            self._work.clock.arrived(project, names)
