"""Weights, eligibility and edits of a live rollout, from the request to the published ruleset."""

from __future__ import annotations

from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import RolloutRules
from controller.errors import (
    GuardFailed,
    IllegalTransition,
    InvalidInput,
    NotPermitted,
    PreconditionRequired,
    StaleVersion,
)
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.flow.look import take_due_look
from controller.flow.proposals import open_proposal
from controller.rollout.machine import Move
from controller.rollout.record import Allocation, Rollout
from controller.rollout.states import State, Verb
from controller.storage.memory.pins import MemoryPins
from tests.pinned import assign_pinned
from tests.unit.flow.desk import CHALLENGER, CHAMPION, PROJECT, SLOT, STEPS, Desk

OTHER = {"name": "forest", "version": "2"}
NORTH = {"attribute": "region", "op": "eq", "value": "north"}
YOUNG = {"attribute": "age", "op": "lt", "value": 30}
UNITS = [f"flight-{number}" for number in range(400)]
RAMPED = {"ramp": STEPS}


@pytest.fixture
def desk() -> Desk:
    return Desk(RAMPED)


def published(desk: Desk) -> RolloutRules:
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    return rules


def allocations(desk: Desk, rollout: Rollout) -> list[Allocation]:
    with desk.store.reading() as work:
        return list(work.rollouts.allocations(PROJECT, rollout.id))


def arms(desk: Desk, region: str = "north") -> dict[str, str]:
    rules = desk.ruleset()
    return {unit: evaluate(rules, SLOT, unit, {"region": region}).arm for unit in UNITS}


def everybody(desk: Desk, **wanted: Any) -> Rollout:
    desk.policy({"ramp": STEPS[1:]})
    return desk.started(**wanted)


# ---------------------------------------------------------------- at creation


def test_weights_and_condition_are_frozen_into_the_plan_and_published(desk: Desk) -> None:
    weights = {"champion": 0.75, "challenger": "25%"}
    rollout = desk.started(weights=weights, eligible=NORTH)
    plan = rollout.frozen_plan
    assert plan.weights == {"champion": 0.75, "challenger": 0.25}
    assert plan.eligible == NORTH
    rules = published(desk)
    assert rules.runs == ((7500, "champion"), (10000, "challenger"))
    assert rules.eligible == NORTH
    (allocation,) = allocations(desk, rollout)
    assert allocation.weights == {"champion": 0.75, "challenger": 0.25}
    assert desk.status(rollout)["status"]["challenger_share"] == pytest.approx(0.025)


def test_the_slots_condition_holds_where_the_rollout_states_none(desk: Desk) -> None:
    slot = {
        "unit": "departure",
        "champion": CHAMPION,
        "oec": {"metric": "on-time"},
        "guardrails": [{"metric": "complaints", "margin": 0.02}],
        "policy": "house",
        "eligible": YOUNG,
    }
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=MACHINE)
    draft = desk.create()
    assert desk.status(draft)["spec"]["eligible"] == YOUNG
    assert desk.do(draft, Verb.SUBMIT).frozen_plan.eligible == YOUNG
    desk.do(draft, Verb.ABORT)
    assert desk.started(eligible=NORTH).frozen_plan.eligible == NORTH


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"weights": {"champion": 0.5}}, "rollout.weights.challenger"),
        ({"weights": {"champion": 0.5, "challenger": 0.4}}, "rollout.weights"),
        ({"eligible": {"and": [NORTH, {"attribute": "age", "op": "near", "value": 3}]}},
         "rollout.eligible.and[1].op"),
        ({"eligible": {"not": {"attribute": "age", "op": "lt"}}}, "rollout.eligible.not.value"),
        ({"eligible": {**NORTH, "vlaue": 1}}, "rollout.eligible.vlaue"),
        ({"eligible": {"or": []}}, "rollout.eligible.or"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_at_the_door(
    desk: Desk, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        desk.create(**wanted)
    assert refused.value.field == field


def test_a_slots_condition_is_checked_when_it_is_stated(desk: Desk) -> None:
    slot = {
        "unit": "departure",
        "champion": CHAMPION,
        "policy": "house",
        "eligible": {"attribute": "age", "op": "?"},
    }
    with pytest.raises(InvalidInput) as refused:
        define.put_slot(desk.store, PROJECT, slot, key="other", actor=MACHINE)
    assert refused.value.field == "slot.eligible.op"


def test_uneven_weights_need_more_units(desk: Desk) -> None:
    desk.policy({"oec": {}})
    metric = {
        "type": "binary",
        "direction": "increase",
        "outcome": "on-time",
        "window_seconds": 60,
        "baseline": {"mean": 0.5, "sd": 0.5},
    }
    define.put_metric(desk.store, PROJECT, metric, key="on-time", actor=desk.person("root"))
    slot = {"unit": "departure", "champion": CHAMPION, "oec": {"metric": "on-time", "mde": 0.02},
            "policy": "house"}  # fmt: skip
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))
    even = desk.create()
    uneven = desk.create(weights={"champion": 0.8, "challenger": 0.2})
    horizons = []
    for draft in (even, uneven):
        horizons.append(desk.do(draft, Verb.SUBMIT).frozen_plan.horizon)
        desk.do(draft, Verb.ABORT)
    assert horizons[1] / horizons[0] == pytest.approx(0.25 / 0.16, rel=1e-3)


