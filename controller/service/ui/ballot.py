"""One proposal as one person sees it: what would happen, on which evidence, who has answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controller.errors import NotFound
from controller.experiments.plans import CHAMPION
from controller.flow import numbers
from controller.flow.approve import APPROVE
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.work import Work
from controller.flow.proposals import interested_in, voters
from controller.rollout.judgement import Judgement
from controller.rollout.proposal import Voter, broken_claims, eligible, gate_of, why_not_eligible
from controller.rollout.record import Rollout
from controller.service.http.calls import Call
from controller.service.ui import words
from controller.service.ui.panels import Panel, panels_of
from controller.service.ui.view import View, as_it_was
from controller.service.ui.words import Badge


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One part of what must still be true when it is carried out."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A metric as it was when the proposal was opened, and as it is now."""

    metric: str
    about: str
    frozen: str
    frozen_finding: str
    live: str
    live_finding: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One vote."""

    voter: str
    approves: bool
    comment: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A proposal as one person sees it.

    Attributes
    ----------
    why_not : str or None
        Why this person cannot approve; their button stays in sight.
    why_not_reject : str or None
        Why they cannot reject either.
    """

    title: str
    words: str
    effect: tuple[tuple[str, str, str], ...]
    frozen: tuple[Panel, ...]
    moved: tuple[Moved, ...]
    claims: tuple[Claim, ...]
    votes: tuple[Given, ...]
    needed: str
    others: tuple[str, ...]
    why_not: str | None
    why_not_reject: str | None
    badge: Badge
    reason: str


def rollout_of(work: Work, proposal: Proposal) -> Rollout:
    """The rollout of a proposal.

    Raises
    ------
    NotFound
        If there is none.
    """
    rollout = work.rollouts.get(proposal.project, proposal.rollout)
    if rollout is None:
        raise NotFound(f"There is no rollout {proposal.rollout!r}.")
    return rollout


def title_of(rollout: Rollout, proposal: Proposal) -> str:
    """What a proposal asks for."""
    plan = rollout.frozen_plan
    arm = proposal.document["content"]["promotes"]
    model = plan.arms[arm].label if arm else rollout.draft.challengers[0].label
    to = numbers.share(proposal.document["content"]["to"]["enrolled"])
    return {
        "promote": f"Promote {model}",
        "advance": f"Raise {model} to {to} of traffic",
        "start": f"Start {model} with {to} of traffic",
        "check": f"Check the split for {model}",
    }.get(proposal.transition, proposal.transition)


def ballot_of(work: Work, call: Call, proposal: Proposal, rollout: Rollout, view: View) -> Ballot:
    """A proposal for the person who looks at it."""
    judgement = None if rollout.judgement is None else Judgement.from_document(rollout.judgement)
    frozen = _frozen(work, proposal, view)
    live = {(one.metric, one.arm): one for one in panels_of(view)}
    why_not, why_not_reject = _why_not(work, call, proposal, rollout)
    return Ballot(
        title=title_of(rollout, proposal),
        words=_words(rollout, proposal, view),
        effect=_effect(proposal, rollout, view),
        frozen=tuple(frozen),
        moved=tuple(_moved(one, live.get((one.metric, one.arm))) for one in frozen),
        claims=tuple(_claims(proposal.document["claim"], judgement, view)),
        votes=tuple(
            Given(
                voter=one.voter,
                approves=one.vote == APPROVE,
                comment=one.comment,
                at=one.voted_at,
            )
            for one in proposal.votes
        ),
        needed=_needed(proposal, rollout),
        others=tuple(_others(work, call, proposal, rollout)),
        why_not=why_not,
        why_not_reject=why_not_reject,
        badge=words.APPROVALS[proposal.status],
        reason=words.reason(proposal.reason) if proposal.reason else "",
    )


def _words(rollout: Rollout, proposal: Proposal, view: View) -> str:
    units = words.many(view.slot.slot.unit)
    reach = view.status["reach"]["sentence"]
    whom = f"the {units} that it may reach" if reach else units
    told = _will_meet(rollout, proposal, view, whom)
    return f"{told} {reach}" if reach else told


def _will_meet(rollout: Rollout, proposal: Proposal, view: View, units: str) -> str:
    to = proposal.document["content"]["to"]
    share = numbers.share(to["challenger_share"])
    if proposal.transition == "promote":
        bake = rollout.frozen_plan.policy.bake
        rest = numbers.share(bake.holdback)
        return (
            f"{share} of {units} will get {view.challenger}; {rest} stay with "
            f"{view.champion.label} so that a loss would be noticed. If the watch is clean it "
            "becomes the champion; "
            "it can be rolled back at any moment, and undone afterwards."
        )
    if proposal.transition == "check":
        return f"Both sides will serve {view.champion.label}: only the split itself is checked."
    return (
        f"{share} of {units} will meet {view.challenger}. "
        "It can be rolled back at any moment, by a person or by the service itself."
    )


