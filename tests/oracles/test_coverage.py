"""No reference value goes unheld: each belongs to a test, or a sentence says why it cannot."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REFERENCE = 124
HELD = {
    "anytime_oracles.json": ("test_anytime_oracles.py",),
    "fixed_horizon.json": ("test_fixed_horizon.py",),
    "group_sequential.json": ("test_group_sequential.py",),
    "peers_oracles.json": ("test_peers_oracles.py",),
}


def values(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / name).read_text())["values"]
    return found


def key(value: dict[str, Any]) -> tuple[str, str]:
    return value["name"], json.dumps(value["inputs"], sort_keys=True)


def test_every_reference_value_is_held_or_explained_once() -> None:
    held = [key(value) for name in HELD for value in values(name)]
    explained = [key(value) for value in values("not_applicable.json")]
    assert max(Counter(held + explained).values()) == 1
    assert len(held) + len(explained) == REFERENCE
    assert all(len(value["why"]) > 60 for value in values("not_applicable.json"))


@pytest.mark.parametrize("name", HELD)
def test_every_group_of_values_is_named_by_a_test_beside_it(name: str) -> None:
    source = "\n".join((HERE / test).read_text() for test in HELD[name])
    named = set(re.findall(r'"([a-z0-9_]+)"', source))
    for group in {value["name"] for value in values(name)}:
        assert any(group.startswith(word) for word in named if len(word) > 3), group
