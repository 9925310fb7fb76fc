"""OFREP: unmodified OpenFeature clients of any language ask which model serves.

The flag's key is the slot, its variant the arm, its value the model's payload. Refusals have the
protocol's own form, `errorCode` and `errorDetails`, because its clients lose anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from controller.assignment.choice import Choice, Reason
from controller.assignment.hashing import check_unit
from controller.assignment.ruleset import Ruleset, SlotRules
from controller.errors import InvalidInput, NotFound
from controller.flow import assign as cases
from controller.flow.actors import RECORDERS, Scope
from controller.flow.exposure_tokens import LIFE_SECONDS, read_exposure, sign_exposure
from controller.flow.exposures import Durability
from controller.flow.pinning import Request
from controller.service.api.assign import MOST_REQUESTS, asker
from controller.service.http.calls import Answer, Call, answer, encode
from controller.service.http.limits import HOT
from controller.service.http.problems import Problem, problem_answer
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime

REASONS: Final = {
    Reason.SPLIT: "SPLIT",
    Reason.PINNED: "SPLIT",
    Reason.PIN_UNKNOWN: "SPLIT",
    Reason.OVERRIDE: "TARGETING_MATCH",
    Reason.KILLED: "DISABLED",
    Reason.NO_ROLLOUT: "STATIC",
    Reason.ERROR: "UNKNOWN",
    Reason.UNKNOWN_SLOT: "UNKNOWN",
}
"""OFREP's words for ours; every other reason is its DEFAULT."""

_MISSING: Final = "TARGETING_KEY_MISSING"
_INVALID: Final = "INVALID_CONTEXT"

CODES: Final = {
    "not_found": "FLAG_NOT_FOUND",
    "route_not_found": "FLAG_NOT_FOUND",  # a key with a slash is no slot
    "malformed_json": "PARSE_ERROR",
    "too_deep": "PARSE_ERROR",
    "duplicate_key": "PARSE_ERROR",
    "too_many_keys": "PARSE_ERROR",
    "targeting_key_missing": _MISSING,
}
STATUSES: Final = {422: 400}
FLAGS: Final = "/ofrep/v1/evaluate/flags"
TOKEN_RENEWED_SECONDS: Final = LIFE_SECONDS / 2
TARGETING_KEY: Final = "targetingKey"
NEEDS_A_UNIT: Final = f"Send the unit as {TARGETING_KEY} in the context."
EXPOSE: Final = "expose"
NOBODY: Final = "-"  # asks where every unit has the same answer


class Evaluation(Struct, forbid_unknown_fields=False):
    """The evaluation context: `targetingKey` is the unit, `expose: false` only looks."""

    context: dict[str, Any] = {}


class BulkQuery(Struct, forbid_unknown_fields=False):
    """Parameters that clients may send and that change nothing here."""


class Tokens(Struct, forbid_unknown_fields=True):
    """Exposure tokens of answers that were used."""

    tokens: Annotated[
        list[Annotated[str, Meta(max_length=2048)]], Meta(min_length=1, max_length=MOST_REQUESTS)
    ]


class RefusedToken(Struct):
    """A token that exposes nobody: its place in the request and what is wrong with it."""

    index: int
    code: str
    detail: str


class Exposed(Struct):
    """What became of the exposures, `durable`, `queued` or `none`, and the tokens refused."""

    exposure: str
    rejected: list[RefusedToken]


class _TargetingKeyMissing(InvalidInput):
    """The context names no unit."""

    code = "targeting_key_missing"

    def __init__(self) -> None:
        super().__init__(NEEDS_A_UNIT)


