"""A ratio whose denominators do not arrive in one arm: no ratio, no claim, and a name for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments
from controller.analysis import analyze
from controller.analysis.look import take_look
from controller.analysis.report import Comparison, LookInput, LookReport
from controller.experiments.metrics import Direction, Metric, MetricType, ZeroMeans
from controller.experiments.slots import Guardrail
from tests.worlds import binary, metric, plan, ratio_moments, statistics

UNITS = 3000
FAILS = metric("fails", type=MetricType.RATIO, denominator="requests", direction=Direction.DECREASE)
SPEND = metric("fails", type=MetricType.RATIO, denominator="requests")

Arm = tuple[NDArray[np.floating], NDArray[np.floating]]


def whole(seed: int) -> Arm:
    """Few failures of many requests."""
    rng = np.random.default_rng(seed)
    return rng.poisson(0.1, UNITS).astype(float), rng.poisson(5.0, UNITS) + 1.0


def cell(arm: Arm, *, past: bool = False) -> Moments:
    return ratio_moments(*arm, before=whole(9) if past else None)


def look(*epochs: Mapping[str, Moments], key: Metric = FAILS) -> LookReport:
    guard = Guardrail(metric="fails", margin_relative=0.1)
    chosen = plan(guardrails={"fails": (key, guard)}, horizon=4 * UNITS)
    cells = {("fails", e, arm): of for e, arms in enumerate(epochs) for arm, of in arms.items()}
    cells |= {("conversion", e, arm): binary(UNITS, 300) for _, e, arm in list(cells)}
    seen = statistics(cells, weights=(dict(chosen.weights),) * len(epochs))
    return take_look(LookInput(plan=chosen, statistics=seen, number=1))


def comparison(report: LookReport) -> Comparison:
    found = report.metric("fails")
    assert found is not None
    return found.comparisons[0]


@pytest.mark.parametrize("key", [FAILS, SPEND], ids=["decrease", "increase"])
@pytest.mark.parametrize("lost", ["champion", "challenger"])
@pytest.mark.parametrize("past", [False, True], ids=["plain", "adjusted"])
@pytest.mark.parametrize("numerators", [0.0, 1.0], ids=["both lost", "denominators lost"])
def test_an_arm_without_denominators_is_silent(
    key: Metric, lost: str, past: bool, numerators: float
) -> None:
    arms = {"champion": whole(1), "challenger": whole(2)}
    arms[lost] = (arms[lost][0] * numerators, np.zeros(UNITS))
    report = look({arm: cell(of, past=past) for arm, of in arms.items()}, key=key)
    found = comparison(report)
    assert (found.verdict, found.reason) == ("unknown", "arm_silent")
    assert (found.estimate, found.interval) == (None, None)
    assert all(test.crossed is None for test in found.tests)
    fails = report.metric("fails")
    assert fails is not None
    assert fails.held["challenger"].cause == lost


@pytest.mark.parametrize("past", [False, True], ids=["plain", "adjusted"])
def test_few_units_without_denominators_have_no_ratio_yet(past: bool) -> None:
    """Twenty units may really have asked nothing: that is not silence, and no claim either."""
    some = (np.ones(20), np.zeros(20))
    report = look(
        {"champion": cell(whole(1), past=past), "challenger": ratio_moments(*some)}, key=FAILS
    )
    assert (comparison(report).verdict, comparison(report).reason) == (
        "inconclusive",
        "denominator_zero",
    )


@pytest.mark.parametrize("past", [False, True], ids=["plain", "adjusted"])
def test_an_epoch_without_a_ratio_adds_nothing(past: bool) -> None:
    """Neither to the estimate nor to the levels: all is as in the other epoch alone."""
    arms = {"champion": cell(whole(1), past=past), "challenger": cell(whole(2), past=past)}
    none = ratio_moments(np.ones(20), np.zeros(20))
    both = comparison(look(arms, {"champion": none, "challenger": none}))
    alone = comparison(look(arms))
    assert both.estimate == alone.estimate
    assert both.relative == alone.relative
    assert both.relative_interval is not None


def test_measured_zeros_are_no_silence() -> None:
    key = metric(
        "fails", type=MetricType.RATIO, denominator="requests", zero_means=ZeroMeans.UNKNOWN
    )
    arms = {"champion": cell(whole(1)), "challenger": cell((np.zeros(UNITS), np.zeros(UNITS)))}
    assert comparison(look(arms, key=key)).reason == "denominator_zero"


@pytest.mark.parametrize("mode", ["anytime", "fixed"])
def test_recorded_rows_are_held_alike(mode: str) -> None:
    (fails, asked), none = whole(1), np.zeros(UNITS)
    table = pd.DataFrame(
        {
            "arm": ["c"] * UNITS + ["t"] * UNITS,
            "fails": np.concatenate([fails, none]),
            "asked": np.concatenate([asked, none]),
        }
    )
    rule = {
        "key": "f",
        "type": "ratio",
        "numerator": "fails",
        "denominator": "asked",
        "role": "guardrail",
        "direction": "decrease",
        "margin_relative": 0.2,
        "mode": mode,
    }
    shares = {"column": "arm", "champion": "c", "weights": {"c": 0.5, "t": 0.5}}
    found = analyze(table, {"arm": shares, "metrics": [rule]}).document
    told = found["metrics"]["f"]["comparisons"]["t"]
    assert (told["verdict"], told["reason"], told["cause"]) == ("unknown", "arm_silent", "t")