def test_a_new_attempt_asks_for_the_same(desk: Desk) -> None:
    rollout = desk.started(weights={"champion": 0.75, "challenger": 0.25}, eligible=NORTH)
    desk.do(rollout, Verb.ROLLBACK)
    desk.ticks(2)
    again = desk.do(rollout, Verb.RETRY)
    assert (again.draft.weights, again.draft.eligible) == (rollout.draft.weights, NORTH)


# ---------------------------------------------------------------- edits


def test_an_edit_opens_an_allocation_and_moves_nobody(desk: Desk) -> None:
    rollout = everybody(desk)
    before = arms(desk)
    after = desk.do(
        rollout, Verb.EDIT, edits={"weights": {"champion": 0.2, "challenger": 0.8}}, note="calm"
    )
    assert (after.allocation, after.epoch, after.state) == (2, 2, State.RAMPING)
    one, two = allocations(desk, rollout)
    assert (two.retired, two.runs) == (((2000, 5000),), one.runs)
    now = arms(desk)
    assert all(now[unit] in (before[unit], "champion") for unit in UNITS)
    assert sum(now[unit] != before[unit] for unit in UNITS) == 0  # only champions were retired
    with desk.store.reading() as work:
        epochs = work.rollouts.epochs(PROJECT, rollout.id)
        last = work.decisions.last(PROJECT, rollout.id)
    assert epochs[-1].weights == pytest.approx({"champion": 2 / 7, "challenger": 5 / 7})
    assert last is not None
    assert (last.action, last.document["note"]) == ("edit", "calm")
    assert last.document["allocation"] == [1, 2]
    assert desk.audit().intact
    status = desk.status(rollout)["status"]
    assert status["allocation"]["retired"] == 0.3
    assert "(70% takes part in the test)" in status["sentence"]
    assert status["challenger_share"] == pytest.approx(0.5)


def test_a_ramp_step_after_an_edit_keeps_its_weights(desk: Desk) -> None:
    rollout = desk.started()
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.2, "challenger": 0.8}})
    desk.see("on-time", epoch=2, champion=(200, 0.5), challenger=(500, 0.5))
    desk.see("complaints", epoch=2, champion=(200, 0.02), challenger=(500, 0.02))
    desk.ticks(2, hours=1)
    advanced = desk.do(rollout, Verb.ADVANCE)
    assert (advanced.allocation, advanced.epoch, advanced.enrolled) == (2, 3, 1.0)
    assert published(desk).retired == ((2000, 5000),)


