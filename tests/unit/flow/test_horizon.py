"""How many units a plan without a stated horizon asks for."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import pytest

from controller.flow.ports.statistics import Observed
from controller.rollout.states import Verb
from tests.unit.flow.desk import CHALLENGER, Desk

MDE, VARIANCE, POWER, ALPHA = 0.02, 0.25, 0.9, 0.05
OTHERS = [CHALLENGER, {"name": "net", "version": "2"}, {"name": "net", "version": "3"}]
LOOKING = 1.2
"""Looking on the way costs a plan less than a fifth of its units, with futility."""


def frozen(count: int, oec: Mapping[str, Any] | None = None, **wanted: Any) -> int:
    """Horizon of a plan with so many challengers."""
    desk = Desk({"oec": {}}, slot={"oec": {"metric": "on-time", "mde": MDE, **(oec or {})}})
    desk.baseline = Observed(units=1000, mean=0.5, sd=VARIANCE**0.5)
    rollout = desk.create(challengers=OTHERS[:count], **wanted)
    return desk.do(rollout, Verb.SUBMIT).frozen_plan.horizon


def fixed(alpha: float, *, sides: int = 2, weight: float, champion: float) -> float:
    """Units at which a test that is looked at once has its power."""
    quantile = NormalDist().inv_cdf
    size = (quantile(1 - alpha / sides) + quantile(POWER)) ** 2 * VARIANCE / MDE**2
    return size * (weight + champion) / (weight * champion)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_challengers_share_alpha(count: int) -> None:
    """By Holm's first rung; a horizon at the whole alpha would leave each one underpowered."""
    equal = 1.0 / (count + 1)
    least = fixed(ALPHA / count, weight=equal, champion=equal)
    assert least < frozen(count) < LOOKING * least


def test_the_challenger_with_the_least_weight_sets_the_horizon() -> None:
    weights = {"champion": 0.5, "challenger-1": 0.4, "challenger-2": 0.1}
    least = fixed(ALPHA / 2, weight=0.1, champion=0.5)
    assert least < frozen(2, weights=weights) < LOOKING * least


def test_not_worse_is_one_sided() -> None:
    goal = {"goal": "not_worse", "margin": MDE, "mde": None}
    least = fixed(ALPHA / 2, sides=1, weight=0.5, champion=0.5)
    assert least < frozen(1, goal) < LOOKING * least