def ofrep_routes(runtime: WebRuntime) -> list[Route]:
    """Single and bulk evaluation, and the exposure of what was evaluated in bulk."""

    def single(call: Call) -> Answer:
        ruleset = _ruleset(runtime, call)
        slot = call.path["slot"]
        rules = ruleset.slots.get(slot)
        if rules is not None and not _is_closed(call, rules):
            _check_unit(rules, call.body.context)
        request = _request(slot, call.body.context, expose=True)
        choice, written = cases.assign(
            ruleset,
            request,
            asker=asker(call),
            pins=runtime.pins,
            exposures=runtime.exposures,
            now=runtime.clock(),
        )
        return answer(_shown(runtime, call, choice, request, written))

    def bulk(call: Call) -> Answer:
        ruleset, who = _ruleset(runtime, call), asker(call)
        failed, requests = _asked(call, ruleset)
        choices = cases.assign_many(
            ruleset, requests, asker=who, pins=runtime.pins, now=runtime.clock()
        )
        tag = _tag(call, choices, ruleset, runtime.clock())
        if call.request.if_none_match.contains_weak(tag):
            return Answer(status=304, headers={"ETag": f'"{tag}"'})
        written = cases.expose(choices, requests, asker=who, exposures=runtime.exposures)
        flags = [
            _shown(runtime, call, choice, request, written if request.expose else "none")
            for choice, request in zip(choices, requests, strict=True)
        ]
        return answer({"flags": [*flags, *failed]}, ETag=f'"{tag}"')

    def expose(call: Call) -> Any:
        met, refused = _met(runtime, call)
        written = runtime.exposures.expose(call.project, asker(call).key_id, met, [None] * len(met))
        return Exposed(exposure=written, rejected=refused)

    common: dict[str, Any] = {
        "method": "POST",
        "access": service(Scope.EVALUATE, roles=RECORDERS),
        "reads": "json",
        "rate": HOT,
    }
    return [
        Route(
            path=f"{FLAGS}/<slot>",
            name="ofrep_evaluate",
            summary="OFREP: one slot for one unit",
            handler=single,
            body=Evaluation,
            answer=dict[str, Any],
            refuse=_refused,
            hot=True,
            errors=(NotFound, InvalidInput),
            **common,
        ),
        Route(
            path=FLAGS,
            name="ofrep_evaluate_bulk",
            summary="OFREP: every slot for one unit; exposes nobody unless the slot says so",
            handler=bulk,
            body=Evaluation,
            query=BulkQuery,
            answer=dict[str, Any],
            refuse=_refused,
            hot=True,
            errors=(InvalidInput,),
            **common,
        ),
        Route(
            path="/v1/expose",
            name="expose",
            summary="Expose units to answers that a bulk evaluation gave",
            handler=expose,
            body=Tokens,
            answer=Exposed,
            hot=True,
            errors=(InvalidInput,),
            **common,
        ),
    ]


def _met(runtime: WebRuntime, call: Call) -> tuple[list[tuple[Choice, str]], list[RefusedToken]]:
    """What the good tokens say; one that is not good costs only itself.

    Raises
    ------
    InvalidInput
        If none is good, with all of them.
    """
    secret, now = runtime.settings.require_secret(), runtime.clock()
    met: list[tuple[Choice, str]] = []
    refused: list[RefusedToken] = []
    for index, token in enumerate(call.body.tokens):
        try:
            met.append(read_exposure(secret, call.project, token, now=now))
        except InvalidInput as error:
            refused.append(RefusedToken(index=index, code=error.code, detail=error.message))
    if not met:
        every = [msgspec.structs.asdict(one) for one in refused]
        raise InvalidInput(refused[-1].detail, field="tokens", rejected=every)
    return met, refused


def _ruleset(runtime: WebRuntime, call: Call) -> Ruleset:
    current = runtime.rulesets.current(call.project).ruleset
    if call.path.get("slot", "") in current.slots or "slot" not in call.path:
        return current
    return runtime.rulesets.fresh(call.project).ruleset


def _is_closed(call: Call, rules: SlotRules) -> bool:
    return asker(call).is_client and not rules.clients