def test_an_edit_needs_the_version_and_a_role(desk: Desk) -> None:
    rollout = everybody(desk)
    edits = {"weights": {"champion": 0.2, "challenger": 0.8}}
    with pytest.raises(PreconditionRequired):
        desk.do(rollout, Verb.EDIT, edits=edits, if_match=None)
    with pytest.raises(Exception, match="role"):
        desk.do(rollout, Verb.EDIT, by="cleo", edits=edits)
    assert desk.get(rollout).allocation == 1


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    rollout = everybody(desk)
    edits = {"weights": {"champion": 0.2, "challenger": 0.8}}
    assert desk.do(rollout, Verb.EDIT, edits=edits, dry_run=True).allocation == 2
    assert desk.get(rollout).allocation == 1
    assert len(allocations(desk, rollout)) == 1


@pytest.mark.parametrize("by", ["submitted", "ended"])
def test_only_a_live_test_is_edited(desk: Desk, by: str) -> None:
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    if by == "ended":
        desk.do(rollout, Verb.ABORT)
    with pytest.raises(IllegalTransition):
        desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.2, "challenger": 0.8}})


def test_an_edit_overtakes_what_is_pending(desk: Desk) -> None:
    desk.policy({"ramp": STEPS[:1]})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(2000, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3, hours=1)
    assert desk.open_proposal(rollout) is not None
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.2, "challenger": 0.8}})
    assert desk.open_proposal(rollout) is None
    assert [one.status for one in desk.proposals(rollout)] == ["voided"]


# ---------------------------------------------------------------- eligibility


def test_narrowing_is_a_retreat_and_widening_is_not(desk: Desk) -> None:
    rollout = everybody(desk, eligible=NORTH)
    narrowed = {"and": [NORTH, YOUNG]}
    desk.do(rollout, Verb.PAUSE)
    desk.do(rollout, Verb.EDIT, edits={"eligible": narrowed})
    assert published(desk).eligible == narrowed
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.EDIT, edits={"eligible": None})
    assert [one["guard"] for one in refused.value.failed] == ["not_paused"]
    desk.do(rollout, Verb.RESUME)
    desk.do(rollout, Verb.EDIT, edits={"eligible": None})
    assert published(desk).eligible is None


def test_people_who_approve_exposure_are_not_passed_by_a_wider_condition(desk: Desk) -> None:
    desk.policy(
        {"ramp": STEPS[1:], "approvals": {"promote": {"quorum": 1}, "start": {"quorum": 1}}}
    )
    rollout = desk.create(eligible=NORTH)
    desk.do(rollout, Verb.SUBMIT)
    desk.do(rollout, Verb.START)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    assert desk.state(rollout) is State.RAMPING
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.EDIT, edits={"eligible": {"or": [NORTH, YOUNG]}})
    assert [one["guard"] for one in refused.value.failed] == ["not_past_approval"]
    desk.do(rollout, Verb.EDIT, edits={"eligible": {"and": [NORTH, YOUNG]}})


def test_the_watch_after_a_promotion_is_for_everybody(desk: Desk) -> None:
    desk.policy({"ramp": STEPS[:1]})
    rollout = desk.started(eligible=NORTH)
    desk.see("on-time", epoch=1, champion=(2000, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3, hours=1)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    assert desk.state(rollout) is State.PROMOTING
    assert published(desk).eligible is None


# ---------------------------------------------------------------- pins


def test_a_pinned_unit_keeps_its_arm_through_an_edit_unless_it_is_retired(desk: Desk) -> None:
    rollout = everybody(desk)
    pins = MemoryPins()
    rules = desk.ruleset()
    first = {unit: assign_pinned(rules, SLOT, unit, pins=pins, now=0.0) for unit in UNITS}
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.8, "challenger": 0.2}})
    rules = desk.ruleset()
    retired = 0
    for unit in UNITS:
        again = assign_pinned(rules, SLOT, unit, pins=pins, now=1.0)
        if again.reason is Reason.RETIRED:
            retired += 1
            assert first[unit].arm == "challenger"
            assert again.arm == "champion"
            assert not again.exposed
        else:
            assert again.arm == first[unit].arm
            assert again.allocation == 2
    assert 0.2 < retired / len(UNITS) < 0.4


