"""The one actor: deadlines, autonomy, fencing, the A/A check, one step at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.errors import LeaseLost
from controller.flow import reconcile
from controller.flow.fencing import LEASE_SECONDS, take_lease
from controller.flow.kill import kill
from controller.flow.look import take_due_look
from controller.rollout.states import Pause, State, Verb, Verdict
from tests.unit.flow.desk import PROJECT, SLOT, Desk

EVEN = {"champion": (200, 0.50), "challenger": (200, 0.50)}
QUIET = {"champion": (200, 0.02), "challenger": (200, 0.02)}
RAMP = [{"enrolled": share, "dwell": "1h"} for share in (0.1, 0.2, 0.5)]


def test_at_l3_the_machine_starts_and_ramps_by_itself_one_step_a_pass() -> None:
    desk = Desk({"autonomy": "L3", "ramp": RAMP})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.tick()
    assert desk.state(rollout) is State.RAMPING
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, **QUIET)
    desk.later(days=1)
    desk.last_outcome = desk.now
    desk.tick()
    assert desk.get(rollout).stage == 1, "a long absence is no reason to skip a stage"
    desk.ticks(1)
    assert desk.get(rollout).stage == 1, "each stage dwells on its own"
    desk.see("on-time", epoch=2, **EVEN)
    desk.ticks(1, hours=1)
    assert desk.get(rollout).stage == 2


def test_at_l2_people_start_and_raise() -> None:
    desk = Desk({"autonomy": "L2", "ramp": RAMP})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.ticks(2)
    assert desk.state(rollout) is State.VALIDATING
    assert desk.status(rollout)["status"]["next"]["people"] == "operator"


def test_at_l1_nothing_is_rolled_back_without_a_person_until_the_deadline() -> None:
    desk = Desk({"autonomy": "L1"})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(3000, 0.60), challenger=(3000, 0.50))
    desk.see("complaints", epoch=1, **QUIET)
    desk.ticks(3)
    after = desk.get(rollout)
    assert (after.state, after.verdict) == (State.RAMPING, Verdict.ROLLBACK)
    desk.ticks(1, days=11)
    after = desk.get(rollout)
    assert (after.state, after.verdict, after.reason) == (
        State.ROLLING_BACK,
        Verdict.ROLLBACK,
        "oec_worse",
    )


def test_at_l4_without_a_gate_the_machine_promotes() -> None:
    desk = Desk({"autonomy": "L4", "approvals": {}})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.tick()
    desk.see("on-time", epoch=1, champion=(2000, 0.50), challenger=(2000, 0.60))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3)
    assert desk.state(rollout) in (State.PROMOTING, State.BAKING)
    assert desk.proposals(rollout) == []


def test_a_rollout_that_is_not_started_in_time_is_cancelled() -> None:
    desk = Desk({"deadlines": {"validating": "1h"}})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.ticks(1, hours=2)
    after = desk.get(rollout)
    assert (after.state, after.reason) == (State.CANCELLED, "not_started")


def test_a_promotion_nobody_approves_ends_at_its_deadline_with_its_verdict() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(2000, 0.50), challenger=(2000, 0.60))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3)
    desk.ticks(2, days=11)
    after = desk.get(rollout)
    assert (after.verdict, after.reason) == (Verdict.PROMOTE, "not_approved")
    assert desk.proposals(rollout)[0].status in ("voided", "expired")
    desk.ticks(2)
    assert desk.state(rollout) is State.ROLLED_BACK


def test_a_test_that_went_on_from_its_reserve_ends_by_its_horizon_at_the_deadline() -> None:
    goes_on = {"reserve": 0.005, "futility": "none", "on_no_difference": "keep_testing"}
    desk = Desk({"oec": {"horizon": 10_000, **goes_on}})
    rollout = desk.started()
    for n in (1000, 3000, 6000):
        desk.see("on-time", epoch=1, champion=(n, 0.5), challenger=(n, 0.5))
        desk.see("complaints", epoch=1, champion=(n, 0.02), challenger=(n, 0.02))
        desk.ticks(1, hours=1)
    found = desk.get(rollout)
    assert (found.verdict, found.reason) == (Verdict.KEEP_GOING, "horizon_passed")
    desk.ticks(1, days=11)
    ended = desk.get(rollout)
    assert ended.state is State.ROLLING_BACK
    assert (ended.verdict, ended.reason) == (Verdict.NO_DIFFERENCE, "horizon_reached")


def test_a_broken_split_holds_and_is_never_called_a_difference() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(900, 0.50), challenger=(100, 0.99))
    desk.see("complaints", epoch=1, champion=(900, 0.02), challenger=(100, 0.02))
    desk.ticks(3)
    after = desk.get(rollout)
    assert after.paused == (Pause.SRM,)
    assert (after.verdict, after.reason) == (Verdict.UNKNOWN, "srm")
    desk.ticks(1, days=11)
    after = desk.get(rollout)
    assert (after.state, after.verdict, after.reason) == (
        State.ROLLING_BACK,
        Verdict.UNKNOWN,
        "srm",
    )


def test_clients_that_report_other_arms_hold_it_until_they_stop() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, **QUIET)
    desk.excluded = {"arm_mismatch": 30}
    desk.ticks(2)
    assert desk.get(rollout).paused == (Pause.ARM_MISMATCH,)
    desk.see("on-time", epoch=1, champion=(6000, 0.50), challenger=(6000, 0.50))
    desk.ticks(2)
    assert desk.get(rollout).paused == ()


def test_units_that_met_two_arms_hold_it_until_they_are_few_again() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, **QUIET)
    desk.excluded = {"double_exposure": 11}
    desk.ticks(2)
    assert desk.get(rollout).paused == (Pause.DOUBLE_EXPOSURE,)
    desk.see("on-time", epoch=1, champion=(6000, 0.50), challenger=(6000, 0.50))
    desk.ticks(2)
    assert desk.get(rollout).paused == ()


def test_harm_pauses_where_the_policy_says_pause() -> None:
    desk = Desk({"guardrails": {"action": "pause"}})
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.20))
    desk.ticks(2)
    after = desk.get(rollout)
    assert (after.state, after.paused) == (State.RAMPING, (Pause.HARM,))
    assert after.reason == "guardrail_harm"


def test_a_rollback_for_harm_is_not_followed_by_a_hold() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.20))
    for _ in range(3):
        desk.later(minutes=2)
        desk.tick(sent=False)
    assert (desk.state(rollout), desk.get(rollout).paused) == (State.ROLLING_BACK, ())
    desk.ticks(2)
    assert desk.state(rollout) is State.ROLLED_BACK
    with desk.store.reading() as work:
        done = [one.action for one in work.decisions.since(PROJECT, rollout.id)]
    assert done[-2:] == ["roll_back", "rolled_back"]


def test_a_bake_that_harms_is_rolled_back_to_the_old_champion() -> None:
    desk = Desk({"bake": {"duration": "5d", "holdback": 0.2}})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(2000, 0.50), challenger=(2000, 0.60))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    desk.see("on-time", epoch=2, champion=(1000, 0.5), challenger=(4000, 0.5))
    desk.see("complaints", epoch=2, champion=(1000, 0.10), challenger=(4000, 0.40))
    desk.ticks(3)
    after = desk.get(rollout)
    assert after.state is State.ROLLED_BACK
    assert (after.verdict, after.reason) == (Verdict.ROLLBACK, "guardrail_harm")
    assert desk.champion() == "logit 1"


def test_a_bake_without_data_does_not_complete_and_ends_at_its_deadline() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(2000, 0.50), challenger=(2000, 0.60))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    assert desk.state(rollout) is State.BAKING
    for _ in range(12):
        desk.later(hours=1)
        desk.tick()
    assert desk.state(rollout) is State.BAKING
    for _ in range(4):
        desk.later(hours=1)
        desk.tick()
    assert desk.get(rollout).reason == "data_missing"
    assert desk.champion() == "logit 1"


def test_the_aa_check_serves_champion_in_both_arms_and_throws_its_data_away() -> None:
    desk = Desk({"aa": {"min_units": 100}, "autonomy": "L3"})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.tick()
    assert desk.state(rollout) is State.AA_CHECK
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    assert rules.aa
    desk.exposed = {(1, "champion"): 30, (1, "challenger"): 28}
    desk.ticks(2)
    assert desk.state(rollout) is State.AA_CHECK
    desk.exposed = {(1, "champion"): 60, (1, "challenger"): 58}
    desk.ticks(2)
    assert desk.state(rollout) is State.RAMPING
    with desk.store.reading() as work:
        allocations = work.rollouts.allocations(PROJECT, rollout.id)
    assert [one.analysed for one in allocations] == [False, True]
    assert desk.get(rollout).verdict is Verdict.UNKNOWN


def test_an_aa_check_with_a_broken_split_is_never_passed() -> None:
    desk = Desk({"aa": {"min_units": 100}, "autonomy": "L3"})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    desk.tick()
    desk.exposed = {(1, "champion"): 900, (1, "challenger"): 100}
    desk.ticks(3)
    assert (desk.state(rollout), desk.get(rollout).paused) == (State.AA_CHECK, (Pause.SRM,))
    desk.ticks(1, days=8)
    after = desk.get(rollout)
    assert (after.state, after.reason) == (State.CANCELLED, "aa_not_passed")
    assert desk.ruleset().slots[SLOT].rollout is None


def test_another_champion_ends_the_attempt() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    with desk.store.writing() as work:
        other = rollout.draft.challengers[0].__class__(name="rule", version="2")
        work.definitions.set_champion(PROJECT, SLOT, other, previous=None, at=work.now)
    desk.ticks(2)
    after = desk.get(rollout)
    assert (after.state, after.reason) == (State.ROLLED_BACK, "champion_changed")


def test_a_killed_slot_holds_the_rollout_where_it_is() -> None:
    desk = Desk({"autonomy": "L3", "ramp": RAMP})
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, **QUIET)
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    desk.ticks(3, hours=1)
    after = desk.get(rollout)
    assert (after.stage, after.reason) == (0, "killed")
    assert desk.status(rollout)["status"]["challenger_share"] == 0


def test_a_rollout_whose_look_fails_holds_up_neither_itself_nor_others() -> None:
    desk = Desk({"autonomy": "L3"})
    broken = desk.started()
    with desk.store.writing() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        other = replace(stored.slot, key="other-slot")
        work.definitions.put_slot(PROJECT, other, observe_salt="x", actor="root", at=work.now)
    healthy = desk.create(slot="other-slot")
    desk.do(healthy, Verb.SUBMIT)
    unreadable = desk.get(broken)
    with desk.store.writing() as work:
        work.rollouts.save(replace(unreadable, look_memory={"planned": 3}))
    with pytest.raises(AttributeError):
        desk.tick()
    assert desk.state(healthy) is State.RAMPING
    desk.later(days=11)
    desk.tick()
    assert desk.get(broken).reason == "horizon_not_reached"


def test_a_rollback_takes_effect_although_no_note_of_it_ever_goes_out() -> None:
    desk = Desk()
    rollout = desk.started()
    desk.do(rollout, Verb.ROLLBACK)
    for _ in range(3):
        desk.later(minutes=2)
        desk.tick(sent=False)
        rules = desk.ruleset().slots[SLOT].rollout
        assert rules is not None
        assert rules.enrolled_ppm == 0
    assert desk.state(rollout) is State.ROLLING_BACK
    desk.later(minutes=5)
    desk.tick(sent=False)
    assert desk.state(rollout) is State.ROLLED_BACK


def test_a_passed_stage_waits_for_no_more_than_the_next_look() -> None:
    desk = Desk({"autonomy": "L3", "ramp": RAMP})
    rollout = desk.started()
    desk.see("on-time", epoch=1, **EVEN)
    desk.see("complaints", epoch=1, **QUIET)
    desk.ticks(1)
    desk.later(seconds=30)
    generation, looks = desk.get(rollout).generation, desk.get(rollout).look_number
    desk.tick()
    assert (desk.get(rollout).generation, desk.get(rollout).look_number) == (generation, looks)
    desk.ticks(1, hours=1)
    assert desk.get(rollout).stage == 1


def test_only_the_holder_of_the_lease_acts() -> None:
    desk = Desk({"autonomy": "L3"})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    assert take_lease(desk.store, "worker-2") is not None
    reconcile.tick(desk.store, holder="worker-1")
    assert desk.state(rollout) is State.VALIDATING
    desk.later(seconds=LEASE_SECONDS + 1)
    reconcile.tick(desk.store, holder="worker-1")
    assert desk.state(rollout) is State.RAMPING


def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up() -> None:
    desk = Desk({"autonomy": "L3"})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    assert take_lease(desk.store, "worker-that-died") is not None
    desk.later(hours=-1)
    reconcile.tick(desk.store, holder="worker-1")
    assert desk.state(rollout) is State.RAMPING
    desk.later(seconds=-LEASE_SECONDS / 2)  # no more than clocks differ between two transactions
    assert take_lease(desk.store, "worker-2") is None


def test_a_holder_that_slept_through_its_lease_is_fenced_off() -> None:
    desk = Desk({"autonomy": "L3"})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    old = take_lease(desk.store, "worker-1")
    assert old is not None
    desk.later(seconds=LEASE_SECONDS + 1)
    assert take_lease(desk.store, "worker-2") is not None
    with pytest.raises(LeaseLost):
        reconcile.reconcile(desk.store, PROJECT, rollout.id, fence=old)
    assert desk.state(rollout) is State.VALIDATING


def test_a_look_is_not_written_by_a_fenced_holder() -> None:
    desk = Desk()
    rollout = desk.started()
    old = take_lease(desk.store, "worker-1")
    desk.later(seconds=LEASE_SECONDS + 1)
    take_lease(desk.store, "worker-2")
    with pytest.raises(LeaseLost):
        take_due_look(desk.store, PROJECT, rollout.id, fence=old)
    assert desk.get(rollout).look_number == 0


def test_the_next_pass_is_due_at_the_next_look_or_deadline() -> None:
    desk = Desk()
    assert reconcile.next_due(desk.store) == desk.now + timedelta(seconds=reconcile.IDLE_SECONDS)
    desk.started()
    desk.tick()
    desk.later(seconds=58)
    assert reconcile.next_due(desk.store) == desk.now + timedelta(seconds=2)
