"""Ratios, covariates, quantiles and epochs at a look."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.aggregation.statistics import QuantileGrid
from controller.analysis.report import LookReport, MetricVerdict
from controller.experiments.metrics import Direction, MetricType, ZeroMeans
from controller.experiments.policies import Mode, OecRules
from controller.experiments.slots import Guardrail
from tests.unit.analysis.looking import claim, counts, verdict, walk
from tests.worlds import (
    EVEN,
    binary,
    metric,
    moments,
    plan,
    ratio_moments,
    statistics,
)

RNG = np.random.default_rng(5)


def test_a_ratio_is_compared_as_a_ratio() -> None:
    orders = RNG.poisson(3.0, (2, 4000)) + 1.0
    spend = orders * RNG.gamma(2.0, 5.0, (2, 4000)) * np.array([[1.0], [1.1]])
    cells = {
        ("conversion", 0, arm): ratio_moments(spend[i], orders[i]) for i, arm in enumerate(EVEN)
    }
    chosen = metric(type=MetricType.RATIO, denominator="orders")
    report = walk(plan(oec=chosen), statistics(cells))[0]
    ratios = spend.sum(axis=1) / orders.sum(axis=1)
    comparison = report.metrics[0].comparisons[0]
    assert comparison.verdict is MetricVerdict.BETTER
    assert comparison.estimate == pytest.approx(ratios[1] - ratios[0], rel=0.01)
    assert comparison.relative == pytest.approx(ratios[1] / ratios[0] - 1, rel=0.01)
    assert report.metrics[0].arms["champion"].mean == pytest.approx(ratios[0])
    empty = {key: replace(cell, denominator_mean=0.0) for key, cell in cells.items()}
    assert verdict(walk(plan(oec=chosen), statistics(empty))[0])[1] == "denominator_zero"


def test_a_covariate_takes_its_share_of_the_variance_away() -> None:
    x = RNG.normal(100, 20, (2, 3000))
    y = 0.9 * x + RNG.normal(0, 5, (2, 3000)) + np.array([[0.0], [1.0]])
    plain = {("conversion", 0, arm): moments(y[i]) for i, arm in enumerate(EVEN)}
    adjusted = {("conversion", 0, arm): moments(y[i], covariate=x[i]) for i, arm in enumerate(EVEN)}
    chosen = plan(oec=metric(type=MetricType.MEAN))
    raw = walk(chosen, statistics(plain))[0]
    sharp = walk(chosen, statistics(adjusted))[0]
    assert verdict(sharp)[0] is MetricVerdict.BETTER
    assert sharp.metrics[0].comparisons[0].estimate == pytest.approx(1.0, abs=0.4)
    assert width(sharp) < 0.4 * width(raw)


def test_a_covariate_narrows_the_relative_lift_as_much_as_the_difference() -> None:
    """Both adjusted means share the covariate's error, which all but cancels in their ratio."""
    x = RNG.normal(0, 3, (2, 3000))
    y = 20.0 + x + RNG.normal(0, 3, (2, 3000))
    chosen = plan(oec=metric(type=MetricType.MEAN), rules=OecRules(mode=Mode.ANYTIME))
    widths = []
    for covariate in (None, x):
        cells = {
            ("conversion", 0, arm): moments(
                y[i], covariate=None if covariate is None else covariate[i]
            )
            for i, arm in enumerate(EVEN)
        }
        (found,) = walk(chosen, statistics(cells))[0].metrics[0].comparisons
        ends = found.relative_interval
        assert ends is not None
        assert ends.low is not None
        assert ends.high is not None
        widths.append(ends.high - ends.low)
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(0.5), rel=0.05)


def test_a_covariate_with_a_mean_of_a_billion_loses_nothing() -> None:
    x = RNG.normal(0, 20, (2, 1000))
    y = 0.9 * x + RNG.normal(0, 5, (2, 1000))
    chosen = plan(oec=metric(type=MetricType.MEAN))

    def z_at(shift: float) -> float:
        sums = [moments(y[i], covariate=x[i]) for i in (0, 1)]
        moved = [replace(each, covariate_mean=each.covariate_mean + shift) for each in sums]
        cells = {("conversion", 0, arm): moved[i] for i, arm in enumerate(EVEN)}
        z = claim(walk(chosen, statistics(cells))[0]).z
        assert z is not None
        return z

    assert z_at(1e9) == pytest.approx(z_at(0.0), abs=1e-5)


def width(report: LookReport) -> float:
    interval = report.metrics[0].comparisons[0].interval
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_a_quantile_guardrail_is_shown_and_its_harm_found() -> None:
    cuts = tuple(np.geomspace(10, 1000, 200).tolist())

    def grid(values: Any) -> QuantileGrid:
        below = [int((values <= cut).sum()) for cut in cuts]
        n = len(values)
        return QuantileGrid(
            cuts=cuts, units=n, outcomes=n, outcomes_squared=n,
            below=tuple(below), below_squared=tuple(below), below_outcomes=tuple(below),
        )  # fmt: skip

    watched = {
        "p90": (
            metric("p90", type=MetricType.QUANTILE, q=0.9, direction=Direction.DECREASE,
                   zero_means=ZeroMeans.UNKNOWN),
            Guardrail(metric="p90", margin_relative=0.2),
        )
    }  # fmt: skip

    def slower(factor: float) -> LookReport:
        values = RNG.lognormal(4.0, 0.5, (2, 5000)) * np.array([[1.0], [factor]])
        grids = {("p90", 0, arm): grid(values[i]) for i, arm in enumerate(EVEN)}
        snapshot = counts(5000, 0.1, 0.1)
        ages = {**snapshot.freshness, "p90": snapshot.freshness["conversion"]}
        return walk(plan(guardrails=watched), replace(snapshot, grids=grids, freshness=ages))[0]

    fine = slower(1.0).metric("p90")
    assert fine is not None
    assert fine.comparisons[0].verdict is MetricVerdict.NOT_WORSE
    assert fine.comparisons[0].interval is not None
    assert fine.arms["champion"].mean == pytest.approx(np.exp(4 + 0.5 * 1.2816), rel=0.08)
    assert verdict(slower(1.6), "p90")[0] is MetricVerdict.HARM


def test_epochs_of_different_base_rates_do_not_mix() -> None:
    # Simpson: the challenger is level in each epoch, yet pooled it looks far better.
    lean, rich = {"champion": 0.5, "challenger": 0.5}, {"champion": 0.5, "challenger": 0.5}
    cells = {
        ("conversion", 0, "champion"): binary(4000, 80),
        ("conversion", 0, "challenger"): binary(400, 8),
        ("conversion", 1, "champion"): binary(1000, 300),
        ("conversion", 1, "challenger"): binary(4000, 1200),
    }
    report = walk(plan(), statistics(cells, weights=(lean, rich)))[0]
    assert report.metrics[0].comparisons[0].estimate == pytest.approx(0.0, abs=1e-12)
    arms = report.metrics[0].arms
    assert arms["challenger"].mean > 3 * arms["champion"].mean  # type: ignore[operator]
