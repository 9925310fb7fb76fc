"""The life of a rollout as data: which transitions exist, and what each of them asks for.

`flow/act.py` is the only place that moves a rollout; it finds the transition here and evaluates
every guard in the transaction that commits the move (I4). Retreat asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from controller.errors import IllegalTransition
from controller.rollout.gates import aa_clause, bake_clause, stage_clauses
from controller.rollout.judgement import Clause, Judgement, Result, judged_at
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb, Verdict


class Move(StrEnum):
    """The name of one transition."""

    SUBMIT = "submit"
    CHECK = "check"
    START = "start"
    ADVANCE = "advance"
    DECIDE = "decide"
    PROMOTE = "promote"
    BAKE = "bake"
    COMPLETE = "complete"
    ROLL_BACK = "roll_back"
    ROLLED_BACK = "rolled_back"
    CANCEL = "cancel"
    UNDO = "undo"

    @property
    def retreats(self) -> bool:
        """It takes exposure away, so nothing may stand in its way."""
        return self in (Move.ROLL_BACK, Move.CANCEL, Move.UNDO, Move.ROLLED_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Everything a guard may look at, read in the transaction of the move.

    Attributes
    ----------
    approved : bool or None
        None where no gate stands before this move; else whether the people it names have approved
        exactly this content and their claim holds.
    may_act_alone : bool
        A person asks for the move, or the policy lets the machine make it unasked.
    ruleset_sent : bool
        No note of a published ruleset is waiting to go out.
    champion_is_ours : bool
        The slot's champion is the model this rollout promoted.
    """

    rollout: Rollout
    now: datetime
    judgement: Judgement | None
    slot_free: bool = True
    killed: bool = False
    champion_changed: bool = False
    approved: bool | None = None
    may_act_alone: bool = True
    ruleset_sent: bool = True
    champion_is_ours: bool = False


Guard = Callable[[Circumstances], Sequence[Clause]]


def _holds(clause: str, holds: bool, *, observed: object, flip_if: str) -> Clause:
    return Clause(
        id=clause,
        result=Result.PASS if holds else Result.FAIL,
        observed=observed,
        threshold=True,
        flip_if="nothing" if holds else flip_if,
    )


# ---------------------------------------------------------------- guards


def _plan_frozen(seen: Circumstances) -> Sequence[Clause]:
    there = seen.rollout.plan is not None
    return [_holds("plan_frozen", there, observed=there, flip_if="the plan is frozen at submit")]


def _slot_free(seen: Circumstances) -> Sequence[Clause]:
    hint = "the rollout that lives in the slot ends"
    return [_holds("slot_free", seen.slot_free, observed=seen.slot_free, flip_if=hint)]


def _not_killed(seen: Circumstances) -> Sequence[Clause]:
    hint = "an operator lifts the kill switch"
    return [_holds("not_killed", not seen.killed, observed=seen.killed, flip_if=hint)]


def _not_paused(seen: Circumstances) -> Sequence[Clause]:
    reasons = [reason.value for reason in seen.rollout.paused]
    return [_holds("not_paused", not reasons, observed=reasons, flip_if="it is resumed")]


def _champion_pinned(seen: Circumstances) -> Sequence[Clause]:
    hint = "never: retry against the new champion"
    good = not seen.champion_changed
    return [_holds("champion_pinned", good, observed=seen.champion_changed, flip_if=hint)]


def _approved(seen: Circumstances) -> Sequence[Clause]:
    if seen.approved is not None:
        hint = "the people whom the policy names approve it"
        return [_holds("approved", seen.approved, observed=seen.approved, flip_if=hint)]
    hint = "an operator asks for it: the policy's autonomy does not let the machine"
    return [_holds("autonomy", seen.may_act_alone, observed=seen.may_act_alone, flip_if=hint)]


def _known_and_fresh(seen: Circumstances) -> Sequence[Clause]:
    """Recent evidence of this very stage that says anything at all (I5)."""
    judgement = seen.judgement
    if judgement is None or judgement.epoch != seen.rollout.epoch:
        return [
            _holds("evidence_of_this_stage", False, observed=None, flip_if="the first look comes")
        ]
    age = (seen.now - judged_at(judgement)).total_seconds()
    policy = seen.rollout.frozen_plan.policy
    most = max(policy.data.max_age_seconds, 2 * policy.look_every_seconds)
    known = judgement.verdict in (Verdict.KEEP_GOING, Verdict.PROMOTE)
    hint = f"a look is taken, at most {most:g} s ago"
    return [
        _holds(
            "evidence_fresh",
            age <= most,
            observed=age,
            flip_if=hint,
        ),
        _holds("evidence_known", known, observed=judgement.reason, flip_if="what blocks it clears"),
    ]


