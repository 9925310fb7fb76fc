"""Edit a live rollout's weights or eligibility, or give up challengers: a new allocation opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from controller.errors import GuardFailed
from controller.flow.act import (
    champion_changed,
    judgement_of,
    open_epoch,
    slot_of,
)
from controller.flow.actors import Actor
from controller.flow.allocations import current_allocation, least_number
from controller.flow.arm_keeping import order_keeping
from controller.flow.ports.work import Work
from controller.flow.proposals import void_open
from controller.flow.publish import publish
from controller.rollout.edits import (
    Edit,
    dropping,
    narrows,
    next_allocation,
    only_drops,
    read_edit,
    retired_share,
)
from controller.rollout.judgement import Drop
from controller.rollout.proposal import gates_in_use
from controller.rollout.record import Allocation, Rollout
from controller.rollout.shares import shares_of


def edit(
    work: Work,
    rollout: Rollout,
    wanted: Mapping[str, Any],
    *,
    actor: Actor,
    note: str = "",
) -> Rollout:
    """Change weights or eligibility as somebody asks, inside the caller's transaction.

    Parameters
    ----------
    wanted : mapping
        `weights`: the part of the enrolled traffic each arm shall keep, 0 drops a challenger;
        `eligible`: the condition from now on, null admits every unit. What is absent stays.

    Raises
    ------
    InvalidInput
        If a part cannot be read, nothing would change, or no challenger would be left.
    GuardFailed
        If it would let in more units while the rollout is held, or past people's approval.
    """
    current = _current(work, rollout)
    asked = _asked(rollout, current, wanted)
    _check(work, rollout, current, asked)
    details = {"note": note} if note else {}
    return reallocate(work, rollout, asked, actor=actor, action="edit", details=details)


def retreats(work: Work, rollout: Rollout, wanted: Mapping[str, Any]) -> bool:
    """Whether an edit only gives up challengers: then it needs what a rollback needs, nothing.

    Raises
    ------
    InvalidInput
        If a part cannot be read.
    """
    current = _current(work, rollout)
    return only_drops(current, _asked(rollout, current, wanted))


def would_be(work: Work, rollout: Rollout, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What an edit would make of the traffic, for somebody who only asks.

    Raises
    ------
    InvalidInput
        As `edit` does.
    """
    current = _current(work, rollout)
    asked = _asked(rollout, current, wanted)
    least = least_number(work, rollout)
    opened = next_allocation(rollout.frozen_plan, current, asked, opened_at=work.now, least=least)
    return {**allocation_document(opened), **_share(rollout, opened)}


def allocation_document(allocation: Allocation) -> dict[str, Any]:
    """An allocation as people are shown it."""
    return {
        "number": allocation.number,
        "weights": dict(allocation.weights),
        "retired": retired_share(allocation),
        "eligible": allocation.eligible,
        "dropped": dict(allocation.dropped),
    }


def _share(rollout: Rollout, allocation: Allocation) -> dict[str, float]:
    return {"challenger_share": shares_of(rollout, allocation).challenger}


def _asked(rollout: Rollout, current: Allocation, wanted: Mapping[str, Any]) -> Edit:
    return read_edit(
        rollout.frozen_plan,
        current,
        weights=wanted.get("weights"),
        eligible=wanted.get("eligible"),
        sets_eligible="eligible" in wanted,
    )


def drop_arms(work: Work, rollout: Rollout, losers: tuple[Drop, ...], *, actor: Actor) -> Rollout:
    """Give up challengers that have lost; the rollout goes on with the others."""
    judgement = judgement_of(rollout)
    return reallocate(
        work,
        rollout,
        dropping({loser.arm: loser.reason for loser in losers}),
        actor=actor,
        action="drop_arm",
        details={
            "reason": losers[0].reason,
            "arms": [loser.document() for loser in losers],
            "look": judgement.look if judgement else None,
        },
    )


