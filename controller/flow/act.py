"""The one place that moves a rollout: guards, state, traffic, log and audit in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from controller.aggregation.statistics import Epoch
from controller.assignment.runs import arm_shares, build_runs
from controller.errors import ApprovalInvalid, GuardFailed, NotFound
from controller.experiments.models import Model
from controller.experiments.plans import CHAMPION
from controller.flow.actors import MACHINE, Actor
from controller.flow.allocations import current_allocation, least_number
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.work import Work
from controller.flow.proposals import carries, close, void_open
from controller.flow.publish import RULESET_MESSAGE, publish
from controller.rollout.bake import promoted_arm
from controller.rollout.judgement import Clause, Judgement
from controller.rollout.machine import Circumstances, Move, Transition, failed, find
from controller.rollout.proposal import gate_name
from controller.rollout.record import Allocation, Rollout
from controller.rollout.shares import (
    IN_RULESET,
    Exposure,
    bake_exposure,
    shares_of,
    stage_exposure,
)
from controller.rollout.states import State, Verdict


def transition(
    work: Work,
    rollout: Rollout,
    to: State,
    *,
    actor: Actor,
    reason: str,
    verdict: Verdict | None = None,
    details: Mapping[str, Any] | None = None,
) -> Rollout:
    """Move a rollout, or refuse; everything the move causes commits with it (I4).

    Parameters
    ----------
    rollout : Rollout
        As it was read in this transaction.
    to : State
        Where it goes; the table in `rollout/machine.py` says whether and under which guards.
    reason : str
        A snake_case word for the log; with a retreat it also stays with the rollout.
    verdict : Verdict, optional
        What a retreat concludes, if not what the judge said last.
    details : mapping, optional
        Written into the decision beside the facts every decision has.

    Raises
    ------
    IllegalTransition
        If there is no such transition; the legal verbs are named.
    GuardFailed
        If a guard does not hold; all that do not are listed.
    StaleVersion
        If somebody else changed the rollout since it was read.
    """
    row = find(rollout.state, to)
    slot = slot_of(work, rollout)
    proposal = work.approvals.open_for(rollout.project, rollout.id) if row.gated else None
    seen = circumstances(work, rollout, row, actor=actor, slot=slot, proposal=proposal)
    missing = failed(row, seen)
    if missing:
        raise GuardFailed(
            f"{row.move.value} of rollout {rollout.id} has to wait: "
            f"{', '.join(clause.id for clause in missing)}.",
            failed=[_failure(clause) for clause in missing],
        )
    _consume(work, rollout, row, proposal, actor)
    change = _Change(
        row=row,
        rollout=rollout,
        slot=slot,
        before=current_allocation(work, rollout),
        exposure=_wanted(rollout, row, seen.judgement),
        proposal=proposal,
    )
    moved = _moved(rollout, row, work.now)
    if row.move is Move.COMPLETE:
        moved = replace(moved, replaced=slot.slot.champion)
    if row.move.retreats:
        moved = replace(moved, reason=reason, verdict=verdict or rollout.verdict)
    saved = _apply(work, change, moved)
    _write_down(work, change, saved, actor=actor, details={"reason": reason, **(details or {})})
    return saved


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One move under way: its row, the rollout before it, and the traffic it asks for."""

    row: Transition
    rollout: Rollout
    slot: StoredSlot
    before: Allocation | None
    exposure: Exposure | None
    proposal: Proposal | None


def slot_of(work: Work, rollout: Rollout) -> StoredSlot:
    """The slot a rollout lives in."""
    stored = work.definitions.slot(rollout.project, rollout.slot)
    if stored is None:
        raise NotFound(f"There is no slot {rollout.slot!r} in project {rollout.project!r}.")
    return stored


def judgement_of(rollout: Rollout) -> Judgement | None:
    """The newest judgement, or None before the first look."""
    return None if rollout.judgement is None else Judgement.from_document(rollout.judgement)


def back_to(rollout: Rollout, slot: StoredSlot) -> Model:
    """What serves everybody once this rollout is taken back, whichever way."""
    if rollout.replaced is not None:
        return rollout.replaced
    if rollout.plan is None or (slot.slot.moving and rollout.state.live):
        return slot.slot.champion
    return rollout.plan.arms[CHAMPION]


def champion_changed(rollout: Rollout, slot: StoredSlot) -> bool:
    """Whether the slot serves another champion than the plan pinned; `moving` slots may."""
    if rollout.plan is None or slot.slot.moving:
        return False
    return rollout.plan.arms[CHAMPION].identity != slot.slot.champion.identity


