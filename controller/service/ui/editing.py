"""The page that changes weights or eligibility of a rollout under test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import ControllerError, GuardFailed, InvalidInput
from controller.experiments.plans import CHAMPION
from controller.flow.verbs import act
from controller.rollout.states import Verb
from controller.service.http.calls import Answer, Call
from controller.service.http.loader import parse_json
from controller.service.http.problems import status_of
from controller.service.http.router import Route
from controller.service.ui import words
from controller.service.ui.actions import action_of
from controller.service.ui.console import Console, page_route, redirect
from controller.service.ui.view import View, read_view

_PATH = "/rollouts/<rollout>/actions/edit"


class EditForm(Struct, forbid_unknown_fields=True):
    """Weights with a line `arm = share` for each arm, the condition as JSON."""

    version: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    weights: Annotated[str, Meta(max_length=2000)] = ""
    eligible: Annotated[str, Meta(max_length=60_000)] = ""
    note: Annotated[str, Meta(max_length=2000)] = ""


def editing_routes(pages: Console) -> list[Route]:
    """The form, and what it does."""
    store = pages.runtime.store

    def show(
        call: Call,
        *,
        form: EditForm | None = None,
        refused: InvalidInput | GuardFailed | None = None,
    ) -> Answer:
        with store.reading() as work:
            view = read_view(work, call.project, call.path["rollout"])
            return pages.page(
                call,
                "edit.html",
                work=work,
                here="rollouts",
                status=200 if refused is None else status_of(type(refused)),
                view=view,
                action=action_of(view, Verb.EDIT, call.actor),
                form=form or standing(view),
                arms=_arms(view),
                units=words.many(view.slot.slot.unit),
                error="" if refused is None else refused.message,
            )

    def carry_out(call: Call) -> Answer:
        form: EditForm = call.body
        with store.reading() as work:
            view = read_view(work, call.project, call.path["rollout"])
        try:
            after = act(
                store,
                call.project,
                call.path["rollout"],
                Verb.EDIT,
                actor=call.actor,
                if_match=form.version,
                note=form.note.strip(),
                edits=edits_of(form, standing(view)),
            )
        except (InvalidInput, GuardFailed) as refusal:
            return show(call, form=form, refused=refusal)
        return redirect(f"/rollouts/{after.id}?done={Verb.EDIT.value}")

    return [
        page_route("GET", _PATH, "ui_edit", "Change weights or eligibility", show),
        page_route("POST", _PATH, "ui_do_edit", "Carry an edit out", carry_out, body=EditForm),
    ]


def standing(view: View) -> EditForm:
    """The form as it stands: what each arm keeps now, and the condition in force."""
    allocation = view.status["allocation"]
    if allocation is None:
        return EditForm()
    living = 1.0 - allocation["retired"]
    kept = {arm: share * living for arm, share in allocation["weights"].items() if arm != CHAMPION}
    shares = {CHAMPION: 1.0 - sum(kept.values()), **kept}
    return EditForm(
        weights="\n".join(f"{arm} = {_percent(share)}" for arm, share in shares.items()),
        eligible=_text(allocation["eligible"]),
    )


def _percent(share: float) -> str:
    """Two decimals at most: a share as a person would write it."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def _arms(view: View) -> list[tuple[str, str]]:
    """Which model each arm of the form is; nothing before there is a split."""
    allocation = view.status["allocation"]
    if view.plan is None or allocation is None:
        return []
    return [(arm, view.plan.arms[arm].label) for arm in allocation["weights"]]


def edits_of(form: EditForm, before: EditForm) -> dict[str, Any]:
    """What the form changes.

    Raises
    ------
    InvalidInput
        If a line of the weights or the condition cannot be read.
    """
    edits: dict[str, Any] = {}
    weights = _weights(form.weights)
    if weights != _weights(before.weights):
        edits["weights"] = weights
    eligible = _condition(form.eligible)
    if eligible != _condition(before.eligible):
        edits["eligible"] = eligible
    return edits


def _text(condition: Mapping[str, Any] | None) -> str:
    return "" if condition is None else json.dumps(condition, indent=2, ensure_ascii=False)


def _condition(text: str) -> Any:
    """The condition, read as strictly as the body of a request."""
    if not text.strip():
        return None
    try:
        return parse_json(text.encode())
    except ControllerError as refusal:
        raise InvalidInput(
            f"eligible: is not readable JSON ({refusal.message})", field="eligible"
        ) from refusal


def _weights(text: str) -> dict[str, float | str]:
    """Shares by arm; the use case checks them."""
    weights: dict[str, float | str] = {}
    for line in filter(str.strip, text.splitlines()):
        arm, equals, share = (part.strip() for part in line.partition("="))
        if not (arm and equals and share) or arm in weights:
            raise InvalidInput(
                f"weights: expected one line like champion = 50% for each arm, not {line!r:.60}.",
                field="weights",
            )
        weights[arm] = share if share.endswith("%") else _number(share)
    return weights


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(f"weights: {text!r:.40} is no share.", field="weights") from error
