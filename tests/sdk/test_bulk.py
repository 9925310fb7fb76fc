from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM, keyed_hash
from controller.assignment.ruleset import Kill, Layer, Overrides, Ruleset, Share, SlotRules
from controller.sdk.bulk import assign_array
from tests.unit.assignment.rulesets import PREVIOUS, rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(3000)]
THIRDS = ((3334, "champion"), (6667, "challenger"), (10_000, "challenger"))

SLOTS: dict[str, Callable[[], SlotRules]] = {
    "plain": lambda: slot(rollout()),
    "everybody": lambda: slot(rollout(enrolled_ppm=PPM)),
    "nobody": lambda: slot(rollout(enrolled_ppm=0)),
    "retired": lambda: slot(rollout(enrolled_ppm=PPM, runs=THIRDS, retired=((0, 900),))),
    "one arm": lambda: slot(rollout(enrolled_ppm=PPM, runs=((10_000, "champion"),))),
    "rest": slot,
    "unobserved": lambda: slot(observe=None),
    "killed": lambda: slot(rollout(), kill=Kill(to="previous", model=PREVIOUS)),
    "unreadable": lambda: slot(unreadable="from the future"),
    "held": lambda: slot(rollout(), holdouts=(Share(salt="h", ppm=300_000),)),
    "layered": lambda: slot(rollout(), layer=Layer(name="l", salt="l", ranges=((0, 5000),))),
    "overridden": lambda: slot(
        rollout(enrolled_ppm=0),
        overrides=Overrides(key="k", arms={keyed_hash("k", "departure", "flight-7"): "challenger"}),
    ),
    "eligible": lambda: slot(
        rollout(enrolled_ppm=PPM, eligible={"attribute": "n", "op": "lt", "value": 1000})
    ),
}


def expected(rules: Ruleset, units: Any, columns: dict[str, Any] | None = None) -> list[Any]:
    rows = [
        {name: column[number] for name, column in (columns or {}).items()}
        for number in range(len(units))
    ]
    return [evaluate(rules, "alert", unit, row) for unit, row in zip(units, rows, strict=True)]


@pytest.mark.parametrize("name", SLOTS)
def test_a_column_gets_the_answers_of_its_units(name: str) -> None:
    rules = ruleset(SLOTS[name]())
    columns = {"n": list(range(len(UNITS)))}
    bulk = assign_array(rules, "alert", UNITS, columns)
    assert [bulk.choices[code] for code in bulk.codes] == expected(rules, UNITS, columns)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_every_kind_of_column(kind: Callable[[Any], Any]) -> None:
    rules = ruleset(slot(rollout()))
    bulk = assign_array(rules, "alert", kind(UNITS))
    answers = expected(rules, UNITS)
    assert bulk.arms.tolist() == [choice.arm for choice in answers]
    assert bulk.reasons.tolist() == [choice.reason for choice in answers]
    assert bulk.exposed.tolist() == [choice.exposed for choice in answers]


@pytest.mark.parametrize(
    "strange", [[""], ["a\nb"], ["é"], ["\ud800"], [None], [5], ["x" * 257], ["1", 2, "3"]]
)
def test_strange_units_beside_good_ones(strange: list[Any]) -> None:
    rules = ruleset(slot(rollout()))
    units = [*UNITS[:50], *strange, *UNITS[50:100]]
    bulk = assign_array(rules, "alert", units)
    assert [bulk.choices[code] for code in bulk.codes] == expected(rules, units)


def test_an_unknown_slot_and_an_empty_column() -> None:
    rules = ruleset(slot(rollout()))
    assert assign_array(rules, "nowhere", ["1", "2"]).reasons.tolist() == ["UNKNOWN_SLOT"] * 2
    assert assign_array(rules, "alert", []).arms.tolist() == []


def test_columns_of_another_length_are_an_error() -> None:
    rules = ruleset(SLOTS["eligible"]())
    with pytest.raises(ValueError, match="argument"):
        assign_array(rules, "alert", UNITS, {"n": [1]})
