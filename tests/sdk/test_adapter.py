"""The adapter by which our SDK is measured beside others really assigns."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.benchmarks import sdk_adapter

SPEC: dict[str, Any] = {
    "experiments": [
        {
            "key": "free",
            "salt": "a:2026",
            "arms": [["champion", 0.8], ["b", 0.2]],
            "targeting": None,
        },
        {
            "key": "aimed",
            "salt": "b:2026",
            "arms": [["champion", 0.5], ["b", 0.5]],
            "targeting": {"attribute": "country", "in": ["US", "GB"]},
        },
    ]
}
UNITS = [f"user-{number}" for number in range(4000)]


@pytest.mark.parametrize("made", [sdk_adapter.sha256, sdk_adapter.xxh3])
def test_arms_have_their_shares_and_a_column_gets_the_same(made: Any) -> None:
    evaluator = made(SPEC)
    arms = [evaluator.evaluate("free", unit, {}) for unit in UNITS]
    assert abs(Counter(arms)["b"] - 800) < 4 * 25.3
    names, codes = evaluator.evaluate_batch("free", UNITS)
    assert [names[code] for code in codes] == arms
    assert evaluator.evaluate("aimed", "user-1", {"country": "FR"}) is None
    assert evaluator.evaluate("aimed", "user-1", {"country": "GB"}) in {"champion", "b"}
    evaluator.close()


def test_the_two_hashes_split_differently() -> None:
    one, two = sdk_adapter.sha256(SPEC), sdk_adapter.xxh3(SPEC)
    assert any(one.evaluate("free", unit, {}) != two.evaluate("free", unit, {}) for unit in UNITS)
    one.close()
    two.close()
