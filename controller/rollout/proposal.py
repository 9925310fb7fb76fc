"""A proposal: one transition, bound to its content by a digest and to the evidence by a claim.

People approve exactly what the document says. Whatever it names that must not move (plan, models,
shares, attempt) is compared again in the transaction that executes it; the evidence may grow, but
its claim must still hold then (I7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.experiments.canonical import sha256_of
from controller.experiments.models import Model
from controller.experiments.plans import Plan
from controller.experiments.policies import Gate, Policy
from controller.rollout.judgement import Judgement
from controller.rollout.machine import Move
from controller.rollout.record import Allocation, Rollout
from controller.rollout.shares import (
    bake_exposure,
    challenger_part,
    share_that_would_meet,
    stage_exposure,
)
from controller.rollout.states import State, Verdict
from controller.rollout.weigh import least_lead


def gate_name(rollout: Rollout, move: Move) -> str | None:
    """The gate that stands before a move, or None where nobody's approval is asked for."""
    plan = rollout.frozen_plan
    policy = plan.policy
    if move is Move.PROMOTE:
        return None if policy.promote_gate is None else "promote"
    if move in (Move.CHECK, Move.START) and rollout.state is State.VALIDATING:
        return policy.ramp[0].approval or ("start" if "start" in policy.approvals else None)
    if move is Move.ADVANCE and rollout.stage + 1 < len(policy.ramp):
        return policy.ramp[rollout.stage + 1].approval
    return None


def gate_of(plan: Plan, name: str) -> Gate:
    """The rules of a named gate."""
    found = plan.policy.promote_gate if name == "promote" else plan.policy.approvals.get(name)
    return found or Gate()


def gates_in_use(policy: Policy) -> dict[str, Gate]:
    """Every gate that a rollout under this policy will meet on its way."""
    gates = {} if policy.promote_gate is None else {"promote": policy.promote_gate}
    names = {"start", *(stage.approval for stage in policy.ramp)}
    return gates | {name: gate for name, gate in policy.approvals.items() if name in names}


# ---------------------------------------------------------------- content


def content(
    rollout: Rollout, move: Move, arm: str | None, current: Allocation | None = None
) -> dict[str, Any]:
    """What the move would do, in every part that must not change between approval and act.

    `current` is the allocation in force, None before the first.
    """
    plan = rollout.frozen_plan
    return {
        "project": rollout.project,
        "rollout": rollout.id,
        "attempt": rollout.attempt,
        "slot": rollout.slot,
        "transition": move.value,
        "from": _here(rollout),
        "to": _there(rollout, move, arm, current),
        "plan": plan.sha256,
        "policy": plan.policy.sha256,
        "models": {name: model.identity for name, model in plan.arms.items()},
        "promotes": arm if move is Move.PROMOTE else None,
    }


def _here(rollout: Rollout) -> dict[str, Any]:
    return {
        "state": rollout.state.value,
        "stage": rollout.stage,
        "enrolled": rollout.enrolled,
        "allocation": rollout.allocation,
    }


def _there(
    rollout: Rollout, move: Move, arm: str | None, current: Allocation | None
) -> dict[str, Any]:
    plan = rollout.frozen_plan
    if move is Move.PROMOTE:
        exposure = bake_exposure(plan, arm or plan.challengers[0])
        state, stage = State.PROMOTING, rollout.stage
    else:
        stage = rollout.stage + 1 if move is Move.ADVANCE else 0
        state = State.AA_CHECK if move is Move.CHECK else State.RAMPING
        exposure = stage_exposure(plan, stage)
    meets = 0.0 if state is State.AA_CHECK else share_that_would_meet(exposure)
    if move is Move.ADVANCE and current is not None:
        # A ramp step stays in its allocation, and an edit may have retired a part of that.
        meets = exposure.enrolled_ppm / 1_000_000 * challenger_part(current)
    return {
        "state": state.value,
        "stage": stage,
        "enrolled": exposure.enrolled_ppm / 1_000_000,
        "challenger_share": meets,
    }


def claim_of(plan: Plan, move: Move, arm: str | None) -> dict[str, Any]:
    """What must still be true of the newest evidence when the approved move is made."""
    if move in (Move.CHECK, Move.START):
        return {}
    protects: dict[str, Any] = {"no_harm": True, "no_srm": True}
    if move is Move.PROMOTE:
        protects |= {"arm": arm, "lead_above": least_lead(plan)}
    return protects


