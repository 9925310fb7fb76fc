from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.analysis import analyze
from controller.analysis.offline.text import chart, probability
from controller.cli import analyze as command
from tests.unit.analysis_offline.tables import BINARY, COUNT, MEAN, QUANTILE, RATIO, spec, units

DATA = units(effect=0.1)
DESCRIPTION = spec(
    BINARY | {"mode": "planned", "mde": 0.05},
    MEAN | {"covariate": "history"},
    RATIO | {"mode": "fixed"},
    QUANTILE | {"role": "guardrail", "direction": "decrease", "margin_relative": 0.1},
    COUNT | {"role": "guardrail", "direction": "decrease", "margin": 0.2},
    time="t",
    looks=8,
)


def _every_number(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in _every_number(item)]
    if isinstance(value, list):
        return [n for item in value for n in _every_number(item)]
    return [value] if isinstance(value, float) else []


def test_the_document_has_the_contracts_shape_and_plain_numbers() -> None:
    document = analyze(DATA, DESCRIPTION).document
    again = json.loads(json.dumps(document, allow_nan=False))
    assert set(again["srm"]) == {"p_fixed", "p_sequential", "e_value", "alarm"}
    for metric in again["metrics"].values():
        assert {"n", "mean", "variance"} <= set(metric["arms"]["control"])
        found = metric["comparisons"]["treatment"]
        wanted = {"estimate", "relative", "fixed", "sequential", "verdict", "reason"}
        assert wanted <= set(found)
        assert set(found["relative"]) == {"estimate", "ci"}
        if found["sequential"] is not None:
            parts = {"mode", "ci", "p", "e_value", "first_look", "first_n", "conclusive"}
            assert parts <= set(found["sequential"])
    assert again["metrics"]["value"]["comparisons"]["treatment"]["sequential"] is None
    assert len(again["looks"]) == 8
    assert all(math.isfinite(number) for number in _every_number(document))


def test_the_same_data_give_the_same_bytes() -> None:
    one, two = (json.dumps(analyze(DATA, DESCRIPTION).document) for _ in range(2))
    assert one == two


def test_people_read_verdicts_intervals_and_a_chart() -> None:
    text = str(analyze(DATA, DESCRIPTION))
    assert "Sample ratio: as asked for" in text
    assert "conversion (oec, binary, higher is better)" in text
    assert "treatment: better: the boundary was crossed" in text
    assert "not worse than the margin" in text
    assert "├" in text
    assert "●" in text


def test_notebooks_show_a_table() -> None:
    html = analyze(DATA, spec(BINARY | {"key": "a<b"}))._repr_html_()
    assert html.startswith("<table>")
    assert "a&lt;b" in html
    assert "a<b" not in html


def test_an_open_end_is_an_arrow() -> None:
    drawn = chart(
        {
            "estimate": 1.0,
            "fixed": {"ci": [None, 2.0]},
            "sequential": {"mode": "anytime", "estimate": 1.0, "ci": [None, 3.0]},
        }
    )
    assert drawn[0].split()[1].startswith("◀")
    assert drawn[0].endswith("┤")
    assert chart({"estimate": None, "fixed": {"ci": None}, "sequential": None}) == []


def test_small_probabilities_are_not_rounded_to_zero() -> None:
    assert probability(1e-9) == "< 0.0001"
    assert probability(0.03) == "0.0300"
    assert probability(None) == "-"


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["analyze", *words])
    return int(arguments.run(arguments))


def test_the_command_prints_json_or_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, description = tmp_path / "units.csv", tmp_path / "spec.yaml"
    DATA.to_csv(data, index=False)
    description.write_text(yaml.safe_dump(DESCRIPTION), encoding="utf-8")
    assert _run(str(data), "--spec", str(description), "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads(json.dumps(analyze(DATA, DESCRIPTION).document))
    assert printed.err == ""
    assert _run(str(data), "--spec", str(description)) == 0
    assert "Sample ratio" in capsys.readouterr().out


def test_a_terminal_gets_a_progress_bar_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, description = tmp_path / "units.csv", tmp_path / "spec.json"
    DATA.to_csv(data, index=False)
    description.write_text(json.dumps(spec(BINARY)), encoding="utf-8")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert _run(str(data), "--spec", str(description), "--json") == 0
    printed = capsys.readouterr()
    assert "100 %" in printed.err
    json.loads(printed.out)