def _more_stages(seen: Circumstances) -> Sequence[Clause]:
    last = len(seen.rollout.frozen_plan.policy.ramp) - 1
    at = seen.rollout.stage
    return [_holds("more_stages", at < last, observed=at, flip_if="never: this is the last stage")]


def _stage_passed(seen: Circumstances) -> Sequence[Clause]:
    return stage_clauses(seen.rollout, seen.judgement, seen.now)


def _aa_passed(seen: Circumstances) -> Sequence[Clause]:
    return [aa_clause(seen.rollout.frozen_plan, seen.judgement)]


def _no_loser(seen: Circumstances) -> Sequence[Clause]:
    """Nothing is raised while a challenger that has lost still meets units."""
    lost = [loser.arm for loser in seen.judgement.drop] if seen.judgement else []
    hint = "the challengers that have lost are dropped (an edit that gives them no weight)"
    return [_holds("losers_dropped", not lost, observed=lost, flip_if=hint)]


def _settled(seen: Circumstances) -> Sequence[Clause]:
    """Nothing can be shown any more, or the ramp is done: what remains is to decide.

    A winner of an early stage goes on through the ramp, with every gate the policy put there.
    """
    verdict = seen.judgement.verdict if seen.judgement else Verdict.UNKNOWN
    if verdict is Verdict.NO_DIFFERENCE:
        return []
    last = seen.rollout.stage == len(seen.rollout.frozen_plan.policy.ramp) - 1
    hint = "the ramp reaches its last stage"
    in_last = _holds("last_stage", last, observed=seen.rollout.stage, flip_if=hint)
    return [in_last] if verdict is Verdict.PROMOTE else [in_last, *_stage_passed(seen)]


def _verdict_promote(seen: Circumstances) -> Sequence[Clause]:
    verdict = seen.judgement.verdict if seen.judgement else Verdict.UNKNOWN
    good = verdict is Verdict.PROMOTE
    hint = "the evidence says PROMOTE"
    return [_holds("verdict_promote", good, observed=verdict.value, flip_if=hint)]


def _ruleset_sent(seen: Circumstances) -> Sequence[Clause]:
    hint = "the note of the new ruleset has gone out"
    return [_holds("ruleset_sent", seen.ruleset_sent, observed=seen.ruleset_sent, flip_if=hint)]


def _baked(seen: Circumstances) -> Sequence[Clause]:
    return [bake_clause(seen.rollout, seen.now)]


def _bake_clean(seen: Circumstances) -> Sequence[Clause]:
    """Without a holdback there is nobody to compare with, so only time can pass."""
    if seen.rollout.frozen_plan.policy.bake.holdback == 0:
        return []
    return _known_and_fresh(seen)


def _in_undo_window(seen: Circumstances) -> Sequence[Clause]:
    window = timedelta(seconds=seen.rollout.frozen_plan.policy.bake.undo_window_seconds)
    ended = seen.rollout.ended_at or seen.now
    good = seen.now <= ended + window
    return [_holds("undo_window", good, observed=good, flip_if="never: roll out the old model")]


def _champion_is_ours(seen: Circumstances) -> Sequence[Clause]:
    hint = "never: another model has been promoted since"
    ours = seen.champion_is_ours
    return [_holds("champion_is_ours", ours, observed=ours, flip_if=hint)]


# ---------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One row of the table; `gated` rows may stand behind people's approval."""

    move: Move
    sources: tuple[State, ...]
    target: State
    guards: tuple[Guard, ...] = ()
    gated: bool = False


