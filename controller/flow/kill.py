"""The kill switch: one model for everybody, now, with no paperwork."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.errors import GuardFailed, NotFound
from controller.flow.actors import Actor, Role, Scope
from controller.flow.allocations import current_allocation
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.work import Store, Work
from controller.flow.publish import publish
from controller.rollout.record import Rollout
from controller.rollout.shares import shares_of


def kill(
    store: Store,
    project: str,
    slot: str | None,
    *,
    to: str = "champion",
    note: str = "",
    actor: Actor,
) -> Sequence[str]:
    """Serve one model to every unit of a slot, or of every slot of the project.

    Parameters
    ----------
    slot : str or None
        None kills every slot.
    to : {"champion", "previous", "fallback"}
        Which model serves; a slot that lacks it is refused (with `slot` None it gets champion).

    Returns
    -------
    sequence of str
        Keys of the slots that are now killed.
    """
    _may_stop(actor)
    with store.writing() as work:
        work.take_turn(project)
        targets = _targets(work, project, slot)
        for stored in targets:
            work.definitions.set_kill(
                project,
                stored.slot.key,
                {
                    **_target(stored, to, strict=slot is not None),
                    "note": note,
                    "actor": actor.name,
                    "at": work.now.isoformat(),
                },
            )
            _record(work, project, stored, actor, action="kill", note=note)
        publish(work, project)
    return [stored.slot.key for stored in targets]


def lift(store: Store, project: str, slot: str, *, note: str = "", actor: Actor) -> None:
    """Lift the kill switch of one slot: exposure may rise again, so an operator must say so."""
    actor.require(Role.OPERATOR, Role.ADMIN)
    with store.writing() as work:
        work.take_turn(project)
        (stored,) = _targets(work, project, slot)
        work.definitions.set_kill(project, slot, None)
        _record(work, project, stored, actor, action="kill_lifted", note=note)
        publish(work, project)


def _may_stop(actor: Actor) -> None:
    if Scope.STOP not in actor.scopes:
        actor.require(Role.OPERATOR, Role.APPROVER, Role.ADMIN)


def _targets(work: Work, project: str, slot: str | None) -> Sequence[StoredSlot]:
    if slot is None:
        return work.definitions.slots(project)
    stored = work.definitions.slot(project, slot)
    if stored is None:
        raise NotFound(f"There is no slot {slot!r} in project {project!r}.")
    return [stored]


def _target(stored: StoredSlot, to: str, *, strict: bool) -> dict[str, Any]:
    """What serves from now on: which model, and its document where the slot may lose it later."""
    model = {
        "champion": stored.slot.champion,
        "previous": stored.previous_champion,
        "fallback": stored.slot.fallback,
    }[to]
    if model is None and strict:
        raise GuardFailed(
            f"Slot {stored.slot.key} has no {to} model; kill to champion instead.",
            failed=[{"guard": "target_exists", "observed": to}],
        )
    if model is None or to == "champion":
        return {"to": "champion", "model": None}
    return {"to": to, "model": model.document()}


def _record(
    work: Work, project: str, stored: StoredSlot, actor: Actor, *, action: str, note: str
) -> None:
    work.audit.append(
        project,
        at=work.now,
        actor=actor.name,
        action=action,
        object=f"slot/{stored.slot.key}",
        note=note,
    )
    live = work.rollouts.live_in(project, stored.slot.key)
    if live is not None:
        facts = {**_shares(work, live, stored, killed=action == "kill"), "note": note}
        work.decisions.add(
            project, live.id, at=work.now, actor=actor.name, action=action, document=facts
        )


def _shares(work: Work, live: Rollout, stored: StoredSlot, *, killed: bool) -> dict[str, Any]:
    """Both shares before and after, as every decision that moves traffic tells them."""
    allocation = current_allocation(work, live)
    was = shares_of(live, allocation, killed=stored.kill is not None)
    now = shares_of(live, allocation, killed=killed)
    return {
        "enrolled": [was.enrolled, now.enrolled],
        "challenger_share": [was.challenger, now.challenger],
    }
