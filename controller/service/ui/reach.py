"""Who can be reached: the holdouts and layers of a project, and the overrides of a slot."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import ControllerError, NotFound
from controller.flow.holdouts import MAY_CHANGE, delete_holdout, holdout_views, put_holdout
from controller.flow.layers import delete_layer, layer_views, put_layer
from controller.flow.overrides import (
    MAY_OVERRIDE,
    delete_override_by_hash,
    overrides_of,
    read_arm,
    set_override,
)
from controller.service.http.calls import Answer, Call
from controller.service.http.problems import status_of
from controller.service.http.router import Route
from controller.service.ui.console import Console, may, page_route, redirect


class PageQuery(Struct, forbid_unknown_fields=True):
    """`done` names the form that led here."""

    done: Annotated[str, Meta(max_length=20)] = ""


class HoldoutForm(Struct, forbid_unknown_fields=True):
    """A holdout, its share as a person writes it."""

    name: Annotated[str, Meta(max_length=64)] = ""
    unit: Annotated[str, Meta(max_length=64)] = ""
    share: Annotated[str, Meta(max_length=20)] = ""
    tag: Annotated[str, Meta(max_length=64)] = ""
    description: Annotated[str, Meta(max_length=2000)] = ""


class LayerForm(Struct, forbid_unknown_fields=True):
    """A layer; `slots` has a line `slot = share` for each slot."""

    name: Annotated[str, Meta(max_length=64)] = ""
    unit: Annotated[str, Meta(max_length=64)] = ""
    slots: Annotated[str, Meta(max_length=10_000)] = ""
    description: Annotated[str, Meta(max_length=2000)] = ""


class OverrideForm(Struct, forbid_unknown_fields=True):
    """A unit and the arm that it shall meet."""

    unit: Annotated[str, Meta(max_length=256)] = ""
    arm: Annotated[str, Meta(max_length=32)] = ""


TOLD = {
    "holdout": "The holdout is in force.",
    "layer": "The layer is in force.",
    "gone": "It is gone; who it kept out can take part again.",
    "set": "The unit meets that arm from now on, and is not analysed.",
    "unset": "The unit can take part again; the live rollout will not analyse it.",
}


def reach_routes(pages: Console) -> list[Route]:
    """The page of holdouts and layers, the page of a slot's overrides, and their forms."""
    return [*_rules(pages), *_overrides(pages)]


def _rules(pages: Console) -> list[Route]:
    store = pages.runtime.store

    def show(call: Call, *, refused: ControllerError | None = None) -> Answer:
        with store.reading() as work:
            return pages.page(
                call,
                "reach.html",
                work=work,
                here="slots",
                status=200 if refused is None else status_of(type(refused)),
                holdouts=holdout_views(work, call.project),
                layers=layer_views(work, call.project),
                units=sorted({one.slot.unit for one in work.definitions.slots(call.project)}),
                may_change=may(call, *MAY_CHANGE),
                told="" if call.query is None else TOLD.get(call.query.done, ""),
                error="" if refused is None else refused.message,
            )

    def hold_out(call: Call) -> Answer:
        form: HoldoutForm = call.body
        document = {
            "unit": form.unit.strip(),
            "share": _share(form.share),
            "tag": form.tag.strip() or None,
            "description": form.description.strip(),
        }
        try:
            put_holdout(store, call.project, document, name=form.name.strip(), actor=call.actor)
        except ControllerError as refusal:
            return show(call, refused=refusal)
        return redirect("/reach?done=holdout")

    def lay(call: Call) -> Answer:
        form: LayerForm = call.body
        document = {
            "unit": form.unit.strip(),
            "slots": _members(form.slots),
            "description": form.description.strip(),
        }
        try:
            put_layer(store, call.project, document, name=form.name.strip(), actor=call.actor)
        except ControllerError as refusal:
            return show(call, refused=refusal)
        return redirect("/reach?done=layer")

    def end_holdout(call: Call) -> Answer:
        delete_holdout(store, call.project, call.path["name"], actor=call.actor)
        return redirect("/reach?done=gone")

    def end_layer(call: Call) -> Answer:
        delete_layer(store, call.project, call.path["name"], actor=call.actor)
        return redirect("/reach?done=gone")

    forms: dict[str, Any] = {"roles": MAY_CHANGE}
    return [
        page_route("GET", "/reach", "ui_reach", "Holdouts and layers", show, query=PageQuery),
        page_route(
            "POST",
            "/reach/holdouts",
            "ui_put_holdout",
            "Create or change a holdout",
            hold_out,
            body=HoldoutForm,
            **forms,
        ),
        page_route(
            "POST",
            "/reach/layers",
            "ui_put_layer",
            "Create or change a layer",
            lay,
            body=LayerForm,
            **forms,
        ),
        page_route(
            "POST",
            "/reach/holdouts/<name>/delete",
            "ui_delete_holdout",
            "Forget a holdout",
            end_holdout,
            **forms,
        ),
        page_route(
            "POST",
            "/reach/layers/<name>/delete",
            "ui_delete_layer",
            "Forget a layer",
            end_layer,
            **forms,
        ),
    ]


def _overrides(pages: Console) -> list[Route]:
    store = pages.runtime.store

    def show(call: Call, *, refused: ControllerError | None = None) -> Answer:
        with store.reading() as work:
            stored = work.definitions.slot(call.project, call.path["slot"])
            if stored is None:
                raise NotFound(f"There is no slot {call.path['slot']!r:.80}.")
            live = work.rollouts.live_in(call.project, stored.slot.key)
            plan = None if live is None else live.plan
            return pages.page(
                call,
                "overrides.html",
                work=work,
                here="slots",
                status=200 if refused is None else status_of(type(refused)),
                slot=stored.slot,
                live=live,
                arms=["champion", "challenger"] if plan is None else list(plan.arms),
                overrides=overrides_of(work, call.project, stored.slot.key),
                may_override=may(call, *MAY_OVERRIDE),
                told="" if call.query is None else TOLD.get(call.query.done, ""),
                error="" if refused is None else refused.message,
            )

    def put(call: Call) -> Answer:
        form, slot = call.body, call.path["slot"]
        try:
            arm = read_arm({"arm": form.arm})
            set_override(store, call.project, slot, form.unit, arm, actor=call.actor)
        except ControllerError as refusal:
            return show(call, refused=refusal)
        return redirect(f"/slots/{slot}/overrides?done=set")

    def drop(call: Call) -> Answer:
        slot = call.path["slot"]
        delete_override_by_hash(store, call.project, slot, call.path["hash"], actor=call.actor)
        return redirect(f"/slots/{slot}/overrides?done=unset")

    return [
        page_route(
            "GET",
            "/slots/<slot>/overrides",
            "ui_overrides",
            "Arms given by hand",
            show,
            query=PageQuery,
        ),
        page_route(
            "POST",
            "/slots/<slot>/overrides",
            "ui_put_override",
            "Show one unit one arm",
            put,
            roles=MAY_OVERRIDE,
            body=OverrideForm,
        ),
        page_route(
            "POST",
            "/slots/<slot>/overrides/<hash>/delete",
            "ui_delete_override",
            "Let a unit take part again",
            drop,
            roles=MAY_OVERRIDE,
        ),
    ]


def _members(text: str) -> dict[str, Any]:
    """Slots and shares, a line each; what is no such line is left for the definition to refuse."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if line.strip():
            slot, _, share = line.partition("=")
            found[slot.strip()] = _share(share)
    return found


def _share(text: str) -> float | str:
    """A number, or the text as it stands: the definition reads percentages."""
    try:
        return float(text)
    except ValueError:
        return text.strip()
