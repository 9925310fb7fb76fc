"""Merged identities: state that two ids are one unit."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.assignment.hashing import MAX_UNIT_BYTES
from controller.errors import AliasConflict, ControllerError, InvalidInput
from controller.flow.actors import RECORDERS, Scope
from controller.flow.aliases import Stated, Statement, state_alias, state_aliases
from controller.service.http.calls import Answer, Call, answer
from controller.service.http.limits import HOT
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime

MOST_ALIASES = 500

Unit = Annotated[str, Meta(min_length=1, max_length=MAX_UNIT_BYTES)]


class AliasStatement(Struct, forbid_unknown_fields=True):
    """`alias` (say, an anonymous id) and `unit` (say, an account) are one."""

    unit_type: Annotated[str, Meta(min_length=1, max_length=64)]
    unit: Unit
    alias: Unit


class AliasBatch(Struct, forbid_unknown_fields=True):
    """Up to 500 of them, in the order in which they were learned."""

    aliases: Annotated[list[AliasStatement], Meta(min_length=1, max_length=MOST_ALIASES)]


class RejectedAlias(Struct):
    """One refused statement: its place in the batch, a stable code, a sentence."""

    index: int
    code: str
    detail: str


class AliasReceipt(Struct):
    """What is on disk now, what was known before, what was refused and why."""

    accepted: int
    duplicates: int
    rejected: list[RejectedAlias]


def alias_routes(runtime: WebRuntime) -> list[Route]:
    """`POST /v1/aliases` and its batch."""

    def one(call: Call) -> Answer:
        said = _statement(call.body)
        return _receipt(state_alias(runtime.store, call.project, said, actor=call.actor.name))

    def many(call: Call) -> Answer:
        said = [_statement(one) for one in call.body.aliases]
        return _receipt(state_aliases(runtime.store, call.project, said, actor=call.actor.name))

    common: dict[str, Any] = {
        "method": "POST",
        "access": service(Scope.INGEST, roles=RECORDERS),
        "reads": "json",
        "answer": AliasReceipt,
        "status": 202,
        "rate": HOT,
    }
    return [
        Route(
            path="/v1/aliases",
            name="state_alias",
            summary="Say that two ids are one unit; its first exposure wins",
            handler=one,
            body=AliasStatement,
            errors=(InvalidInput, AliasConflict),
            **common,
        ),
        Route(
            path="/v1/aliases/batch",
            name="state_aliases",
            summary="The same for up to 500 pairs; those that are refused hold no other up",
            handler=many,
            body=AliasBatch,
            errors=(InvalidInput,),
            **common,
        ),
    ]


def _statement(said: AliasStatement) -> Statement:
    return Statement(unit_type=said.unit_type, unit=said.unit, alias=said.alias)


def _receipt(stated: Stated) -> Answer:
    rejected = [_rejected(place, problem) for place, problem in sorted(stated.rejected.items())]
    receipt = AliasReceipt(
        accepted=stated.accepted, duplicates=stated.duplicates, rejected=rejected
    )
    return answer(receipt, status=202)


def _rejected(place: int, problem: ControllerError) -> RejectedAlias:
    return RejectedAlias(index=place, code=problem.code, detail=problem.message)
