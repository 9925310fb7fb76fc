"""People answer a proposal; the last answer it needs carries the move out."""

from __future__ import annotations

from datetime import timedelta

from controller.errors import (
    ApprovalInvalid,
    ControllerError,
    GuardFailed,
    InvalidInput,
    NotFound,
    NotPermitted,
)
from controller.flow.act import judgement_of, transition
from controller.flow.actors import Actor, Role
from controller.flow.allocations import current_allocation
from controller.flow.ports.rollouts import Proposal, Vote
from controller.flow.ports.work import Store, Work
from controller.flow.proposals import close, has_quorum, interested_in, note
from controller.rollout.machine import Move
from controller.rollout.proposal import (
    Voter,
    broken_claims,
    gate_of,
    still_says,
    why_not_eligible,
)
from controller.rollout.record import Rollout
from controller.rollout.states import State

APPROVE, REJECT = "approve", "reject"
CLAIM_BROKEN = "claim_broken"

TARGETS = {
    Move.CHECK: State.AA_CHECK,
    Move.START: State.RAMPING,
    Move.ADVANCE: State.RAMPING,
    Move.PROMOTE: State.PROMOTING,
}
"""Where each gated move leads."""


def vote(
    store: Store,
    project: str,
    proposal_id: str,
    *,
    vote: str,
    digest: str,
    comment: str = "",
    actor: Actor,
) -> Proposal:
    """Record one person's answer and act on it, in one transaction.

    The proposal's content and claim are held against the newest evidence now. With the last
    approval the move is made; where a guard has to wait (the rollout is paused, the data are
    stale) the proposal stays open with its votes and the reconciler makes the move as soon as the
    guard holds. One reject vetoes.

    Parameters
    ----------
    vote : {"approve", "reject"}
    digest : str
        The digest that the person read; it must be the proposal's.

    Returns
    -------
    Proposal
        With its votes and status: open, vetoed or executed.

    Raises
    ------
    NotPermitted
        If the caller is no person, no approver, or has an interest in the outcome.
    ApprovalInvalid
        If the proposal is closed, expired or says something else, or the person voted before.
    GuardFailed
        If the claim broke: the proposal is voided, and nothing happens.
    """
    if vote not in (APPROVE, REJECT):
        raise InvalidInput('vote: expected "approve" or "reject".', field="vote")
    if not actor.is_person:
        raise NotPermitted("Only people vote; a service key or the service itself cannot.")
    actor.require(Role.APPROVER)
    answer = _Answer(vote=vote, digest=digest, comment=comment, actor=actor)
    with store.writing() as work:
        work.take_turn(project)
        proposal = _proposal(work, project, proposal_id)
        # What ends a proposal commits although the person is refused.
        refusal = _ended(work, proposal, actor) or answer.give(work, proposal)
        result = _proposal(work, project, proposal_id)
    if refusal is not None:
        raise refusal
    return result


class _Answer:
    """One person's answer on its way into the log."""

    def __init__(self, *, vote: str, digest: str, comment: str, actor: Actor) -> None:
        self.vote, self.digest, self.comment, self.actor = vote, digest, comment, actor

    def give(self, work: Work, proposal: Proposal) -> ControllerError | None:
        """Record it and do what follows; the error that the person is told after the commit."""
        rollout = _rollout(work, proposal)
        self._check(work, proposal, rollout)
        work.approvals.add_vote(proposal.project, proposal.id, self._ballot(work))
        note(work, proposal, f"vote_{self.vote}", actor=self.actor, comment=self.comment or None)
        if self.vote == REJECT:
            close(work, proposal, status="vetoed", reason="rejected", actor=self.actor)
            return None
        return carry_out(
            work, rollout, _proposal(work, proposal.project, proposal.id), actor=self.actor
        )

    def _check(self, work: Work, proposal: Proposal, rollout: Rollout) -> None:
        if self.digest != proposal.digest:
            raise ApprovalInvalid("You read another content: open the proposal again.")
        if any(given.voter == self.actor.name for given in proposal.votes):
            raise ApprovalInvalid("You have voted on this proposal already.")
        if self.vote == REJECT:
            return
        gate = gate_of(rollout.frozen_plan, proposal.gate)
        voter = Voter(
            name=self.actor.name, groups=frozenset(role.value for role in self.actor.roles)
        )
        interested = interested_in(work, proposal.project, rollout.draft, rollout.plan)
        why_not = why_not_eligible(voter, gate, interested)
        if why_not is not None:
            raise NotPermitted(f"You cannot approve this: {why_not}.")
        readable_at = proposal.opened_at + timedelta(seconds=gate.min_review_seconds)
        if work.now < readable_at:
            raise ApprovalInvalid(
                f"The policy asks for {gate.min_review_seconds:g} seconds of review first; "
                f"approve from {readable_at.isoformat()} on."
            )

    def _ballot(self, work: Work) -> Vote:
        return Vote(
            voter=self.actor.name,
            vote=self.vote,
            digest=self.digest,
            comment=self.comment,
            channel=self.actor.channel,
            method=self.actor.method,
            voted_at=work.now,
        )


def carry_out(
    work: Work, rollout: Rollout, proposal: Proposal, *, actor: Actor
) -> ControllerError | None:
    """Make an approved move if it may be made now.

    Returns
    -------
    ControllerError or None
        Why the proposal was voided; None where the move was made or has to wait.
    """
    broken = broken_claims(proposal.document["claim"], judgement_of(rollout))
    if broken:
        close(work, proposal, status="voided", reason=CLAIM_BROKEN, actor=actor)
        return GuardFailed(
            "The newest evidence contradicts what you were asked to approve; the proposal is void.",
            failed=[{"guard": f"claim.{part}", "observed": False} for part in broken],
        )
    if not still_says(proposal.document, rollout, current_allocation(work, rollout)):
        close(work, proposal, status="voided", reason="content_changed", actor=actor)
        return ApprovalInvalid("What would happen has changed since; the proposal is void.")
    if not has_quorum(work, rollout, proposal):
        return None
    move = Move(proposal.transition)
    try:
        transition(work, rollout, TARGETS[move], actor=actor, reason=f"{move.value}_approved")
    except GuardFailed:
        # Guards are evaluated before anything is written: the approved move waits for them.
        return None
    return None


def _ended(work: Work, proposal: Proposal, actor: Actor) -> ControllerError | None:
    if proposal.status != "open":
        return ApprovalInvalid(f"This proposal is {proposal.status}.", status=proposal.status)
    if work.now >= proposal.expires_at:
        close(work, proposal, status="expired", reason=None, actor=actor)
        return ApprovalInvalid("This proposal has expired.", status="expired")
    return None


def _proposal(work: Work, project: str, proposal_id: str) -> Proposal:
    proposal = work.approvals.get(project, proposal_id)
    if proposal is None:
        raise NotFound(f"There is no proposal {proposal_id!r:.80} in project {project!r}.")
    return proposal


def _rollout(work: Work, proposal: Proposal) -> Rollout:
    rollout = work.rollouts.get(proposal.project, proposal.rollout)
    if rollout is None:
        raise NotFound(f"There is no rollout {proposal.rollout!r}.")
    return rollout
