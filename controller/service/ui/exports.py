"""What a page shows, to take away: every look of a rollout and the audit log as CSV."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from controller.errors import NotFound
from controller.flow.exports import audit_table, look_table
from controller.service.http.calls import Answer, Call
from controller.service.http.refusals import Overloaded
from controller.service.http.router import Route, console
from controller.service.http.spreadsheets import MEDIA, csv_answer
from controller.service.ui.console import Console


class AuditQuery(Struct, forbid_unknown_fields=True):
    """Only entries about one object; empty: about everything."""

    object: Annotated[str, Meta(max_length=160)] = ""


def export_routes(pages: Console) -> list[Route]:
    """Two files."""
    store, seats = pages.runtime.store, pages.runtime.seats

    def looks(call: Call) -> Answer:
        return csv_answer(look_table(store, call.project, call.path["rollout"]), seats=seats)

    def audit(call: Call) -> Answer:
        about = call.query.object or None
        return csv_answer(audit_table(store, call.project, object=about), seats=seats)

    return [
        Route(
            method="GET",
            path="/rollouts/<rollout>/looks.csv",
            name="ui_looks_csv",
            summary="Every look of a rollout as CSV",
            access=console(),
            handler=looks,
            media=MEDIA,
            documented=False,
            errors=(NotFound, Overloaded),
        ),
        Route(
            method="GET",
            path="/audit.csv",
            name="ui_audit_csv",
            summary="The audit log as CSV",
            access=console(),
            handler=audit,
            query=AuditQuery,
            media=MEDIA,
            documented=False,
            errors=(Overloaded,),
        ),
    ]
