"""A/A calibration of recorded units: it passes sound metrics, finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import calibrate
from controller.analysis.offline.false_alarms import Rate
from controller.cli.main import run_command
from controller.errors import InvalidInput
from tests.unit.analysis_offline.tables import ARM, spec, units

EVEN: dict[str, Any] = {"champion": "old", "weights": {"old": 0.5, "new": 0.5}}
UNEVEN: dict[str, Any] = {"champion": "old", "weights": {"old": 0.95, "new": 0.05}}
PLANNED = {"key": "y", "column": "y", "type": "mean", "mode": "planned", "horizon": 3000}


def table(n: int = 3000, seed: int = 5) -> pd.DataFrame:
    """Units without an arm: independent values, values by shop, and heavy or rare revenue."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 100, n)
    return pd.DataFrame(
        {
            "unit": np.arange(n),
            "t": np.arange(n),
            "shop": shop,
            "y": rng.normal(0.0, 1.0, 100)[shop] + rng.normal(0.0, 1.0, n),
            "revenue": np.round(rng.lognormal(0.0, 2.5, n), 4),
            "extreme": np.round(rng.lognormal(0.0, 4.0, n), 4),
            "payers": np.round((rng.random(n) < 0.01) * rng.lognormal(0.0, 1.0, n), 4),
        }
    )


def described(arm: dict[str, Any], *metrics: dict[str, Any], looks: int = 10) -> dict[str, Any]:
    return {"unit": "unit", "time": "t", "looks": looks, "arm": arm, "metrics": list(metrics)}


def result(found: Any, key: str = "y") -> dict[str, Any]:
    metric: dict[str, Any] = found.document["metrics"][key]
    return metric


def test_a_sound_metric_is_calibrated_in_every_mode() -> None:
    metrics: list[dict[str, Any]] = [
        {"key": "planned", "column": "converted", "type": "binary", "mode": "planned",
         "horizon": 4000},
        {"key": "anytime", "column": "spend", "type": "mean", "covariate": "history"},
        {"key": "fixed", "numerator": "spend", "denominator": "orders", "type": "ratio",
         "mode": "fixed"},
        {"key": "kept", "column": "errors", "type": "count", "role": "guardrail",
         "direction": "decrease", "margin": 0.05},
    ]  # fmt: skip
    found = calibrate(units(effect=0.1), spec(*metrics, time="t", looks=8), runs=200)
    assert found.trusted
    assert {m["result"] for m in found.document["metrics"].values()} == {"calibrated"}
    assert found.document["metrics"]["kept"]["harm"]["rate"] <= 0.01
    assert found.document["metrics"]["planned"]["claims"]["level"] == pytest.approx(0.05, abs=1e-3)
    assert found.document["metrics"]["planned"]["fixed_peeked"] > 0.08
    assert found.document["srm"]["alarms"] <= 2


def test_units_that_are_drawn_together_and_move_together_are_found_out() -> None:
    found = calibrate(table(), described(EVEN, PLANNED), runs=100, drawn_by="shop")
    assert result(found)["result"] == "too_many_alarms"
    assert result(found)["claims"]["rate"] > 0.3
    assert "rows: events" in result(found)["advice"][0]
    assert not found.trusted


def test_the_same_units_drawn_one_by_one_are_calibrated() -> None:
    found = calibrate(table(), described(EVEN, PLANNED), runs=200)
    assert result(found)["result"] == "calibrated"


def test_events_summed_to_what_is_drawn_are_calibrated() -> None:
    description = described(EVEN, {**PLANNED, "horizon": 100}) | {"unit": "shop", "rows": "events"}
    found = calibrate(table(), description, runs=200)
    assert result(found)["result"] == "calibrated"
    assert found.document["units"] == 100


def test_a_heavy_tail_at_uneven_weights_is_found_out_and_a_sequential_test_holds() -> None:
    fixed = {"key": "fixed", "column": "revenue", "type": "mean", "mode": "fixed"}
    sequential = {**PLANNED, "key": "planned", "column": "revenue"}
    found = calibrate(table(), described(UNEVEN, fixed, sequential), runs=150)
    assert result(found, "fixed")["result"] == "too_many_alarms"
    assert any("winsorize" in line for line in result(found, "fixed")["advice"])
    assert result(found, "planned")["claims"]["rate"] <= 0.05


