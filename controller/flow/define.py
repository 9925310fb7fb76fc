"""Define what counts (slots, metrics) and how it must be shown (policies)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from controller.assignment.conditions import check_condition
from controller.errors import (
    ChampionChangesByRollout,
    DesignFrozen,
    InvalidInput,
    NotFound,
)
from controller.experiments.document import Fields
from controller.experiments.metric_rules import check_margin, check_metric, why_undecided
from controller.experiments.metrics import Metric
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot
from controller.flow.actors import Actor, Role
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.work import Store, Work
from controller.flow.publish import publish
from controller.flow.traffic_changes import check_unit_type, log_moves, reaches


def put_metric(store: Store, project: str, document: Any, *, key: str, actor: Actor) -> Metric:
    """Create or change a metric.

    A live rollout keeps the definition frozen in its plan; the change counts from the next one.

    Raises
    ------
    InvalidInput
        If the document does not say a metric, or asks for what its type cannot have.
    NotPermitted
        If the actor may not define, or may not change a metric that a slot uses.
    """
    actor.require(Role.AUTHOR, Role.POLICY_ADMIN, Role.ADMIN)
    metric = Metric.from_document(document, key=key)
    check_metric(metric)
    with store.writing() as work:
        work.take_turn(project)
        before = work.definitions.metric(project, key)
        if before == metric:
            return metric
        if before is not None and _users_of_metric(work, project, key):
            actor.require(Role.POLICY_ADMIN, Role.ADMIN)
        work.definitions.put_metric(project, metric, actor=actor.name, at=work.now)
        _audit(work, project, actor, f"metric/{key}", before=before, after=metric)
    return metric


def put_policy(store: Store, project: str, document: Any, *, name: str, actor: Actor) -> Policy:
    """Add the next version of a policy; the same content again is the same version.

    Raises
    ------
    InvalidInput
        If the document does not say a policy.
    NotPermitted
        If the actor is no policy administrator.
    """
    actor.require(Role.POLICY_ADMIN, Role.ADMIN)
    policy = Policy.from_document(document, name=name)
    with store.writing() as work:
        work.take_turn(project)
        before = work.definitions.policy(project, name)
        if before is not None and before.sha256 == policy.sha256:
            return before
        stored = work.definitions.add_policy(project, policy, actor=actor.name, at=work.now)
        _audit(work, project, actor, f"policy/{name}", before=before, after=stored)
    return stored


def put_slot(store: Store, project: str, document: Any, *, key: str, actor: Actor) -> StoredSlot:
    """Create a slot, or change what counts in it.

    The champion is taken from the document only when the slot is created or is `moving`; what is
    left out of a change keeps its champion.

    Raises
    ------
    InvalidInput, NotFound
        If the document is wrong, or names a metric or policy that does not exist.
    ChampionChangesByRollout
        If it names another champion for a living slot.
    NotPermitted
        If the actor may not do this.
    """
    actor.require(Role.AUTHOR, Role.POLICY_ADMIN, Role.ADMIN)
    with store.writing() as work:
        work.take_turn(project)
        stored = work.definitions.slot(project, key)
        before = None if stored is None else stored.slot
        slot = Slot.from_document(_with_champion(document, before), key=key)
        _check_references(work, project, slot)
        if slot.eligible is not None:
            check_condition(slot.eligible, "slot.eligible")
        if before is not None:
            _check_change(work, project, before, slot, actor)
        if before != slot:
            reached = reaches(work, project)
            work.definitions.put_slot(
                project, slot, observe_salt=secrets.token_hex(8), actor=actor.name, at=work.now
            )
            if before is not None and before.champion.identity != slot.champion.identity:
                work.definitions.set_champion(
                    project, key, slot.champion, previous=before.champion, at=work.now
                )
            _audit(work, project, actor, f"slot/{key}", before=before, after=slot)
            log_moves(work, project, reached, object=f"slot/{key}", actor=actor)
            publish(work, project)
        result = work.definitions.slot(project, key)
    if result is None:
        raise NotFound(f"Slot {key} vanished while it was written.")
    return result


def _with_champion(document: Any, before: Slot | None) -> Any:
    if before is not None and isinstance(document, dict) and "champion" not in document:
        return {**document, "champion": before.champion.document()}
    return document


def _check_references(work: Work, project: str, slot: Slot) -> None:
    policies = [work.definitions.policy(project, name) for name in slot.policies]
    known = [policy for policy in policies if policy is not None]
    for key in slot.metrics:
        metric = work.definitions.metric(project, key)
        if metric is None:
            raise InvalidInput(
                f"slot: metric {key!r} does not exist; define it with PUT /v1/metrics/{key}.",
                field="slot.oec" if slot.oec and slot.oec.metric == key else "slot.guardrails",
            )
        if slot.oec is not None and slot.oec.metric == key:
            _check_deciding(metric, known)
        for guardrail in slot.guardrails:
            if guardrail.metric == key:
                check_margin(guardrail, metric, where="slot.guardrails")
    for name, policy in zip(slot.policies, policies, strict=True):
        if policy is None:
            raise InvalidInput(
                f"slot: policy {name!r} does not exist; see GET /v1/policies.", field="slot.policy"
            )


def _check_deciding(metric: Metric, policies: Sequence[Policy]) -> None:
    """Whether any of the slot's policies lets this metric decide; submitting asks the one used."""
    refusals = [why for policy in policies if (why := why_undecided(metric, policy))]
    if policies and len(refusals) == len(policies):
        raise InvalidInput(f"slot.oec: {refusals[0]}", field="slot.oec")


