"""What people may ask of a rollout, with which version, and what always works."""

from __future__ import annotations

import pytest

from controller.errors import (
    Conflict,
    GuardFailed,
    IllegalTransition,
    NotFound,
    NotPermitted,
    PreconditionRequired,
    StaleVersion,
)
from controller.flow import define, verbs
from controller.flow.actors import Actor, Scope
from controller.flow.kill import kill, lift
from controller.rollout.record import Rollout
from controller.rollout.states import Pause, State, Verb
from tests.unit.flow.desk import PROJECT, SLOT, STEPS, Desk

GREAT = {"champion": (2000, 0.50), "challenger": (2000, 0.60)}
CALM = {"champion": (2000, 0.02), "challenger": (2000, 0.02)}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def deciding(desk: Desk) -> Rollout:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GREAT)
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(3)
    assert desk.state(rollout) is State.DECIDING
    return rollout


def retrain(desk: Desk, version: str, name: str = "logit") -> None:
    """What a nightly job does in a `moving` slot."""
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
    assert stored is not None
    document = {**stored.slot.document(), "champion": {"name": name, "version": version}}
    define.put_slot(desk.store, PROJECT, document, key=SLOT, actor=desk.person("root"))


def promoted(desk: Desk) -> Rollout:
    return promote(desk, deciding(desk))


def promote(desk: Desk, rollout: Rollout, *, retrain_meanwhile: str | None = None) -> Rollout:
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    if retrain_meanwhile is not None:
        retrain(desk, retrain_meanwhile)
    desk.see("on-time", epoch=2, champion=(40, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=2, champion=(40, 0.02), challenger=(2000, 0.02))
    desk.ticks(3, days=1)
    assert desk.state(rollout) is State.PROMOTED
    return rollout


def test_raising_needs_the_version_that_was_read(desk: Desk) -> None:
    rollout = desk.create()
    with pytest.raises(PreconditionRequired):
        desk.do(rollout, Verb.SUBMIT, if_match=None)
    with pytest.raises(StaleVersion):
        desk.do(rollout, Verb.SUBMIT, if_match=rollout.generation + 1)
    assert desk.state(rollout) is State.DRAFT
    assert desk.do(rollout, Verb.SUBMIT, if_match=rollout.generation).state is State.VALIDATING


def test_a_look_without_news_does_not_make_a_reader_stale(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(2)
    before = desk.get(rollout)
    for n in range(101, 106):
        desk.see("on-time", epoch=1, champion=(n, 0.5), challenger=(n, 0.5))
        desk.ticks(1)
    after = desk.get(rollout)
    assert after.look_number == before.look_number + 5
    assert after.generation == before.generation


def test_a_verb_out_of_place_names_the_legal_ones(desk: Desk) -> None:
    rollout = desk.create()
    with pytest.raises(IllegalTransition) as refused:
        desk.do(rollout, Verb.PROMOTE)
    assert refused.value.allowed == ("submit", "abort")


def test_guards_that_do_not_hold_are_all_listed() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.ADVANCE)
    failed = {failure["guard"] for failure in refused.value.failed}
    assert {"evidence_of_this_stage", "stage.dwell", "stage.min_units"} <= failed


def test_a_dry_run_evaluates_everything_and_changes_nothing(desk: Desk) -> None:
    rollout = desk.create()
    before = (desk.get(rollout), desk.log(rollout))
    assert desk.do(rollout, Verb.SUBMIT, dry_run=True).state is State.VALIDATING
    assert (desk.get(rollout), desk.log(rollout)) == before
    with pytest.raises(GuardFailed):
        desk.do(desk.started(), Verb.ADVANCE, dry_run=True)


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.ABORT])
def test_retreat_needs_no_version_no_approval_and_wins_over_a_pending_promotion(
    desk: Desk, verb: Verb
) -> None:
    rollout = deciding(desk)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    after = desk.do(rollout, verb, by="cleo")
    assert after.state is State.ROLLING_BACK
    assert after.enrolled == 0
    closed = desk.proposals(rollout)[0]
    assert (closed.status, closed.reason) == ("voided", "retreat")
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    assert rules.enrolled_ppm == 0


def test_a_rollback_works_while_the_slot_is_killed_and_while_it_is_paused(desk: Desk) -> None:
    rollout = desk.started()
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    desk.do(rollout, Verb.PAUSE)
    assert desk.do(rollout, Verb.ROLLBACK).state is State.ROLLING_BACK


def test_rolling_back_twice_is_the_same_as_once(desk: Desk) -> None:
    rollout = desk.started()
    once = desk.do(rollout, Verb.ROLLBACK)
    assert desk.do(rollout, Verb.ROLLBACK) == once


def test_before_anybody_met_the_challenger_a_retreat_cancels(desk: Desk) -> None:
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    assert desk.do(rollout, Verb.ROLLBACK).state is State.CANCELLED
    assert desk.ruleset().slots[SLOT].rollout is None


def test_a_key_with_the_scope_stop_retreats_and_does_nothing_else(desk: Desk) -> None:
    rollout = desk.started()
    key = Actor(name="key:k1", kind="key", scopes=frozenset({Scope.STOP}), method="key")

    def ask(verb: Verb) -> Rollout:
        return verbs.act(
            desk.store, PROJECT, rollout.id, verb, actor=key, if_match=rollout.generation
        )

    assert ask(Verb.PAUSE).paused == (Pause.OPERATOR,)
    for raising in (Verb.RESUME, Verb.ADVANCE):
        with pytest.raises(NotPermitted):
            ask(raising)
    assert ask(Verb.ROLLBACK).state is State.ROLLING_BACK