def _check_unit(rules: SlotRules, context: Mapping[str, Any]) -> None:
    """Refuse a context without a usable unit where the answer depends on it.

    Raises
    ------
    InvalidInput
        If it is needed and missing, or no id.
    """
    if rules.kill is not None or rules.unreadable is not None:
        return
    unit = context.get(TARGETING_KEY)
    if unit not in (None, ""):
        check_unit(unit)
    elif rules.rollout is not None:
        raise _TargetingKeyMissing


def _asked(call: Call, ruleset: Ruleset) -> tuple[list[dict[str, str]], list[Request]]:
    """The flags that cannot be answered for this context, and the questions of the others.

    Raises
    ------
    InvalidInput
        If none can be answered.
    """
    context = call.body.context
    failed: list[dict[str, str]] = []
    requests: list[Request] = []
    shown = [rules for rules in ruleset.slots.values() if not _is_closed(call, rules)]
    for rules in shown:
        try:
            _check_unit(rules, context)
        except InvalidInput as error:
            failed.append(_failure(rules.slot, CODES.get(error.code, _INVALID), error.message))
            if len(failed) == len(shown):
                raise
        else:
            requests.append(_request(rules.slot, context, expose=rules.bulk_expose))
    return failed, requests


def _request(slot: str, context: Mapping[str, Any], *, expose: bool) -> Request:
    """The question of one slot; nested values of a context decide nothing."""
    unit = context.get(TARGETING_KEY)
    if unit in (None, ""):
        return Request(slot=slot, unit=NOBODY, expose=False)
    attributes = {
        name: value for name, value in context.items() if name not in (TARGETING_KEY, EXPOSE)
    }
    return Request(
        slot=slot,
        unit=unit,
        attributes=attributes or None,
        expose=expose and context.get(EXPOSE, True) is not False,
    )


def _shown(
    runtime: WebRuntime, call: Call, choice: Choice, request: Request, written: Durability
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "reason": choice.reason.value,
        "ruleset": choice.ruleset,
        "exposure": written,
    }
    if choice.model is not None:
        metadata["model"] = f"{choice.model.name} {choice.model.version}"
    if choice.rollout is not None and choice.allocation is not None:
        metadata |= {"rollout": choice.rollout, "allocation": choice.allocation}
    if choice.exposed and written == "none" and call.body.context.get(TARGETING_KEY):
        metadata["exposure_token"] = sign_exposure(
            runtime.settings.require_secret(),
            call.project,
            choice,
            request.unit,
            now=runtime.clock(),
        )
    value = {} if choice.payload is None else {"value": choice.payload}
    return {
        "key": choice.slot,
        "reason": REASONS.get(choice.reason, "DEFAULT"),
        "variant": choice.arm,
        **value,
        "metadata": metadata,
    }


def _tag(call: Call, choices: Sequence[Choice], ruleset: Ruleset, now: float) -> str:
    """Covers what the answer says: ruleset, context, kind of key, the tokens' age, and the arms.

    Pins move without a new ruleset, where units turn out to be one.
    """
    parts = (
        call.project.encode(),
        str(ruleset.version).encode(),
        b"browser" if asker(call).is_client else b"server",
        str(int(now // TOKEN_RENEWED_SECONDS)).encode(),
        msgspec.json.encode(call.body.context, order="deterministic"),
        *(f"{one.slot} {one.arm} {one.reason}".encode() for one in choices),
    )
    return sha256(b"\n".join(parts)).hexdigest()


def _refused(problem: Problem) -> Answer:
    """A problem in OFREP's form; only one of a single flag names its key."""
    plain = problem_answer(problem)
    code = CODES.get(problem.code, _INVALID if problem.status == 422 else "GENERAL")
    key = problem.instance.removeprefix(FLAGS).removeprefix("/")
    document = _failure(key, code, problem.detail)
    if not key:
        del document["key"]
    return Answer(
        status=STATUSES.get(problem.status, problem.status),
        body=encode(document),
        headers=plain.headers,
    )


def _failure(key: str, code: str, details: str) -> dict[str, str]:
    return {"key": key, "errorCode": code, "errorDetails": details}
