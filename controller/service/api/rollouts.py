"""Rollouts: ask for one, follow it, move it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from controller.errors import (
    ApprovalInvalid,
    BaselineUnknown,
    Conflict,
    GuardFailed,
    IllegalTransition,
    InvalidInput,
    NotFound,
    PlanInfeasible,
    PolicyNotAllowed,
    PreconditionRequired,
    QuorumImpossible,
    StaleVersion,
)
from controller.flow.actors import Role, Scope
from controller.flow.create import create_rollout
from controller.flow.edit import would_be
from controller.flow.status import status_document
from controller.flow.verbs import act
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb
from controller.service.http.calls import Answer, Call, answer, encode
from controller.service.http.refusals import Overloaded
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.service.http.waiting import (
    decision_document,
    decisions_after,
    event_stream,
    wait_for_decision,
)

READERS: Final = service(Scope.READ)
STOPS: Final = frozenset({Verb.PAUSE, Verb.ROLLBACK, Verb.ABORT})
GATED: Final = frozenset({Verb.START, Verb.ADVANCE, Verb.PROMOTE})
NEEDS_APPROVAL_HEADER: Final = "Controller-Needs-Approval"
_VERSION: Final = re.compile(r'(?:W/)?"(\d{1,9})"|(\d{1,9})')

Note = Annotated[str, Meta(max_length=2000)]
Weights = Annotated[dict[str, float | str], Meta(min_length=2, max_length=9)]
"""Arm to share of the enrolled traffic, in [0, 1] or like `"20%"`."""


class NewRollout(Struct, forbid_unknown_fields=True):
    """A try to replace a slot's champion."""

    slot: Annotated[str, Meta(min_length=1, max_length=64)]
    challengers: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=8)]
    policy: Annotated[str, Meta(max_length=64)] | None = None
    owner: Annotated[str, Meta(max_length=128)] | None = None
    requested_by: Annotated[str, Meta(max_length=64)] | None = None
    hypothesis: Note = ""
    weights: Weights | None = None
    eligible: dict[str, Any] | None = None


class RolloutQuery(Struct, forbid_unknown_fields=True):
    """Which rollouts."""

    slot: Annotated[str, Meta(max_length=64)] | None = None
    state: State | None = None
    live: bool | None = None


class WatchQuery(Struct, forbid_unknown_fields=True):
    """With `watch`, wait up to 15 s for something to happen after decision `after`."""

    watch: bool = False
    after: Annotated[int, Meta(ge=0, le=2**31)] = 0


class AfterQuery(Struct, forbid_unknown_fields=True):
    """Only what happened after this decision."""

    after: Annotated[int, Meta(ge=0, le=2**31)] = 0


class ActionQuery(Struct, forbid_unknown_fields=True):
    """With `dry_run`, everything is evaluated and nothing changes."""

    dry_run: bool = False


class Action(Struct, forbid_unknown_fields=True):
    """Why, in the log's words; nobody has to say why they retreat."""

    note: Note = ""


class Submit(Action, forbid_unknown_fields=True):
    """A plan known to be unable to decide is refused unless that is accepted."""

    accept_infeasible: bool = False


class Edit(Struct, forbid_unknown_fields=True):
    """What shall be different from now on; what is absent stays, `eligible: null` admits all."""

    weights: Weights | None = None
    eligible: dict[str, Any] | UnsetType | None = UNSET
    note: Note = ""


class DecisionList(Struct):
    """The log of a rollout in order."""

    decisions: list[dict[str, Any]]


def rollout_routes(runtime: WebRuntime) -> list[Route]:
    """Rollouts and their verbs."""
    return [
        *_asking(runtime),
        *_following(runtime),
        *_verbs(runtime),
        _edits(runtime),
    ]


# ---------------------------------------------------------------- asking


