"""Publish what SDKs are told: one immutable ruleset per change, in the change's own transaction."""

from __future__ import annotations

from datetime import datetime

from controller.assignment.choice import Model as ServedModel
from controller.assignment.ruleset import (
    Kill,
    KillTo,
    RolloutRules,
    Ruleset,
    Share,
    SlotRules,
    digest,
)
from controller.experiments.models import Model
from controller.experiments.plans import CHAMPION
from controller.experiments.policies import Sticky
from controller.experiments.slots import Slot
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.ports.work import Work
from controller.flow.traffic_rules import with_gates
from controller.rollout.record import Allocation, Rollout
from controller.rollout.states import State

PPM = 1_000_000
RULESET_MESSAGE = "ruleset"


def publish(work: Work, project: str, *, above: int = 0) -> PublishedRuleset:
    """Write the next ruleset of a project and queue the note that tells everybody.

    Call it last in a transaction, after every change it should show. The version is the larger of
    last + 1 and milliseconds now, so it rises through a restore too.

    Parameters
    ----------
    above : int
        A version that somebody has seen although this database does not know it (any more): the new
        one is higher.
    """
    last = max(work.rulesets.newest_version(project), above)
    version = max(last + 1, int(work.now.timestamp() * 1000))
    stored = work.definitions.slots(project)
    rules = {one.slot.key: _slot_rules(one, work, project) for one in stored}
    body = Ruleset(
        project=project,
        deployment=work.deployments.id(at=work.now),
        version=version,
        slots=with_gates(work, project, stored, rules, ruleset=version),
    ).encode()
    published = PublishedRuleset(
        project=project, version=version, sha256=digest(body), body=body, created_at=work.now
    )
    work.rulesets.add(published)
    work.outbox.add(project, RULESET_MESSAGE, {"version": version}, at=work.now)
    return published


def _slot_rules(stored: StoredSlot, work: Work, project: str) -> SlotRules:
    slot = stored.slot
    live = work.rollouts.live_in(project, slot.key)
    return SlotRules(
        slot=slot.key,
        unit_type=slot.unit,
        champion=_served(slot.champion),
        fallback=None if slot.fallback is None else _served(slot.fallback),
        kill=_kill(stored),
        observe=Share(salt=stored.observe_salt, ppm=round(slot.observe * PPM)),
        rollout=None if live is None or live.allocation == 0 else _rollout_rules(live, slot, work),
        clients=slot.clients,
        bulk_expose=slot.bulk_expose,
    )


def _kill(stored: StoredSlot) -> Kill | None:
    if stored.kill is None:
        return None
    to: KillTo = stored.kill["to"]
    return Kill(to=to, model=_served(killed_to(stored) or stored.slot.champion))


def killed_to(stored: StoredSlot) -> Model | None:
    """The model that serves while the slot is killed; None where it is not.

    A previous or fallback model was written down with the kill, so no later definition of the slot
    changes what serves. The champion is whichever the slot has: a `moving` one goes on moving.
    """
    if stored.kill is None:
        return None
    written = stored.kill.get("model")
    return stored.slot.champion if written is None else Model.from_document(written)


def _rollout_rules(rollout: Rollout, slot: Slot, work: Work) -> RolloutRules:
    plan = rollout.frozen_plan
    # A champion that is retrained while it is compared is served as it is now.
    arms = {**plan.arms, CHAMPION: slot.champion} if slot.moving else plan.arms
    allocation = _current(rollout, work)
    return RolloutRules(
        id=rollout.id,
        attempt=rollout.attempt,
        allocation=rollout.allocation,
        algo=plan.slot.hash.algo,
        salt=rollout.salt,
        enrolled_ppm=rollout.enrolled_ppm,
        runs=allocation.runs,
        retired=allocation.retired,
        eligible=allocation.eligible,
        keeps=_keeps(rollout, allocation, work),
        arms={arm: _served(model) for arm, model in arms.items()},
        sticky=plan.policy.sticky.value,
        aa=rollout.state is State.AA_CHECK,
        ends_at=_ends_at(rollout.deadline_at),
        exceptions=_exceptions(rollout, work),
    )


def _exceptions(rollout: Rollout, work: Work) -> str | None:
    """The side document in force; none where no arm is remembered."""
    if rollout.frozen_plan.policy.sticky is Sticky.NONE:
        return None
    document = work.side_documents.in_force(rollout.project, rollout.id)
    return None if document is None else document.sha256


def _current(rollout: Rollout, work: Work) -> Allocation:
    for allocation in work.rollouts.allocations(rollout.project, rollout.id):
        if allocation.number == rollout.allocation:
            return allocation
    raise LookupError(f"rollout {rollout.id} has no allocation {rollout.allocation}")


def _keeps(rollout: Rollout, current: Allocation, work: Work) -> tuple[int, ...]:
    """Earlier allocations of the same split, newest first, from before eligibility changed."""
    earlier = [
        one
        for one in work.rollouts.allocations(rollout.project, rollout.id)
        if one.number < current.number
        and (one.runs, one.analysed) == (current.runs, current.analysed)
    ]
    changed = [one.number for one in earlier if one.eligible != current.eligible]
    # Who was pinned before a narrowing was perhaps not pinned again since: look that far back.
    since = min(changed, default=current.number)
    return tuple(sorted((one.number for one in earlier if one.number >= since), reverse=True))


def _ends_at(deadline: datetime | None) -> int | None:
    return None if deadline is None else int(deadline.timestamp())


def _served(model: Model) -> ServedModel:
    return ServedModel(
        name=model.name,
        version=model.version,
        digest=model.digest,
        uri=model.uri,
        payload=model.payload,
    )
