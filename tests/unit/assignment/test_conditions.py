from typing import Any

import pytest

from controller.assignment.conditions import compile_condition, unreadable_part
from controller.errors import InvalidInput


def leaf(op: str, value: Any, attribute: str = "x") -> dict[str, Any]:
    return {"attribute": attribute, "op": op, "value": value}


@pytest.mark.parametrize(
    ("tree", "attributes", "expected"),
    [
        (leaf("eq", "a"), {"x": "a"}, True),
        (leaf("eq", "a"), {"x": "b"}, False),
        (leaf("eq", "a"), {}, None),
        (leaf("eq", "a"), {"x": None}, None),
        (leaf("eq", "1"), {"x": 1}, None),
        (leaf("eq", 1), {"x": 1.0}, True),
        (leaf("eq", 1), {"x": True}, None),
        (leaf("eq", True), {"x": True}, True),
        (leaf("ne", "a"), {"x": "b"}, True),
        (leaf("ne", "a"), {}, None),
        (leaf("in", ["a", "b"]), {"x": "b"}, True),
        (leaf("in", ["a", "b"]), {"x": "c"}, False),
        (leaf("in", ["a", "b"]), {"x": 1}, None),
        (leaf("in", [1, "b"]), {"x": 1.0}, True),
        (leaf("in", [1, "b"]), {"x": True}, None),
        (leaf("not_in", ["a"]), {"x": "b"}, True),
        (leaf("not_in", ["a"]), {}, None),
        (leaf("lt", 5), {"x": 4.5}, True),
        (leaf("lte", 5), {"x": 5}, True),
        (leaf("gt", 5), {"x": 5}, False),
        (leaf("gte", 5), {"x": 5}, True),
        (leaf("gte", 5), {"x": "5"}, None),
        (leaf("gt", 5), {"x": float("nan")}, None),
        (leaf("gt", 5), {"x": float("inf")}, None),
        (leaf("gt", 5), {"x": 2**60}, None),
        (leaf("lt", "2026-02-01"), {"x": "2026-01-31"}, True),
        (leaf("prefix", "EW"), {"x": "EWR"}, True),
        (leaf("prefix", "EW"), {"x": "JFK"}, False),
        (leaf("exists", True), {"x": 0}, True),
        (leaf("exists", True), {"x": None}, False),
        (leaf("exists", False), {}, True),
        ({"not": leaf("eq", "a")}, {"x": "b"}, True),
        ({"not": leaf("eq", "a")}, {}, None),
        ({"and": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"x": "a", "y": 2}, True),
        ({"and": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"x": "a"}, None),
        ({"and": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"x": "b"}, False),
        ({"or": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"y": 2}, True),
        ({"or": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"y": 0}, None),
        ({"or": [leaf("eq", "a"), leaf("gt", 1, "y")]}, {"x": "b", "y": 0}, False),
    ],
)
def test_three_valued_logic(tree: Any, attributes: dict[str, Any], expected: bool | None) -> None:
    assert compile_condition(tree)(attributes) is expected


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {},
        {"xor": [leaf("eq", 1)]},
        {"and": []},
        {"and": leaf("eq", 1)},
        {"and": [leaf("eq", 1)], "or": [leaf("eq", 1)]},
        {"not": None},
        leaf("matches", "a.*"),
        leaf("eq", None),
        leaf("eq", [1]),
        leaf("eq", 2**60),
        leaf("in", []),
        leaf("in", "abc"),
        leaf("in", [None]),
        leaf("lt", True),
        leaf("prefix", 1),
        leaf("exists", "yes"),
        {"attribute": 1, "op": "eq", "value": 1},
        {"attribute": "x"},
        {"and": [leaf("eq", 1), leaf("semver_gt", "1.0")]},
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(tree: Any) -> None:
    with pytest.raises(InvalidInput):
        compile_condition(tree)
    assert unreadable_part(tree)


def test_depth_and_size_are_bounded() -> None:
    deep: dict[str, Any] = leaf("eq", 1)
    for _ in range(16):
        deep = {"not": deep}
    with pytest.raises(InvalidInput, match="deep"):
        compile_condition(deep)
    with pytest.raises(InvalidInput, match="nodes"):
        compile_condition({"and": [leaf("eq", 1)] * 200})
    assert unreadable_part({"and": [leaf("eq", 1)] * 199}) is None