def test_a_viewer_may_not_even_pause(desk: Desk) -> None:
    with pytest.raises(NotPermitted):
        desk.do(desk.started(), Verb.PAUSE, by="vic")


def test_time_spent_paused_does_not_count_as_dwell() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    desk.later(minutes=10)
    desk.do(rollout, Verb.PAUSE)
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(1, minutes=40)
    desk.do(rollout, Verb.RESUME)
    desk.ticks(1, minutes=40)
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.ADVANCE)
    assert [failure["guard"] for failure in refused.value.failed] == ["stage.dwell"]
    desk.ticks(1, minutes=11)
    assert desk.do(rollout, Verb.ADVANCE).stage == 1


def test_a_paused_rollout_does_not_advance() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(1, hours=2)
    desk.do(rollout, Verb.PAUSE)
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.ADVANCE)
    assert "not_paused" in {failure["guard"] for failure in refused.value.failed}


def test_what_the_data_hold_no_operator_resumes(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(900, 0.5), challenger=(100, 0.5))
    desk.ticks(2)
    assert desk.get(rollout).paused == (Pause.SRM,)
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.RESUME)
    assert refused.value.failed[0]["guard"] == "paused.srm"


def test_a_killed_slot_neither_starts_nor_advances(desk: Desk) -> None:
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.START)
    assert [failure["guard"] for failure in refused.value.failed] == ["not_killed"]
    lift(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    assert desk.do(rollout, Verb.START).state is State.RAMPING


def test_a_retry_is_a_new_attempt_with_a_new_salt_and_no_evidence(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.ticks(2)
    with pytest.raises(IllegalTransition):
        desk.do(rollout, Verb.RETRY)
    desk.do(rollout, Verb.ABORT)
    desk.ticks(2)
    again = desk.do(rollout, Verb.RETRY, by="ben")
    assert again.id != rollout.id
    assert again.salt != rollout.salt
    assert (again.attempt, again.retry_of) == (2, rollout.id)
    assert again.state is State.DRAFT
    assert again.look_memory is None
    assert again.draft.requested_by == "ben"


def test_an_undo_ends_outside_its_window(desk: Desk) -> None:
    rollout = promoted(desk)
    desk.later(days=31)
    with pytest.raises(GuardFailed) as refused:
        desk.do(rollout, Verb.UNDO)
    assert refused.value.failed[0]["guard"] == "undo_window"


def test_an_undo_ends_the_rollout_that_compares_with_what_is_undone(desk: Desk) -> None:
    rollout = promoted(desk)
    other = desk.started(challengers=[{"name": "net", "version": "1"}])
    desk.do(rollout, Verb.UNDO)
    assert desk.champion() == "logit 1"
    after = desk.get(other)
    assert (after.state, after.reason) == (State.ROLLING_BACK, "champion_changed")


def test_an_undo_in_a_moving_slot_restores_the_champion_that_was_replaced() -> None:
    desk = Desk(slot={"moving": True})
    rollout = deciding(desk)
    retrain(desk, "2")
    promote(desk, rollout, retrain_meanwhile="3")
    assert desk.champion() == "trees 7"
    assert desk.status(rollout)["status"]["rollback_target"]["label"] == "logit 3"
    retrain(desk, "9", name="other")
    retrain(desk, "7", name="trees")
    undone = desk.do(rollout, Verb.UNDO)
    assert desk.champion() == "logit 3"
    served = desk.ruleset().slots[SLOT].champion
    assert served is not None
    assert (served.name, served.version) == ("logit", "3")
    assert undone.state is State.ROLLED_BACK
    with desk.store.reading() as work:
        last = work.decisions.since(PROJECT, rollout.id)[-1]
    assert (last.action, last.document["champion"]) == ("undo", "logit 3")


def test_a_rollback_in_a_moving_slot_names_the_champion_that_will_serve() -> None:
    desk = Desk(slot={"moving": True})
    rollout = desk.started()
    retrain(desk, "2")
    assert desk.status(rollout)["status"]["rollback_target"]["label"] == "logit 2"


def test_an_undone_promotion_cannot_be_undone_again(desk: Desk) -> None:
    rollout = promoted(desk)
    desk.do(rollout, Verb.UNDO)
    with pytest.raises(IllegalTransition):
        desk.do(rollout, Verb.UNDO)


def test_an_older_promotion_cannot_be_undone_over_a_newer_one(desk: Desk) -> None:
    first = promoted(desk)
    with desk.store.writing() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        newer = first.draft.challengers[0].__class__(name="net", version="9")
        work.definitions.set_champion(
            PROJECT, SLOT, newer, previous=stored.slot.champion, at=work.now
        )
    with pytest.raises(GuardFailed) as refused:
        desk.do(first, Verb.UNDO)
    assert refused.value.failed[0]["guard"] == "champion_is_ours"


def test_an_unknown_rollout_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        verbs.act(desk.store, PROJECT, "r-none", Verb.PAUSE, actor=desk.person("ada"))


def test_a_retry_into_an_occupied_slot_is_refused(desk: Desk) -> None:
    rollout = desk.started()
    desk.do(rollout, Verb.ROLLBACK)
    desk.ticks(2)
    desk.started()
    with pytest.raises(Conflict):
        desk.do(rollout, Verb.RETRY)
