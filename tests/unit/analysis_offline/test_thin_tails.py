"""A quantile in a thin tail: tested from its values beside a grid that cannot speak yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from controller.analysis.offline import thin_tails
from controller.stats.exact_quantile import ExactQuantileTest, exact_quantile_test

RNG = np.random.default_rng(8)
LATENCY: dict[str, Any] = {
    "key": "p99",
    "type": "quantile",
    "q": 0.99,
    "column": "ms",
    "direction": "decrease",
}
GUARD = LATENCY | {"role": "guardrail", "margin_relative": 0.1}


def rows(n: int, factor: float, seed: int = 8) -> pd.DataFrame:
    """2n units in order of arrival; the treatment's latencies are `factor` times as long."""
    rng = np.random.default_rng(seed)
    treated = rng.permutation(np.repeat([False, True], n))
    ms = np.exp(rng.normal(size=2 * n)) * np.where(treated, factor, 1.0)
    arm = np.where(treated, "treatment", "control")
    return pd.DataFrame({"unit": range(2 * n), "t": range(2 * n), "arm": arm, "ms": ms})


def report(data: pd.DataFrame, metric: dict[str, Any], **spec: Any) -> Any:
    described = {
        "unit": "unit",
        "time": "t",
        "arm": {"column": "arm", "champion": "control"},
        "metrics": [metric],
    }
    return analyze(data, described | spec)


def comparison(data: pd.DataFrame, metric: dict[str, Any], **spec: Any) -> dict[str, Any]:
    found = report(data, metric, **spec).document["metrics"]["p99"]["comparisons"]["treatment"]
    return dict(found)


def test_three_times_the_latency_is_seen_long_before_the_grid_speaks() -> None:
    found = comparison(rows(1000, 3.0), LATENCY)
    assert (found["verdict"], found["reason"]) == ("inconclusive", "burn_in")
    thin = found["thin_tail"]
    assert thin["method"] == "order_statistics"
    assert thin["n"] == [1000, 1000]
    assert thin["p"] < 0.002
    assert thin["first_look"] < 20
    assert thin["ci"][0] > 0.0
    assert 1.0 < thin["ratio_ci"][0] < 3.0 < thin["ratio_ci"][1]
    assert "harm_p" not in thin


def test_its_interval_is_that_of_all_the_values() -> None:
    data = rows(800, 3.0)
    thin = comparison(data, LATENCY, looks=1)["thin_tail"]
    control, treatment = (data.ms[data.arm == arm].to_numpy() for arm in ("control", "treatment"))
    wanted = exact_quantile_test(control, treatment, q=0.99, tuning=400.0, alpha=0.05)
    assert isinstance(wanted, ExactQuantileTest)
    assert thin["ci"] == pytest.approx([wanted.difference_lower, wanted.difference_upper])
    assert thin["p"] == pytest.approx(wanted.p_value)
    assert thin["estimate"] == pytest.approx(wanted.treatment - wanted.control)


def test_p_is_that_of_the_loudest_look() -> None:
    """A lead that is gone at the end was shown all the same; the interval is of the end."""
    early, late = rows(600, 5.0), rows(600, 1.0 / 5.0, seed=9)
    late["ms"] *= 5.0
    data = pd.concat([early, late], ignore_index=True)
    data["unit"] = data["t"] = range(len(data))
    peeked, once = (comparison(data, LATENCY, looks=looks)["thin_tail"] for looks in (10, 1))
    assert peeked["p"] < 0.05 < once["p"]
    assert peeked["first_look"] is not None
    assert once["first_look"] is None
    assert peeked["ci"] == once["ci"]


def test_a_guardrail_is_held_against_its_margin_in_both_directions() -> None:
    harmed = comparison(rows(1000, 3.0), GUARD)["thin_tail"]
    assert harmed["harm_p"] < 0.02
    assert harmed["p"] == 1.0
    assert harmed["ci"][0] is None
    better = comparison(rows(1000, 1.0 / 3.0), GUARD)["thin_tail"]
    assert better["p"] < 0.02
    assert better["harm_p"] == 1.0


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_harm_is_what_the_direction_calls_worse(direction: str) -> None:
    worse = 3.0 if direction == "decrease" else 1.0 / 3.0
    found = comparison(rows(1000, worse), GUARD | {"direction": direction})["thin_tail"]
    assert found["harm_p"] < 0.025


def test_where_the_grid_speaks_it_stands_alone() -> None:
    found = comparison(rows(2600, 1.5), LATENCY)
    assert "thin_tail" not in found
    assert found["sequential"]["p"] is not None
    assert "thin_tail" not in comparison(rows(400, 1.5), LATENCY | {"q": 0.5})


def test_epochs_and_events_leave_it_to_the_grid() -> None:
    data = rows(400, 3.0)
    data["stage"] = np.where(data.t < 300, "a", "b")
    assert "thin_tail" in comparison(data, LATENCY)
    assert "thin_tail" not in comparison(data, LATENCY, epoch="stage")
    assert "thin_tail" not in comparison(data, LATENCY, rows="events")


def test_beyond_its_limit_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows(300, 3.0)
    monkeypatch.setattr(thin_tails, "MOST_UNITS", 600)
    assert "thin_tail" in comparison(data, LATENCY)
    monkeypatch.setattr(thin_tails, "MOST_UNITS", 599)
    assert "thin_tail" not in comparison(data, LATENCY)


def test_units_without_a_value_and_empty_arms_are_left_out() -> None:
    data, quiet = rows(300, 3.0), LATENCY | {"zero_means": "unknown"}
    data.loc[data.index[:50], "ms"] = np.nan
    silent = int(((data.arm == "control") & data.ms.isna()).sum())
    assert comparison(data, quiet)["thin_tail"]["n"][0] == 300 - silent
    data.loc[data.arm == "treatment", "ms"] = np.nan
    assert "thin_tail" not in comparison(data, quiet)


def test_people_read_it_too() -> None:
    said = str(report(rows(1000, 3.0), LATENCY))
    assert "thin tail: from the 1,000 and 1,000 values themselves" in said
    assert "of harm 0.00" in str(report(rows(1000, 3.0), GUARD))
