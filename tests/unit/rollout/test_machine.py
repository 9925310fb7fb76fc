"""The transition table: complete, gated where exposure rises, open where it falls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.errors import IllegalTransition
from controller.experiments.policies import AaRules, Bake, DataRules, Policy, Stage
from controller.rollout.judgement import Judgement, Recommendation
from controller.rollout.machine import (
    TRANSITIONS,
    Circumstances,
    Move,
    Transition,
    failed,
    find,
    legal_verbs,
)
from controller.rollout.record import Draft, Rollout
from controller.rollout.states import EXPOSED, TERMINAL, Pause, State, Verb, Verdict
from tests import worlds

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def reachable(start: State) -> set[State]:
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for row in TRANSITIONS:
            if state in row.sources and row.target not in seen:
                seen.add(row.target)
                todo.append(row.target)
    return seen


def test_every_state_but_shadow_and_superseded_can_be_reached() -> None:
    missing = set(State) - reachable(State.DRAFT)
    assert missing == {State.SHADOW, State.SUPERSEDED}


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
def test_every_living_state_leads_to_an_end(state: State) -> None:
    assert reachable(state) & {State.ROLLED_BACK, State.CANCELLED}


@pytest.mark.parametrize("state", sorted(EXPOSED))
def test_every_exposed_state_can_be_rolled_back_without_a_guard(state: State) -> None:
    assert find(state, State.ROLLING_BACK).guards == ()


def test_retreats_ask_for_nothing_but_an_undo_that_makes_sense() -> None:
    guarded = {row.move for row in TRANSITIONS if row.move.retreats and row.guards}
    assert guarded == {Move.UNDO, Move.ROLLED_BACK}


def test_whatever_raises_exposure_may_stand_behind_a_gate() -> None:
    raising = {Move.CHECK, Move.START, Move.ADVANCE, Move.PROMOTE}
    assert {row.move for row in TRANSITIONS if row.gated} == raising


def test_nothing_leaves_a_terminal_state_but_an_undo() -> None:
    leaving = [row for row in TRANSITIONS if set(row.sources) & TERMINAL]
    assert [row.move for row in leaving] == [Move.UNDO]


def test_a_missing_transition_names_the_legal_verbs() -> None:
    with pytest.raises(IllegalTransition) as refused:
        find(State.DRAFT, State.PROMOTED)
    assert refused.value.allowed == ("submit", "abort")


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_verbs_and_exposed_ones_always_retreat(state: State) -> None:
    verbs = legal_verbs(state)
    if state.live:
        assert {Verb.ROLLBACK, Verb.ABORT} <= set(verbs)


# ---------------------------------------------------------------- guards


def judgement(**changes: Any) -> Judgement:
    usual: dict[str, Any] = {
        "verdict": Verdict.PROMOTE,
        "reason": "oec_shown",
        "recommendation": Recommendation.PROMOTE,
        "arm": "challenger",
        "clauses": (),
        "blockers": (),
        "as_of": NOW.isoformat(),
        "look": 3,
        "evidence_sha256": "e" * 64,
        "epoch": 1,
        "exposed": 500,
        "matured": 500,
        "harm": (),
        "srm": False,
        "lead": {"challenger": 0.1},
        "missing_seconds": 0.0,
    }
    return Judgement(**usual | changes)


PLAN = replace(
    worlds.plan(),
    policy=Policy(
        name="house",
        ramp=(
            Stage(enrolled=0.1, dwell_seconds=60.0, min_units=100, min_matured=50),
            Stage(enrolled=1.0),
        ),
        aa=AaRules(min_units=100),
        data=DataRules(max_age_seconds=3600.0),
        bake=Bake(duration_seconds=60.0),
    ),
)


def circumstances(state: State, **changes: Any) -> Circumstances:
    """Everything a move from this state could wish for."""
    rollout = Rollout(
        project="default",
        id="r-1",
        slot="slot",
        state=state,
        draft=Draft(challengers=(), policy="house", owner="ada", requested_by="ada"),
        plan=PLAN,
        salt="s",
        enrolled_ppm=100_000,
        allocation=1,
        epoch=1,
        entered_at=NOW - timedelta(hours=1),
        stage_entered_at=NOW - timedelta(hours=1),
        created_at=NOW - timedelta(hours=1),
        ended_at=NOW,
    )
    changed = replace(rollout, **changes.pop("rollout", {}))
    usual: dict[str, Any] = {
        "rollout": changed,
        "now": NOW,
        "judgement": judgement(),
        "approved": True,
        "champion_is_ours": True,
    }
    return Circumstances(**usual | changes)


EVERY_ROW = [(row, source) for row in TRANSITIONS for source in row.sources]


@pytest.mark.parametrize(
    ("row", "source"), EVERY_ROW, ids=lambda value: getattr(value, "move", value)
)
def test_with_every_wish_granted_every_move_is_made(row: Transition, source: State) -> None:
    stage = 1 if row.move is Move.DECIDE else 0
    assert failed(row, circumstances(source, rollout={"stage": stage})) == []


ADVANCE = (State.RAMPING, State.RAMPING)
PROMOTE = (State.DECIDING, State.PROMOTING)
START = (State.VALIDATING, State.RAMPING)
PASS_AA = (State.AA_CHECK, State.RAMPING)
COMPLETE = (State.BAKING, State.PROMOTED)
OLD = (NOW - timedelta(hours=3)).isoformat()


@pytest.mark.parametrize("move", [ADVANCE, PROMOTE, START, PASS_AA, COMPLETE])
@pytest.mark.parametrize(
    ("changes", "guard"),
    [
        ({"killed": True}, "not_killed"),
        ({"rollout": {"paused": (Pause.OPERATOR,)}}, "not_paused"),
        ({"champion_changed": True}, "champion_pinned"),
    ],
)
def test_whatever_raises_needs_a_living_slot_an_unheld_rollout_and_its_champion(
    move: tuple[State, State], changes: dict[str, Any], guard: str
) -> None:
    missing = failed(find(*move), circumstances(move[0], **changes))
    assert [clause.id for clause in missing] == [guard]


@pytest.mark.parametrize("move", [ADVANCE, PROMOTE, PASS_AA, COMPLETE])
@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        (None, "evidence_of_this_stage"),
        (judgement(epoch=0), "evidence_of_this_stage"),
        (judgement(as_of=OLD), "evidence_fresh"),
        (judgement(verdict=Verdict.UNKNOWN), "evidence_known"),
        (judgement(verdict=Verdict.ROLLBACK), "evidence_known"),
    ],
)
def test_missing_old_or_unknown_evidence_never_raises(
    move: tuple[State, State], seen: Judgement | None, guard: str
) -> None:
    missing = failed(find(*move), circumstances(move[0], judgement=seen))
    assert guard in {clause.id for clause in missing}


@pytest.mark.parametrize(
    ("move", "changes", "guard"),
    [
        (ADVANCE, {"judgement": judgement(exposed=99)}, "stage.min_units"),
        (ADVANCE, {"judgement": judgement(matured=49)}, "stage.min_matured"),
        (
            ADVANCE,
            {"rollout": {"stage_entered_at": NOW - timedelta(seconds=59)}},
            "stage.dwell",
        ),
        (ADVANCE, {"rollout": {"paused_seconds": 3600.0}}, "stage.dwell"),
        (ADVANCE, {"rollout": {"stage": 1}}, "more_stages"),
        (ADVANCE, {"approved": False}, "approved"),
        (ADVANCE, {"approved": None, "may_act_alone": False}, "autonomy"),
        (START, {"approved": False}, "approved"),
        (PROMOTE, {"approved": False}, "approved"),
        (PROMOTE, {"judgement": judgement(verdict=Verdict.KEEP_GOING)}, "verdict_promote"),
        (PASS_AA, {"judgement": judgement(exposed=99)}, "aa.min_units"),
        (COMPLETE, {"rollout": {"stage_entered_at": NOW}}, "bake.duration"),
        ((State.PROMOTING, State.BAKING), {"ruleset_sent": False}, "ruleset_sent"),
        ((State.DRAFT, State.VALIDATING), {"slot_free": False}, "slot_free"),
        ((State.DRAFT, State.VALIDATING), {"rollout": {"plan": None}}, "plan_frozen"),
        ((State.PROMOTED, State.ROLLED_BACK), {"champion_is_ours": False}, "champion_is_ours"),
        (
            (State.PROMOTED, State.ROLLED_BACK),
            {"rollout": {"ended_at": NOW - timedelta(days=31)}},
            "undo_window",
        ),
    ],
)
def test_each_guard_alone_keeps_its_move_from_being_made(
    move: tuple[State, State], changes: dict[str, Any], guard: str
) -> None:
    missing = failed(find(*move), circumstances(move[0], **changes))
    assert [clause.id for clause in missing] == [guard]


@pytest.mark.parametrize(
    ("verdict", "stage", "missing"),
    [
        (Verdict.NO_DIFFERENCE, 0, []),
        (Verdict.PROMOTE, 0, ["last_stage"]),
        (Verdict.PROMOTE, 1, []),
        (Verdict.KEEP_GOING, 0, ["last_stage"]),
        (Verdict.KEEP_GOING, 1, []),
    ],
)
def test_a_ramp_turns_to_deciding_when_nothing_can_be_shown_or_at_its_last_stage(
    verdict: Verdict, stage: int, missing: list[str]
) -> None:
    row = find(State.RAMPING, State.DECIDING)
    seen = circumstances(
        State.RAMPING, judgement=judgement(verdict=verdict), rollout={"stage": stage}
    )
    assert [clause.id for clause in failed(row, seen)] == missing


def test_an_undecided_last_stage_must_itself_be_complete() -> None:
    seen = circumstances(
        State.RAMPING,
        judgement=judgement(verdict=Verdict.KEEP_GOING, exposed=0),
        rollout={
            "stage": 1,
            "plan": replace(
                PLAN,
                policy=replace(
                    PLAN.policy, ramp=(Stage(enrolled=0.1), Stage(enrolled=1.0, min_units=10))
                ),
            ),
        },
    )
    missing = failed(find(State.RAMPING, State.DECIDING), seen)
    assert [clause.id for clause in missing] == ["stage.min_units"]


def test_no_exposure_is_added_to_a_test_that_is_over() -> None:
    over = circumstances(State.RAMPING, judgement=judgement(verdict=Verdict.NO_DIFFERENCE))
    assert [clause.id for clause in failed(find(*ADVANCE), over)] == ["evidence_known"]


def test_without_a_holdback_there_is_nobody_to_compare_with() -> None:
    plan = replace(PLAN, policy=replace(PLAN.policy, bake=Bake(duration_seconds=60, holdback=0)))
    seen = circumstances(State.BAKING, judgement=None, rollout={"plan": plan})
    assert failed(find(*COMPLETE), seen) == []
