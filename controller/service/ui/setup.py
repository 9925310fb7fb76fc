"""How an application begins: install, key, assign, report; and whether anything has arrived."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from controller.flow.ports.work import Work
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route
from controller.service.ui.console import Console, page_route


class SetupQuery(Struct, forbid_unknown_fields=True):
    """Which slot the examples name."""

    slot: Annotated[str, Meta(max_length=64)] = ""


def setup_routes(pages: Console) -> list[Route]:
    """The set-up page."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        with store.reading() as work:
            slots = [one.slot for one in work.definitions.slots(call.project)]
            chosen = next((one for one in slots if one.key == call.query.slot), None)
            chosen = chosen or (slots[0] if slots else None)
            return pages.page(
                call,
                "setup.html",
                work=work,
                here="setup",
                slots=slots,
                slot=chosen.key if chosen else "my-slot",
                unit=chosen.unit if chosen else "customer",
                outcome=_outcome(work, call.project, chosen.oec.metric)
                if chosen and chosen.oec
                else "revenue",
                service=call.request.host_url.rstrip("/"),
            )

    return [
        page_route("GET", "/setup", "ui_setup", "How an application begins", show, query=SetupQuery)
    ]


def _outcome(work: Work, project: str, metric: str) -> str:
    found = work.definitions.metric(project, metric)
    return found.outcome if found else metric
