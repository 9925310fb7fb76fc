"""Power, units to decision and width of the planned test: the figures that the design promises.

A short version of `python -m tests.benchmarks.sequential_errors`.
"""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.sequential_errors import Mark, laws, mark, ours, stream

pytestmark = pytest.mark.calibration

RUNS = 1500
LAWS = ("normal", "conversion 0.5")


def marks(name: str, *, futility: bool) -> dict[float, Mark]:
    law = next(each for each in laws() if each.name == name)
    method = ours(-3.0 if futility else -2.0, futility=futility)
    found = {}
    for multiple in (0.0, 1.0, 2.0):
        s = stream(law, multiple * law.effect, runs=RUNS, looks=100, seed=31)
        found[multiple] = mark(method(s), s.fraction)
    return found


def error(p: float) -> float:
    return math.sqrt(p * (1.0 - p) / RUNS)


# The stopping share has a standard deviation near .3 N.
ASN_ERROR = 0.3 / math.sqrt(RUNS)


@pytest.mark.parametrize("name", LAWS)
def test_without_futility(name: str) -> None:
    found = marks(name, futility=False)
    assert found[0.0].claims <= 0.05 + 2 * error(0.05)
    assert found[1.0].claims >= 0.87 - 2 * error(0.87)
    assert found[1.0].expected <= 0.625 + 2 * ASN_ERROR
    assert found[2.0].expected <= 0.25 + 2 * ASN_ERROR
    assert found[1.0].width <= 1.17


@pytest.mark.parametrize("name", LAWS)
def test_with_non_binding_futility(name: str) -> None:
    found = marks(name, futility=True)
    assert found[0.0].claims <= 0.05 + 2 * error(0.05)
    assert found[0.0].expected <= 0.60 + 2 * ASN_ERROR
    assert found[1.0].claims >= 0.87 - 2 * error(0.87)
    assert found[1.0].expected <= 0.62 + 2 * ASN_ERROR
    assert found[2.0].expected <= 0.27 + 2 * ASN_ERROR
    assert found[1.0].width <= 1.13
