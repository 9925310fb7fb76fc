"""What an edit makes of an allocation: arms shrink or go, nobody changes arm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controller.assignment.runs import build_runs, living, moves
from controller.errors import InvalidInput
from controller.rollout.edits import (
    BY_OPERATOR,
    dropping,
    narrows,
    next_allocation,
    read_edit,
    retired_share,
    survivors,
)
from controller.rollout.record import Allocation
from tests import worlds

NOW = datetime(2026, 1, 5, tzinfo=UTC)
EVEN = {"champion": 0.5, "challenger": 0.5}
THREE = {"champion": 1 / 3, "challenger-1": 1 / 3, "challenger-2": 1 / 3}
NORTH = {"attribute": "region", "op": "eq", "value": "north"}
YOUNG = {"attribute": "age", "op": "lt", "value": 30}


def first(weights: dict[str, float], **changes: Any) -> Allocation:
    return Allocation(number=1, weights=weights, runs=build_runs(weights), opened_at=NOW, **changes)


def edited(current: Allocation, shares: dict[str, float], **asked: Any) -> Allocation:
    plan = worlds.plan(weights=shares)
    return next_allocation(plan, current, read_edit(plan, current, **asked), opened_at=NOW)


def test_an_arm_that_shrinks_gives_up_buckets_and_the_other_keeps_what_it_has() -> None:
    after = edited(first(EVEN), EVEN, weights={"champion": 0.2, "challenger": 0.8})
    assert after.number == 2
    assert after.runs == build_runs(EVEN)
    assert after.retired == ((2000, 5000),)
    assert after.weights == pytest.approx({"champion": 2 / 7, "challenger": 5 / 7})
    assert retired_share(after) == 0.3


def test_retired_ranges_add_up_over_edits() -> None:
    once = edited(first(EVEN), EVEN, weights={"champion": 0.2, "challenger": 0.8})
    twice = edited(once, EVEN, weights={"champion": 0.9, "challenger": 0.1})
    assert twice.retired == ((2000, 5000), (6000, 10000))
    assert moves(living(once.runs, once.retired), living(twice.runs, twice.retired)) == []
    assert twice.weights == pytest.approx({"champion": 2 / 3, "challenger": 1 / 3})


def test_a_challenger_without_weight_is_dropped() -> None:
    after = edited(
        first(THREE), THREE, weights={"champion": 0.5, "challenger-1": 0, "challenger-2": 0.5}
    )
    assert after.dropped == {"challenger-1": BY_OPERATOR}
    assert after.weights == pytest.approx({"champion": 0.5, "challenger-2": 0.5}, abs=1e-4)
    assert survivors(worlds.plan(weights=THREE), after) == ("challenger-2",)


def test_dropping_takes_from_the_loser_alone() -> None:
    plan, before = worlds.plan(weights=THREE), first(THREE)
    after = next_allocation(plan, before, dropping({"challenger-1": "oec_worse"}), opened_at=NOW)
    start, end = 3334, 6667
    assert after.retired == ((start, end),)
    assert after.dropped == {"challenger-1": "oec_worse"}


def test_a_dropped_challenger_does_not_come_back() -> None:
    plan, before = worlds.plan(weights=THREE), first(THREE)
    after = next_allocation(plan, before, dropping({"challenger-1": "oec_worse"}), opened_at=NOW)
    again = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
    with pytest.raises(InvalidInput, match=r"weights\.challenger-1: is no arm"):
        read_edit(plan, after, weights=again)
    kept = next_allocation(
        plan,
        after,
        read_edit(plan, after, weights={"champion": 0.9, "challenger-2": 0.1}),
        opened_at=NOW,
    )
    assert kept.dropped == after.dropped


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "changes nothing"),
        ({"weights": {"champion": 0.5, "challenger": 0.5}}, "changes nothing"),
        ({"weights": {"champion": 1.0, "challenger": 0.0}}, "no challenger would be left"),
        ({"eligible": None, "sets_eligible": True}, "changes nothing"),
        ({"eligible": {"xor": []}, "sets_eligible": True}, "eligible.xor"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        edited(first(EVEN), EVEN, **asked)


def test_another_eligibility_alone_retires_nobody() -> None:
    after = edited(first(EVEN), EVEN, eligible=NORTH, sets_eligible=True)
    assert (after.eligible, after.retired, after.weights) == (NORTH, (), EVEN)
    lifted = edited(after, EVEN, eligible=None, sets_eligible=True)
    assert (lifted.eligible, lifted.number) == (None, 3)


@pytest.mark.parametrize(
    ("before", "after", "narrower"),
    [
        (None, NORTH, True),
        (NORTH, NORTH, True),
        (NORTH, {"and": [NORTH, YOUNG]}, True),
        ({"and": [NORTH, YOUNG]}, {"and": [YOUNG, NORTH, {"not": NORTH}]}, True),
        (NORTH, None, False),
        (NORTH, YOUNG, False),
        (NORTH, {"or": [NORTH, YOUNG]}, False),
        ({"and": [NORTH, YOUNG]}, {"and": [NORTH]}, False),
    ],
)
def test_narrowing_is_told_by_its_form(before: Any, after: Any, narrower: bool) -> None:
    assert narrows(before, after) is narrower
