"""Proposals inside a transaction: opened, voided, and asked whether they carry a move."""

from __future__ import annotations

import secrets
from datetime import timedelta

from controller.errors import QuorumImpossible
from controller.experiments.plans import Plan
from controller.experiments.policies import Gate, Policy
from controller.flow.actors import Actor, Role
from controller.flow.allocations import current_allocation
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.work import Work
from controller.rollout.judgement import Judgement
from controller.rollout.machine import Move
from controller.rollout.proposal import (
    Interested,
    Voter,
    claim_holds,
    digest_of,
    document,
    eligible,
    gate_name,
    gate_of,
    gates_in_use,
    interest_in,
    quorum_met,
    still_says,
)
from controller.rollout.record import Draft, Rollout


def voters(work: Work) -> list[Voter]:
    """Every active person, with their roles as groups."""
    return [
        Voter(name=person.name, groups=frozenset(role.value for role in person.roles))
        for person in work.people.operators()
        if person.active
    ]


def interested_in(work: Work, project: str, draft: Draft, plan: Plan | None = None) -> Interested:
    """Who may not approve this rollout: requester, model authors, the policy's last editor.

    A later edit by somebody else frees nobody: who wrote the version in the plan stays named.
    """
    editors = {work.definitions.policy_editor(project, draft.policy)}
    if plan is not None:
        editors.add(work.definitions.policy_editor(project, plan.policy.name, plan.policy.version))
    return interest_in(draft.challengers, draft.requested_by, {name for name in editors if name})


def check_quorum(work: Work, project: str, policy: Policy, draft: Draft) -> None:
    """Refuse a rollout that nobody present could ever approve.

    Raises
    ------
    QuorumImpossible
        Naming the gate, what is missing and the command that helps.
    """
    interested, present = interested_in(work, project, draft), voters(work)
    for name, gate in gates_in_use(policy).items():
        may = eligible(present, gate, interested)
        if not quorum_met(may, gate):
            raise QuorumImpossible(_what_is_missing(name, gate, may), gate=name, quorum=gate.quorum)


def _what_is_missing(name: str, gate: Gate, may: list[Voter]) -> str:
    people = ", ".join(sorted(voter.name for voter in may)) or "nobody"
    roles = ",".join([Role.APPROVER.value, *sorted(gate.groups)])
    return (
        f"Gate {name!r} needs {gate.quorum} approvals from people who did not ask for this "
        f"rollout, make its model or edit its policy; only {people} could. "
        f"Add one with: controller operator add NAME --roles {roles}"
    )


def open_proposal(
    work: Work, rollout: Rollout, move: Move, judgement: Judgement | None, *, actor: Actor
) -> Proposal | None:
    """Put a gated move before people; None where no gate stands before it.

    An open proposal that says the same is left alone; one that says something else is voided.
    """
    name = gate_name(rollout, move)
    if name is None:
        return None
    current = current_allocation(work, rollout)
    standing = work.approvals.open_for(rollout.project, rollout.id)
    if standing is not None:
        if standing.transition == move.value and still_says(standing.document, rollout, current):
            return standing
        close(work, standing, status="voided", reason="overtaken", actor=actor)
    gate = gate_of(rollout.frozen_plan, name)
    expires_at = work.now + timedelta(seconds=gate.expires_seconds)
    says = document(rollout, move, judgement, gate=name, expires_at=expires_at, current=current)
    proposal = Proposal(
        project=rollout.project,
        id=f"p-{secrets.token_hex(8)}",
        rollout=rollout.id,
        gate=name,
        transition=move.value,
        digest=digest_of(says),
        document=says,
        opened_at=work.now,
        expires_at=expires_at,
    )
    work.approvals.add(proposal)
    note(work, proposal, "proposal_opened", actor=actor)
    return proposal


def close(work: Work, proposal: Proposal, *, status: str, reason: str | None, actor: Actor) -> bool:
    """Close an open proposal and write it down; False where somebody closed it before."""
    closed = work.approvals.close(
        proposal.project, proposal.id, status=status, reason=reason, at=work.now
    )
    if closed:
        note(work, proposal, f"proposal_{status}", actor=actor, reason=reason)
    return closed


def void_open(work: Work, rollout: Rollout, *, reason: str, actor: Actor) -> None:
    """Void whatever is pending for a rollout."""
    standing = work.approvals.open_for(rollout.project, rollout.id)
    if standing is not None:
        close(work, standing, status="voided", reason=reason, actor=actor)


def carries(work: Work, rollout: Rollout, proposal: Proposal, judgement: Judgement | None) -> bool:
    """Whether this proposal lets its move happen now (I7).

    It must be open, unexpired, say exactly what would happen, have its quorum among people who are
    still entitled, and its claim must hold on the newest evidence.
    """
    if proposal.status != "open" or work.now >= proposal.expires_at:
        return False
    if not still_says(proposal.document, rollout, current_allocation(work, rollout)):
        return False
    return has_quorum(work, rollout, proposal) and claim_holds(
        proposal.document["claim"], judgement
    )


def has_quorum(work: Work, rollout: Rollout, proposal: Proposal) -> bool:
    """Whether enough people who may approve have approved and nobody has vetoed."""
    if any(vote.vote == "reject" for vote in proposal.votes):
        return False
    approving = {vote.voter for vote in proposal.votes if vote.vote == "approve"}
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    interested = interested_in(work, rollout.project, rollout.draft, rollout.plan)
    entitled = eligible(voters(work), gate, interested)
    return quorum_met([voter for voter in entitled if voter.name in approving], gate)


def note(
    work: Work, proposal: Proposal, action: str, *, actor: Actor, **details: str | None
) -> None:
    """Write into the rollout's log and the audit chain what became of a proposal."""
    facts = {
        "proposal": proposal.id,
        "gate": proposal.gate,
        "transition": proposal.transition,
        "digest": proposal.digest,
        **{key: value for key, value in details.items() if value is not None},
    }
    work.decisions.add(
        proposal.project,
        proposal.rollout,
        at=work.now,
        actor=actor.name,
        action=action,
        document=facts,
    )
    work.audit.append(
        proposal.project,
        at=work.now,
        actor=actor.name,
        action=action,
        object=f"rollout/{proposal.rollout}",
        **facts,
    )
