"""Slots: which model serves each, what lives in it, and the kill switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from controller.errors import GuardFailed, NotFound
from controller.flow.actors import Role
from controller.flow.kill import kill, lift
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.work import Work
from controller.flow.publish import killed_to
from controller.flow.traffic_rules import Reach, reach_of
from controller.rollout.record import Rollout
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route
from controller.service.ui import times
from controller.service.ui.console import Console, may, page_route, redirect
from controller.service.ui.words import KILLED, Badge, state_badge

STOPPERS = (Role.OPERATOR, Role.APPROVER, Role.ADMIN)
LIFTERS = (Role.OPERATOR, Role.ADMIN)
AT_REST = Badge(word="Champion serves", glyph="✓", tone="quiet")


class PageQuery(Struct, forbid_unknown_fields=True):
    """`done` names the form that led here."""

    done: Annotated[str, Meta(max_length=20)] = ""


class KillForm(Struct, forbid_unknown_fields=True):
    """Which model serves everybody, and why, in the log's words."""

    to: Annotated[str, Meta(pattern="^(champion|previous|fallback)$")] = "champion"
    note: Annotated[str, Meta(max_length=2000)] = ""


class LiftForm(Struct, forbid_unknown_fields=True):
    """Why it is safe again."""

    note: Annotated[str, Meta(max_length=2000)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A kill switch that is on."""

    to: str
    model: str
    by: str
    at: datetime | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One slot.

    Attributes
    ----------
    targets : tuple of (name, model)
        The models that the kill switch could serve.
    reach : Reach
        Which share of its units a rollout here can meet at all.
    """

    key: str
    unit: str
    description: str
    champion: str
    oec: str
    guardrails: tuple[str, ...]
    policies: tuple[str, ...]
    observe: float
    badge: Badge
    live: Rollout | None
    killed: Killed | None
    targets: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    reach: Reach


TOLD: Mapping[str, str] = {
    "kill": "The kill switch is on: one model serves everybody.",
    "lift": "The kill switch is lifted.",
}


def slot_routes(pages: Console) -> list[Route]:
    """The slots' page, the kill switch and what confirms it."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        with store.reading() as work:
            return pages.page(
                call,
                "slots.html",
                work=work,
                here="slots",
                lines=[_line(work, call, one) for one in work.definitions.slots(call.project)],
                told=TOLD.get(call.query.done, ""),
                may_stop=may(call, *STOPPERS),
            )

    def confirm(call: Call) -> Answer:
        with store.reading() as work:
            line = _named(work, call)
            return pages.page(
                call,
                "kill.html",
                work=work,
                here="slots",
                line=line,
                may_stop=may(call, *STOPPERS),
                may_lift=may(call, *LIFTERS),
                error="",
            )

    def pull(call: Call) -> Answer:
        given: KillForm = call.body
        slot = call.path["slot"]
        try:
            kill(store, call.project, slot, to=given.to, note=given.note.strip(), actor=call.actor)
        except GuardFailed as refusal:
            with store.reading() as work:
                return pages.page(
                    call,
                    "kill.html",
                    work=work,
                    here="slots",
                    status=422,
                    line=_named(work, call),
                    may_stop=True,
                    may_lift=may(call, *LIFTERS),
                    error=refusal.message,
                )
        return redirect("/slots?done=kill")

    def release(call: Call) -> Answer:
        lift(store, call.project, call.path["slot"], note=call.body.note.strip(), actor=call.actor)
        return redirect("/slots?done=lift")

    return [
        page_route("GET", "/slots", "ui_slots", "The slots", show, query=PageQuery),
        page_route(
            "GET",
            "/slots/<slot>/kill",
            "ui_confirm_kill",
            "What the kill switch of a slot would do",
            confirm,
        ),
        page_route(
            "POST",
            "/slots/<slot>/kill",
            "ui_kill",
            "Serve one model to everybody, now",
            pull,
            roles=STOPPERS,
            body=KillForm,
        ),
        page_route(
            "POST",
            "/slots/<slot>/lift",
            "ui_lift",
            "Lift the kill switch",
            release,
            roles=LIFTERS,
            body=LiftForm,
        ),
    ]


def _named(work: Work, call: Call) -> Line:
    stored = work.definitions.slot(call.project, call.path["slot"])
    if stored is None:
        raise NotFound(f"There is no slot {call.path['slot']!r:.80}.")
    return _line(work, call, stored)


def _line(work: Work, call: Call, stored: StoredSlot) -> Line:
    slot = stored.slot
    live = work.rollouts.live_in(call.project, slot.key)
    models = {
        "champion": slot.champion,
        "previous": stored.previous_champion,
        "fallback": slot.fallback,
    }
    targets = tuple((name, model.label) for name, model in models.items() if model is not None)
    return Line(
        key=slot.key,
        unit=slot.unit,
        description=slot.description,
        champion=slot.champion.label,
        oec=slot.oec.metric if slot.oec else "",
        guardrails=tuple(one.metric for one in slot.guardrails),
        policies=slot.policies,
        observe=slot.observe,
        badge=_badge(work, call, stored, live),
        live=live,
        killed=_killed(stored),
        targets=targets,
        tags=slot.tags,
        reach=reach_of(work, call.project, slot),
    )


def _badge(work: Work, call: Call, stored: StoredSlot, live: Rollout | None) -> Badge:
    """What its rollout is called everywhere else; a kill switch says so even where none lives."""
    if stored.kill is not None or live is None:
        return AT_REST if stored.kill is None else KILLED
    return state_badge(
        live.state.value,
        paused=bool(live.paused),
        waiting=work.approvals.open_for(call.project, live.id) is not None,
        killed=False,
        verdict=live.verdict.value,
    )


def _killed(stored: StoredSlot) -> Killed | None:
    kill, model = stored.kill, killed_to(stored)
    if kill is None or model is None:
        return None
    return Killed(
        to=kill["to"],
        model=model.label,
        by=kill["actor"],
        at=times.instant(kill["at"]),
        note=kill["note"],
    )
