"""The kill switch: one model for every unit of a slot, or of every slot, now."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import GuardFailed, NotFound
from controller.flow.actors import Role, Scope
from controller.flow.kill import kill, lift
from controller.service.http.calls import Call
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime


class Kill(Struct, forbid_unknown_fields=True):
    """Which model serves everybody: `champion`, `previous` or `fallback`."""

    to: Annotated[str, Meta(pattern="^(champion|previous|fallback)$")] = "champion"
    note: Annotated[str, Meta(max_length=2000)] = ""


class Killed(Struct):
    """The slots that are now killed."""

    slots: list[str]


def kill_routes(runtime: WebRuntime) -> list[Route]:
    """Kill one slot or all of them, and lift it."""
    store = runtime.store

    def kill_slot(call: Call) -> Any:
        asked: Kill = call.body
        slot = call.path["slot"]
        return Killed(
            slots=list(
                kill(store, call.project, slot, to=asked.to, note=asked.note, actor=call.actor)
            )
        )

    def kill_all(call: Call) -> Any:
        asked: Kill = call.body
        return Killed(
            slots=list(
                kill(store, call.project, None, to=asked.to, note=asked.note, actor=call.actor)
            )
        )

    def lift_slot(call: Call) -> None:
        lift(store, call.project, call.path["slot"], actor=call.actor)

    stoppers = service(Scope.STOP, roles=(Role.OPERATOR, Role.APPROVER, Role.ADMIN))
    common: dict[str, Any] = {
        "method": "POST",
        "access": stoppers,
        "reads": "json",
        "optional": True,
        "body": Kill,
        "answer": Killed,
        "idempotent": True,
    }
    return [
        Route(
            path="/v1/slots/<slot>/kill",
            name="kill_slot",
            summary="One model for every unit of a slot, now",
            handler=kill_slot,
            errors=(NotFound, GuardFailed),
            **common,
        ),
        Route(
            path="/v1/kill",
            name="kill_all",
            summary="One model for every unit of every slot, now",
            handler=kill_all,
            **common,
        ),
        Route(
            method="DELETE",
            path="/v1/slots/<slot>/kill",
            name="lift_kill",
            summary="Lift the kill switch of a slot",
            access=service(Scope.ADMIN, roles=(Role.OPERATOR, Role.ADMIN)),
            handler=lift_slot,
            status=204,
            errors=(NotFound,),
        ),
    ]
