"""Approvals bind to content and to a claim, and are used once (I7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import ApprovalInvalid, GuardFailed, InvalidInput, NotPermitted
from controller.flow import approve
from controller.flow.actors import Actor, Role, Scope
from controller.flow.kill import kill, lift
from controller.flow.look import take_due_look
from controller.flow.ports.rollouts import Proposal
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import PEOPLE, PROJECT, SLOT, Desk

GREAT = {"champion": (2000, 0.50), "challenger": (2000, 0.60)}
CALM = {"champion": (2000, 0.02), "challenger": (2000, 0.02)}


def waiting(desk: Desk) -> tuple[Rollout, Proposal]:
    """A rollout whose promotion is before people."""
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GREAT)
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    return rollout, proposal


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_proposal_says_exactly_what_would_happen(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    says = proposal.document["content"]
    assert says["to"] == {
        "state": "Promoting",
        "stage": 0,
        "enrolled": 1.0,
        "challenger_share": 0.98,
    }
    assert says["from"]["enrolled"] == 0.1
    assert says["plan"] == rollout.frozen_plan.sha256
    assert proposal.document["claim"] == {
        "no_harm": True,
        "no_srm": True,
        "arm": "challenger",
        "lead_above": 0.0,
    }
    with desk.store.reading() as work:
        looks = {look.number: look for look in work.evidence.looks(PROJECT, rollout.id)}
    stated = looks[proposal.document["look"]]
    assert proposal.document["evidence"] == stated.evidence_sha256
    assert stated.summary["verdict"] == "PROMOTE"


def test_a_later_edit_by_another_does_not_free_who_wrote_the_plans_policy() -> None:
    people = {**PEOPLE, "ben": PEOPLE["ben"] | {Role.POLICY_ADMIN}}
    desk = Desk(people={**people, "dora": frozenset({Role.APPROVER})})
    desk.policy({"look_every": "20m"}, by="ben")
    _, proposal = waiting(desk)
    desk.policy({"look_every": "30m"}, by="root")
    with pytest.raises(NotPermitted, match="you last edited"):
        desk.vote(proposal, "ben")


def test_another_digest_is_refused(desk: Desk) -> None:
    _, proposal = waiting(desk)
    with pytest.raises(ApprovalInvalid, match="another content"):
        desk.vote(proposal, "ben", digest="0" * 64)


@pytest.mark.parametrize(
    ("who", "why"),
    [("ada", "you asked"), ("mira", "author"), ("vic", "role approver"), ("root", "role approver")],
)
def test_those_with_an_interest_or_without_the_role_cannot_approve(
    desk: Desk, who: str, why: str
) -> None:
    _, proposal = waiting(desk)
    with pytest.raises(NotPermitted, match=why):
        desk.vote(proposal, who)


def test_the_last_editor_of_the_policy_cannot_approve() -> None:
    people = {**PEOPLE, "root": PEOPLE["root"] | {Role.APPROVER}}
    desk = Desk(people=people)
    _, proposal = waiting(desk)
    with pytest.raises(NotPermitted, match="edited its policy"):
        desk.vote(proposal, "root")


def test_whoever_edits_the_policy_meanwhile_is_excluded_and_their_vote_no_longer_counts() -> None:
    people = {**PEOPLE, "ben": PEOPLE["ben"] | {Role.POLICY_ADMIN}}
    desk = Desk(people=people)
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    desk.policy({"description": "changed by ben"}, by="ben")
    assert desk.vote(proposal, "cleo").status == "open"
    assert desk.state(rollout) is State.DECIDING


def test_keys_and_the_machine_never_vote(desk: Desk) -> None:
    _, proposal = waiting(desk)
    key = Actor(name="key:k1", kind="key", scopes=frozenset({Scope.ADMIN}))
    with pytest.raises(NotPermitted, match="Only people"):
        approve.vote(
            desk.store, PROJECT, proposal.id, vote="approve", digest=proposal.digest, actor=key
        )


def test_nobody_votes_twice(desk: Desk) -> None:
    _, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    with pytest.raises(ApprovalInvalid, match="already"):
        desk.vote(proposal, "ben")
    with pytest.raises(ApprovalInvalid, match="already"):
        desk.vote(proposal, "ben", "reject")


def test_an_answer_is_approve_or_reject(desk: Desk) -> None:
    _, proposal = waiting(desk)
    with pytest.raises(InvalidInput):
        desk.vote(proposal, "ben", "perhaps")


def test_one_reject_vetoes_even_from_somebody_with_an_interest(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    assert desk.vote(proposal, "mira", "reject", comment="wrong segment").status == "vetoed"
    with pytest.raises(ApprovalInvalid, match="vetoed"):
        desk.vote(proposal, "cleo")
    desk.ticks(5)
    assert desk.open_proposal(rollout) is None, "the machine does not ask again after a veto"
    assert desk.state(rollout) is State.DECIDING
    desk.do(rollout, Verb.PROMOTE, by="ben")
    assert desk.open_proposal(rollout) is not None, "a person may"


def test_a_claim_that_breaks_between_the_votes_voids_the_proposal(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    desk.see("on-time", epoch=1, champion=(2600, 0.58), challenger=(2600, 0.57))
    desk.later(minutes=2)
    take_due_look(desk.store, PROJECT, rollout.id)
    with pytest.raises(GuardFailed) as refused:
        desk.vote(proposal, "cleo")
    assert refused.value.failed[0]["guard"] == "claim.lead_above"
    closed = desk.proposals(rollout)[0]
    assert (closed.status, closed.reason) == ("voided", "claim_broken")
    after = desk.get(rollout)
    assert (after.state, after.reason) == (State.DECIDING, "claim_broken")

    desk.see("on-time", epoch=1, champion=(3000, 0.50), challenger=(3000, 0.60))
    desk.ticks(2)
    again = desk.open_proposal(rollout)
    assert again is not None, "a new proposal opens when the claim holds again"
    assert again.id != proposal.id
    assert again.votes == ()


def test_the_reconciler_voids_a_broken_claim_without_waiting_for_a_vote(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.see("on-time", epoch=1, champion=(2600, 0.58), challenger=(2600, 0.57))
    desk.ticks(2)
    assert desk.proposals(rollout)[0].status == "voided"
    with pytest.raises(ApprovalInvalid):
        desk.vote(proposal, "ben")


def test_new_evidence_alone_does_not_void(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    desk.see("on-time", epoch=1, champion=(2500, 0.51), challenger=(2500, 0.59))
    desk.ticks(3)
    assert desk.vote(proposal, "cleo").status == "executed"
    assert desk.state(rollout) is State.PROMOTING


def test_an_expired_proposal_cannot_be_answered_and_a_new_one_opens() -> None:
    desk = Desk({"approvals": {"promote": {"quorum": 2, "expires": "1h"}}})
    rollout, proposal = waiting(desk)
    desk.later(hours=2)
    desk.last_outcome = desk.now
    with pytest.raises(ApprovalInvalid, match="expired"):
        desk.vote(proposal, "ben")
    assert desk.proposals(rollout)[0].status == "expired"
    desk.ticks(2)
    again = desk.open_proposal(rollout)
    assert again is not None
    assert again.id != proposal.id


def test_stale_data_make_an_approved_move_wait_and_do_not_void_it(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    desk.later(hours=3)
    desk.tick()
    assert desk.vote(proposal, "cleo").status == "open"
    assert desk.state(rollout) is State.DECIDING
    desk.last_outcome = desk.now
    desk.later(minutes=2)
    desk.tick()
    assert desk.state(rollout) is State.PROMOTING
    assert desk.proposals(rollout)[0].status == "executed"


def test_a_killed_or_paused_rollout_waits_although_it_is_approved(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    desk.do(rollout, Verb.PAUSE)
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    assert desk.state(rollout) is State.DECIDING
    lift(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    desk.ticks(2)
    assert desk.state(rollout) is State.DECIDING, "still paused"
    desk.do(rollout, Verb.RESUME)
    desk.ticks(1)
    assert desk.state(rollout) is State.PROMOTING


def test_review_takes_its_time_where_the_policy_says_so() -> None:
    desk = Desk({"approvals": {"promote": {"quorum": 2, "min_review_seconds": 600}}})
    _, proposal = waiting(desk)
    with pytest.raises(ApprovalInvalid, match="600 seconds of review"):
        desk.vote(proposal, "ben")
    desk.later(seconds=601)
    desk.last_outcome = desk.now
    assert desk.vote(proposal, "ben").status == "open"


def test_a_person_who_lost_the_role_no_longer_counts(desk: Desk) -> None:
    rollout, proposal = waiting(desk)
    desk.vote(proposal, "ben")
    with desk.store.writing() as work:
        ben = work.people.operator("ben")
        assert ben is not None
        work.people.put_operator(replace(ben, roles=frozenset({Role.OPERATOR})))
    assert desk.vote(proposal, "cleo").status == "open"
    assert desk.state(rollout) is State.DECIDING


def test_a_start_gate_puts_the_start_before_people() -> None:
    desk = Desk({"approvals": {"start": {"quorum": 1}, "promote": {"quorum": 2}}})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.do(rollout, Verb.START)
    assert desk.state(rollout) is State.VALIDATING
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    assert proposal.document["content"]["to"]["challenger_share"] == 0.05
    assert desk.vote(proposal, "ben").status == "executed"
    assert desk.state(rollout) is State.RAMPING


def test_a_stage_gate_asks_only_once_the_stage_has_passed() -> None:
    ramp = [
        {"enrolled": 0.1, "dwell": "1h", "min_units": 100},
        {"enrolled": 1.0, "approval": "risk"},
    ]
    approvals = {"risk": {"quorum": 1}, "promote": {"quorum": 2}}
    desk = Desk({"ramp": ramp, "approvals": approvals})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(3)
    assert desk.open_proposal(rollout) is None
    desk.ticks(1, hours=1)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    assert proposal.gate == "risk"
    assert desk.vote(proposal, "cleo").status == "executed"
    assert desk.get(rollout).enrolled == 1.0


def test_alone_a_person_may_approve_their_own_and_it_is_marked() -> None:
    gate = {"quorum": 1, "requester_may_approve": True, "author_may_approve": True}
    me = frozenset({Role.AUTHOR, Role.OPERATOR, Role.APPROVER, Role.ADMIN, Role.POLICY_ADMIN})
    desk = Desk({"approvals": {"promote": gate}}, people={"ada": me, "root": me})
    desk.policy({"approvals": {"promote": gate}, "description": "mine"}, by="ada")
    rollout, proposal = waiting(desk)
    assert desk.vote(proposal, "ada").status == "executed"
    assert desk.status(rollout)["status"]["unreviewed"] is True
    with desk.store.reading() as work:
        entry = [one for one in work.audit.entries(PROJECT) if one.action == "rollout_promote"]
    assert '"unreviewed":true' in entry[0].record
