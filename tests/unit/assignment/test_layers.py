"""Buckets of a layer: who gets which, and that an edit moves no more than it must."""

from __future__ import annotations

import pytest

from controller.assignment.layers import allot, buckets_of
from controller.errors import InvalidInput


@pytest.mark.parametrize(
    ("share", "count"),
    [(0.0001, 1), (0.29, 2900), (1 / 3, 3333), (0.12345, 1234), (0.7, 7000), (1.0, 10_000)],
)
def test_a_share_is_read_as_it_is_written(share: float, count: int) -> None:
    assert buckets_of(share) == count


def test_the_first_edit_lays_slots_side_by_side() -> None:
    assert allot({}, {"a": 2500, "b": 5000}) == {"a": ((0, 2500),), "b": ((2500, 7500),)}


def test_a_slot_that_shrinks_keeps_its_first_buckets() -> None:
    assert allot({"a": ((0, 2500),)}, {"a": 1000}) == {"a": ((0, 1000),)}


def test_a_slot_that_grows_keeps_all_and_takes_free_ones() -> None:
    held = {"a": ((0, 2500),), "b": ((2500, 7500),)}
    assert allot(held, {"a": 4000, "b": 5000}) == {
        "a": ((0, 2500), (7500, 9000)),
        "b": ((2500, 7500),),
    }


def test_what_one_gives_up_another_may_take() -> None:
    held = {"a": ((0, 5000),), "b": ((5000, 10_000),)}
    assert allot(held, {"b": 8000, "c": 2000}) == {
        "b": ((0, 3000), (5000, 10_000)),
        "c": ((3000, 5000),),
    }


@pytest.mark.parametrize("wanted", [{"a": -1}, {"a": 6000, "b": 4001}])
def test_there_are_ten_thousand_buckets(wanted: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="10000 buckets"):
        allot({}, wanted)
