"""Whether stages disagree, asked at every look of a ramp: Cochran's test peeked at, and ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments
from controller.analysis.epochs import DIFFER_ALPHA
from controller.analysis.look import take_look
from controller.analysis.report import Epochs, LookInput
from controller.experiments.metrics import MetricType
from controller.experiments.policies import Mode, OecRules
from tests.worlds import metric, moments, plan, statistics

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
RUNS, LOOKS = 300, 10


def normal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(5.0, 2.0, n)


def payers(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Two in a hundred pay, a few of them a lot."""
    paid = np.exp(rng.normal(3.0, 1.0, n))
    return np.where(rng.random(n) < 0.02, paid, 0.0)


def ramp(
    rng: np.random.Generator,
    draw: Draw,
    sizes: Sequence[int],
    weight: float,
    lifts: Sequence[float],
) -> list[Epochs]:
    """What every look of one ramp says about its stages."""
    split = {"champion": 1.0 - weight, "challenger": weight}
    mode = OecRules(mode=Mode.ANYTIME)
    chosen = plan(horizon=sum(sizes), oec=metric(type=MetricType.MEAN), rules=mode, weights=split)
    cells: dict[tuple[str, int, str], Moments] = {}
    said = []
    for epoch, (size, lift) in enumerate(zip(sizes, lifts, strict=True)):
        treated = rng.random(size) < weight
        values = draw(rng, size) + lift * treated
        for look in range(1, LOOKS + 1):
            seen = slice(0, size * look // LOOKS)
            for arm, mine in (("champion", ~treated), ("challenger", treated)):
                cells["conversion", epoch, arm] = moments(values[seen][mine[seen]])
            snapshot = statistics(cells, weights=(split,) * (epoch + 1))
            report = take_look(LookInput(plan=chosen, statistics=snapshot, number=1))
            found = report.metrics[0].comparisons[0].epochs
            if found is not None:
                said.append(found)
    return said


@pytest.mark.parametrize(
    ("draw", "sizes", "weight"),
    [(normal, (150, 600, 2400), 0.5), (payers, (16_000, 32_000), 0.1)],
    ids=["normal, even", "2 % payers at 90/10"],
)
def test_stages_that_agree_are_seldom_called_different(
    draw: Draw, sizes: Sequence[int], weight: float
) -> None:
    """At most .01 of ramps, however often one looks; a Cochran test peeked at is worse than that.

    300 ramps; two Monte Carlo standard errors of .01 are .0115.
    """
    rng = np.random.default_rng(20)
    runs = [ramp(rng, draw, sizes, weight, [0.3] * len(sizes)) for _ in range(RUNS)]
    ours = sum(any(one.differ for one in run) for run in runs) / RUNS
    peeked = [min((one.p_single_look or 1.0) for one in run) <= DIFFER_ALPHA for run in runs]
    assert ours <= DIFFER_ALPHA + 2.0 * math.sqrt(DIFFER_ALPHA * (1.0 - DIFFER_ALPHA) / RUNS)
    if draw is normal:
        assert sum(peeked) / RUNS > 0.03


def test_stages_that_disagree_are_found() -> None:
    rng = np.random.default_rng(21)
    runs = [ramp(rng, normal, (150, 600, 2400), 0.5, [0.0, 0.8, -0.3]) for _ in range(40)]
    assert sum(run[-1].differ for run in runs) / 40 > 0.9
