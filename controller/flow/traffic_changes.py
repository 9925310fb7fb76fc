"""Carry out a change of who can be reached: log it where a rollout lives, then publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.errors import Conflict
from controller.experiments.slots import Slot
from controller.flow.actors import Actor
from controller.flow.ports.work import Work
from controller.flow.publish import publish
from controller.flow.traffic_rules import Reach, TrafficRules

ACTION = "reach_changed"


def reaches(work: Work, project: str) -> dict[str, Reach]:
    """What every slot's rollout could meet, as the definitions stand in this transaction."""
    rules = TrafficRules(work, project)
    return {one.slot.key: rules.reach(one.slot) for one in work.definitions.slots(project)}


def live_among(work: Work, project: str, slots: Sequence[str]) -> list[str]:
    """Ids of the rollouts that live in some slots."""
    found = [work.rollouts.live_in(project, slot) for slot in slots]
    return [rollout.id for rollout in found if rollout is not None]


def carry_out(
    work: Work,
    project: str,
    before: Mapping[str, Reach],
    *,
    object: str,
    actor: Actor,
    audit: Mapping[str, Any],
) -> None:
    """Audit the change, log it with every live rollout whose reach it moves, and publish.

    Parameters
    ----------
    before : mapping of slot to Reach
        From `reaches`, taken before the change.
    object : str
        What changed, as the audit names it: `holdout/NAME`, `layer/NAME`.
    audit : mapping
        `action`, and the details that the entry keeps: `before`, `after`.
    """
    work.audit.append(project, at=work.now, actor=actor.name, object=object, **audit)
    log_moves(work, project, before, object=object, actor=actor)
    publish(work, project)


def log_moves(
    work: Work, project: str, before: Mapping[str, Reach], *, object: str, actor: Actor
) -> None:
    """An entry in the log of every live rollout that can now reach another share than before."""
    after = reaches(work, project)
    for slot, reach in after.items():
        was = before.get(slot, Reach())
        live = work.rollouts.live_in(project, slot)
        if live is None or was.share == reach.share:
            continue
        work.decisions.add(
            project,
            live.id,
            at=work.now,
            actor=actor.name,
            action=ACTION,
            document={"reach": [was.share, reach.share], "cause": object},
        )


def check_unit_type(work: Work, project: str, before: Slot, after: Slot) -> None:
    """Refuse another unit type for a slot whose layer or overrides count units of the old one.

    Raises
    ------
    Conflict
        Naming what has to go first.
    """
    if before.unit == after.unit:
        return
    layer = work.traffic.layer_of(project, before.key)
    if layer is not None:
        raise Conflict(
            f"Slot {before.key} shares out units of type {before.unit!r} in layer {layer!r}; "
            "take it out of the layer first."
        )
    if work.traffic.overrides(project, before.key):
        raise Conflict(
            f"Slot {before.key} has overrides for units of type {before.unit!r}; delete them first."
        )
