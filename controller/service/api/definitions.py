"""Slots, metrics and policies: what counts, and how it must be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.errors import (
    ChampionChangesByRollout,
    DesignFrozen,
    InvalidInput,
    NotFound,
    NotPermitted,
)
from controller.experiments.document import check_key
from controller.flow.actors import Role, Scope
from controller.flow.define import put_metric, put_policy, put_slot
from controller.flow.ports.definitions import StoredSlot
from controller.flow.traffic_rules import Reach, TrafficRules, reach_of
from controller.service.http.calls import Answer, Call, answer
from controller.service.http.router import Access, Handler, Route, service
from controller.service.http.runtime import WebRuntime

READERS = service(Scope.READ)
AUTHORS = service(Scope.ADMIN, roles=(Role.AUTHOR, Role.POLICY_ADMIN, Role.ADMIN))
POLICY_ADMINS = service(Scope.ADMIN, roles=(Role.POLICY_ADMIN, Role.ADMIN))


def definition_routes(runtime: WebRuntime) -> list[Route]:
    """PUT, GET and the collection of each kind."""
    return [*_metrics(runtime), *_policies(runtime), *_slots(runtime)]


def _metrics(runtime: WebRuntime) -> list[Route]:
    def put(call: Call) -> Any:
        key = check_key(call.path["key"], "key")
        return put_metric(
            runtime.store, call.project, call.body, key=key, actor=call.actor
        ).document()

    def get(call: Call) -> Any:
        with runtime.store.reading() as work:
            metric = work.definitions.metric(call.project, call.path["key"])
        if metric is None:
            raise NotFound(f"There is no metric {call.path['key']!r:.80}.")
        return metric.document()

    def every(call: Call) -> Any:
        with runtime.store.reading() as work:
            return {"metrics": [one.document() for one in work.definitions.metrics(call.project)]}

    return _kind("metric", "key", put=put, get=get, every=every, writers=AUTHORS)


def _policies(runtime: WebRuntime) -> list[Route]:
    def put(call: Call) -> Answer:
        name = check_key(call.path["name"], "name")
        policy = put_policy(runtime.store, call.project, call.body, name=name, actor=call.actor)
        return answer(policy.document(), ETag=f'"{policy.version}"')

    def get(call: Call) -> Answer:
        with runtime.store.reading() as work:
            policy = work.definitions.policy(call.project, call.path["name"])
        if policy is None:
            raise NotFound(f"There is no policy {call.path['name']!r:.80}.")
        return answer(policy.document(), ETag=f'"{policy.version}"')

    def every(call: Call) -> Any:
        with runtime.store.reading() as work:
            found = work.definitions.policies(call.project)
        return {"policies": [one.document() for one in found]}

    return _kind("policy", "name", put=put, get=get, every=every, writers=POLICY_ADMINS)


def _slots(runtime: WebRuntime) -> list[Route]:
    def put(call: Call) -> Answer:
        key = check_key(call.path["key"], "key")
        stored = put_slot(runtime.store, call.project, call.body, key=key, actor=call.actor)
        with runtime.store.reading() as work:
            return slot_answer(stored, reach_of(work, call.project, stored.slot))

    def get(call: Call) -> Answer:
        with runtime.store.reading() as work:
            stored = work.definitions.slot(call.project, call.path["key"])
            if stored is None:
                raise NotFound(f"There is no slot {call.path['key']!r:.80}.")
            return slot_answer(stored, reach_of(work, call.project, stored.slot))

    def every(call: Call) -> Any:
        with runtime.store.reading() as work:
            found = work.definitions.slots(call.project)
            rules = TrafficRules(work, call.project)
        return {"slots": [slot_document(one, rules.reach(one.slot)) for one in found]}

    return _kind("slot", "key", put=put, get=get, every=every, writers=AUTHORS)


def slot_document(stored: StoredSlot, reach: Reach) -> dict[str, Any]:
    """A slot's definition, and under `status` what the service keeps beside it."""
    previous = stored.previous_champion
    return {
        **stored.slot.document(),
        "status": {
            "version": stored.version,
            "kill": stored.kill,
            "previous_champion": None if previous is None else previous.document(),
            "reach": reach.document(),
            "updated_at": stored.updated_at,
            "updated_by": stored.updated_by,
        },
    }


def slot_answer(stored: StoredSlot, reach: Reach) -> Answer:
    """A slot with its version as ETag."""
    return answer(slot_document(stored, reach), ETag=f'"{stored.version}"')


def _kind(
    kind: str, part: str, *, put: Handler, get: Handler, every: Handler, writers: Access
) -> list[Route]:
    plural = {"policy": "policies"}.get(kind, f"{kind}s")
    refusals: Sequence[Any] = (InvalidInput, NotPermitted, DesignFrozen)
    return [
        Route(
            method="PUT",
            path=f"/v1/{plural}/<{part}>",
            name=f"put_{kind}",
            summary=f"Create or change a {kind} (JSON or YAML)",
            access=writers,
            handler=put,
            reads="definition",
            answer=dict[str, Any],
            errors=(*refusals, ChampionChangesByRollout) if kind == "slot" else tuple(refusals),
        ),
        Route(
            method="GET",
            path=f"/v1/{plural}/<{part}>",
            name=f"get_{kind}",
            summary=f"One {kind}",
            access=READERS,
            handler=get,
            answer=dict[str, Any],
            errors=(NotFound,),
        ),
        Route(
            method="GET",
            path=f"/v1/{plural}",
            name=f"list_{plural}",
            summary=f"Every {kind}",
            access=READERS,
            handler=every,
            answer=dict[str, Any],
        ),
    ]
