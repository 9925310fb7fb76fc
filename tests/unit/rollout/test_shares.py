"""Both shares, whatever the state: what is split, and what meets the challenger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.assignment.runs import build_runs
from controller.rollout.bake import bake_plan, promoted_arm
from controller.rollout.record import Allocation, Draft, Rollout
from controller.rollout.shares import (
    Exposure,
    bake_exposure,
    share_that_would_meet,
    shares_of,
    stage_exposure,
)
from controller.rollout.states import State
from tests import worlds

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PLAN = worlds.plan()


def rollout(state: State, ppm: int) -> Rollout:
    return Rollout(
        project="default",
        id="r-1",
        slot="slot",
        state=state,
        draft=Draft(challengers=(), policy="house", owner="ada", requested_by="ada"),
        salt="s",
        enrolled_ppm=ppm,
        allocation=1,
        entered_at=NOW,
        stage_entered_at=NOW,
        created_at=NOW,
    )


def allocation(**weights: float) -> Allocation:
    return Allocation(
        number=1, weights=weights, runs=build_runs(weights), retired=(), opened_at=NOW
    )


EVEN = allocation(champion=0.5, challenger=0.5)


@pytest.mark.parametrize(
    ("state", "ppm", "enrolled", "challenger"),
    [
        (State.RAMPING, 100_000, 0.1, 0.05),
        (State.DECIDING, 1_000_000, 1.0, 0.5),
        (State.AA_CHECK, 100_000, 0.1, 0.0),
        (State.ROLLING_BACK, 0, 0.0, 0.0),
        (State.PROMOTED, 0, 0.0, 0.0),
        (State.VALIDATING, 0, 0.0, 0.0),
    ],
)
def test_the_challengers_share_is_enrolled_times_its_weight(
    state: State, ppm: int, enrolled: float, challenger: float
) -> None:
    found = shares_of(rollout(state, ppm), EVEN)
    assert (found.enrolled, found.challenger) == (enrolled, challenger)


def test_a_killed_slot_shows_nobody_the_challenger() -> None:
    found = shares_of(rollout(State.DECIDING, 1_000_000), EVEN, killed=True)
    assert (found.enrolled, found.challenger) == (0.0, 0.0)


def test_buckets_that_were_retired_meet_the_champion() -> None:
    part = Allocation(
        number=2, weights={}, runs=EVEN.runs, retired=((2_500, 5_000),), opened_at=NOW
    )
    assert shares_of(rollout(State.RAMPING, 1_000_000), part).challenger == pytest.approx(1 / 2)


def test_a_bake_gives_everybody_but_the_holdback_to_the_promoted_arm() -> None:
    exposure = bake_exposure(PLAN, "challenger")
    assert exposure.enrolled_ppm == 1_000_000
    assert share_that_would_meet(exposure) == pytest.approx(0.98)
    judged_by = bake_plan(PLAN, "challenger")
    assert judged_by.weights == {"champion": 0.02, "challenger": 0.98}
    assert judged_by.policy.oec.mode == "anytime"
    assert judged_by.sha256 != PLAN.sha256


def test_units_of_the_holdback_had_the_champion_before() -> None:
    before, after = (
        build_runs({"champion": 0.5, "challenger": 0.5}),
        build_runs(bake_exposure(PLAN, "challenger").weights),
    )
    assert after[0] == (200, "champion")
    assert before[0][0] > after[0][0]


def test_the_promoted_arm_is_read_from_its_allocation() -> None:
    weights = {"champion": 0.02, "challenger-2": 0.98}
    assert promoted_arm(allocation(**weights)) == "challenger-2"


def test_a_stage_asks_for_its_share_at_the_plans_weights() -> None:
    assert stage_exposure(PLAN, 0) == Exposure(
        enrolled_ppm=1_000_000, weights={"champion": 0.5, "challenger": 0.5}
    )
