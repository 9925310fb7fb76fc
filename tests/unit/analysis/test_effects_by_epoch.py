"""The effect epoch by epoch: what the estimate is an average of, and whether the epochs agree."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis.look import take_look
from controller.analysis.report import Comparison, LookInput, MetricVerdict
from controller.analysis.verification import verify_evidence
from controller.experiments.canonical import canonical_json
from controller.experiments.metrics import Direction, MetricType
from controller.experiments.plans import Plan
from controller.experiments.slots import Guardrail
from tests.unit.analysis.looking import walk
from tests.worlds import EVEN, binary, metric, moments, plan, ratio_moments, statistics

SPEND = metric(type=MetricType.MEAN)


def spending(*lifts: float, n: int = 400, seed: int = 3) -> dict[tuple[str, int, str], Moments]:
    rng = np.random.default_rng(seed)
    return {
        ("conversion", epoch, arm): moments(rng.normal(100.0, 10.0, n) + lift * i)
        for epoch, lift in enumerate(lifts)
        for i, arm in enumerate(EVEN)
    }


def stages(cells: dict[tuple[str, int, str], Moments], *enrolled: float) -> Statistics:
    seen = statistics(cells, weights=(EVEN,) * len(enrolled))
    epochs = zip(seen.epochs, enrolled, strict=True)
    return replace(seen, epochs=tuple(replace(one, enrolled=share) for one, share in epochs))


def found(chosen: Plan, seen: Statistics, key: int = 0) -> Comparison:
    return walk(chosen, seen)[0].metrics[key].comparisons[0]


def test_effects_that_cancel_are_told_apart() -> None:
    """+10 and -10: the average is no difference, and it is the average of a difference."""
    comparison = found(plan(oec=SPEND), stages(spending(10.0, -10.0), 0.1, 0.5))
    epochs = comparison.epochs
    assert comparison.verdict is not MetricVerdict.BETTER
    assert comparison.estimate == pytest.approx(0.0, abs=1.5)
    assert epochs is not None
    assert epochs.differ
    assert epochs.p is not None
    assert epochs.p < 1e-20
    assert epochs.freedom == 1
    first, second = epochs.effects
    assert (first.enrolled, second.enrolled) == (0.1, 0.5)
    assert (first.n_champion, first.n_challenger) == (400, 400)
    assert first.estimate == pytest.approx(10.0, abs=2.5)
    assert second.estimate == pytest.approx(-10.0, abs=2.5)
    assert first.standard_error == pytest.approx(10.0 * (2 / 400) ** 0.5, rel=0.15)


def test_epochs_that_agree_are_not_called_different() -> None:
    epochs = found(plan(oec=SPEND), stages(spending(2.0, 2.0, 2.0), 0.1, 0.5, 1.0)).epochs
    assert epochs is not None
    assert not epochs.differ
    assert epochs.p == 1.0
    assert epochs.p_single_look is not None
    assert epochs.p_single_look > 0.05


def test_cochrans_q_is_that_of_the_listed_effects() -> None:
    epochs = found(plan(oec=SPEND), stages(spending(0.0, 3.0, 1.0), 0.1, 0.5, 1.0)).epochs
    assert epochs is not None
    effect = np.array([one.estimate for one in epochs.effects])
    precision = np.array([1.0 / (one.standard_error or 0.0) ** 2 for one in epochs.effects])
    pooled = (precision @ effect) / precision.sum()
    assert epochs.q == pytest.approx(precision @ (effect - pooled) ** 2, rel=1e-8)


@pytest.mark.parametrize(
    ("oec", "cells"),
    [
        (metric(type=MetricType.BINARY), {"a": (90, 120), "b": (300, 250)}),
        (SPEND, {"a": (90, 120), "b": (300, 250)}),
    ],
)
def test_the_estimate_is_the_average_of_the_listed_effects(
    oec: object, cells: dict[str, tuple[int, int]]
) -> None:
    sums = {
        ("conversion", epoch, arm): binary(600 * (epoch + 1), hits)
        for epoch, pair in enumerate(cells.values())
        for arm, hits in zip(EVEN, pair, strict=True)
    }
    comparison = found(plan(oec=oec), stages(sums, 0.1, 1.0))  # type: ignore[arg-type]
    epochs = comparison.epochs
    assert epochs is not None
    assert sum(one.share for one in epochs.effects) == pytest.approx(1.0)
    average = sum(one.share * one.estimate for one in epochs.effects)
    assert comparison.estimate == pytest.approx(average, rel=1e-8)


def test_a_ratio_and_a_relative_margin_show_the_difference_itself() -> None:
    """Neither the linearised distance from a margin nor a scaled contrast."""
    rng = np.random.default_rng(4)
    cells = {}
    for epoch, lift in enumerate((1.2, 1.0)):
        for i, arm in enumerate(EVEN):
            orders = rng.poisson(3.0, 2000) + 1.0
            spend = orders * rng.gamma(20.0, 0.5, 2000) * (lift if i else 1.0)
            cells["cost", epoch, arm] = ratio_moments(spend, orders)
            cells["conversion", epoch, arm] = binary(2000, 200)
    cost = metric("cost", type=MetricType.RATIO, denominator="orders", direction=Direction.DECREASE)
    watched = {"cost": (cost, Guardrail(metric="cost", margin_relative=0.5))}
    comparison = found(plan(guardrails=watched), stages(cells, 0.1, 1.0), 1)
    assert comparison.epochs is not None
    assert comparison.epochs.differ
    first, second = comparison.epochs.effects
    assert first.estimate == pytest.approx(2.0, abs=0.15)
    assert second.estimate == pytest.approx(0.0, abs=0.15)


def test_an_epoch_with_few_hits_is_listed_and_not_tested() -> None:
    sums = {
        ("conversion", epoch, arm): binary(n, hits)
        for epoch, (n, *pair) in enumerate([(200, 24, 4), (4000, 400, 400), (4000, 400, 410)])
        for arm, hits in zip(EVEN, pair, strict=True)
    }
    epochs = found(plan(), stages(sums, 0.01, 0.5, 1.0)).epochs
    assert epochs is not None
    assert [one.tested for one in epochs.effects] == [False, True, True]
    assert epochs.freedom == 1
    alone = found(plan(), stages(dict(list(sums.items())[:4]), 0.01, 0.5)).epochs
    assert alone is not None
    assert (alone.p, alone.q, alone.differ) == (None, None, False)
    assert len(alone.effects) == 2


def test_one_epoch_has_nothing_to_disagree_with() -> None:
    report = walk(plan(oec=SPEND), stages(spending(1.0), 1.0))[0]
    assert report.metrics[0].comparisons[0].epochs is None
    assert "epochs" not in report.document()["metrics"][0]["comparisons"][0]


def test_it_moves_no_test_and_is_recomputed_to_the_byte() -> None:
    chosen = Plan.from_document(plan(oec=SPEND).document())
    seen = stages(spending(10.0, -10.0), 0.1, 0.5)
    report = take_look(LookInput(plan=chosen, statistics=seen, number=1))
    stored = json.loads(canonical_json(report.document()))
    nothing_stored: dict[str, Any] = {}
    assert stored["metrics"][0]["comparisons"][0]["epochs"]["differ"] is True
    assert verify_evidence(stored, chosen.document(), nothing_stored.get).intact
    stored["metrics"][0]["comparisons"][0]["epochs"]["differ"] = False
    assert not verify_evidence(stored, chosen.document(), nothing_stored.get).intact
    assert "epochs" not in json.dumps(stored["memory"])


def test_it_takes_a_few_hundred_bytes_an_epoch() -> None:
    """Beside the statistics it is read from, of which every epoch has four times as many."""
    cells = spending(*[0.1 * epoch for epoch in range(12)])
    report = walk(plan(oec=SPEND), stages(cells, *[1.0] * 12))[0]
    comparison = report.document()["metrics"][0]["comparisons"][0]
    assert len(canonical_json(comparison["epochs"])) < 12 * 200
