"""What may happen next to a rollout: legal verbs with their reasons, the next move, deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.flow.act import circumstances, slot_of
from controller.flow.actors import MACHINE, Actor
from controller.flow.approve import TARGETS
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.work import Work
from controller.flow.proposals import has_quorum
from controller.rollout.gates import dwelt_seconds, earliest_next
from controller.rollout.judgement import Clause
from controller.rollout.machine import Move, failed, find, legal_verbs
from controller.rollout.proposal import gate_name, gate_of
from controller.rollout.record import Rollout
from controller.rollout.states import Pause, State, Verb, Verdict

ANYBODY = Actor(name="anybody", kind="operator")
"""Stands for whichever person may ask; roles are checked where the verb is carried out."""

_MOVE_OF = {Verb.ADVANCE: Move.ADVANCE, Verb.PROMOTE: Move.PROMOTE}
_OUTCOME = {
    State.VALIDATING: "cancelled: it was not started",
    State.AA_CHECK: "cancelled: the A/A check did not pass",
    State.RAMPING: "rolled back: the champion stays",
    State.DECIDING: "rolled back: the champion stays",
    State.PROMOTING: "rolled back: the promotion was not carried out",
    State.BAKING: "rolled back: the bake did not come out clean",
    State.ROLLING_BACK: "rolled back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The next move, and what it waits for.

    Attributes
    ----------
    transition : str or None
        None for a rollout at rest.
    earliest_at : datetime or None
        When its dwell or bake ends, if time is among what it waits for.
    waiting_on : tuple of Clause
        Guards that do not hold yet.
    people : str or None
        The gate whose approval is missing, or `operator` where a person must ask.
    """

    transition: str | None
    earliest_at: datetime | None
    waiting_on: tuple[Clause, ...]
    people: str | None

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "transition": self.transition,
            "earliest_at": self.earliest_at.isoformat() if self.earliest_at else None,
            "waiting_on": [
                {
                    "guard": clause.id,
                    "observed": clause.observed,
                    "threshold": clause.threshold,
                    "flip_if": clause.flip_if,
                }
                for clause in self.waiting_on
            ],
            "people": self.people,
        }


def next_move(rollout: Rollout) -> Move | None:
    """What comes next if nothing goes wrong; None for a rollout at rest."""
    if rollout.state is State.VALIDATING:
        return Move.CHECK if rollout.frozen_plan.policy.aa is not None else Move.START
    if rollout.state is State.RAMPING:
        last = rollout.stage == len(rollout.frozen_plan.policy.ramp) - 1
        return Move.DECIDE if last else Move.ADVANCE
    if rollout.state is State.DECIDING:
        return Move.ROLL_BACK if rollout.verdict is Verdict.NO_DIFFERENCE else Move.PROMOTE
    return {
        State.DRAFT: Move.SUBMIT,
        State.AA_CHECK: Move.START,
        State.PROMOTING: Move.BAKE,
        State.BAKING: Move.COMPLETE,
        State.ROLLING_BACK: Move.ROLLED_BACK,
    }.get(rollout.state)


def outlook(work: Work, rollout: Rollout, proposal: Proposal | None) -> Next:
    """The next move with everything it still waits for."""
    move = next_move(rollout)
    if move in (None, Move.SUBMIT):
        name = None if move is None else move.value
        return Next(transition=name, earliest_at=None, waiting_on=(), people=None)
    assert move is not None
    clauses = _waiting(work, rollout, _target(rollout, move), proposal, actor=MACHINE)
    missing = {clause.id for clause in clauses}
    people = "operator" if "autonomy" in missing else None
    if "approved" in missing:
        people = gate_name(rollout, move)
    return Next(
        transition=move.value,
        earliest_at=_earliest(rollout, work.now),
        waiting_on=tuple(clauses),
        people=people,
    )


def _target(rollout: Rollout, move: Move) -> State:
    if move in TARGETS:
        return TARGETS[move]
    return {
        Move.DECIDE: State.DECIDING,
        Move.BAKE: State.BAKING,
        Move.COMPLETE: State.PROMOTED,
        Move.ROLL_BACK: State.ROLLING_BACK,
        Move.ROLLED_BACK: State.ROLLED_BACK,
    }.get(move, rollout.state)


