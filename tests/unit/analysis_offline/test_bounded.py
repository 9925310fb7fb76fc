"""Bounds stated for a metric: the betting sequence of its difference, in order of arrival."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from controller.errors import InvalidInput
from controller.stats.betting import BettingInterval, bounded_difference
from tests.unit.analysis_offline.tables import ARM, BINARY, RATIO, comparison, spec, units

DATA = units(n=1500, seed=8, effect=0.3)
BOUNDED = BINARY | {"mode": "anytime", "bounds": [0, 1]}


def test_the_interval_is_that_of_the_units_in_order_of_arrival() -> None:
    shuffled = DATA.sample(frac=1.0, random_state=4)
    found = comparison(shuffled, spec(BOUNDED, time="t"), "conversion")["bounded"]
    wanted = bounded_difference(
        DATA["converted"].to_numpy(float),
        (DATA["arm"] == "treatment").to_numpy(),
        share=0.5,
        alpha=0.05,
    )
    assert isinstance(wanted, BettingInterval)
    assert found == {"ci": [wanted.lower, wanted.upper], "n": 1500}
    assert found["ci"][0] > 0.0


def test_each_epoch_bets_at_its_own_share_and_a_guardrail_at_twice_its_side() -> None:
    weights = {"first": {"control": 0.9, "treatment": 0.1}, "second": ARM["weights"]}
    rng = np.random.default_rng(2)
    first = (DATA["stage"] == "first").to_numpy()
    treated = rng.random(len(DATA)) < np.where(first, 0.1, 0.5)
    data = DATA.assign(arm=np.where(treated, "treatment", "control"))
    guard = BOUNDED | {"role": "guardrail", "margin": 0.1}
    described = spec(guard, time="t", epoch="stage") | {"arm": {**ARM, "weights": weights}}
    found = comparison(data, described, "conversion")["bounded"]
    wanted = bounded_difference(
        data["converted"].to_numpy(float),
        treated,
        share=np.where(first, 0.1, 0.5),
        alpha=0.05,
    )
    assert isinstance(wanted, BettingInterval)
    assert found["ci"] == [wanted.lower, wanted.upper]


def test_without_bounds_there_is_none() -> None:
    assert "bounded" not in comparison(DATA, spec(BINARY), "conversion")


def test_a_value_outside_its_bounds_is_named() -> None:
    spend = {"key": "revenue", "type": "mean", "column": "spend", "bounds": [0, 1]}
    with pytest.raises(InvalidInput, match="within"):
        comparison(DATA, spec(spend), "revenue")


@pytest.mark.parametrize("bounds", [[1, 0], [0], "0-1", [0, True], [0, float("inf")]])
def test_bounds_are_two_rising_numbers(bounds: Any) -> None:
    with pytest.raises(InvalidInput, match="bounds"):
        comparison(DATA, spec(BINARY | {"bounds": bounds}), "conversion")


def test_bounds_of_a_ratio_are_refused() -> None:
    with pytest.raises(InvalidInput, match="bounds"):
        comparison(DATA, spec(RATIO | {"bounds": [0, 1]}), RATIO["key"])


def test_too_many_units_are_refused_before_anybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.analysis.offline.bounded.MOST_UNITS", 1000)
    with pytest.raises(InvalidInput, match="1,000 units"):
        comparison(DATA, spec(BOUNDED), "conversion")


def test_an_arm_nobody_met_has_no_interval() -> None:
    alone = pd.DataFrame({"arm": ["control"] * 20, "converted": [0, 1] * 10})
    report = analyze(alone, {"arm": ARM, "metrics": [BOUNDED]}).document
    (found,) = report["metrics"]["conversion"]["comparisons"].values()
    assert "bounded" not in found
