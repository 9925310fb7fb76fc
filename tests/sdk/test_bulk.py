from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM, keyed_hash
from controller.assignment.ruleset import Kill, Layer, Overrides, Ruleset, Share, SlotRules
from controller.errors import InvalidInput
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
    for name in ("eligible", "plain"):
        with pytest.raises(InvalidInput, match="1 values for 3000 units"):
            assign_array(ruleset(SLOTS[name]()), "alert", UNITS, {"n": [1]})
    with pytest.raises(InvalidInput, match="2 dimensions"):
        assign_array(ruleset(SLOTS["plain"]()), "alert", np.array([["1", "2"]]))


def same(rules: Ruleset, column: Any, units: list[Any]) -> None:
    """Whatever holds the ids, each gets what one call for it gives."""
    bulk = assign_array(rules, "alert", column)
    assert [bulk.choices[code] for code in bulk.codes] == expected(rules, units)


@pytest.mark.parametrize("algo", [1, 2])
def test_integers_and_bytes_are_read_as_text(algo: int) -> None:
    rules = ruleset(slot(rollout(algo=algo)))
    numbers = [0, 1, 9, 10, 99, 100, -1, -10, 2**31, -(2**63), 2**63 - 1, *range(500)]
    same(rules, np.array(numbers, dtype=np.int64), [str(number) for number in numbers])
    same(rules, np.array([0, 2**64 - 1], dtype=np.uint64), ["0", str(2**64 - 1)])
    same(rules, np.array([-128, 127], dtype=np.int8), ["-128", "127"])
    same(rules, pd.Series([5, None, 7], dtype="Int64"), ["5", None, "7"])
    same(rules, pd.Index([3, 1, 2]), ["3", "1", "2"])
    texts = ["a", "flight-1", "é", "\U0001f600"]
    same(rules, [text.encode() for text in texts], texts)
    same(rules, np.array([text.encode() for text in texts]), texts)
    same(rules, np.array([b"a", b"\xff", b"flight-9"]), ["a", None, "flight-9"])
    same(rules, [b"a", b"\xff\xfe", "flight-9"], ["a", None, "flight-9"])
    same(rules, [1, 2.5, True, None, "x"], [1, 2.5, True, None, "x"])
    same(rules, np.array([1.0, 2.5]), [1.0, 2.5])


@pytest.mark.parametrize("algo", [1, 2])
def test_ids_of_every_length_and_every_kind_of_column(algo: int) -> None:
    rules = ruleset(slot(rollout(algo=algo)))
    units = ["x" * length for length in range(1, 258)] + ["é" * length for length in (1, 127, 129)]
    units += [
        *(str(number) for number in range(900)),
        "\U0001f600" * 64,
        "日本語",
        "\ue000",
        "\uffff",
    ]
    same(rules, units, units)
    same(rules, tuple(reversed(units)), units[::-1])
    same(rules, np.array(units, dtype=object), units)
    same(rules, np.array(units), units)
    same(rules, np.array(units[:200]).astype(">U300"), units[:200])
    same(rules, np.array(units[:256])[::3], units[:256:3])
    same(rules, pd.Series(units, dtype="str"), units)
    same(rules, pd.Series(units).astype("category"), units)
    arrow = pd.Series(units, dtype="string[pyarrow]")
    same(rules, arrow, units)
    same(rules, arrow[::-1], units[::-1])
    same(rules, arrow[50:90], units[50:90])
    same(rules, arrow[:0], [])
    same(rules, pd.concat([arrow[3:9], arrow[40:]]), units[3:9] + units[40:])
    same(
        rules, pd.Series(["1", None, "", "a\nb"], dtype="string[pyarrow]"), ["1", None, "", "a\nb"]
    )
    same(rules, pd.Series(["1", "", "a\nb", "2\x85"], dtype="str"), ["1", "", "a\nb", "2\x85"])
    same(rules, pd.Series(["", ""], dtype="str"), ["", ""])
    same(rules, pd.Series(units, dtype="string[python]"), units)
    same(rules, pd.Index(units), units)
    same(rules, pd.Series([5, 7], dtype="int64[pyarrow]"), ["5", "7"])
    same(rules, (unit for unit in units), units)


