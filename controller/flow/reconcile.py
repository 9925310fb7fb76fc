"""The actor: one reconciler, level-triggered, that carries rollouts towards what is decided.

Every pass looks at what is true now, not at what happened since, so nothing is lost when a process
dies and nothing is done twice. A pass raises exposure at most once per rollout.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.errors import LeaseLost, StaleVersion
from controller.flow.act import (
    circumstances,
    judgement_of,
    slot_of,
    transition,
)
from controller.flow.actors import MACHINE
from controller.flow.allocations import current_allocation
from controller.flow.approve import TARGETS, carry_out
from controller.flow.edit import drop_arms
from controller.flow.fencing import Fence, take_lease
from controller.flow.holding import hold, release
from controller.flow.look import take_due_look
from controller.flow.ports.work import Store, Work
from controller.flow.proposals import close, open_proposal
from controller.rollout.edits import survivors
from controller.rollout.judge import DROPS_IN
from controller.rollout.judgement import Judgement
from controller.rollout.machine import Move, failed, find
from controller.rollout.proposal import broken_claims
from controller.rollout.record import Rollout
from controller.rollout.states import Pause, State, Verdict

IDLE_SECONDS = 5.0
INTEGRITY = (
    "kill",
    "integrity.srm",
    "integrity.arm_mismatch",
    "integrity.double_exposure",
)
UNFINISHED = "horizon_not_reached"
RESTLESS = frozenset({State.VALIDATING, State.PROMOTING, State.ROLLING_BACK})
"""States without looks of their own pace: every pass asks whether they can go on."""


def tick(store: Store, *, holder: str, budget: int = 100) -> datetime:
    """One pass over the live rollouts: due looks, deadlines, moves, proposals.

    Parameters
    ----------
    holder : str
        Names this process; another holder's lease makes the pass do nothing (I8).
    budget : int
        Rollouts handled in one pass; those whose look has waited longest come first.

    Returns
    -------
    datetime
        When the next pass has something to do, as far as is known now.

    Raises
    ------
    LeaseLost
        At once: somebody else acts now.
    Exception
        What a rollout met, after every other rollout has been handled; several as a group.
    """
    with store.reading() as work:
        now = work.now
        waiting = [rollout for rollout in work.rollouts.live() if is_due(rollout, now)]
    if not waiting:
        return next_due(store)
    fence = take_lease(store, holder)
    if fence is None:
        return now + timedelta(seconds=IDLE_SECONDS)
    waiting.sort(key=lambda one: one.next_look_at or one.stage_entered_at)
    problems: list[Exception] = []
    for rollout in waiting[:budget]:
        try:
            reconcile(store, rollout.project, rollout.id, fence=fence)
        except LeaseLost:
            raise
        except Exception as problem:  # noqa: BLE001 - one rollout never holds up another's retreat
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else ExceptionGroup("several rollouts", problems)
    return now if len(waiting) > budget else next_due(store)


def is_due(rollout: Rollout, now: datetime) -> bool:
    """Whether a pass may find something to do.

    Between looks only time, a vote or an operator changes anything; votes and operators act in
    their own transaction, and what time allows is made at the next look.
    """
    if rollout.state in RESTLESS or rollout.next_look_at is None:
        return True
    return rollout.next_look_at <= now or (
        rollout.deadline_at is not None and rollout.deadline_at <= now
    )


def next_due(store: Store) -> datetime:
    """The earliest known instant at which a live rollout needs attention."""
    with store.reading() as work:
        idle = work.now + timedelta(seconds=IDLE_SECONDS)
        instants = [
            instant
            for rollout in work.rollouts.live()
            for instant in (rollout.next_look_at, rollout.deadline_at)
            if instant is not None
        ]
        return max(work.now, min([idle, *instants]))


def reconcile(store: Store, project: str, rollout_id: str, *, fence: Fence | None = None) -> None:
    """Everything that is due for one rollout.

    What is decided already comes first: a look that fails never delays a deadline or a retreat.
    """
    _pass(store, project, rollout_id, fence)
    if take_due_look(store, project, rollout_id, fence=fence) is not None:
        _pass(store, project, rollout_id, fence)


def _pass(store: Store, project: str, rollout_id: str, fence: Fence | None) -> None:
    try:
        with store.writing() as work:
            if _has_losers(work.rollouts.get(project, rollout_id)):
                work.stop_maturing(project)  # before the turn, as every edit
            work.take_turn(project)
            if fence is not None:
                fence.check(work)
            rollout = work.rollouts.get(project, rollout_id)
            if rollout is not None and rollout.state.live:
                step(work, rollout)
    except StaleVersion:
        # Somebody else wrote between our read and our write: the next pass sees what they did.
        return


def _has_losers(rollout: Rollout | None) -> bool:
    """Whether the last look found challengers to give up."""
    judgement = None if rollout is None or not rollout.state.live else judgement_of(rollout)
    return judgement is not None and bool(judgement.drop)


def step(work: Work, rollout: Rollout) -> bool:
    """Make at most one move; whether one was made."""
    if rollout.deadline_at is not None and work.now >= rollout.deadline_at:
        _expire(work, rollout)
        return True
    _end_expired_proposal(work, rollout)
    judgement = judgement_of(rollout)
    if judgement is not None and (
        _protect(work, rollout, judgement) or _give_up_losers(work, rollout, judgement)
    ):
        return True
    rollout = _hold_or_release(work, rollout, judgement)
    return _go_on(work, rollout, judgement)


# ---------------------------------------------------------------- retreat


def _expire(work: Work, rollout: Rollout) -> None:
    """The declared outcome of every deadline (I13): towards the champion, always."""
    if rollout.state is State.ROLLING_BACK:
        _finish(work, rollout)
        return
    if not rollout.state.exposed:
        reason = "aa_not_passed" if rollout.state is State.AA_CHECK else "not_started"
        transition(work, rollout, State.CANCELLED, actor=MACHINE, reason=reason)
        return
    verdict, reason = _unfinished(rollout)
    transition(
        work,
        rollout,
        State.ROLLING_BACK,
        actor=MACHINE,
        reason=reason,
        verdict=verdict,
        details={"deadline": rollout.deadline_at.isoformat() if rollout.deadline_at else None},
    )


def _unfinished(rollout: Rollout) -> tuple[Verdict, str]:
    """What a deadline makes of a rollout that has met the challenger."""
    if rollout.state is State.PROMOTING:
        return rollout.verdict, "promotion_not_carried_out"
    if rollout.state is State.BAKING:
        return rollout.verdict, "bake_not_clean"
    judgement = judgement_of(rollout)
    if judgement is None:
        return Verdict.NO_DIFFERENCE, UNFINISHED
    if judgement.verdict is Verdict.PROMOTE:
        return Verdict.PROMOTE, "not_approved"
    if judgement.verdict in (Verdict.ROLLBACK, Verdict.NO_DIFFERENCE):
        return judgement.verdict, judgement.reason
    if any(blocker in INTEGRITY for blocker in judgement.blockers) or judgement.harm:
        return Verdict.UNKNOWN, judgement.reason
    # What went on from a reserve had all its evidence: its plan ended without a difference.
    went_on = judgement.reason == "horizon_passed"
    return Verdict.NO_DIFFERENCE, "horizon_reached" if went_on else UNFINISHED


def _protect(work: Work, rollout: Rollout, judgement: Judgement) -> bool:
    """Roll back on established harm, loss or missing data, without asking anybody (L2 and up)."""
    if not rollout.state.exposed or not rollout.frozen_plan.policy.autonomy.retreats:
        return False
    silent = _silent_seconds(work, judgement)
    if judgement.verdict is Verdict.ROLLBACK:
        verdict, reason = Verdict.ROLLBACK, judgement.reason
    elif silent > rollout.frozen_plan.policy.data.missing_deadline_seconds:
        verdict, reason = Verdict.UNKNOWN, "data_missing"
    else:
        return False
    transition(work, rollout, State.ROLLING_BACK, actor=MACHINE, reason=reason, verdict=verdict)
    return True


def _give_up_losers(work: Work, rollout: Rollout, judgement: Judgement) -> bool:
    """Drop the challengers that have lost while others go on: a retreat, so nobody is asked.

    Where somebody has given up those others since the look, the next look ends the rollout.
    """
    if rollout.state not in DROPS_IN or not rollout.frozen_plan.policy.autonomy.retreats:
        return False
    left = survivors(rollout.frozen_plan, current_allocation(work, rollout))
    lost = tuple(loser for loser in judgement.drop if loser.arm in left)
    if not lost or len(lost) == len(left):
        return False
    drop_arms(work, rollout, lost, actor=MACHINE)
    return True


def _silent_seconds(work: Work, judgement: Judgement) -> float:
    """How long data have been missing by now, on from what the look saw."""
    if judgement.missing_seconds <= 0:
        return 0.0
    since_look = work.now - datetime.fromisoformat(judgement.as_of)
    return judgement.missing_seconds + since_look.total_seconds()


def _hold_or_release(work: Work, rollout: Rollout, judgement: Judgement | None) -> Rollout:
    """Hold where the data cannot be trusted; let go as soon as the same data say so."""
    if judgement is None or not rollout.frozen_plan.policy.autonomy.retreats:
        return rollout
    if rollout.state is State.ROLLING_BACK:  # nothing is left to hold
        return rollout
    blocked = set(judgement.blockers)
    held = {
        Pause.SRM: "integrity.srm" in blocked,
        Pause.ARM_MISMATCH: "integrity.arm_mismatch" in blocked,
        Pause.DOUBLE_EXPOSURE: "integrity.double_exposure" in blocked,
        Pause.HARM: any(blocker.startswith("harm.") for blocker in blocked),
        Pause.DATA_MISSING: judgement.missing_seconds > 0,
    }
    for why, holds in held.items():
        rollout = (hold if holds else release)(work, rollout, why, actor=MACHINE)
    return rollout


def _end_expired_proposal(work: Work, rollout: Rollout) -> None:
    proposal = work.approvals.open_for(rollout.project, rollout.id)
    if proposal is not None and work.now >= proposal.expires_at:
        close(work, proposal, status="expired", reason=None, actor=MACHINE)


# ---------------------------------------------------------------- going on


def _go_on(work: Work, rollout: Rollout, judgement: Judgement | None) -> bool:
    if rollout.state is State.RAMPING:
        return _may(work, rollout, State.DECIDING) or _raise(work, rollout, Move.ADVANCE)
    if rollout.state is State.DECIDING:
        return _conclude(work, rollout, judgement)
    if rollout.state is State.VALIDATING:
        checks_first = rollout.frozen_plan.policy.aa is not None
        return _raise(work, rollout, Move.CHECK if checks_first else Move.START)
    to = {
        State.AA_CHECK: State.RAMPING,
        State.PROMOTING: State.BAKING,
        State.BAKING: State.PROMOTED,
        State.ROLLING_BACK: State.ROLLED_BACK,
    }.get(rollout.state)
    return to is not None and _may(work, rollout, to)


def _conclude(work: Work, rollout: Rollout, judgement: Judgement | None) -> bool:
    """Deciding: a test without a difference ends here, one with a winner asks for people."""
    if judgement is None:
        return False
    if judgement.verdict is Verdict.NO_DIFFERENCE:
        if not rollout.frozen_plan.policy.autonomy.retreats:
            return False
        transition(
            work,
            rollout,
            State.ROLLING_BACK,
            actor=MACHINE,
            reason=judgement.reason,
            verdict=Verdict.NO_DIFFERENCE,
        )
        return True
    return _raise(work, rollout, Move.PROMOTE)


def _finish(work: Work, rollout: Rollout) -> None:
    transition(work, rollout, State.ROLLED_BACK, actor=MACHINE, reason=rollout.reason)


def _may(work: Work, rollout: Rollout, to: State) -> bool:
    """Make an ungated move if its guards hold."""
    if _missing(work, rollout, to):
        return False
    transition(work, rollout, to, actor=MACHINE, reason=rollout.reason)
    return True


def _missing(work: Work, rollout: Rollout, to: State) -> set[str]:
    row = find(rollout.state, to)
    seen = circumstances(
        work,
        rollout,
        row,
        actor=MACHINE,
        slot=slot_of(work, rollout),
        proposal=work.approvals.open_for(rollout.project, rollout.id),
    )
    return {clause.id for clause in failed(row, seen)}


def _raise(work: Work, rollout: Rollout, move: Move) -> bool:
    """Raise exposure if people have approved it or the policy lets the machine; else ask."""
    proposal = work.approvals.open_for(rollout.project, rollout.id)
    judgement = judgement_of(rollout)
    if proposal is not None and broken_claims(proposal.document["claim"], judgement):
        carry_out(work, rollout, proposal, actor=MACHINE)
        return False
    missing = _missing(work, rollout, TARGETS[move])
    if not missing:
        transition(work, rollout, TARGETS[move], actor=MACHINE, reason=move.value)
        return True
    if missing == {"approved"} and _asks(work, rollout, move):
        open_proposal(work, rollout, move, judgement, actor=MACHINE)
    return False


def _asks(work: Work, rollout: Rollout, move: Move) -> bool:
    """Whether the machine puts this move before people: not at L0, and not again after a veto."""
    if rollout.frozen_plan.policy.autonomy < "L1":
        return False
    earlier = work.approvals.list(rollout.project, rollout=rollout.id)
    return not any(
        proposal.status == "vetoed"
        and proposal.transition == move.value
        and proposal.document["content"]["from"]["stage"] == rollout.stage
        for proposal in earlier
    )