_ALIVE = (_not_killed, _not_paused, _champion_pinned)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        move=Move.SUBMIT,
        sources=(State.DRAFT,),
        target=State.VALIDATING,
        guards=(_plan_frozen, _slot_free),
    ),
    Transition(
        move=Move.CHECK,
        sources=(State.VALIDATING,),
        target=State.AA_CHECK,
        guards=(*_ALIVE, _approved),
        gated=True,
    ),
    Transition(
        move=Move.START,
        sources=(State.VALIDATING,),
        target=State.RAMPING,
        guards=(*_ALIVE, _approved),
        gated=True,
    ),
    Transition(
        move=Move.START,
        sources=(State.AA_CHECK,),
        target=State.RAMPING,
        guards=(*_ALIVE, _known_and_fresh, _aa_passed),
    ),
    Transition(
        move=Move.ADVANCE,
        sources=(State.RAMPING,),
        target=State.RAMPING,
        guards=(*_ALIVE, _more_stages, _known_and_fresh, _no_loser, _stage_passed, _approved),
        gated=True,
    ),
    Transition(
        move=Move.DECIDE,
        sources=(State.RAMPING,),
        target=State.DECIDING,
        guards=(_settled,),
    ),
    Transition(
        move=Move.PROMOTE,
        sources=(State.DECIDING,),
        target=State.PROMOTING,
        guards=(*_ALIVE, _verdict_promote, _known_and_fresh, _approved),
        gated=True,
    ),
    Transition(
        move=Move.BAKE,
        sources=(State.PROMOTING,),
        target=State.BAKING,
        guards=(_ruleset_sent,),
    ),
    Transition(
        move=Move.COMPLETE,
        sources=(State.BAKING,),
        target=State.PROMOTED,
        guards=(*_ALIVE, _baked, _bake_clean),
    ),
    Transition(
        move=Move.ROLL_BACK,
        sources=(State.RAMPING, State.DECIDING, State.PROMOTING, State.BAKING),
        target=State.ROLLING_BACK,
    ),
    Transition(
        move=Move.ROLLED_BACK,
        sources=(State.ROLLING_BACK,),
        target=State.ROLLED_BACK,
        guards=(_ruleset_sent,),
    ),
    Transition(
        move=Move.CANCEL,
        sources=(State.DRAFT, State.VALIDATING, State.SHADOW, State.AA_CHECK),
        target=State.CANCELLED,
    ),
    Transition(
        move=Move.UNDO,
        sources=(State.PROMOTED,),
        target=State.ROLLED_BACK,
        guards=(_in_undo_window, _champion_is_ours),
    ),
)


def find(state: State, target: State) -> Transition:
    """The transition between two states.

    Raises
    ------
    IllegalTransition
        If there is none; it names the verbs that are legal.
    """
    for transition in TRANSITIONS:
        if state in transition.sources and transition.target is target:
            return transition
    raise IllegalTransition(
        f"A rollout in {state.value} cannot become {target.value}.",
        allowed=[verb.value for verb in legal_verbs(state)],
    )


def failed(transition: Transition, seen: Circumstances) -> list[Clause]:
    """The clauses of every guard that do not hold; all guards are evaluated."""
    clauses = [clause for guard in transition.guards for clause in guard(seen)]
    return [clause for clause in clauses if clause.result is not Result.PASS]


_EXPOSED_VERBS = (Verb.PAUSE, Verb.RESUME, Verb.ROLLBACK, Verb.ABORT)
_VERBS: Mapping[State, tuple[Verb, ...]] = {
    State.DRAFT: (Verb.SUBMIT, Verb.ABORT),
    State.VALIDATING: (Verb.START, *_EXPOSED_VERBS),
    State.SHADOW: _EXPOSED_VERBS,
    State.AA_CHECK: _EXPOSED_VERBS,
    State.RAMPING: (Verb.ADVANCE, Verb.EDIT, *_EXPOSED_VERBS),
    State.DECIDING: (Verb.PROMOTE, Verb.EDIT, *_EXPOSED_VERBS),
    State.PROMOTING: (Verb.ROLLBACK, Verb.ABORT),
    State.BAKING: _EXPOSED_VERBS,
    State.PROMOTED: (Verb.UNDO,),
    State.ROLLING_BACK: (Verb.ROLLBACK, Verb.ABORT),
    State.ROLLED_BACK: (Verb.RETRY,),
    State.CANCELLED: (Verb.RETRY,),
    State.SUPERSEDED: (Verb.RETRY,),
}


def legal_verbs(state: State) -> tuple[Verb, ...]:
    """What a person may ask for in this state; whether its guards hold is another question."""
    return _VERBS[state]
