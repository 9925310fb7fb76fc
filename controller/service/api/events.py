"""Events in, and what was wrong with some of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import BatchReuse, InvalidInput, NotPermitted
from controller.flow.actors import RECORDERS, Scope
from controller.flow.batches import WireEvent
from controller.flow.complete import declare_complete
from controller.flow.record import accept
from controller.service.http.calls import Answer, Call, answer
from controller.service.http.limits import HOT
from controller.service.http.loader import parse_json
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime

LOST_HEADER = "Controller-Events-Lost"
MOST_LOST_DIGITS = 9


class EventBatch(Struct, forbid_unknown_fields=True):
    """Up to 500 events; a batch id makes sending it again harmless."""

    events: list[WireEvent]
    batch_id: str | None = None
    schema: int = 1


class RejectedEvent(Struct):
    """One refused event: its place in the batch, a stable code, a sentence."""

    index: int
    code: str
    detail: str


class EventReceipt(Struct):
    """What is on disk now, what repeated itself, what was refused and why."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class ProblemQuery(Struct, forbid_unknown_fields=True):
    """Which problems: before the one named, so many."""

    before: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class ProblemView(Struct):
    """What was wrong with events of one batch, by code, with a few of them."""

    id: str
    at: datetime | None
    batch_id: str
    key_id: str
    code: str
    count: int
    examples: list[dict[str, Any]]


class ProblemPage(Struct):
    """Problems, newest first; `next` is the `before` of the next page, null at the end."""

    problems: list[ProblemView]
    next: str | None


class Completeness(Struct, forbid_unknown_fields=True):
    """A producer's word: every outcome of this name that occurred through then has been sent."""

    through: Annotated[datetime, Meta(tz=True)]
    source: Annotated[str, Meta(min_length=1, max_length=128)] = "default"


def event_routes(runtime: WebRuntime) -> list[Route]:
    """`POST /v1/events`."""

    def record(call: Call) -> Answer:
        check_once(call.raw)
        key = call.caller.key
        key_id = call.actor.name if key is None else key.key_id
        received_at = datetime.fromtimestamp(runtime.clock(), UTC)
        try:
            receipt = accept(
                runtime.inbox,
                call.project,
                key_id,
                None,
                call.raw,
                received_at,
            )
        except InvalidInput:
            parse_json(call.raw)  # where the text itself is wrong, that is the better answer
            raise
        lost = _events_lost(call)
        repeated = receipt.duplicates and not receipt.accepted
        if lost and not repeated:  # a repeat says again what was counted
            runtime.counts.events_lost(call.project, key_id, lost)
        runtime.telemetry.count("events_accepted", receipt.accepted)
        runtime.telemetry.count("events_rejected", len(receipt.rejected))
        return answer(receipt.document(), status=202)

    def problems(call: Call) -> ProblemPage:
        asked: ProblemQuery = call.query
        with runtime.ingest.reading() as work:
            found = work.problems.list(call.project, before=asked.before, most=asked.limit)
        shown = [
            ProblemView(
                id=one.id,
                at=one.at,
                batch_id=one.batch_id,
                key_id=one.key_id,
                code=one.code,
                count=one.count,
                examples=[dict(example) for example in one.examples],
            )
            for one in found
        ]
        return ProblemPage(problems=shown, next=shown[-1].id if len(shown) == asked.limit else None)

    def complete(call: Call) -> None:
        declared: Completeness = call.body
        declare_complete(
            runtime.ingest,
            call.project,
            call.path["name"],
            through=declared.through,
            source=declared.source,
            actor=call.actor.name,
        )

    return [
        Route(
            method="GET",
            path="/v1/events/problems",
            name="list_event_problems",
            summary="What was wrong with events after they were accepted: repeats, reuse, misfits",
            access=service(Scope.READ, Scope.INGEST),
            handler=problems,
            query=ProblemQuery,
            answer=ProblemPage,
        ),
        Route(
            method="POST",
            path="/v1/outcomes/<name>/complete",
            name="declare_complete",
            summary="Say that every outcome of a name through an instant has been sent",
            access=service(Scope.INGEST, roles=RECORDERS),
            handler=complete,
            reads="json",
            body=Completeness,
            status=204,
            errors=(InvalidInput, NotPermitted),
        ),
        Route(
            method="POST",
            path="/v1/events",
            name="record_events",
            summary="Record exposures, outcomes and predictions; 202 means on disk",
            access=service(Scope.INGEST, roles=RECORDERS),
            handler=record,
            reads="bytes",
            gzip=True,
            body=EventBatch,
            answer=EventReceipt,
            status=202,
            hot=True,
            rate=HOT,
            errors=(InvalidInput, BatchReuse),
        ),
    ]


def _events_lost(call: Call) -> int:
    """How many events the sender says its spool had to drop; nonsense counts as none."""
    said = call.request.headers.get(LOST_HEADER, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= MOST_LOST_DIGITS else 0


def check_once(raw: bytes) -> None:
    """Read a batch strictly if one of its events may name a key twice.

    Every event has each of these keys once, so unequal counts give a repeat away; the fast reading
    that follows would keep the last of two.
    """
    counts = {raw.count(key) for key in (b'"event_id"', b'"occurred_at"', b'"type"')}
    if len(counts) > 1 or raw.count(b'"value"') > max(counts):
        parse_json(raw)
