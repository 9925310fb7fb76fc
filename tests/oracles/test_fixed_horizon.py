"""Fixed-horizon results against the reference file beside this test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.stats import fixed
from controller.stats.fixed import FixedInterval, FixedTest
from controller.stats.planning import required_size

ORACLES = json.loads((Path(__file__).parent / "fixed_horizon.json").read_text())["values"]


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "oracle", [each for each in ORACLES if each["name"] == name], ids=lambda o: str(o["inputs"])
    )


def ends(found: object) -> list[float]:
    assert isinstance(found, FixedInterval)
    return [found.lower, found.upper]


def arms(inputs: dict[str, Any], size: str = "nobs") -> tuple[Any, Any]:
    return (inputs["count1"], inputs[f"{size}1"]), (inputs["count2"], inputs[f"{size}2"])


@of("sm_confint_2indep_diff")
def test_difference_of_proportions(oracle: dict[str, Any]) -> None:
    treatment, control = arms(oracle["inputs"])
    found = fixed.difference_interval(treatment, control, method=oracle["inputs"]["method"])
    assert ends(found) == pytest.approx(oracle["expected"]["ci"], rel=1e-6)


@of("sm_confint_2indep_ratio")
def test_ratio_of_proportions(oracle: dict[str, Any]) -> None:
    treatment, control = arms(oracle["inputs"])
    found = fixed.ratio_interval(treatment, control, method=oracle["inputs"]["method"])
    assert ends(found) == pytest.approx(oracle["expected"]["ci"], rel=1e-6)


@of("sm_noninferiority_score")
def test_non_inferiority(oracle: dict[str, Any]) -> None:
    treatment, control = arms(oracle["inputs"])
    found = fixed.proportions_test(
        treatment, control, null=oracle["inputs"]["margin"], alternative="larger"
    )
    assert isinstance(found, FixedTest)
    assert found.statistic == pytest.approx(oracle["expected"]["z"], rel=1e-6)
    assert found.p_value == pytest.approx(oracle["expected"]["p"], rel=1e-6)


@of("sm_power_cohen_h")
def test_size_for_a_power(oracle: dict[str, Any]) -> None:
    """On Cohen's arcsine scale a unit's variance is 1; two even arms hold twice the size each.

    The reference counts a rejection in the wrong direction as power: 2.4e-6 of the size.
    """
    inputs, expected = oracle["inputs"], oracle["expected"]
    size = required_size(
        expected["effect"], 1.0, alpha=inputs["alpha"], power=inputs["power"], inflation=1.0
    )
    assert 2.0 * size == pytest.approx(expected["n_per_arm"], rel=3e-6)