def circumstances(
    work: Work,
    rollout: Rollout,
    row: Transition,
    *,
    actor: Actor,
    slot: StoredSlot,
    proposal: Proposal | None,
) -> Circumstances:
    """Everything the guards of one transition look at, read now."""
    judgement = judgement_of(rollout)
    gate = gate_name(rollout, row.move) if row.gated else None
    approved = gate and proposal is not None and proposal.transition == row.move.value
    return Circumstances(
        rollout=rollout,
        now=work.now,
        judgement=judgement,
        slot_free=row.move is not Move.SUBMIT or _slot_free(work, rollout),
        killed=slot.kill is not None,
        champion_changed=champion_changed(rollout, slot),
        approved=None
        if gate is None
        else bool(approved and proposal and carries(work, rollout, proposal, judgement)),
        may_act_alone=_may_act_alone(rollout, row, actor),
        ruleset_sent=row.move not in (Move.BAKE, Move.ROLLED_BACK) or _ruleset_sent(work, rollout),
        champion_is_ours=row.move is Move.UNDO and _champion_is_ours(work, rollout, slot),
    )


def _may_act_alone(rollout: Rollout, row: Transition, actor: Actor) -> bool:
    if actor.kind != MACHINE.kind or not row.gated:
        return True
    autonomy = rollout.frozen_plan.policy.autonomy
    return autonomy.promotes if row.move is Move.PROMOTE else autonomy.ramps


def _slot_free(work: Work, rollout: Rollout) -> bool:
    live = work.rollouts.live_in(rollout.project, rollout.slot)
    return live is None or live.id == rollout.id


def _ruleset_sent(work: Work, rollout: Rollout) -> bool:
    """No note is due; a retreat that has waited out its deadline waits no longer."""
    deadline = rollout.deadline_at
    if rollout.state is State.ROLLING_BACK and deadline is not None and work.now >= deadline:
        return True
    return not any(
        message.kind == RULESET_MESSAGE and message.project == rollout.project
        for message in work.outbox.due(work.now, most=200)
    )


def _champion_is_ours(work: Work, rollout: Rollout, slot: StoredSlot) -> bool:
    allocation = current_allocation(work, rollout)
    if allocation is None:
        return False
    promoted = rollout.frozen_plan.arms[promoted_arm(allocation)]
    return slot.slot.champion.identity == promoted.identity


def _failure(clause: Clause) -> dict[str, Any]:
    return {
        "guard": clause.id,
        "observed": clause.observed,
        "threshold": clause.threshold,
        "flip_if": clause.flip_if,
    }


def _consume(
    work: Work, rollout: Rollout, row: Transition, proposal: Proposal | None, actor: Actor
) -> None:
    """Use up the approval this move stands on; anything else that is pending is overtaken."""
    if row.gated and proposal is not None and proposal.transition == row.move.value:
        if not close(work, proposal, status="executed", reason=None, actor=actor):
            raise ApprovalInvalid("This proposal was executed or closed by somebody else.")
        return
    void_open(work, rollout, reason="retreat" if row.move.retreats else "overtaken", actor=actor)


# ---------------------------------------------------------------- what a move does


def _moved(rollout: Rollout, row: Transition, now: datetime) -> Rollout:
    """The rollout in its next state; traffic comes separately."""
    moved = replace(rollout, state=row.target, stage_entered_at=now, paused_seconds=0.0)
    if row.move is Move.ADVANCE:
        return replace(moved, stage=rollout.stage + 1, next_look_at=now)
    moved = replace(moved, entered_at=now, deadline_at=_deadline(rollout, row.target, now))
    if row.move in (Move.CHECK, Move.START, Move.PROMOTE):
        # What was seen belongs to another comparison: the next look starts afresh.
        moved = replace(moved, look_memory=None, judgement=None, next_look_at=now)
    if row.move is Move.START:
        moved = replace(moved, verdict=Verdict.UNKNOWN, reason="no_look_yet")
    if row.target.terminal:
        moved = replace(moved, ended_at=now, next_look_at=None, paused=(), paused_since=None)
    elif row.target is State.ROLLING_BACK:
        moved = replace(moved, next_look_at=None, paused=(), paused_since=None)
    elif rollout.paused:
        moved = replace(moved, paused_since=now)
    if row.move is Move.DECIDE:
        moved = replace(moved, stage_entered_at=rollout.stage_entered_at, next_look_at=now)
    return moved


def _deadline(rollout: Rollout, state: State, now: datetime) -> datetime | None:
    """Every live state has one (I13); what happens then is in `flow/reconcile.py`."""
    if rollout.plan is None or not state.live:
        return None
    policy = rollout.plan.policy
    limits = policy.deadlines
    seconds = {
        State.VALIDATING: limits.validating,
        State.SHADOW: limits.shadow,
        State.AA_CHECK: limits.aa,
        State.RAMPING: limits.ramping,
        State.DECIDING: limits.deciding,
        State.PROMOTING: limits.promoting,
        State.BAKING: policy.bake.duration_seconds + policy.data.missing_deadline_seconds,
        State.ROLLING_BACK: limits.rolling_back,
    }[state]
    return now + timedelta(seconds=seconds)


