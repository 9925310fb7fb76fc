"""Why, and proof: evidence by its sha256, and the audit chain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from controller.audit.chain import Entry, verify
from controller.errors import NotFound
from controller.flow.actors import Role, Scope
from controller.flow.ports.work import Work
from controller.service.http.calls import Call, answer
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime

PAGE = 1000


class AuditQuery(Struct, forbid_unknown_fields=True):
    """Which entries: after a sequence number, about one object."""

    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    object: Annotated[str, Meta(max_length=160)] | None = None


class AuditEntry(Struct):
    """One link of the chain; `record` is what was hashed, as text."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str
    details: Any
    record: str
    previous: str
    hash: str


class AuditPage(Struct):
    """Entries in order; `next` is the `after` of the next page, null at the end."""

    entries: list[AuditEntry]
    next: int | None


class AuditProof(Struct):
    """Whether every entry follows from the one before it."""

    intact: bool
    entries: int
    head: str
    broken_at: int | None
    why: str | None


def record_routes(runtime: WebRuntime) -> list[Route]:
    """Evidence and audit."""

    def evidence(call: Call) -> Any:
        with runtime.store.reading() as work:
            found = work.evidence.get(call.project, call.path["sha256"])
        if found is None:
            raise NotFound("There is no evidence of this name.")
        return answer(
            found,
            ETag=f'"{call.path["sha256"]}"',
            Cache_Control="private, max-age=31536000, immutable",
        )

    def audit(call: Call) -> Any:
        asked: AuditQuery = call.query
        with runtime.store.reading() as work:
            found = work.audit.entries(
                call.project, after=asked.after, most=asked.limit, object=asked.object
            )
        more = len(found) == asked.limit
        return AuditPage(
            entries=[_entry(one) for one in found], next=found[-1].seq if more else None
        )

    def proof(call: Call) -> Any:
        with runtime.store.reading() as work:
            result = verify(_every_entry(work, call.project))
        return AuditProof(
            intact=result.intact,
            entries=result.entries,
            head=result.head,
            broken_at=result.broken_at,
            why=result.why,
        )

    return [
        Route(
            method="GET",
            path="/v1/evidence/<sha256>",
            name="get_evidence",
            summary="Everything one look saw and concluded",
            access=service(Scope.READ),
            handler=evidence,
            answer=dict[str, Any],
            errors=(NotFound,),
        ),
        Route(
            method="GET",
            path="/v1/audit",
            name="list_audit",
            summary="Who did what, when, to which thing",
            access=service(Scope.READ),
            handler=audit,
            query=AuditQuery,
            answer=AuditPage,
        ),
        Route(
            method="GET",
            path="/v1/audit/verify",
            name="verify_audit",
            summary="Recompute every hash of the audit chain",
            access=service(Scope.READ, roles=(Role.AUDITOR, Role.ADMIN, Role.OPERATOR)),
            handler=proof,
            answer=AuditProof,
        ),
    ]


def _every_entry(work: Work, project: str) -> Iterator[Entry]:
    after = 0
    while page := work.audit.entries(project, after=after, most=PAGE):
        yield from page
        after = page[-1].seq


def _entry(entry: Entry) -> AuditEntry:
    return AuditEntry(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        object=entry.object,
        details=msgspec.json.decode(entry.record).get("details"),
        record=entry.record,
        previous=entry.previous,
        hash=entry.hash,
    )