def _waiting(
    work: Work, rollout: Rollout, to: State, proposal: Proposal | None, *, actor: Actor
) -> list[Clause]:
    row = find(rollout.state, to)
    seen = circumstances(
        work, rollout, row, actor=actor, slot=slot_of(work, rollout), proposal=proposal
    )
    return failed(row, seen)


def _earliest(rollout: Rollout, now: datetime) -> datetime | None:
    if rollout.state is State.RAMPING:
        return earliest_next(rollout, now)
    if rollout.state is State.BAKING and not rollout.paused:
        left = rollout.frozen_plan.policy.bake.duration_seconds - dwelt_seconds(rollout, now)
        return datetime.fromtimestamp(now.timestamp() + max(0.0, left), now.tzinfo)
    return None


# ---------------------------------------------------------------- verbs, deadlines, approvals


def allowed_actions(
    work: Work, rollout: Rollout, proposal: Proposal | None
) -> list[dict[str, Any]]:
    """Every verb: whether it may be asked for now, and if not, why."""
    return [
        {"verb": verb.value, "allowed": why is None, "why_not": why, **_through(rollout, verb)}
        for verb in Verb
        for why in (_why_not(work, rollout, verb, proposal),)
    ]


def _why_not(work: Work, rollout: Rollout, verb: Verb, proposal: Proposal | None) -> str | None:
    if verb not in legal_verbs(rollout.state):
        return f"not while the rollout is {rollout.state.value}"
    if verb is Verb.PAUSE and Pause.OPERATOR in rollout.paused:
        return "it is paused already"
    if verb is Verb.RESUME:
        return _why_not_resume(rollout)
    to = State.ROLLED_BACK if verb is Verb.UNDO else _raised_to(rollout, verb)
    if to is None:
        return None
    missing = _waiting(work, rollout, to, proposal, actor=ANYBODY)
    others = [clause for clause in missing if clause.id != "approved"]
    return "; ".join(f"{clause.id}: {clause.flip_if}" for clause in others) or None


def _raised_to(rollout: Rollout, verb: Verb) -> State | None:
    if verb is Verb.START:
        checks_first = rollout.frozen_plan.policy.aa is not None
        return State.AA_CHECK if checks_first else State.RAMPING
    move = _MOVE_OF.get(verb)
    return TARGETS[move] if move else None


def _why_not_resume(rollout: Rollout) -> str | None:
    if not rollout.paused:
        return "it is not paused"
    others = [reason.value for reason in rollout.paused if reason is not Pause.OPERATOR]
    return f"held by {', '.join(others)}, which only the data can clear" if others else None


def _through(rollout: Rollout, verb: Verb) -> dict[str, str]:
    """The gate that a verb goes through: it then asks for approval instead of acting."""
    if rollout.plan is None or verb not in (Verb.START, Verb.ADVANCE, Verb.PROMOTE):
        return {}
    move = _MOVE_OF.get(verb, Move.START)
    gate = gate_name(rollout, move)
    return {} if gate is None else {"gate": gate}


def deadlines(rollout: Rollout) -> list[dict[str, Any]]:
    """The deadline of the present state with its declared outcome (I13)."""
    if rollout.deadline_at is None:
        return []
    return [
        {
            "state": rollout.state.value,
            "at": rollout.deadline_at.isoformat(),
            "outcome": _OUTCOME[rollout.state],
        }
    ]


def approval_document(work: Work, rollout: Rollout, proposal: Proposal) -> dict[str, Any]:
    """One proposal as people see it: what, who has answered, who is still needed.

    An open one whose quorum is met reads as approved: it only waits for its guards.
    """
    waits = proposal.status == "open" and has_quorum(work, rollout, proposal)
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    approving = [vote for vote in proposal.votes if vote.vote == "approve"]
    return {
        "id": proposal.id,
        "digest": proposal.digest,
        "gate": proposal.gate,
        "transition": proposal.transition,
        "state": "approved" if waits else proposal.status,
        "reason": proposal.reason,
        "have": len(approving),
        "need": gate.quorum,
        "groups": dict(gate.groups),
        "by": [
            {
                "voter": vote.voter,
                "vote": vote.vote,
                "comment": vote.comment,
                "at": vote.voted_at.isoformat(),
            }
            for vote in proposal.votes
        ],
        "opened_at": proposal.opened_at.isoformat(),
        "expires_at": proposal.expires_at.isoformat(),
        "claim": proposal.document["claim"],
        "evidence": proposal.document["evidence"],
    }