def test_a_heavy_tail_at_even_weights_is_cautious_and_says_to_winsorise() -> None:
    planned = {**PLANNED, "column": "extreme"}
    found = calibrate(table(), described(EVEN, planned), runs=200)
    assert result(found)["result"] == "cautious"
    assert result(found)["largest_unit"] > 0.1
    assert any("winsorize" in line for line in result(found)["advice"])
    assert found.trusted


def test_too_few_payers_at_uneven_weights_cannot_be_read() -> None:
    found = calibrate(table(), described(UNEVEN, {**PLANNED, "column": "payers"}), runs=100)
    assert result(found)["result"] == "not_readable"
    assert "25 units" in result(found)["advice"][0]
    assert not found.trusted


def test_the_data_ending_early_lower_the_level_that_is_promised() -> None:
    found = calibrate(table(), described(EVEN, {**PLANNED, "horizon": 9000}), runs=100)
    assert 0.0 < result(found)["claims"]["level"] < 0.02
    assert "33 % of the planned horizon" in result(found)["advice"][-1]


def test_the_same_seed_gives_the_same_rates_and_another_seed_others() -> None:
    description = described(EVEN, {**PLANNED, "mode": "fixed", "alpha": 0.3})
    first, again, other = (
        calibrate(table(), description, runs=100, seed=seed).document for seed in (3, 3, 4)
    )
    assert first == again
    assert first["metrics"]["y"]["claims"]["alarms"] != other["metrics"]["y"]["claims"]["alarms"]


def test_recorded_arms_do_not_matter() -> None:
    frame = units(effect=0.3)
    description = spec({"key": "c", "column": "converted", "type": "binary"}, looks=4, time="t")
    without = {**description, "arm": {k: ARM[k] for k in ("champion", "weights")}}
    found = [
        calibrate(frame, each, runs=100).document["metrics"] for each in (description, without)
    ]
    assert found[0] == found[1]


def test_a_larger_table_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.analysis.offline.redraw.MOST_UNITS", 500)
    found = calibrate(table(), described(EVEN, PLANNED), runs=100)
    assert (found.document["units"], found.document["sampled_from"]) == (500, 3000)
    assert "3,000 units" in str(found)


def test_the_command_prints_both_forms_and_fails_a_pipeline_where_it_must(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, description = tmp_path / "units.csv", tmp_path / "spec.json"
    table().to_csv(data, index=False)
    description.write_text(json.dumps(described(EVEN, PLANNED)))
    command = ["analyze", str(data), "--spec", str(description), "--aa", "100"]
    assert run_command([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True
    assert run_command([*command, "--drawn-by", "shop"]) == 1
    assert "NOT CALIBRATED" in capsys.readouterr().out


def test_a_notebook_shows_a_table() -> None:
    html = calibrate(table(), described(EVEN, PLANNED), runs=100)._repr_html_()
    assert html.startswith("<table>")
    assert "<td>y</td>" in html


@pytest.mark.parametrize(
    ("change", "options", "rule"),
    [
        ({}, {"runs": 99}, "from 100"),
        ({}, {"seed": -1}, "at least 0"),
        ({"arm": {"champion": "old"}}, {}, "arm.weights to draw from"),
        ({"arm": {"champion": "old", "weights": {"old": 1}}}, {}, "fewer than two arms"),
        ({}, {"drawn_by": "nothing"}, "no column"),
        (
            {"aggregates": {"look": "t", "n": "a", "mean": "b", "variance": "c"}},
            {},
            "rows of units",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    change: dict[str, Any], options: dict[str, Any], rule: str
) -> None:
    with pytest.raises(InvalidInput, match=rule):
        calibrate(table(200), described(EVEN, PLANNED) | change, **{"runs": 100, **options})


def test_chance_is_told_from_inflation() -> None:
    assert not Rate(alarms=60, runs=1000, level=0.05).too_many
    assert Rate(alarms=70, runs=1000, level=0.05).too_many
    assert Rate(alarms=30, runs=1000, level=0.05).too_few
    assert not Rate(alarms=0, runs=100, level=0.0).too_many
