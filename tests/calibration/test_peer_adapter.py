"""Our tests, joined to a harness of peers: the same verdicts as on our own streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.benchmarks.peer_adapter import anytime, planned, planned_with_futility, stream_of
from tests.benchmarks.sequential_errors import ours, ours_anytime

pytestmark = pytest.mark.calibration

RUNS, LOOKS, BLOCK = 40, 30, 50


def sums(seed: int = 1, lift: float = 0.2) -> dict[str, Any]:
    """Sums of normal outcomes by look, as the harness hands them over."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0.0, 1.0, (2, RUNS, LOOKS, BLOCK)) + np.array([0.0, lift])[:, None, None, None]
    n = BLOCK * np.arange(1, LOOKS + 1)
    s, q = y.sum(axis=3).cumsum(axis=2), (y * y).sum(axis=3).cumsum(axis=2)
    return {"n1": n, "n2": n, "s1": s[0], "s2": s[1], "q1": q[0], "q2": q[1]}


CONTEXT: dict[str, Any] = {"N": 2 * BLOCK * LOOKS, "alpha": 0.05}


def test_the_stream_is_the_score_of_the_pooled_units() -> None:
    given = sums()
    seen = stream_of(given, CONTEXT["N"])
    n, s, q = given["n1"][-1], given["s1"][0, -1] + given["s2"][0, -1], given["q1"] + given["q2"]
    pooled = (q[0, -1] - s * s / (2 * n)) / (2 * n - 1)
    assert seen.null_variance[0, -1] == pytest.approx(pooled)
    assert seen.fraction[-1] == 1.0


def test_verdicts_are_those_of_our_own_benchmark() -> None:
    given = sums()
    seen = stream_of(given, CONTEXT["N"])
    for adapter, method in (
        (planned, ours(-2.0)),
        (planned_with_futility, ours(-3.0, futility=True)),
        (anytime, ours_anytime),
    ):
        found, expected = adapter(given, CONTEXT), method(seen)
        assert (found["reject"] == expected.rejects).all()
        assert (found["accept"] == expected.gives_up).all()
        inside = np.abs(seen.difference) < found["half"]
        assert (inside == ~found["reject"]).mean() > 0.999


def test_no_variance_shows_nothing_and_raises_nothing() -> None:
    nothing = {name: np.zeros_like(value) for name, value in sums().items()}
    given = {**nothing, "n1": sums()["n1"], "n2": sums()["n2"]}
    assert not planned(given, CONTEXT)["reject"].any()
    assert not anytime(given, CONTEXT)["reject"].any()