def test_units_that_met_an_arm_keep_it_when_they_lose_their_eligibility(desk: Desk) -> None:
    rollout = everybody(desk)
    pins = MemoryPins()
    south = {"region": "south"}
    rules = desk.ruleset()
    seen, late = UNITS[:200], UNITS[200:]
    first = {unit: assign_pinned(rules, SLOT, unit, south, pins=pins, now=0.0) for unit in seen}
    desk.do(rollout, Verb.EDIT, edits={"eligible": NORTH})
    rules = desk.ruleset()
    for unit in seen:
        again = assign_pinned(rules, SLOT, unit, south, pins=pins, now=1.0)
        assert (again.arm, again.reason) == (first[unit].arm, Reason.PINNED)
        assert (again.allocation, again.exposed) == (2, True)
    for unit in late:
        met = assign_pinned(rules, SLOT, unit, south, pins=pins, now=1.0)
        assert met.reason is Reason.NOT_ELIGIBLE
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.8, "challenger": 0.2}})
    rules = desk.ruleset()
    reasons = {assign_pinned(rules, SLOT, unit, south, pins=pins, now=2.0).reason for unit in seen}
    assert reasons == {Reason.PINNED, Reason.RETIRED}


def test_three_arms_are_created_edited_and_shown(desk: Desk) -> None:
    desk.policy({"ramp": STEPS[1:]})
    rollout = desk.started(
        challengers=[CHALLENGER, OTHER],
        weights={"champion": 0.5, "challenger-1": 0.25, "challenger-2": 0.25},
    )
    desk.do(
        rollout,
        Verb.EDIT,
        edits={"weights": {"champion": 0.75, "challenger-1": 0, "challenger-2": 0.25}},
    )
    status = desk.status(rollout)["status"]
    assert [one["arm"] for one in status["dropped"]] == ["challenger-1"]
    assert "trees 7 was dropped: an operator gave it up." in status["sentence"]
    assert status["sentence"].startswith("25% of traffic sees forest 2 ")
    assert set(arms(desk).values()) == {"champion", "challenger-2"}


SPLIT = {"champion": 0.5, "challenger-1": 0.25, "challenger-2": 0.25}
DROP = {"weights": {"champion": 0.5, "challenger-1": 0.5, "challenger-2": 0}}


def three_arms(desk: Desk) -> Rollout:
    desk.policy({"ramp": STEPS[1:]})
    return desk.started(challengers=[CHALLENGER, OTHER], weights=SPLIT)


def test_an_edit_that_only_drops_an_arm_is_a_retreat(desk: Desk) -> None:
    rollout = three_arms(desk)
    before = arms(desk)
    after = desk.do(rollout, Verb.EDIT, by="cleo", edits=DROP, if_match=None)
    assert desk.status(after)["status"]["dropped"][0]["arm"] == "challenger-2"
    kept = {unit: arm for unit, arm in before.items() if arm != "challenger-2"}
    assert {unit: arms(desk)[unit] for unit in kept} == kept, "nobody else lost anything"


@pytest.mark.parametrize(
    "more",
    [
        {"weights": {"champion": 0.5, "challenger-1": 0.2, "challenger-2": 0.3}},
        {"weights": {"champion": 0.8, "challenger-1": 0.2, "challenger-2": 0}},
        {**DROP, "eligible": NORTH},
        {**DROP, "eligible": None},
    ],
)
def test_an_edit_that_does_more_than_drop_is_none(desk: Desk, more: dict[str, Any]) -> None:
    rollout = three_arms(desk)
    with pytest.raises(PreconditionRequired):
        desk.do(rollout, Verb.EDIT, edits=more, if_match=None)
    with pytest.raises(StaleVersion):
        desk.do(rollout, Verb.EDIT, edits=more, if_match=rollout.generation - 1)
    with pytest.raises(NotPermitted):
        desk.do(rollout, Verb.EDIT, by="cleo", edits=more)
    assert desk.get(rollout).allocation == 1


