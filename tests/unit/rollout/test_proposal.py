"""Who may answer, what a quorum is, and what a claim promises."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.experiments.policies import Gate
from controller.rollout.judgement import Judgement, Recommendation
from controller.rollout.proposal import (
    Interested,
    Voter,
    broken_claims,
    claim_holds,
    eligible,
    quorum_met,
    why_not_eligible,
)
from controller.rollout.states import Verdict

INTEREST = Interested(
    requester="ada", authors=frozenset({"mira"}), policy_editors=frozenset({"root"})
)


def voter(name: str, *groups: str) -> Voter:
    return Voter(name=name, groups=frozenset({"approver", *groups}))


def test_interest_excludes_and_only_the_gate_says_otherwise() -> None:
    people = [voter(name) for name in ("ada", "ben", "mira", "root")]
    assert [one.name for one in eligible(people, Gate(), INTEREST)] == ["ben"]
    alone = Gate(quorum=1, requester_may_approve=True, author_may_approve=True)
    assert len(eligible(people, alone, INTEREST)) == 4


def test_without_the_role_nobody_approves() -> None:
    viewer = Voter(name="vic", groups=frozenset({"viewer"}))
    assert why_not_eligible(viewer, Gate(), INTEREST) == "you need the role approver"


def test_one_person_fills_one_place_even_with_two_hats() -> None:
    gate = Gate(quorum=2, groups={"risk": 1, "business": 1})
    both = voter("ben", "risk", "business")
    assert not quorum_met([both, voter("cleo")], gate)
    assert quorum_met([both, voter("cleo", "risk")], gate)
    assert not quorum_met([both], gate)


def test_a_quorum_needs_distinct_people() -> None:
    assert not quorum_met([voter("ben"), voter("ben")], Gate(quorum=2))


GROUPS = ("risk", "business", "legal")
PEOPLE = st.lists(st.frozensets(st.sampled_from(GROUPS)), max_size=6).map(
    lambda hats: [voter(f"p{number}", *groups) for number, groups in enumerate(hats)]
)


@given(
    people=PEOPLE,
    needs=st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 2), max_size=3),
    spare=st.integers(0, 2),
)
def test_a_quorum_is_met_exactly_when_some_seating_exists(
    people: list[Voter], needs: dict[str, int], spare: int
) -> None:
    places = [group for group, need in needs.items() for _ in range(need)]
    gate = Gate(quorum=max(1, len(places) + spare), groups=needs)
    seatings = itertools.permutations(people, len(places))
    seated = any(
        all(group in one.groups for group, one in zip(places, seating, strict=True))
        for seating in seatings
    )
    assert quorum_met(people, gate) == (seated and len(people) >= gate.quorum)


CLAIM = {"no_harm": True, "no_srm": True, "arm": "challenger", "lead_above": 0.0}


def judged(
    *, harm: tuple[str, ...] = (), srm: bool = False, lead: float | None = 0.01
) -> Judgement:
    return Judgement(
        verdict=Verdict.PROMOTE,
        reason="oec_shown",
        recommendation=Recommendation.PROMOTE,
        arm="challenger",
        clauses=(),
        blockers=(),
        as_of="2026-01-05T09:00:00+00:00",
        look=3,
        evidence_sha256="e" * 64,
        epoch=1,
        exposed=10,
        matured=10,
        harm=harm,
        srm=srm,
        lead={"challenger": lead},
        missing_seconds=0.0,
    )


@pytest.mark.parametrize(
    ("newest", "broken"),
    [
        (judged(), []),
        (judged(harm=("complaints",)), ["no_harm"]),
        (judged(srm=True), ["no_srm"]),
        (judged(lead=0.0), ["lead_above"]),
        (judged(lead=-0.1, srm=True), ["no_srm", "lead_above"]),
        (judged(lead=None), []),
        (None, []),
    ],
)
def test_only_what_contradicts_a_claim_breaks_it(
    newest: Judgement | None, broken: list[str]
) -> None:
    assert broken_claims(CLAIM, newest) == broken
    assert claim_holds(CLAIM, newest) == (not broken)


def test_a_start_claims_nothing_of_data_that_do_not_exist() -> None:
    assert broken_claims({}, judged(harm=("complaints",), srm=True, lead=-1.0)) == []
