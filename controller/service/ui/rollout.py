"""A rollout's page, the part of it that stays live, and the pages that confirm a verb."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import NotFound
from controller.flow.ports.work import Work
from controller.flow.verbs import act
from controller.rollout.states import Verb
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route
from controller.service.ui.actions import DONE, action_of, actions_of
from controller.service.ui.answer import box_of
from controller.service.ui.console import Console, page_route, redirect
from controller.service.ui.course import log_of, steps_of, traffic_of
from controller.service.ui.facts import facts_of
from controller.service.ui.panels import Panel, panels_of
from controller.service.ui.view import View, as_it_was, promoted_on, read_view
from controller.service.ui.words import state_badge


class PageQuery(Struct, forbid_unknown_fields=True):
    """`done` names the form that led here."""

    done: Annotated[str, Meta(max_length=20)] = ""


class VerbForm(Struct, forbid_unknown_fields=True):
    """The version that was read, and why, in the log's words."""

    version: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    note: Annotated[str, Meta(max_length=2000)] = ""


def rollout_routes(pages: Console) -> list[Route]:
    """Everything under `/rollouts/ID`."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        with store.reading() as work:
            view = read_view(work, call.project, call.path["rollout"])
            return pages.page(
                call,
                "rollout.html",
                work=work,
                here="rollouts",
                told=DONE.get(call.query.done, ""),
                **shown(work, view, call),
            )

    def live(call: Call) -> Answer:
        with store.reading() as work:
            view = read_view(work, call.project, call.path["rollout"])
            context = shown(work, view, call)
        return pages.fragment(call, "_parts/rollout_live.html", now=view.now, **context)

    def confirm(call: Call) -> Answer:
        with store.reading() as work:
            view = read_view(work, call.project, call.path["rollout"])
            action = action_of(view, _verb(call), call.actor)
            return pages.page(
                call, "confirm.html", work=work, here="rollouts", view=view, action=action
            )

    def carry_out(call: Call) -> Answer:
        verb, given = _verb(call), call.body
        after = act(
            store,
            call.project,
            call.path["rollout"],
            verb,
            actor=call.actor,
            if_match=given.version,
            note=given.note.strip(),
        )
        return redirect(f"/rollouts/{after.id}?done={verb.value}")

    return [
        page_route(
            "GET", "/rollouts/<rollout>", "ui_rollout", "A rollout's page", show, query=PageQuery
        ),
        page_route(
            "GET",
            "/rollouts/<rollout>/live",
            "ui_rollout_live",
            "The part of a rollout's page that changes",
            live,
        ),
        page_route(
            "GET",
            "/rollouts/<rollout>/actions/<verb>",
            "ui_confirm",
            "What a verb would do, and the button that does it",
            confirm,
        ),
        page_route(
            "POST",
            "/rollouts/<rollout>/actions/<verb>",
            "ui_act",
            "Carry a verb out",
            carry_out,
            body=VerbForm,
        ),
    ]


def shown(work: Work, view: View, call: Call) -> dict[str, Any]:
    """What the templates of a rollout read."""
    panels = panels_of(view)
    status = view.status
    return {
        "view": view,
        "badge": state_badge(
            status["state"],
            paused=bool(status["paused"]),
            waiting=view.proposal is not None,
            killed=status["killed"],
            verdict=status["verdict"]["value"],
        ),
        "sentence": status["sentence"],
        "steps": steps_of(view),
        "box": box_of(view, panels),
        "panels": panels,
        "promoted_on": _promoted_on(work, view),
        "traffic": traffic_of(view),
        "log": log_of(view),
        "actions": actions_of(view, call.actor),
        "facts": facts_of(view),
        "settled": not view.state.live,
    }


def _promoted_on(work: Work, view: View) -> list[Panel]:
    """While a promotion is watched, and afterwards: the evidence that it rests on."""
    if not view.watched:
        return []
    then = as_it_was(work, view, promoted_on(view.decisions))
    found = panels_of(then, prefix="promoted-") if then else []
    return [panel for panel in found if panel.decides]


def _verb(call: Call) -> Verb:
    """The verb of an address; an edit has a page of its own (`editing.py`)."""
    known = {verb.value: verb for verb in Verb if verb is not Verb.EDIT}
    verb = known.get(call.path["verb"])
    if verb is None:
        raise NotFound("There is no such action.")
    return verb
