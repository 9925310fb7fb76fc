"""The audit log: who did what, when, to which thing, and whether the chain is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from controller.audit.chain import Entry, verify
from controller.flow.ports.work import Work
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route
from controller.service.ui.console import Console, page_route

PAGE: Final = 50
STRIDE: Final = 1000


class AuditQuery(Struct, forbid_unknown_fields=True):
    """Entries before one, about one object; none named: the newest, about everything."""

    before: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    object: Annotated[str, Meta(max_length=160)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry in words, and everything that was hashed."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str
    link: str
    details: tuple[tuple[str, str], ...]
    hash: str


def audit_routes(pages: Console) -> list[Route]:
    """The log's page, and the proof."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        asked: AuditQuery = call.query
        with store.reading() as work:
            found, older = newest(work, call.project, before=asked.before, object=asked.object)
            head = work.audit.head(call.project)
            return pages.page(
                call,
                "audit.html",
                work=work,
                here="audit",
                lines=[_line(one) for one in found],
                older=older,
                object=asked.object,
                entries=head.seq if head else 0,
                proof=None,
            )

    def prove(call: Call) -> Answer:
        with store.reading() as work:
            proof = verify(_every(work, call.project))
            found, older = newest(work, call.project, before=None, object="")
            return pages.page(
                call,
                "audit.html",
                work=work,
                here="audit",
                lines=[_line(one) for one in found],
                older=older,
                object="",
                entries=proof.entries,
                proof=proof,
            )

    return [
        page_route("GET", "/audit", "ui_audit", "Who did what, when", show, query=AuditQuery),
        page_route(
            "GET", "/audit/verify", "ui_audit_verify", "Recompute every hash of the chain", prove
        ),
    ]


def newest(
    work: Work, project: str, *, before: int | None, object: str
) -> tuple[list[Entry], int | None]:
    """One page of entries, newest first, and the `before` of the next page.

    The chain is read forwards, so a filtered page walks back in strides until it is full.
    """
    head = work.audit.head(project)
    end = min(before or 2**53, (head.seq if head else 0) + 1)
    found: list[Entry] = []
    while end > 1 and len(found) <= PAGE:
        start = max(0, end - 1 - (PAGE + 1 if not object else STRIDE))
        some = work.audit.entries(project, after=start, most=end - 1 - start, object=object or None)
        found += [one for one in reversed(some) if one.seq < end]
        end = start + 1
    more = len(found) > PAGE
    return found[:PAGE], found[PAGE - 1].seq if more else None


def _every(work: Work, project: str) -> Iterator[Entry]:
    after = 0
    while page := work.audit.entries(project, after=after, most=STRIDE):
        yield from page
        after = page[-1].seq


def _line(entry: Entry) -> Line:
    details: dict[str, Any] = json.loads(entry.record).get("details") or {}
    kind, _, name = entry.object.partition("/")
    places = {"rollout": f"/rollouts/{name}", "slot": "/slots", "operator": "/operators"}
    return Line(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action.replace("_", " "),
        object=entry.object,
        link=places.get(kind, ""),
        details=tuple((key, _text(value)) for key, value in details.items()),
        hash=entry.hash,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
