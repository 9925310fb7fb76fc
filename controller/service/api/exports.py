"""The same facts as tables: CSV for a spreadsheet or a notebook."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from controller.errors import NotFound
from controller.flow.actors import Scope
from controller.flow.exports import audit_table, look_table
from controller.service.http.calls import Answer, Call
from controller.service.http.refusals import Overloaded
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.service.http.spreadsheets import MEDIA, csv_answer


class AuditQuery(Struct, forbid_unknown_fields=True):
    """Only entries about one object, like `rollout/ID`."""

    object: Annotated[str, Meta(max_length=160)] | None = None


def export_routes(runtime: WebRuntime) -> list[Route]:
    """Looks and audit."""
    store, seats = runtime.store, runtime.seats

    def looks(call: Call) -> Answer:
        return csv_answer(look_table(store, call.project, call.path["rollout"]), seats=seats)

    def audit(call: Call) -> Answer:
        return csv_answer(audit_table(store, call.project, object=call.query.object), seats=seats)

    return [
        Route(
            method="GET",
            path="/v1/rollouts/<rollout>/looks.csv",
            name="export_looks",
            summary="Every look of a rollout as CSV, one row a test",
            access=service(Scope.READ),
            handler=looks,
            media=MEDIA,
            errors=(NotFound, Overloaded),
        ),
        Route(
            method="GET",
            path="/v1/audit.csv",
            name="export_audit",
            summary="The audit log as CSV, in order",
            access=service(Scope.READ),
            handler=audit,
            query=AuditQuery,
            media=MEDIA,
            errors=(Overloaded,),
        ),
    ]