def _asking(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def create(call: Call) -> Answer:
        wanted: NewRollout = call.body
        rollout = create_rollout(
            store,
            call.project,
            slot=wanted.slot,
            challengers=wanted.challengers,
            policy=wanted.policy,
            owner=wanted.owner,
            requested_by=wanted.requested_by,
            hypothesis=wanted.hypothesis,
            weights=wanted.weights,
            eligible=wanted.eligible,
            actor=call.actor,
        )
        location = f"/v1/rollouts/{rollout.id}"
        return _shown(runtime, call, rollout.id, status=201, headers={"Location": location})

    def every(call: Call) -> Any:
        asked: RolloutQuery = call.query
        with store.reading() as work:
            slots = work.definitions.slots(call.project)
            found = [
                rollout
                for stored in slots
                if asked.slot in (None, stored.slot.key)
                for rollout in work.rollouts.in_slot(call.project, stored.slot.key)
                if asked.state in (None, rollout.state) and asked.live in (None, rollout.state.live)
            ]
            found.sort(key=lambda rollout: rollout.created_at, reverse=True)
            return {
                "rollouts": [status_document(work, call.project, rollout.id) for rollout in found]
            }

    return [
        Route(
            method="POST",
            path="/v1/rollouts",
            name="create_rollout",
            summary="Ask for a rollout: a draft, checked before it exists",
            access=service(Scope.ADMIN, roles=(Role.AUTHOR, Role.OPERATOR, Role.ADMIN)),
            handler=create,
            reads="json",
            body=NewRollout,
            answer=dict[str, Any],
            status=201,
            idempotent=True,
            errors=(NotFound, Conflict, InvalidInput, PolicyNotAllowed, QuorumImpossible),
        ),
        Route(
            method="GET",
            path="/v1/rollouts",
            name="list_rollouts",
            summary="Rollouts, newest first",
            access=READERS,
            handler=every,
            query=RolloutQuery,
            answer=dict[str, Any],
        ),
    ]


# ---------------------------------------------------------------- following


def _following(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def get(call: Call) -> Answer:
        rollout, asked = call.path["rollout"], call.query
        require_rollout(runtime, call.project, rollout)
        if asked.watch:
            wait_for_decision(store, call.project, rollout, asked.after, seats=runtime.seats)
        return _shown(runtime, call, rollout)

    def events(call: Call) -> Answer:
        rollout = call.path["rollout"]
        require_rollout(runtime, call.project, rollout)
        after = last_event_id(call) or call.query.after
        return event_stream(store, call.project, rollout, after, seats=runtime.seats)

    def decisions(call: Call) -> Any:
        rollout = call.path["rollout"]
        require_rollout(runtime, call.project, rollout)
        found = decisions_after(store, call.project, rollout, call.query.after)
        return DecisionList(decisions=[decision_document(one) for one in found])

    return [
        Route(
            method="GET",
            path="/v1/rollouts/<rollout>",
            name="get_rollout",
            summary="Where a rollout stands, why, and what happens next",
            access=READERS,
            handler=get,
            query=WatchQuery,
            answer=dict[str, Any],
            errors=(NotFound, Overloaded),
        ),
        Route(
            method="GET",
            path="/v1/rollouts/<rollout>/events",
            name="stream_rollout",
            summary="The log of a rollout as server-sent events; honours Last-Event-ID",
            access=READERS,
            handler=events,
            query=AfterQuery,
            media="text/event-stream",
            errors=(NotFound, Overloaded),
        ),
        Route(
            method="GET",
            path="/v1/rollouts/<rollout>/decisions",
            name="list_decisions",
            summary="Every step of a rollout: who, from where to where, on which evidence",
            access=READERS,
            handler=decisions,
            query=AfterQuery,
            answer=DecisionList,
            errors=(NotFound,),
        ),
    ]


def require_rollout(runtime: WebRuntime, project: str, rollout: str) -> Rollout:
    """The rollout of an address.

    Raises
    ------
    NotFound
        If there is none in the caller's project.
    """
    with runtime.store.reading() as work:
        found = work.rollouts.get(project, rollout)
    if found is None:
        raise NotFound(f"There is no rollout {rollout!r:.80}.")
    return found


def last_event_id(call: Call) -> int:
    """Where an event stream broke off; 0 where it begins."""
    text = call.request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _shown(
    runtime: WebRuntime,
    call: Call,
    rollout_id: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    with runtime.store.reading() as work:
        document = status_document(work, call.project, rollout_id)
    etag = f'"{document["metadata"]["generation"]}"'
    return Answer(status=status, body=encode(document), headers={**(headers or {}), "ETag": etag})


# ---------------------------------------------------------------- verbs


def _verbs(runtime: WebRuntime) -> list[Route]:
    return [
        Route(
            method="POST",
            path=f"/v1/rollouts/<rollout>/actions/{verb.value}",
            name=f"{verb.value}_rollout",
            summary=_VERB_SUMMARIES[verb],
            access=service(Scope.STOP) if verb in STOPS else service(Scope.ADMIN),
            handler=_verb(runtime, verb),
            reads="json",
            optional=True,
            body=Submit if verb is Verb.SUBMIT else Action,
            query=ActionQuery,
            answer=dict[str, Any],
            idempotent=True,
            if_match=verb.raises_exposure,
            errors=_RAISING_ERRORS if verb.raises_exposure else _RETREAT_ERRORS,
        )
        for verb in Verb
        if verb is not Verb.EDIT
    ]


def _edits(runtime: WebRuntime) -> Route:
    store = runtime.store

    def change(call: Call) -> Answer:
        asked: Edit = call.body
        edits: dict[str, Any] = {} if asked.weights is None else {"weights": asked.weights}
        if asked.eligible is not UNSET:
            edits["eligible"] = asked.eligible
        rollout = act(
            store,
            call.project,
            call.path["rollout"],
            Verb.EDIT,
            actor=call.actor,
            if_match=if_match(call),
            note=asked.note,
            edits=edits,
            dry_run=call.query.dry_run,
        )
        if not call.query.dry_run:
            return _shown(runtime, call, rollout.id)
        with store.reading() as work:
            before = work.rollouts.get(call.project, rollout.id)
            would = {} if before is None else would_be(work, before, edits)
        return answer({"dry_run": True, "verb": Verb.EDIT.value, "would": would})

    return Route(
        method="POST",
        path=f"/v1/rollouts/<rollout>/actions/{Verb.EDIT.value}",
        name="edit_rollout",
        summary="Change weights or eligibility of a live rollout; nobody changes arm",
        access=service(Scope.STOP),  # to give up challengers; whatever else it asks is refused
        handler=change,
        reads="json",
        body=Edit,
        query=ActionQuery,
        answer=dict[str, Any],
        idempotent=True,
        if_match=True,
        errors=_RAISING_ERRORS,
    )


def _verb(runtime: WebRuntime, verb: Verb) -> Callable[[Call], Answer]:
    def move(call: Call) -> Answer:
        before = if_match(call)
        rollout = act(
            runtime.store,
            call.project,
            call.path["rollout"],
            verb,
            actor=call.actor,
            if_match=before,
            note=call.body.note,
            accept_infeasible=isinstance(call.body, Submit) and call.body.accept_infeasible,
            dry_run=call.query.dry_run,
        )
        waits = verb in GATED and rollout.generation == before
        headers = {NEEDS_APPROVAL_HEADER: "true"} if waits else {}
        if call.query.dry_run:
            would = {"state": rollout.state.value, "stage": rollout.stage}
            document = {
                "dry_run": True,
                "verb": verb.value,
                "would": would,
                "needs_approval": waits,
            }
            return answer(document)
        status = 201 if verb is Verb.RETRY else 202 if waits else 200
        return _shown(runtime, call, rollout.id, status=status, headers=headers)

    return move


def if_match(call: Call) -> int | None:
    """The version that the caller looked at, or None.

    Raises
    ------
    InvalidInput
        If the header holds anything but one version.
    """
    text = call.request.headers.get("If-Match")
    if text is None:
        return None
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise InvalidInput('If-Match: send the ETag you read, like "7".', field="If-Match")
    return int(found[1] or found[2])


_RETREAT_ERRORS: Final = (NotFound, IllegalTransition, GuardFailed, Conflict)
_RAISING_ERRORS: Final = (
    *_RETREAT_ERRORS,
    StaleVersion,
    PreconditionRequired,
    ApprovalInvalid,
    BaselineUnknown,
    InvalidInput,
    PlanInfeasible,
    PolicyNotAllowed,
    QuorumImpossible,
)
_VERB_SUMMARIES: Final = {
    Verb.SUBMIT: "Freeze the plan and begin validation",
    Verb.START: "Let the first units meet the challenger, or ask for approval to",
    Verb.ADVANCE: "Raise the enrolled share to the next stage, or ask for approval to",
    Verb.PAUSE: "Hold it where it is",
    Verb.RESUME: "Lift the operator's pause",
    Verb.PROMOTE: "Let the challenger serve everybody, or ask for approval to",
    Verb.ROLLBACK: "Back to the champion, now",
    Verb.ABORT: "End it, now",
    Verb.UNDO: "Bring the previous champion back after a promotion, now",
    Verb.RETRY: "A new attempt at the same challengers; no evidence is carried over",
}