def reallocate(
    work: Work,
    rollout: Rollout,
    asked: Edit,
    *,
    actor: Actor,
    action: str,
    details: Mapping[str, Any],
) -> Rollout:
    """Open the next allocation with its epoch, ruleset, decision and audit, as one."""
    before = _current(work, rollout)
    opened_at = work.stop_maturing(rollout.project, and_aggregating=asked.sets_eligible)
    least = least_number(work, rollout)
    opened = next_allocation(rollout.frozen_plan, before, asked, opened_at=opened_at, least=least)
    void_open(work, rollout, reason="overtaken", actor=actor)
    saved = work.rollouts.save(
        replace(rollout, allocation=opened.number, epoch=rollout.epoch + 1, next_look_at=work.now)
    )
    work.rollouts.add_allocation(saved.project, saved.id, opened)
    facts = {**_facts(rollout, before, saved, opened), **details}
    if before.eligible != opened.eligible and opened.eligible is not None:
        facts["keep_their_arm"] = order_keeping(work, saved)
    published = publish(work, saved.project)
    open_epoch(work, saved, ruleset=published.version)
    _write_down(work, saved, action, facts, actor=actor)
    return saved


def _current(work: Work, rollout: Rollout) -> Allocation:
    current = current_allocation(work, rollout)
    assert current is not None, f"rollout {rollout.id} splits no traffic"
    return current


# ---------------------------------------------------------------- guards


def _check(work: Work, rollout: Rollout, current: Allocation, asked: Edit) -> None:
    """Retiring units takes exposure away; letting in more units asks for what raising asks for."""
    if only_drops(current, asked):
        return
    slot = slot_of(work, rollout)
    holds = {"champion_pinned": not champion_changed(rollout, slot)}
    if asked.sets_eligible and not narrows(current.eligible, asked.eligible):
        gates = [name for name in gates_in_use(rollout.frozen_plan.policy) if name != "promote"]
        holds |= {
            "not_killed": slot.kill is None,
            "not_paused": not rollout.paused,
            "not_past_approval": not gates,
        }
    failed = [name for name, good in holds.items() if not good]
    if failed:
        raise GuardFailed(
            f"The edit of rollout {rollout.id} has to wait: {', '.join(failed)}.",
            failed=[
                {"guard": name, "observed": False, "threshold": True, "flip_if": _FLIPS[name]}
                for name in failed
            ],
        )


_FLIPS: Mapping[str, str] = {
    "champion_pinned": "never: retry against the new champion",
    "not_killed": "an operator lifts the kill switch",
    "not_paused": "it is resumed",
    "not_past_approval": "never: people approved exposure for the units that were eligible then; "
    "a new attempt may ask for more",
}


# ---------------------------------------------------------------- what is written down


def _facts(was: Rollout, before: Allocation, now: Rollout, after: Allocation) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "allocation": [before.number, after.number],
        "weights": [dict(before.weights), dict(after.weights)],
        "retired": [[list(part) for part in one.retired] for one in (before, after)],
        "challenger_share": [shares_of(was, before).challenger, shares_of(now, after).challenger],
        "enrolled": [was.enrolled, now.enrolled],
        "dropped": dict(after.dropped),
        "verdict": now.verdict.value,
        "evidence": now.look_sha256,
        "plan": now.frozen_plan.sha256,
    }
    if before.eligible != after.eligible:
        facts["eligible"] = [before.eligible, after.eligible]
    return facts


def _write_down(
    work: Work, saved: Rollout, action: str, facts: Mapping[str, Any], *, actor: Actor
) -> None:
    state = saved.state.value
    work.decisions.add(
        saved.project,
        saved.id,
        at=work.now,
        actor=actor.name,
        action=action,
        from_state=state,
        to_state=state,
        document=facts,
    )
    work.audit.append(
        saved.project,
        at=work.now,
        actor=actor.name,
        action=f"rollout_{action}",
        object=f"rollout/{saved.id}",
        from_state=state,
        to_state=state,
        **facts,
    )