def test_a_drop_wins_over_a_pending_proposal_and_a_version_that_was_overtaken(desk: Desk) -> None:
    ramp = [STEPS[0], {"enrolled": 1.0, "approval": "risk"}]
    approvals = {"risk": {"quorum": 1}, "promote": {"quorum": 2}}
    desk.policy({"ramp": ramp, "approvals": approvals})
    rollout = desk.started(challengers=[CHALLENGER, OTHER], weights=SPLIT)
    asked = desk.get(rollout)
    with desk.store.writing() as work:
        proposal = open_proposal(work, asked, Move.ADVANCE, None, actor=MACHINE)
    assert proposal is not None
    stale = desk.get(rollout).generation - 1
    desk.do(rollout, Verb.EDIT, edits=DROP, if_match=stale)
    with desk.store.reading() as work:
        closed = work.approvals.get(PROJECT, proposal.id)
    assert closed is not None
    assert (closed.status, closed.reason) == ("voided", "overtaken")


# ---------------------------------------------------------------- drop the loser


def rivals(desk: Desk, **policy: Any) -> Rollout:
    desk.policy({"ramp": STEPS[1:], "oec": {"horizon": 40_000}, **policy})
    rollout = desk.started(challengers=[CHALLENGER, OTHER])
    desk.see("on-time", epoch=1, **dict.fromkeys(THREE, (2000, 0.5)))
    one_harms = {**dict.fromkeys(THREE, (2000, 0.02)), "challenger-1": (2000, 0.2)}
    desk.see("complaints", epoch=1, **one_harms)
    return rollout


THREE = ("champion", "challenger-1", "challenger-2")


def test_harm_of_one_challenger_drops_it_and_the_others_go_on(desk: Desk) -> None:
    rollout = rivals(desk)
    before = arms(desk)
    desk.ticks(2)
    now = desk.get(rollout)
    assert (now.state, now.allocation, now.epoch) == (State.RAMPING, 2, 2)
    after = arms(desk)
    for unit in UNITS:
        expected = "champion" if before[unit] == "challenger-1" else before[unit]
        assert after[unit] == expected
    assert allocations(desk, rollout)[-1].dropped == {"challenger-1": "guardrail_harm"}
    with desk.store.reading() as work:
        last = work.decisions.last(PROJECT, rollout.id)
    assert last is not None
    assert (last.action, last.actor) == ("drop_arm", MACHINE.name)
    assert last.document["arms"] == [
        {
            "arm": "challenger-1",
            "reason": "guardrail_harm",
            "clauses": ["harm.complaints.challenger-1"],
        }
    ]
    assert last.document["evidence"]
    assert desk.audit().intact
    assert (
        "trees 7 was dropped: a guardrail was harmed." in desk.status(rollout)["status"]["sentence"]
    )


def test_the_survivor_is_promoted_and_the_dropped_harm_does_not_stand_in_its_way(
    desk: Desk,
) -> None:
    desk.policy({"ramp": STEPS[:1], "oec": {"horizon": 10_000}})
    rollout = desk.started(challengers=[CHALLENGER, OTHER])
    desk.see("on-time", epoch=1, **dict.fromkeys(THREE, (1000, 0.5)))
    desk.see(
        "complaints", epoch=1, **dict.fromkeys(THREE, (1000, 0.02)) | {"challenger-1": (1000, 0.3)}
    )
    desk.ticks(2)
    assert desk.get(rollout).allocation == 2
    desk.see("on-time", epoch=2, **{"champion": (2500, 0.5), "challenger-2": (2500, 0.6)})
    desk.see("complaints", epoch=2, **{"champion": (2500, 0.02), "challenger-2": (2500, 0.02)})
    desk.ticks(5, hours=1)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    assert proposal.document["content"]["promotes"] == "challenger-2"
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    assert desk.state(rollout) is State.PROMOTING
    assert allocations(desk, rollout)[-1].weights.keys() == {"champion", "challenger-2"}


def test_when_the_last_one_loses_the_rollout_goes_back(desk: Desk) -> None:
    rollout = rivals(desk)
    desk.ticks(2)
    desk.see("on-time", epoch=2, **{"champion": (2000, 0.5), "challenger-2": (2000, 0.5)})
    desk.see("complaints", epoch=2, **{"champion": (2000, 0.02), "challenger-2": (2000, 0.3)})
    desk.ticks(1)
    assert desk.get(rollout).state is State.ROLLING_BACK
    assert desk.get(rollout).reason == "guardrail_harm"


