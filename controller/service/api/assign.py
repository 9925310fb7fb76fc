"""Remote evaluation: which model serves this unit, and the exposure that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from controller.assignment.choice import Choice, Model
from controller.assignment.hashing import MAX_UNIT_BYTES
from controller.errors import InvalidInput, NotFound
from controller.events.contracts import MAX_VALUE
from controller.flow import assign as cases
from controller.flow.actors import RECORDERS, Scope
from controller.flow.exposures import Durability
from controller.flow.pinning import Request
from controller.service.http.calls import Call
from controller.service.http.limits import HOT
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime

MOST_REQUESTS = 500

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Unit = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_UNIT_BYTES})]
"""Checked where the answer depends on it: one that is no id costs no other; a kill reaches it."""
Attributes = dict[
    Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^\\x00-\\x1f\\x7f]+$")],
    str
    | Annotated[int, Meta(ge=-int(MAX_VALUE), le=int(MAX_VALUE))]
    | Annotated[float, Meta(ge=-MAX_VALUE, le=MAX_VALUE)]
    | bool
    | None,
]


class AssignRequest(Struct, forbid_unknown_fields=True):
    """One unit at one slot; `expose: false` only looks."""

    slot: Key
    unit: Unit
    attributes: Attributes | None = None
    expose: bool = True


class BatchItem(Struct, forbid_unknown_fields=True):
    """One unit at one slot; in a batch it is exposed only where it says so."""

    slot: Key
    unit: Unit
    attributes: Attributes | None = None
    expose: bool = False


class AssignBatch(Struct, forbid_unknown_fields=True):
    """Up to 500 questions."""

    requests: Annotated[list[BatchItem], Meta(min_length=1, max_length=MOST_REQUESTS)]


class ModelView(Struct):
    """The model that serves."""

    name: str
    version: str
    digest: str | UnsetType = UNSET
    uri: str | UnsetType = UNSET


class Assignment(Struct):
    """The answer; `exposure` is `durable`, `queued` or `none`."""

    slot: str
    arm: str
    model: ModelView | None
    payload: Any
    reason: str
    rollout: str | None
    allocation: int | None
    ruleset: int
    exposure: str


class Assignments(Struct):
    """Answers in the order of the questions."""

    assignments: list[Assignment]


def assign_routes(runtime: WebRuntime) -> list[Route]:
    """`POST /v1/assign` and its batch."""

    def assign(call: Call) -> Any:
        ruleset = runtime.rulesets.current(call.project).ruleset
        if call.body.slot not in ruleset.slots:  # it may be a second old
            ruleset = runtime.rulesets.fresh(call.project).ruleset
        choice, written = cases.assign(
            ruleset,
            request_of(call.body),
            asker=asker(call),
            pins=runtime.pins,
            exposures=runtime.exposures,
            now=runtime.clock(),
        )
        runtime.telemetry.count("assignments", reason=choice.reason.value)
        return shown(choice, written)

    def batch(call: Call) -> Any:
        requests, who = [request_of(item) for item in call.body.requests], asker(call)
        choices = cases.assign_many(
            runtime.rulesets.current(call.project).ruleset,
            requests,
            asker=who,
            pins=runtime.pins,
            now=runtime.clock(),
        )
        written = cases.expose(choices, requests, asker=who, exposures=runtime.exposures)
        return Assignments(assignments=_each(choices, call.body.requests, written))

    common: dict[str, Any] = {
        "access": service(Scope.EVALUATE, roles=RECORDERS),
        "reads": "json",
        "hot": True,
        "rate": HOT,
    }
    return [
        Route(
            method="POST",
            path="/v1/assign",
            name="assign",
            summary="Which model serves this unit",
            handler=assign,
            body=AssignRequest,
            answer=Assignment,
            errors=(InvalidInput, NotFound),
            **common,
        ),
        Route(
            method="POST",
            path="/v1/assign/batch",
            name="assign_batch",
            summary="The same for up to 500 units; nobody is exposed unless an item says so",
            handler=batch,
            body=AssignBatch,
            answer=Assignments,
            errors=(InvalidInput, NotFound),
            **common,
        ),
    ]


def asker(call: Call) -> cases.Asker:
    """Who asks, as the use case needs it."""
    key = call.caller.key
    return cases.Asker(
        project=call.project,
        key_id=call.actor.name if key is None else key.key_id,
        is_client=key is not None and key.client,
    )


def request_of(item: AssignRequest | BatchItem) -> Request:
    """A question on the wire as the use case reads it."""
    return Request(
        slot=item.slot, unit=item.unit, attributes=item.attributes or None, expose=item.expose
    )


def shown(choice: Choice, exposure: Durability) -> Assignment:
    """A choice on the wire."""
    return Assignment(
        slot=choice.slot,
        arm=choice.arm,
        model=_model(choice.model),
        payload=choice.payload,
        reason=choice.reason.value,
        rollout=choice.rollout,
        allocation=choice.allocation,
        ruleset=choice.ruleset,
        exposure=exposure,
    )


def _each(
    choices: Sequence[Choice], items: Sequence[BatchItem], written: Durability
) -> list[Assignment]:
    return [
        shown(choice, written if item.expose and choice.exposed else "none")
        for choice, item in zip(choices, items, strict=True)
    ]


def _model(model: Model | None) -> ModelView | None:
    if model is None:
        return None
    return ModelView(
        name=model.name,
        version=model.version,
        digest=model.digest or UNSET,
        uri=model.uri or UNSET,
    )
