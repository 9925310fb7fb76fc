"""Holding a rollout where it is, and letting it go on: each reason clears by its own rule."""

from __future__ import annotations

from dataclasses import replace

from controller.flow.actors import Actor
from controller.flow.ports.work import Work
from controller.rollout.record import Rollout
from controller.rollout.states import Pause


def hold(work: Work, rollout: Rollout, why: Pause, *, actor: Actor, note: str = "") -> Rollout:
    """Add one reason for holding; nothing changes where it is held for that reason already."""
    if why in rollout.paused:
        return rollout
    held = work.rollouts.save(
        replace(
            rollout,
            paused=(*rollout.paused, why),
            paused_since=rollout.paused_since or work.now,
        )
    )
    _write_down(work, held, "pause", why, actor=actor, note=note)
    return held


def release(work: Work, rollout: Rollout, why: Pause, *, actor: Actor, note: str = "") -> Rollout:
    """Take one reason away; with the last of them time counts as dwell again."""
    if why not in rollout.paused:
        return rollout
    left = tuple(reason for reason in rollout.paused if reason is not why)
    changed = replace(rollout, paused=left)
    if not left and rollout.paused_since is not None:
        changed = replace(
            changed,
            paused_since=None,
            next_look_at=work.now,
            paused_seconds=rollout.paused_seconds
            + (work.now - rollout.paused_since).total_seconds(),
        )
    released = work.rollouts.save(changed)
    _write_down(work, released, "resume", why, actor=actor, note=note)
    return released


def _write_down(
    work: Work, rollout: Rollout, action: str, why: Pause, *, actor: Actor, note: str
) -> None:
    facts = {"why": why.value, "paused": [reason.value for reason in rollout.paused], "note": note}
    work.decisions.add(
        rollout.project,
        rollout.id,
        at=work.now,
        actor=actor.name,
        action=action,
        from_state=rollout.state.value,
        to_state=rollout.state.value,
        document=facts,
    )
    work.audit.append(
        rollout.project,
        at=work.now,
        actor=actor.name,
        action=f"rollout_{action}",
        object=f"rollout/{rollout.id}",
        **facts,
    )