def test_a_loser_that_an_edit_has_left_alone_ends_the_rollout_at_the_next_look(desk: Desk) -> None:
    """Somebody gives up the other one between the look and what the machine makes of it."""
    rollout = rivals(desk)
    desk.later(minutes=2)
    assert take_due_look(desk.store, PROJECT, rollout.id) is not None
    weights = {"champion": 0.5, "challenger-1": 0.5, "challenger-2": 0}
    desk.do(rollout, Verb.EDIT, edits={"weights": weights})
    desk.ticks(1)
    now = desk.get(rollout)
    assert (now.state, now.reason) == (State.ROLLING_BACK, "guardrail_harm")


@pytest.mark.parametrize("autonomy", ["L0", "L1"])
def test_where_the_machine_may_not_retreat_nothing_is_raised_until_a_person_drops_it(
    autonomy: str,
) -> None:
    desk = Desk({"ramp": STEPS, "autonomy": autonomy, "oec": {"horizon": 40_000}})
    rollout = desk.started(challengers=[CHALLENGER, OTHER])
    desk.see("on-time", epoch=1, **dict.fromkeys(THREE, (2000, 0.5)))
    desk.see(
        "complaints", epoch=1, **dict.fromkeys(THREE, (2000, 0.02)) | {"challenger-1": (2000, 0.3)}
    )
    desk.ticks(3, hours=1)
    assert desk.get(rollout).allocation == 1
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.ADVANCE)
    assert [one["guard"] for one in refused.value.failed] == ["losers_dropped"]
    weights = {"champion": 0.5, "challenger-1": 0, "challenger-2": 0.5}
    desk.do(rollout, Verb.EDIT, edits={"weights": weights})
    desk.see("on-time", epoch=2, **{"champion": (2000, 0.5), "challenger-2": (2000, 0.5)})
    desk.see("complaints", epoch=2, **{"champion": (2000, 0.02), "challenger-2": (2000, 0.02)})
    desk.ticks(1, hours=1)
    assert desk.do(rollout, Verb.ADVANCE).enrolled == 1.0


def test_a_silent_challenger_holds_everybody_until_it_is_given_up(desk: Desk) -> None:
    """Its pipeline is broken: complaints that never arrive. The other one is fine, and decides."""
    desk.policy({"ramp": STEPS[:1], "oec": {"horizon": 10_000}})
    rollout = desk.started(challengers=[CHALLENGER, OTHER])
    better = {"champion": (1000, 0.5), "challenger-1": (1000, 0.5), "challenger-2": (1000, 0.6)}
    desk.see("on-time", epoch=1, **better)
    desk.see(
        "complaints", epoch=1, **dict.fromkeys(THREE, (1000, 0.3)) | {"challenger-1": (1000, 0.0)}
    )
    desk.ticks(2)
    held = desk.status(rollout)["status"]["verdict"]
    assert (held["value"], held["reason"]) == ("UNKNOWN", "arm_silent")
    assert held["held"] == [
        {
            "metric": "complaints",
            "arm": "challenger-1",
            "reason": "arm_silent",
            "cause": "challenger-1",
        }
    ]
    assert held["blockers"] == ["fresh.complaints"]
    assert desk.open_proposal(rollout) is None
    weights = {"champion": 0.5, "challenger-1": 0, "challenger-2": 0.5}
    desk.do(rollout, Verb.EDIT, edits={"weights": weights})
    desk.see("on-time", epoch=2, **{"champion": (8000, 0.5), "challenger-2": (8000, 0.6)})
    desk.see("complaints", epoch=2, **{"champion": (8000, 0.3), "challenger-2": (8000, 0.3)})
    desk.ticks(5, hours=1)
    freed = desk.status(rollout)["status"]["verdict"]
    assert (freed["value"], freed["arm"], freed["held"]) == ("PROMOTE", "challenger-2", [])
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    assert proposal.document["content"]["promotes"] == "challenger-2"
