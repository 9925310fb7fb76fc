"""Holdouts, layers and overrides: which units no rollout, or only one, may reach."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from controller.assignment.document import MAX_OVERRIDES
from controller.errors import Conflict, InvalidInput, NotFound, NotPermitted
from controller.flow.actors import Scope
from controller.flow.holdouts import MAY_CHANGE as HOLDOUT_ROLES
from controller.flow.holdouts import delete_holdout, holdout_view, holdout_views, put_holdout
from controller.flow.layers import MAY_CHANGE as LAYER_ROLES
from controller.flow.layers import delete_layer, layer_view, layer_views, put_layer
from controller.flow.overrides import (
    MAY_OVERRIDE,
    delete_override,
    delete_override_by_hash,
    delete_overrides,
    overrides_of,
    read_arm,
    set_override,
    set_overrides,
)
from controller.service.http.calls import Call
from controller.service.http.router import Access, Handler, Route, service
from controller.service.http.runtime import WebRuntime

READERS = service(Scope.READ)
OVERRIDERS = service(Scope.ADMIN, roles=MAY_OVERRIDE)


class OverrideQuery(Struct, forbid_unknown_fields=True):
    """Whether the address names the unit by its id or by the hash that the list shows."""

    by: Literal["unit", "hash"] = "unit"


class OverridesRequest(Struct, forbid_unknown_fields=True):
    """The arm that some units shall meet; null lets them take part again."""

    units: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256)]],
        Meta(min_length=1, max_length=MAX_OVERRIDES),
    ]
    arm: Annotated[str, Meta(max_length=32)] | None


class OverridesAnswer(Struct):
    """The overrides that the request set, units as keyed hashes."""

    overrides: list[dict[str, Any]]


def traffic_routes(runtime: WebRuntime) -> list[Route]:
    """PUT, GET, DELETE and the collection of each."""
    return [*_holdouts(runtime), *_layers(runtime), *_overrides(runtime)]


def _holdouts(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def put(call: Call) -> Any:
        name = call.path["name"]
        return put_holdout(store, call.project, call.body, name=name, actor=call.actor).document()

    def get(call: Call) -> Any:
        with store.reading() as work:
            return holdout_view(work, call.project, call.path["name"]).document()

    def every(call: Call) -> Any:
        with store.reading() as work:
            return {"holdouts": [one.document() for one in holdout_views(work, call.project)]}

    def drop(call: Call) -> None:
        delete_holdout(store, call.project, call.path["name"], actor=call.actor)

    writers = service(Scope.ADMIN, roles=HOLDOUT_ROLES)
    return _kind("holdout", put=put, get=get, every=every, drop=drop, writers=writers)


def _layers(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def put(call: Call) -> Any:
        name = call.path["name"]
        return put_layer(store, call.project, call.body, name=name, actor=call.actor).document()

    def get(call: Call) -> Any:
        with store.reading() as work:
            return layer_view(work, call.project, call.path["name"]).document()

    def every(call: Call) -> Any:
        with store.reading() as work:
            return {"layers": [one.document() for one in layer_views(work, call.project)]}

    def drop(call: Call) -> None:
        delete_layer(store, call.project, call.path["name"], actor=call.actor)

    writers = service(Scope.ADMIN, roles=LAYER_ROLES)
    return _kind("layer", put=put, get=get, every=every, drop=drop, writers=writers)


def _kind(
    kind: str, *, put: Handler, get: Handler, every: Handler, drop: Handler, writers: Access
) -> list[Route]:
    return [
        Route(
            method="PUT",
            path=f"/v1/{kind}s/<name>",
            name=f"put_{kind}",
            summary=f"Create or change a {kind} (JSON or YAML)",
            access=writers,
            handler=put,
            reads="definition",
            answer=dict[str, Any],
            errors=(InvalidInput, NotPermitted, Conflict),
        ),
        Route(
            method="GET",
            path=f"/v1/{kind}s/<name>",
            name=f"get_{kind}",
            summary=f"One {kind}, the slots it concerns and the rollouts that live there",
            access=READERS,
            handler=get,
            answer=dict[str, Any],
            errors=(NotFound,),
        ),
        Route(
            method="DELETE",
            path=f"/v1/{kind}s/<name>",
            name=f"delete_{kind}",
            summary=f"Forget a {kind} and the salt that chose its units",
            access=writers,
            handler=drop,
            status=204,
            errors=(NotFound, NotPermitted),
        ),
        Route(
            method="GET",
            path=f"/v1/{kind}s",
            name=f"list_{kind}s",
            summary=f"Every {kind}",
            access=READERS,
            handler=every,
            answer=dict[str, Any],
        ),
    ]


def _overrides(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def put(call: Call) -> Any:
        slot, unit, arm = call.path["slot"], call.path["unit"], read_arm(call.body)
        return set_override(store, call.project, slot, unit, arm, actor=call.actor).document()

    def drop(call: Call) -> None:
        remove = delete_override_by_hash if call.query.by == "hash" else delete_override
        remove(store, call.project, call.path["slot"], call.path["unit"], actor=call.actor)

    def several(call: Call) -> Any:
        asked: OverridesRequest = call.body
        slot = call.path["slot"]
        if asked.arm is None:
            delete_overrides(store, call.project, slot, asked.units, actor=call.actor)
            return OverridesAnswer(overrides=[])
        arm = read_arm({"arm": asked.arm})
        made = set_overrides(store, call.project, slot, asked.units, arm, actor=call.actor)
        return OverridesAnswer(overrides=[one.document() for one in made])

    def every(call: Call) -> Any:
        with store.reading() as work:
            found = overrides_of(work, call.project, call.path["slot"])
        return {"overrides": [one.document() for one in found]}

    return [
        Route(
            method="PUT",
            path="/v1/slots/<slot>/overrides/<text:unit>",
            name="put_override",
            summary="Show one unit one arm, whatever the split says",
            description=(
                "For testing. The unit is kept and answered as its keyed hash alone, and the live "
                "rollout does not analyse it any more."
            ),
            access=OVERRIDERS,
            handler=put,
            reads="definition",
            answer=dict[str, Any],
            errors=(InvalidInput, NotFound, NotPermitted, Conflict),
        ),
        Route(
            method="DELETE",
            path="/v1/slots/<slot>/overrides/<text:unit>",
            name="delete_override",
            summary="Let a unit take part again; `?by=hash` names it as the list does",
            access=OVERRIDERS,
            handler=drop,
            query=OverrideQuery,
            status=204,
            errors=(InvalidInput, NotFound, NotPermitted),
        ),
        Route(
            method="POST",
            path="/v1/slots/<slot>/overrides",
            name="post_overrides",
            summary="Show some units one arm, or with `arm` null let them take part again",
            description=(
                "All of them or none, in one publication. It takes `.` and `..` too, which most "
                "clients take out of an address before they send it."
            ),
            access=OVERRIDERS,
            handler=several,
            reads="json",
            body=OverridesRequest,
            answer=OverridesAnswer,
            errors=(InvalidInput, NotFound, NotPermitted, Conflict),
        ),
        Route(
            method="GET",
            path="/v1/slots/<slot>/overrides",
            name="list_overrides",
            summary="Overrides of a slot: keyed hash, arm, who and when",
            access=READERS,
            handler=every,
            answer=dict[str, Any],
            errors=(NotFound,),
        ),
    ]
