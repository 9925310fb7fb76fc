"""The whole path: from a draft to a promoted champion, to a rollback, to no difference."""

from __future__ import annotations

import pytest

from controller.rollout.states import Pause, State, Verb, Verdict
from tests.unit.flow.desk import SLOT, STEPS, Desk

GOOD = {"champion": (500, 0.50), "challenger": (500, 0.55)}
GREAT = {"champion": (2000, 0.50), "challenger": (2000, 0.60)}
CALM = {"champion": (2000, 0.02), "challenger": (2000, 0.02)}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_better_challenger_is_promoted_by_two_people_and_then_baked() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    assert desk.state(rollout) is State.RAMPING
    assert desk.get(rollout).enrolled == 0.1
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    assert rules.enrolled_ppm == 100_000

    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.52))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(31)
    assert desk.get(rollout).stage == 0, "people raise exposure at L2"
    desk.do(rollout, Verb.ADVANCE, by="ben")
    assert desk.get(rollout).enrolled == 1.0

    desk.see("on-time", epoch=2, **GREAT)
    desk.see("complaints", epoch=2, **CALM)
    desk.ticks(2)
    assert desk.state(rollout) is State.DECIDING
    assert desk.get(rollout).verdict is Verdict.PROMOTE
    proposal = desk.open_proposal(rollout)
    assert proposal is not None

    assert desk.vote(proposal, "ben").status == "open"
    assert desk.champion() == "logit 1"
    assert desk.vote(proposal, "cleo", comment="reads well").status == "executed"
    assert desk.state(rollout) is State.PROMOTING
    assert desk.champion() == "logit 1", "the champion stays the old one until Promoted"
    desk.tick()
    assert desk.state(rollout) is State.PROMOTING, "the note of its ruleset had not gone out"
    desk.tick()
    assert desk.state(rollout) is State.BAKING
    assert desk.get(rollout).enrolled == 1.0

    desk.see("on-time", epoch=3, champion=(40, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=3, champion=(40, 0.02), challenger=(2000, 0.02))
    desk.ticks(3, days=1)
    assert desk.state(rollout) is State.PROMOTED
    assert desk.champion() == "trees 7"
    assert desk.get(rollout).verdict is Verdict.PROMOTE
    assert desk.ruleset().slots[SLOT].rollout is None
    assert desk.audit().intact


def test_harm_rolls_back_without_a_person(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GOOD)
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.20))
    desk.later(minutes=2)
    desk.last_outcome = desk.now
    desk.tick()
    after = desk.get(rollout)
    assert after.state is State.ROLLING_BACK
    assert after.enrolled == 0
    assert (after.verdict, after.reason) == (Verdict.ROLLBACK, "guardrail_harm")
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    assert rules.enrolled_ppm == 0
    desk.tick()
    after = desk.get(rollout)
    assert after.state is State.ROLLED_BACK
    assert (after.verdict, after.reason) == (Verdict.ROLLBACK, "guardrail_harm")
    assert desk.champion() == "logit 1"


def test_a_loss_on_the_deciding_metric_rolls_back(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(3000, 0.60), challenger=(3000, 0.50))
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(2)
    after = desk.get(rollout)
    assert after.state is State.ROLLED_BACK
    assert (after.verdict, after.reason) == (Verdict.ROLLBACK, "oec_worse")


def test_the_deadline_ends_an_unfinished_test_as_no_difference() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(300, 0.5), challenger=(300, 0.5))
    desk.see("complaints", epoch=1, champion=(300, 0.02), challenger=(300, 0.02))
    desk.ticks(3)
    desk.ticks(2, days=6)
    after = desk.get(rollout)
    assert after.state is State.ROLLING_BACK
    desk.ticks(1)
    after = desk.get(rollout)
    assert after.state is State.ROLLED_BACK
    assert (after.verdict, after.reason) == (Verdict.NO_DIFFERENCE, "horizon_not_reached")


def test_a_test_that_ends_without_a_difference_is_rolled_back_with_its_verdict(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(5000, 0.5), challenger=(5000, 0.5))
    desk.see("complaints", epoch=1, champion=(5000, 0.02), challenger=(5000, 0.02))
    desk.ticks(1)
    assert desk.state(rollout) is State.DECIDING
    desk.ticks(2)
    after = desk.get(rollout)
    assert after.state is State.ROLLED_BACK
    assert after.verdict is Verdict.NO_DIFFERENCE
    assert after.reason != "horizon_not_reached"


def test_data_that_stop_arriving_hold_it_and_then_roll_it_back(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GOOD)
    desk.see("complaints", epoch=1, champion=(500, 0.02), challenger=(500, 0.02))
    desk.ticks(2)
    desk.later(hours=2)
    desk.tick()
    held = desk.get(rollout)
    assert held.paused == (Pause.DATA_MISSING,)
    assert held.verdict is Verdict.UNKNOWN
    desk.last_outcome = desk.now
    desk.later(minutes=2)
    desk.tick()
    assert desk.get(rollout).paused == ()
    desk.later(hours=14)
    desk.tick()
    assert desk.state(rollout) is State.ROLLING_BACK
    assert desk.get(rollout).reason == "data_missing"


def test_undo_restores_the_previous_champion_at_once(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GREAT)
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    desk.see("on-time", epoch=2, champion=(40, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=2, champion=(40, 0.02), challenger=(2000, 0.02))
    desk.ticks(3, days=1)
    assert desk.champion() == "trees 7"
    desk.do(rollout, Verb.UNDO)
    assert desk.champion() == "logit 1"
    assert desk.get(rollout).reason == "undone"
    serves = desk.ruleset().slots[SLOT].champion
    assert serves is not None
    assert serves.name == "logit"
