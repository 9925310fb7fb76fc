from fractions import Fraction

import pytest

from controller.assignment.runs import (
    Ranges,
    Runs,
    arm_of,
    arm_shares,
    build_runs,
    check_ranges,
    check_runs,
    living,
    moves,
    retire,
)
from controller.errors import InvalidInput

HALVES: Runs = ((5000, "champion"), (10_000, "challenger"))


def test_weights_become_runs_in_their_order() -> None:
    assert build_runs({"champion": 0.5, "challenger": 0.5}) == HALVES
    assert build_runs({"champion": 1, "a": 1, "b": 1}) == (
        (3334, "champion"),
        (6667, "a"),
        (10_000, "b"),
    )
    assert build_runs({"champion": 0.02, "challenger": 0.98})[0] == (200, "champion")


def test_an_arm_without_weight_gets_no_bucket() -> None:
    assert build_runs({"champion": 1.0, "challenger": 0.0}) == ((10_000, "champion"),)


@pytest.mark.parametrize(
    "weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("nan")}, {"a": float("inf")}]
)
def test_impossible_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        build_runs(weights)


def test_an_edit_retires_exactly_the_buckets_that_would_move() -> None:
    retired = retire(HALVES, (), {"champion": 0.2, "challenger": 0.8})
    assert retired == ((2000, 5000),)
    assert arm_shares(HALVES, retired) == {
        "champion": Fraction(2, 7),
        "challenger": Fraction(5, 7),
    }


def test_an_unchanged_weight_retires_nothing() -> None:
    assert retire(HALVES, (), {"champion": 1, "challenger": 1}) == ()


def test_a_dropped_arm_is_retired_whole_and_nobody_else_moves() -> None:
    runs = build_runs({"champion": 0.34, "challenger-1": 0.33, "challenger-2": 0.33})
    retired = retire(runs, (), {"champion": 0.5, "challenger-1": 0.5})
    assert retired == ((6700, 10_000),)
    assert moves(living(runs, ()), living(runs, retired)) == []


def test_what_is_retired_stays_retired() -> None:
    first = retire(HALVES, (), {"champion": 0.2, "challenger": 0.8})
    second = retire(HALVES, first, {"champion": 0.8, "challenger": 0.2})
    assert second == ((2000, 5000), (7000, 10_000))
    assert moves(living(HALVES, first), living(HALVES, second)) == []


def test_a_new_arm_needs_a_new_attempt() -> None:
    with pytest.raises(InvalidInput, match="new attempt"):
        retire(HALVES, (), {"champion": 0.4, "challenger": 0.4, "challenger-2": 0.2})


def test_moves_finds_every_unit_that_would_change_arm() -> None:
    shifted: Runs = ((4000, "champion"), (10_000, "challenger"))
    assert moves(HALVES, shifted) == [(4000, 5000, "champion", "challenger")]
    assert moves(shifted, HALVES) == [(4000, 5000, "challenger", "champion")]


def test_moves_finds_a_retired_bucket_that_comes_back() -> None:
    holes: Ranges = ((4000, 5000),)
    assert moves(living(HALVES, holes), HALVES) == [(4000, 5000, None, "champion")]
    assert moves(HALVES, living(HALVES, holes)) == []


def test_arm_of_every_border() -> None:
    runs = living(HALVES, ((4990, 5010),))
    assert [arm_of(runs, bucket) for bucket in (0, 4989, 4990, 5009, 5010, 9999)] == [
        "champion",
        "champion",
        None,
        None,
        "challenger",
        "challenger",
    ]
    with pytest.raises(InvalidInput):
        arm_of(runs, 10_000)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "runs",
        [[10_000]],
        [[9999, "champion"]],
        [[10_000, "unknown"]],
        [[10_000, None]],
        [[5000, "champion"], [5000, "challenger"], [10_000, "champion"]],
        [[0, "champion"], [10_000, "champion"]],
        [[True, "champion"], [10_000, "champion"]],
        [[10_000.0, "champion"]],
        [[10_001, "champion"]],
    ],
)
def test_malformed_runs_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        check_runs(value, arms={"champion": 1, "challenger": 1})


@pytest.mark.parametrize(
    "value", [None, [[1, 1]], [[2, 1]], [[0, 10_001]], [[-1, 5]], [[0, 5], [4, 6]], [["0", 5]]]
)
def test_malformed_ranges_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        check_ranges(value, field="retired")