def _wanted(rollout: Rollout, row: Transition, judgement: Judgement | None) -> Exposure | None:
    """The traffic of the next state; None where it stays as it is."""
    if row.move is Move.CHECK:
        return stage_exposure(rollout.frozen_plan, 0, analysed=False)
    if row.move is Move.START:
        return stage_exposure(rollout.frozen_plan, 0)
    if row.move is Move.ADVANCE:
        return stage_exposure(rollout.frozen_plan, rollout.stage + 1)
    if row.move is Move.PROMOTE:
        plan = rollout.frozen_plan
        arm = judgement.arm if judgement else None
        return bake_exposure(plan, arm or plan.challengers[0])
    if row.move.retreats or row.target.terminal:
        return Exposure(enrolled_ppm=0, weights={})
    return None


def _apply(work: Work, change: _Change, moved: Rollout) -> Rollout:
    """Save the rollout and whatever its traffic needs: allocation, epoch, champion, ruleset."""
    rollout, row, exposure = change.rollout, change.row, change.exposure
    opened = _opened(work, rollout, row, exposure)
    if exposure is not None:
        moved = replace(
            moved,
            enrolled_ppm=exposure.enrolled_ppm,
            allocation=rollout.allocation if opened is None else opened.number,
            epoch=rollout.epoch + (exposure.enrolled_ppm > 0),
        )
    saved = work.rollouts.save(moved)
    if opened is not None:
        work.rollouts.add_allocation(saved.project, saved.id, opened)
    if row.move in (Move.COMPLETE, Move.UNDO):
        _change_champion(work, change)
    if saved.state in IN_RULESET or rollout.state in IN_RULESET or row.move is Move.UNDO:
        published = publish(work, saved.project)
        if saved.epoch != rollout.epoch:
            open_epoch(work, saved, ruleset=published.version)
    return saved


def _opened(
    work: Work, rollout: Rollout, row: Transition, exposure: Exposure | None
) -> Allocation | None:
    """A new allocation where arms or weights change; a ramp step stays inside its own.

    The watch after a promotion is for everybody: what it promotes will serve everybody too.
    """
    if exposure is None or row.move not in (Move.CHECK, Move.START, Move.PROMOTE):
        return None
    runs = build_runs(exposure.weights)
    return Allocation(
        number=max(rollout.allocation + 1, least_number(work, rollout)),
        weights={arm: float(share) for arm, share in arm_shares(runs).items()},
        runs=runs,
        analysed=exposure.analysed,
        opened_at=work.now,
        eligible=None if row.move is Move.PROMOTE else rollout.frozen_plan.eligible,
    )


def open_epoch(work: Work, rollout: Rollout, *, ruleset: int) -> None:
    """Write the rollout's present epoch, which begins with this ruleset."""
    allocation = current_allocation(work, rollout)
    assert allocation is not None
    epoch = Epoch(
        number=rollout.epoch,
        allocation=allocation.number,
        enrolled=rollout.enrolled,
        weights=allocation.weights,
    )
    work.rollouts.add_epoch(rollout.project, rollout.id, epoch, ruleset=ruleset, at=work.now)


def _change_champion(work: Work, change: _Change) -> None:
    """The only two moments at which a rollout changes a slot's champion."""
    assert change.before is not None
    rollout, serving = change.rollout, change.slot.slot.champion
    if change.row.move is Move.UNDO:
        next_champion = back_to(rollout, change.slot)
    else:
        next_champion = rollout.frozen_plan.arms[promoted_arm(change.before)]
    work.definitions.set_champion(
        rollout.project, rollout.slot, next_champion, previous=serving, at=work.now
    )


# ---------------------------------------------------------------- what is written down


def _write_down(
    work: Work, change: _Change, saved: Rollout, *, actor: Actor, details: Mapping[str, Any]
) -> None:
    """One decision and one audit entry for every move."""
    rollout = change.rollout
    was = shares_of(rollout, change.before)
    now = shares_of(saved, current_allocation(work, saved))
    gate = saved.plan.policy.promote_gate if saved.plan is not None else None
    facts: dict[str, Any] = {
        "verdict": saved.verdict.value,
        "evidence": saved.look_sha256,
        "stage": saved.stage,
        "enrolled": [was.enrolled, now.enrolled],
        "challenger_share": [was.challenger, now.challenger],
        "plan": saved.plan.sha256 if saved.plan is not None else None,
        **details,
    }
    if gate is not None and gate.requester_may_approve:
        facts["unreviewed"] = True
    if change.proposal is not None and change.proposal.transition == change.row.move.value:
        facts["proposal"] = change.proposal.id
    work.decisions.add(
        saved.project,
        saved.id,
        at=work.now,
        actor=actor.name,
        action=change.row.move.value,
        from_state=rollout.state.value,
        to_state=saved.state.value,
        document=facts,
    )
    work.audit.append(
        saved.project,
        at=work.now,
        actor=actor.name,
        action=f"rollout_{change.row.move.value}",
        object=f"rollout/{saved.id}",
        from_state=rollout.state.value,
        to_state=saved.state.value,
        **facts,
    )
