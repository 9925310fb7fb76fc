"""A quantile's levels on a page are those its difference is the difference of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from controller.aggregation.statistics import Freshness, QuantileGrid
from controller.analysis.report import MetricReport
from controller.experiments.metrics import Direction, MetricType, ZeroMeans
from controller.experiments.slots import Guardrail
from tests.unit.analysis.looking import counts, walk
from tests.worlds import EVEN, plan, statistics
from tests.worlds import metric as metric_of

CUTS = tuple(np.geomspace(10.0, 1000.0, 90).tolist())
CELL = (1000.0 / 10.0) ** (1.0 / 89.0) - 1.0


def grid(values: ArrayLike) -> QuantileGrid:
    """One outcome a unit."""
    seen = np.asarray(values)
    below = tuple(int((seen <= cut).sum()) for cut in CUTS)
    return QuantileGrid(
        cuts=CUTS,
        units=seen.size,
        outcomes=seen.size,
        outcomes_squared=seen.size,
        below=below,
        below_squared=below,
        below_outcomes=below,
    )


def look(*epochs: tuple[ArrayLike, ArrayLike]) -> MetricReport:
    wait = metric_of(
        "wait",
        type=MetricType.QUANTILE,
        q=0.9,
        direction=Direction.DECREASE,
        zero_means=ZeroMeans.UNKNOWN,
    )
    chosen = plan(guardrails={"wait": (wait, Guardrail(metric="wait", margin=20.0))})
    grids = {
        ("wait", number, arm): grid(values)
        for number, pair in enumerate(epochs)
        for arm, values in zip(EVEN, pair, strict=True)
        if np.asarray(values).size
    }
    ages = {"wait": Freshness(age_seconds=1.0), "conversion": Freshness(age_seconds=1.0)}
    cells = {
        ("conversion", number, arm): cell
        for number in range(len(epochs))
        for (_, _, arm), cell in counts(1000, 0.1, 0.1).moments.items()
    }
    seen = statistics(cells, weights=(EVEN,) * len(epochs))
    found = walk(chosen, replace(seen, grids=grids, freshness=ages))[0].metric("wait")
    assert found is not None
    return found


def test_levels_differ_by_the_difference_shown() -> None:
    rng = np.random.default_rng(1)
    champion, challenger = rng.lognormal(4.0, 0.6, 3000), 1.04 * rng.lognormal(4.0, 0.6, 3000)
    found = look((champion, challenger))
    levels = {arm: seen.mean for arm, seen in found.arms.items()}
    estimate = found.comparisons[0].estimate
    assert estimate is not None
    assert estimate != 0.0
    assert levels["challenger"] - levels["champion"] == pytest.approx(estimate, rel=1e-6)  # type: ignore[operator]
    for arm, values in (("champion", champion), ("challenger", challenger)):
        assert levels[arm] == pytest.approx(np.quantile(values, 0.9), rel=CELL)
        assert levels[arm] not in CUTS


def test_an_epoch_that_one_arm_has_not_entered_is_in_neither() -> None:
    rng = np.random.default_rng(2)
    pair = (rng.lognormal(4.0, 0.6, 2000), rng.lognormal(4.0, 0.6, 2000))
    early = 5.0 * rng.lognormal(4.0, 0.6, 2000)
    found = look((early, ()), pair)
    assert found.arms["champion"].n == 4000
    levels = {arm: seen.mean for arm, seen in found.arms.items()}
    assert levels["challenger"] - levels["champion"] == pytest.approx(  # type: ignore[operator]
        found.comparisons[0].estimate, rel=1e-6
    )


def test_a_level_beyond_the_grid_is_unknown() -> None:
    found = look((np.full(100, 2000.0), np.full(100, 2.0)))
    assert [seen.mean for seen in found.arms.values()] == [None, None]


def test_the_report_says_how_far_a_level_may_be_off() -> None:
    rng = np.random.default_rng(3)
    found = look((rng.lognormal(4.0, 0.6, 200), rng.lognormal(4.0, 0.6, 200)))
    assert found.relative_error == pytest.approx(CELL, rel=1e-9)
    assert found.document()["relative_error"] == found.relative_error
    assert "relative_error" not in walk(plan(), counts(100, 0.1, 0.1))[0].metrics[0].document()