def _effect(proposal: Proposal, rollout: Rollout, view: View) -> tuple[tuple[str, str, str], ...]:
    """What changes, from the very document whose digest people sign."""
    before, after = (proposal.document["content"][side] for side in ("from", "to"))
    # A proposal from before an edit was about the split of then.
    mine = proposal.status == "open" and view.status["challenger_share"]
    met = mine or before["enrolled"] * (1.0 - rollout.frozen_plan.weights[CHAMPION])
    return (
        ("State", words.STATES[before["state"]].word, words.STATES[after["state"]].word),
        (
            "Traffic in the test",
            numbers.share(before["enrolled"]),
            numbers.share(after["enrolled"]),
        ),
        (
            "Traffic that meets the challenger",
            numbers.share(met),
            numbers.share(after["challenger_share"]),
        ),
    )


def _frozen(work: Work, proposal: Proposal, view: View) -> list[Panel]:
    """The evidence that the proposal names, drawn as it was."""
    then = as_it_was(work, view, proposal.document["evidence"])
    return [] if then is None else panels_of(then)


def _moved(frozen: Panel, live: Panel | None) -> Moved:
    now = live or frozen
    return Moved(
        metric=frozen.metric,
        about=frozen.about,
        frozen=frozen.figures.estimate,
        frozen_finding=frozen.badge.word,
        live=now.figures.estimate,
        live_finding=now.badge.word,
        changed=now.badge != frozen.badge,
    )


def _claims(claim: Mapping[str, Any], judgement: Judgement | None, view: View) -> list[Claim]:
    broken = set(broken_claims(claim, judgement))
    least = claim.get("lead_above")
    texts = {
        "no_harm": "No guardrail is shown to be harmed",
        "no_srm": "The traffic is split as planned",
        "arm": f"{view.challenger} is the one that is ahead",
        "lead_above": f"{view.oec or 'The metric that decides'} is ahead right now"
        + (f" by more than {numbers.signed(least, 3)}" if least else ""),
    }
    return [
        Claim(text=texts.get(part, part.replace("_", " ")), holds=part not in broken)
        for part in claim
    ]


def _needed(proposal: Proposal, rollout: Rollout) -> str:
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    approving = sum(one.vote == APPROVE for one in proposal.votes)
    left = max(0, gate.quorum - approving)
    groups = ", ".join(f"{need} from {group}" for group, need in gate.groups.items())
    among = f" (among all, {groups})" if groups else ""
    if left == 0 or proposal.status != "open":
        return f"{approving} of {gate.quorum} have approved{among}."
    more = numbers.plural(left, "more approval")
    return f"{more} needed, {approving} of {gate.quorum} given{among}."


def _others(work: Work, call: Call, proposal: Proposal, rollout: Rollout) -> list[str]:
    """Who else could approve, so that nobody has to guess whom to ask."""
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    interested = interested_in(work, proposal.project, rollout.draft, rollout.plan)
    voted = {one.voter for one in proposal.votes}
    return sorted(
        one.name
        for one in eligible(voters(work), gate, interested)
        if one.name not in voted and one.name != call.actor.name
    )


def _why_not(
    work: Work, call: Call, proposal: Proposal, rollout: Rollout
) -> tuple[str | None, str | None]:
    """Why this person cannot approve, and why they cannot reject."""
    if proposal.status != "open":
        closed = f"this proposal is {words.APPROVALS[proposal.status].word.lower()}"
        return closed, closed
    given = next((one for one in proposal.votes if one.voter == call.actor.name), None)
    if given is not None:
        verb = "approved" if given.vote == APPROVE else "rejected"
        return f"you have {verb} it already", f"you have {verb} it already"
    me = Voter(name=call.actor.name, groups=frozenset(role.value for role in call.actor.roles))
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    interested = interested_in(work, proposal.project, rollout.draft, rollout.plan)
    reason = why_not_eligible(me, gate, interested)
    if reason is None and gate.min_review_seconds:
        readable = proposal.opened_at + timedelta(seconds=gate.min_review_seconds)
        if work.now < readable:
            reason = f"the policy asks for {gate.min_review_seconds:g} seconds of reading first"
    no_role = None if "approver" in me.groups else "you need the role approver"
    return reason, no_role
