"""Few hits in recorded data: an exact ratio beside the asymptotic test, and an alarm that hears."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from controller.stats.counts import EpochEvents, RateRatio, rate_ratio

SHARES = {"control": 0.9, "treatment": 0.1}
ERRORS: dict[str, Any] = {
    "key": "errors",
    "type": "binary",
    "column": "failed",
    "role": "guardrail",
    "direction": "decrease",
    "margin_relative": 0.2,
    "mode": "anytime",
}


def rows(control: int, treatment: int) -> pd.DataFrame:
    """9,000 and 1,000 units, of which so many failed."""
    arm = np.repeat(["control", "treatment"], [9000, 1000])
    failed = np.zeros(10_000, dtype=int)
    failed[:control] = 1
    failed[9000 : 9000 + treatment] = 1
    order = np.random.default_rng(3).permutation(10_000)
    return pd.DataFrame({"arm": arm, "failed": failed, "opened": failed * 3}).iloc[order]


def comparison(data: pd.DataFrame, metric: dict[str, Any]) -> dict[str, Any]:
    described = {"arm": {"column": "arm", "champion": "control", "weights": SHARES}}
    report = analyze(data, {**described, "metrics": [metric]}).document
    (found,) = report["metrics"][metric["key"]]["comparisons"].values()
    return dict(found)


def test_a_dozen_failures_of_a_tenth_of_the_traffic_are_harm() -> None:
    found = comparison(rows(2, 12), ERRORS)
    assert found["verdict"] == "harm"
    assert found["harm"]["alarm"]
    assert comparison(rows(110, 12), ERRORS)["verdict"] != "harm"


def test_the_exact_ratio_stands_beside_it() -> None:
    found = comparison(rows(2, 12), ERRORS)["rare"]
    wanted = rate_ratio(
        [EpochEvents(control=2, treatment=12, share=0.1)], alpha=0.05, concentration=4.0
    )
    assert isinstance(wanted, RateRatio)
    assert found["hits"] == [2, 12]
    assert found["rate_ratio"] == pytest.approx(54.0)
    assert found["ci"] == pytest.approx([wanted.lower, wanted.upper])
    assert found["p"] == wanted.p_value
    assert found["ci"][0] > 1.0


def test_an_arm_without_hits_leaves_an_end_open() -> None:
    found = comparison(rows(0, 12), ERRORS)["rare"]
    assert found["rate_ratio"] is None
    assert found["ci"][1] is None


def test_enough_hits_or_none_at_all_need_no_exact_ratio() -> None:
    assert "rare" not in comparison(rows(300, 40), ERRORS)
    assert "rare" not in comparison(rows(0, 0), ERRORS)


def test_of_a_count_units_are_counted_once() -> None:
    opened = ERRORS | {"key": "tickets", "type": "count", "column": "opened"}
    assert comparison(rows(2, 12), opened)["rare"]["hits"] == [2, 12]
    more = opened | {"direction": "increase"}
    assert "rare" not in comparison(rows(2, 12), more)


FIXED: dict[str, Any] = {"key": "errors", "type": "binary", "column": "failed", "mode": "fixed"}


def test_few_hits_are_tested_by_the_score_of_statsmodels() -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    whole = comparison(rows(90, 20), FIXED)
    found = whole["fixed"]
    arms = (20, 1000, 90, 9000)
    score = test_proportions_2indep(*arms, value=0.0, method="score")
    assert found["method"] == "score"
    assert found["p"] == pytest.approx(float(score.pvalue), rel=1e-9)
    ends = confint_proportions_2indep(*arms, compare="diff", method="score")
    assert found["ci"] == pytest.approx(list(ends), rel=1e-6)
    ratio = confint_proportions_2indep(*arms, compare="ratio", method="score")
    assert whole["relative"]["ci"] == pytest.approx([end - 1.0 for end in ratio], rel=1e-6)
    assert whole["estimate"] == pytest.approx(0.01)
    assert comparison(rows(90, 25), FIXED)["fixed"]["method"] == "pooled_z"


def test_few_hits_of_a_guardrail_are_tested_against_its_margin_on_one_side() -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    guardrail = {**FIXED, "role": "guardrail", "direction": "decrease", "margin": 0.01}
    found = comparison(rows(90, 10), guardrail)["fixed"]
    arms = (10, 1000, 90, 9000)
    score = test_proportions_2indep(*arms, value=0.01, method="score", alternative="smaller")
    assert found["method"] == "score"
    assert found["p"] == pytest.approx(float(score.pvalue), rel=1e-9)
    high = confint_proportions_2indep(*arms, compare="diff", method="score", alpha=0.05)[1]
    assert found["ci"] == [None, pytest.approx(high, rel=1e-6)]


def test_no_hit_at_all_says_nothing() -> None:
    assert comparison(rows(0, 0), FIXED)["fixed"].get("p") is None