@pytest.mark.parametrize("algo", [1, 2])
@pytest.mark.parametrize(
    "bad",
    ["", "\x00", "a\x00b", "\x1f", "a\x1fb", "\n", "a\nb", "\n\n", "\x7f", "\x80", "\x9f", "é\x85",
     "x" * 257, "é" * 129, "\ud800", "\ude00\ud83d", None, 5, 1.5, True],
)  # fmt: skip
def test_an_invalid_id_is_answered_as_by_the_scalar_path_and_alone(bad: Any, algo: int) -> None:
    for rules in (
        ruleset(slot(rollout(algo=algo))),
        ruleset(slot(rollout(algo=algo), holdouts=(Share(salt="h", ppm=300_000),))),
        ruleset(slot(rollout(algo=algo), kill=Kill(to="previous", model=PREVIOUS))),
    ):
        for units in ([bad], [bad, "1"], ["1", bad, "2"], ["1", "é", bad], [bad] * 3):
            same(rules, units, units)
            same(rules, np.array(units, dtype=object), units)
        if isinstance(bad, str) and not bad.endswith("\x00"):
            same(rules, np.array(["1", bad, "234"]), ["1", bad, "234"])


@pytest.mark.parametrize("name", SLOTS)
def test_a_column_that_splits_with_xxh3_gets_the_answers_of_its_units(name: str) -> None:
    made = SLOTS[name]()
    if made.rollout is not None:
        made = replace(made, rollout=replace(made.rollout, algo=2))
    rules, columns = ruleset(made), {"n": np.arange(len(UNITS))}
    units = [*UNITS[:1500], None, *UNITS[1501:]]
    bulk = assign_array(rules, "alert", units, columns)
    answers = expected(rules, units, {"n": list(range(len(UNITS)))})
    assert [bulk.choices[code] for code in bulk.codes] == answers


@given(
    st.lists(st.text(max_size=40) | st.text("ab\x00\n\x1fé\x85", max_size=5), max_size=30),
    st.text("0123456789abcdef", min_size=1, max_size=64),
    st.text("abcdefgh", min_size=1, max_size=64),
)
@settings(max_examples=150)
def test_any_text_under_any_prefix(units: list[str], salt: str, unit_type: str) -> None:
    made = replace(slot(rollout(salt=salt, algo=2)), unit_type=unit_type)
    same(ruleset(made), units, units)


@pytest.mark.parametrize(
    "tree",
    [
        {"attribute": "a", "op": "eq", "value": 1},
        {"attribute": "a", "op": "eq", "value": True},
        {"not": {"or": [{"attribute": "a", "op": "gte", "value": 1},
                        {"attribute": "b", "op": "prefix", "value": "x"}]}},
        {"attribute": "missing", "op": "exists", "value": False},
        {"attribute": "a", "op": "from the future", "value": 1},
        {"and": "broken"},
    ],
)  # fmt: skip
def test_conditions_see_kinds_as_the_scalar_path_does(tree: dict[str, Any]) -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=900_000, eligible=tree, algo=2)))
    strange = [1, True, 1.0, "1", None, 2**53 + 2, float("nan"), 0, False, [1], {"x": 1}]
    units = [*UNITS[:330], None]
    texts = ["x", "y", None, 5, "xy"]
    for cycle in (strange, [1, 0, 2, None], [True, False], [1.5, float("nan")], ["a", "b"]):
        columns: dict[str, list[Any]] = {
            "a": [cycle[number % len(cycle)] for number in range(len(units))],
            "b": [texts[number % len(texts)] for number in range(len(units))],
            "unread": list(range(len(units))),
        }
        bulk = assign_array(rules, "alert", units, columns)
        answers = expected(rules, units, columns)
        assert [bulk.choices[code] for code in bulk.codes] == answers


def test_categories_are_the_two_parts_of_a_categorical_column() -> None:
    bulk = assign_array(ruleset(SLOTS["retired"]()), "alert", [*UNITS, ""])
    for (names, codes), values in (
        (bulk.arm_categories, bulk.arms),
        (bulk.reason_categories, bulk.reasons),
    ):
        assert len(set(names)) == len(names)
        assert pd.Categorical.from_codes(codes, pd.Index(names)).tolist() == values.tolist()
    assert set(bulk.reason_categories[0]) >= {"SPLIT", "RETIRED", "INVALID_UNIT"}
    listed = list(bulk.choices)
    assert all(choice not in listed[:place] for place, choice in enumerate(listed))
