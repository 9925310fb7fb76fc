"""Ask for a rollout: a draft that names slot, challengers and policy, checked before it exists."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from controller.assignment.conditions import check_condition
from controller.errors import Conflict, InvalidInput, NotFound, PolicyNotAllowed
from controller.experiments.models import Model
from controller.experiments.plans import CHAMPION, challenger_names
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot
from controller.experiments.weights import read_weights
from controller.flow.actors import Actor, Role
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.work import Store, Work
from controller.flow.proposals import check_quorum
from controller.rollout.record import Draft, Rollout

MOST_CHALLENGERS = 8


def create_rollout(
    store: Store,
    project: str,
    *,
    slot: str,
    challengers: Sequence[Model | Any],
    policy: str | None = None,
    owner: str | None = None,
    requested_by: str | None = None,
    hypothesis: str = "",
    weights: Any = None,
    eligible: Any = None,
    actor: Actor,
) -> Rollout:
    """Write a draft, or say why there can be none.

    Parameters
    ----------
    challengers : sequence of Model or of its JSON form
        One to eight models, none of them the champion.
    policy : str, optional
        One of the slot's policies; its default where none is named.
    owner, requested_by : str, optional
        A person asks for themselves; a service key names the operator it asks for.
    weights : mapping of arm to share, optional
        Of every arm, adding up to 1; equal parts where none are given.
    eligible : condition tree, optional
        Which units take part (`assignment/conditions.py`); the slot's where none is given.

    Raises
    ------
    NotFound
        If there is no such slot.
    Conflict
        If a rollout lives in the slot; it is named.
    PolicyNotAllowed
        If the slot does not list the policy.
    InvalidInput
        If a challenger is the champion or stands twice, the slot has nothing to decide by, or
        weights or condition cannot be read; the part is named.
    QuorumImpossible
        If no present set of people could approve it; the command that helps is named.
    """
    actor.require(Role.AUTHOR, Role.OPERATOR, Role.ADMIN)
    models = tuple(
        model
        if isinstance(model, Model)
        else Model.from_document(model, f"rollout.challengers[{index}]")
        for index, model in enumerate(challengers)
    )
    shares = None if weights is None else read_weights(weights, _arms(models), "rollout.weights")
    condition = None if eligible is None else check_condition(eligible, "rollout.eligible")
    with store.writing() as work:
        work.take_turn(project)
        stored = _free_slot(work, project, slot)
        check_models(stored.slot, models)
        chosen = usable_policy(work, project, stored.slot, policy or stored.slot.policy)
        requester = _requester(work, actor, requested_by)
        draft = Draft(
            challengers=models,
            policy=chosen.name,
            owner=owner or requester,
            requested_by=requester,
            hypothesis=hypothesis,
            weights=shares,
            eligible=condition,
        )
        check_quorum(work, project, chosen, draft)
        return new_draft(work, project, slot, draft, actor=actor)


def _arms(models: Sequence[Model]) -> tuple[str, ...]:
    return (CHAMPION, *challenger_names(len(models)))


def new_draft(
    work: Work,
    project: str,
    slot: str,
    draft: Draft,
    *,
    actor: Actor,
    retry_of: Rollout | None = None,
) -> Rollout:
    """Write a new attempt with its own id and salt, so that no evidence crosses attempts."""
    rollout = Rollout(
        project=project,
        id=f"r-{secrets.token_hex(8)}",
        slot=slot,
        attempt=1 if retry_of is None else retry_of.attempt + 1,
        retry_of=None if retry_of is None else retry_of.id,
        draft=draft,
        # Eight bytes: with a usual unit id the hashed message stays within one block of SHA-256.
        salt=secrets.token_hex(8),
        entered_at=work.now,
        stage_entered_at=work.now,
        created_at=work.now,
    )
    work.rollouts.add(rollout)
    facts: dict[str, Any] = {"slot": slot, "draft": draft.document(), "attempt": rollout.attempt}
    if retry_of is not None:
        facts["retry_of"] = retry_of.id
    work.decisions.add(
        project,
        rollout.id,
        at=work.now,
        actor=actor.name,
        action="create",
        to_state=rollout.state.value,
        document=facts,
    )
    work.audit.append(
        project,
        at=work.now,
        actor=actor.name,
        action="rollout_create",
        object=f"rollout/{rollout.id}",
        **facts,
    )
    return rollout


def check_models(slot: Slot, models: Sequence[Model]) -> None:
    """One to eight challengers, all different, none of them the champion; and an OEC to decide by.

    Raises
    ------
    InvalidInput
        Naming the rule.
    """
    where = "rollout.challengers"
    if not 1 <= len(models) <= MOST_CHALLENGERS:
        raise InvalidInput(f"{where}: name one to {MOST_CHALLENGERS} models.", field=where)
    identities = [model.identity for model in models]
    if slot.champion.identity in identities:
        raise InvalidInput(
            f"{where}: {slot.champion.label} is already the champion of {slot.key}.", field=where
        )
    if len(set(identities)) != len(identities):
        raise InvalidInput(f"{where}: the same model stands twice.", field=where)
    if slot.oec is None:
        raise InvalidInput(
            f"rollout.slot: {slot.key!r} has no oec, so nothing could decide; add one with "
            f"PUT /v1/slots/{slot.key}.",
            field="rollout.slot",
        )


def usable_policy(work: Work, project: str, slot: Slot, name: str) -> Policy:
    """The newest version of a policy that the slot allows and this release can carry out.

    Raises
    ------
    PolicyNotAllowed, NotFound, InvalidInput
    """
    if name not in slot.policies:
        raise PolicyNotAllowed(
            f"Slot {slot.key} allows the policies {', '.join(slot.policies)}, not {name!r:.80}."
        )
    policy = work.definitions.policy(project, name)
    if policy is None:
        raise NotFound(f"There is no policy {name!r} in project {project!r}.")
    if policy.shadow is not None:
        raise InvalidInput(
            f"Policy {name!r} asks for a shadow stage, which is not available yet: predictions are "
            "not recorded. Remove `shadow` from the policy.",
            field="policy.shadow",
        )
    return policy


def _free_slot(work: Work, project: str, slot: str) -> StoredSlot:
    stored = work.definitions.slot(project, slot)
    if stored is None:
        raise NotFound(f"There is no slot {slot!r:.80} in project {project!r}.")
    check_free(work, project, slot)
    return stored


def check_free(work: Work, project: str, slot: str) -> None:
    """Refuse where another rollout lives in the slot.

    Raises
    ------
    Conflict
        Naming it.
    """
    live = work.rollouts.live_in(project, slot)
    if live is not None:
        raise Conflict(
            f"Rollout {live.id} lives in slot {slot} ({live.state.value}); wait for its end or "
            "roll it back.",
            rollout=live.id,
        )


def _requester(work: Work, actor: Actor, requested_by: str | None) -> str:
    """Whose wish this is: four eyes hold against this person."""
    where = "rollout.requested_by"
    if actor.is_person:
        if requested_by not in (None, actor.name):
            raise InvalidInput(f"{where}: a person asks for themselves.", field=where)
        return actor.name
    if requested_by is None:
        raise InvalidInput(
            f"{where}: a service key names the operator who asks for the rollout.", field=where
        )
    if work.people.operator(requested_by) is None:
        raise InvalidInput(f"{where}: there is no operator {requested_by!r:.80}.", field=where)
    return requested_by