def document(
    rollout: Rollout,
    move: Move,
    judgement: Judgement | None,
    *,
    gate: str,
    expires_at: datetime,
    current: Allocation | None = None,
) -> dict[str, Any]:
    """The canonical document whose sha256 people sign."""
    arm = judgement.arm if judgement is not None and move is Move.PROMOTE else None
    return {
        "schema": 1,
        "gate": gate,
        "content": content(rollout, move, arm, current),
        "claim": claim_of(rollout.frozen_plan, move, arm),
        "evidence": judgement.evidence_sha256 if judgement else None,
        "look": judgement.look if judgement else None,
        "verdict": (judgement.verdict if judgement else Verdict.UNKNOWN).value,
        "reason": judgement.reason if judgement else "",
        "expires_at": expires_at.isoformat(),
    }


def digest_of(document: Mapping[str, Any]) -> str:
    """What a person's vote names: the sha256 of the proposal's canonical document."""
    return sha256_of(document)


def still_says(
    document: Mapping[str, Any], rollout: Rollout, current: Allocation | None = None
) -> bool:
    """Whether the move would still do exactly what the document says."""
    stated = document["content"]
    move = Move(stated["transition"])
    return bool(content(rollout, move, stated["promotes"], current) == stated)


def broken_claims(claim: Mapping[str, Any], judgement: Judgement | None) -> list[str]:
    """Parts of a claim that the newest evidence contradicts.

    Old or missing data contradict nothing: they keep the move from being made, which is the
    guards' business, and do not void what people said.
    """
    if judgement is None:
        return []
    broken = []
    if claim.get("no_harm") and judgement.harm:
        broken.append("no_harm")
    if claim.get("no_srm") and judgement.srm:
        broken.append("no_srm")
    if "lead_above" in claim:
        lead = judgement.lead.get(claim["arm"] or "")
        if lead is not None and lead <= claim["lead_above"]:
            broken.append("lead_above")
    return broken


def claim_holds(claim: Mapping[str, Any], judgement: Judgement | None) -> bool:
    """Whether the newest evidence contradicts no part of the claim."""
    return not broken_claims(claim, judgement)


# ---------------------------------------------------------------- who may answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """A person who may sign in, and the groups (roles) they belong to."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interested:
    """Who has an interest in the outcome and therefore cannot approve it."""

    requester: str
    authors: frozenset[str]
    policy_editors: frozenset[str]


def interest_in(challengers: Iterable[Model], requester: str, editors: Iterable[str]) -> Interested:
    """The people who asked for a rollout, made its challengers or last edited its policy."""
    authors = frozenset(author for model in challengers for author in model.authors)
    return Interested(requester=requester, authors=authors, policy_editors=frozenset(editors))


def why_not_eligible(voter: Voter, gate: Gate, interested: Interested) -> str | None:
    """Why this person cannot approve, or None if they can.

    A gate that lets the requester approve has given up four eyes, so it does not hold the policy's
    editor to them either.
    """
    if "approver" not in voter.groups:
        return "you need the role approver"
    if voter.name == interested.requester and not gate.requester_may_approve:
        return "you asked for this change; a colleague must approve"
    if voter.name in interested.authors and not gate.author_may_approve:
        return "you are an author of the challenger; a colleague must approve"
    if voter.name in interested.policy_editors and not gate.requester_may_approve:
        return "you last edited its policy; a colleague must approve"
    return None


def eligible(voters: Collection[Voter], gate: Gate, interested: Interested) -> list[Voter]:
    """Everybody who may approve at this gate."""
    return [voter for voter in voters if why_not_eligible(voter, gate, interested) is None]


def quorum_met(approving: Collection[Voter], gate: Gate) -> bool:
    """Whether these people suffice: enough of them, and distinct ones for every group's share.

    One person counts once, whichever groups they belong to; the groups' places are filled by
    augmenting paths (Kuhn 1955), so the answer does not depend on any order.
    """
    if len({voter.name for voter in approving}) < gate.quorum:
        return False
    places = [group for group, need in gate.groups.items() for _ in range(need)]
    taken: dict[str, int] = {}
    return all(_seat(place, places, approving, taken, set()) for place in range(len(places)))


def _seat(
    place: int,
    places: Sequence[str],
    people: Collection[Voter],
    taken: dict[str, int],
    tried: set[str],
) -> bool:
    for voter in people:
        if places[place] not in voter.groups or voter.name in tried:
            continue
        tried.add(voter.name)
        other = taken.get(voter.name)
        if other is None or _seat(other, places, people, taken, tried):
            taken[voter.name] = place
            return True
    return False