def _check_change(work: Work, project: str, before: Slot, after: Slot, actor: Actor) -> None:
    live = work.rollouts.live_in(project, before.key)
    if before.unit != after.unit and live is not None:
        raise DesignFrozen(
            f"Rollout {live.id} is live: the unit type of {before.key} cannot change."
        )
    if before.champion.identity != after.champion.identity and not (before.moving and after.moving):
        raise ChampionChangesByRollout(
            f"The champion of {before.key} is {before.champion.label}; replace it by a rollout "
            f"(POST /v1/rollouts), or declare the slot `moving`."
        )
    if live is not None and any(
        model.identity == after.champion.identity for model in live.draft.challengers
    ):
        raise ChampionChangesByRollout(
            f"{after.champion.label} is a challenger of rollout {live.id}, which is live in "
            f"{before.key}: promote it there, or abort the rollout first."
        )
    check_unit_type(work, project, before, after)
    guarded = ("oec", "guardrails", "policy", "other_policies", "moving", "tags")
    if any(getattr(before, name) != getattr(after, name) for name in guarded):
        actor.require(Role.POLICY_ADMIN, Role.ADMIN)


def _users_of_metric(work: Work, project: str, key: str) -> bool:
    return any(key in stored.slot.metrics for stored in work.definitions.slots(project))


def _audit(
    work: Work,
    project: str,
    actor: Actor,
    object: str,
    *,
    before: Metric | Policy | Slot | None,
    after: Metric | Policy | Slot,
) -> None:
    work.audit.append(
        project,
        at=work.now,
        actor=actor.name,
        action=f"{object.partition('/')[0]}_put",
        object=object,
        before=None if before is None else before.document(),
        after=after.document(),
    )


def read_kill(document: Any) -> tuple[str, str]:
    """Target and note of a kill request.

    Raises
    ------
    InvalidInput
        If the target is not champion, previous or fallback.
    """
    fields = Fields(document or {}, "kill")
    target = fields.text("to", "champion")
    note = fields.text("note", "", most=2000)
    fields.done()
    if target not in ("champion", "previous", "fallback"):
        raise InvalidInput("kill.to: expected champion, previous or fallback.", field="kill.to")
    return target, note
