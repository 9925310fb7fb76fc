"""A quantile that decides: in anytime mode, where claim and interval are one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.aggregation.statistics import Freshness, Statistics
from controller.analysis.look import take_look
from controller.analysis.report import Comparison, LookInput, MetricVerdict
from controller.experiments.metrics import Direction, MetricType, ZeroMeans
from controller.experiments.plans import Plan
from controller.experiments.policies import Mode, OecRules
from controller.experiments.slots import Goal
from tests.unit.analysis.test_quantile_levels import grid
from tests.worlds import metric, plan, statistics

WAIT = metric(
    "wait",
    type=MetricType.QUANTILE,
    q=0.9,
    direction=Direction.DECREASE,
    zero_means=ZeroMeans.UNKNOWN,
)
SIZES = (300, 600, 1000, 1500, 2200, 3000)
RULES = OecRules(mode=Mode.ANYTIME)


def seen(arms: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> Statistics:
    grids = {("wait", 0, arm): grid(values) for arm, values in arms.items()}
    exposed = {(0, arm): int(values.size) for arm, values in arms.items()}
    plain = statistics({}, weights=(weights,), exposed=exposed)
    return replace(plain, grids=grids, freshness={"wait": Freshness(age_seconds=1.0)})


def looks(
    chosen: Plan, arms: Mapping[str, NDArray[np.float64]], sizes: Sequence[int] = SIZES
) -> list[tuple[Comparison, ...]]:
    """The comparisons of every look; `sizes` are units of the largest arm."""
    found, previous = [], None
    most = max(chosen.weights.values())
    for number, size in enumerate(sizes, start=1):
        part = {
            arm: values[: round(size * chosen.weights[arm] / most)] for arm, values in arms.items()
        }
        look = LookInput(
            plan=chosen, statistics=seen(part, chosen.weights), number=number, previous=previous
        )
        report = take_look(look)
        previous = report.memory
        found.append(report.metrics[0].comparisons)
    return found


def drawn(rng: np.random.Generator, n: int, factor: float = 1.0) -> NDArray[np.float64]:
    return np.asarray(factor * rng.lognormal(4.0, 0.6, n))


def test_faster_tails_are_shown_and_slower_ones_too() -> None:
    rng = np.random.default_rng(1)
    chosen = plan(horizon=6000, oec=WAIT, rules=RULES)
    for factor, verdict in ((0.8, MetricVerdict.BETTER), (1.25, MetricVerdict.WORSE)):
        arms = {"champion": drawn(rng, 3000), "challenger": drawn(rng, 3000, factor)}
        assert looks(chosen, arms)[-1][0].verdict is verdict


def test_not_worse_is_shown_by_a_margin() -> None:
    rng = np.random.default_rng(2)
    chosen = plan(horizon=6000, oec=WAIT, goal=Goal.NOT_WORSE, margin=25.0, rules=RULES)
    arms = {"champion": drawn(rng, 3000), "challenger": drawn(rng, 3000)}
    assert looks(chosen, arms)[-1][0].verdict is MetricVerdict.NOT_WORSE


def test_the_look_that_decides_has_an_interval_without_zero() -> None:
    """What people approve by is the test that decided, to the grid's last cell."""
    decided = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        chosen = plan(horizon=6000, oec=WAIT, rules=RULES)
        arms = {"champion": drawn(rng, 3000), "challenger": drawn(rng, 3000, 0.87)}
        for (comparison,) in looks(chosen, arms):
            crossed, ends = comparison.tests[0].crossed, comparison.interval
            high = None if ends is None else ends.high
            without_zero = high is not None and high <= 0.0
            if crossed is None:
                assert not without_zero
                continue
            assert without_zero
            decided += 1
            break
    assert decided >= 6


def test_several_challengers_share_the_level_of_their_intervals() -> None:
    rng = np.random.default_rng(4)
    three = dict.fromkeys(("champion", "challenger-1", "challenger-2"), 1.0 / 3.0)
    both = drawn(rng, 3000), drawn(rng, 3000)
    alone = looks(
        plan(horizon=6000, oec=WAIT, rules=RULES),
        {"champion": both[0], "challenger": both[1]},
        sizes=(3000,),
    )[0][0]
    of_two = looks(
        plan(horizon=9000, oec=WAIT, rules=RULES, weights=three),
        {"champion": both[0], "challenger-1": both[1], "challenger-2": both[1]},
        sizes=(3000,),
    )[0][0]

    def width(found: Comparison) -> float:
        assert found.interval is not None
        assert found.interval.low is not None
        assert found.interval.high is not None
        return found.interval.high - found.interval.low

    assert of_two.interval is not None
    assert of_two.interval.level == pytest.approx(0.975)
    assert width(of_two) > width(alone)
