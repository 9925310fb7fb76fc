"""Weights as people write them down: every arm once, shares that add up."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.weights import read_weights

ARMS = ("champion", "challenger-1", "challenger-2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"challenger-1": 0.2, "champion": 0.5, "challenger-2": 0.3}, (0.5, 0.2, 0.3)),
        ({"champion": "50%", "challenger-1": "20%", "challenger-2": "30%"}, (0.5, 0.2, 0.3)),
        ({"champion": 0.333, "challenger-1": 0.333, "challenger-2": 0.334}, (0.333, 0.333, 0.334)),
    ],
)
def test_shares_come_back_in_the_order_of_the_arms(
    value: dict[str, Any], expected: tuple[float, ...]
) -> None:
    found = read_weights(value, ARMS, "weights")
    assert tuple(found) == ARMS
    assert tuple(found.values()) == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "field", "said"),
    [
        ([0.5, 0.5], "weights", "expected an object"),
        ({"champion": 0.5, "challenger-1": 0.5}, "weights.challenger-2", "is required"),
        (
            {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.2, "other": 0.1},
            "weights.other",
            "is no arm",
        ),
        (
            {"champion": 0.5, "challenger-1": 0.3, "challenger-2": 0.3},
            "weights",
            "add up to 1.1",
        ),
        ({"champion": 50, "challenger-1": 25, "challenger-2": 25}, "weights.champion", "0.50"),
        (
            {"champion": 0.9995, "challenger-1": 0.0005, "challenger-2": 0.0},
            "weights.challenger-1",
            "at least 0.001",
        ),
        (
            {"champion": 0.5, "challenger-1": 0.5, "challenger-2": 0},
            "weights.challenger-2",
            "at least",
        ),
        ({"champion": True, "challenger-1": 0.5, "challenger-2": 0.5}, "weights.champion", "share"),
    ],
)
def test_what_is_wrong_is_named(value: Any, field: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        read_weights(value, ARMS, "weights")
    assert refused.value.field == field


def test_an_edit_may_give_a_challenger_nothing_but_never_the_champion() -> None:
    dropped = {"champion": 0.5, "challenger-1": 0.5, "challenger-2": 0}
    assert read_weights(dropped, ARMS, "weights", zero=True)["challenger-2"] == 0.0
    alone = {"champion": 0, "challenger-1": 0.5, "challenger-2": 0.5}
    with pytest.raises(InvalidInput, match=r"weights\.champion"):
        read_weights(alone, ARMS, "weights", zero=True)
