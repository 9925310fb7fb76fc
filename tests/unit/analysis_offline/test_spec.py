from __future__ import annotations

from typing import Any

import pytest

from controller.analysis.offline.arms import pick_champion
from controller.analysis.offline.describe import parse_spec
from controller.analysis.offline.spec import Mode, Role
from controller.errors import InvalidInput
from tests.unit.analysis_offline.tables import BINARY, MEAN, QUANTILE, spec


def test_defaults_are_the_contracts() -> None:
    parsed = parse_spec(spec(MEAN, MEAN | {"key": "g", "role": "guardrail"}))
    oec, guardrail = parsed.metrics
    assert (oec.role, oec.mode, oec.alpha) == (Role.OEC, Mode.ANYTIME, 0.05)
    assert (guardrail.role, guardrail.alpha) == (Role.GUARDRAIL, 0.025)
    assert parsed.looks == 1
    assert parse_spec(spec(MEAN, time="t")).looks == 20


def test_names_may_be_what_yaml_reads_as_numbers_and_truths() -> None:
    arm = {"column": "arm", "champion": 0, "weights": {0: 1, True: 3}}
    parsed = parse_spec({"unit": "u", "arm": arm, "metrics": [MEAN | {"key": 1}]})
    assert parsed.champion == "0"
    assert parsed.weights == {None: {"0": 0.25, "True": 0.75}}
    assert parsed.metrics[0].key == "1"


def test_the_champion_is_found_by_its_usual_name() -> None:
    parsed = parse_spec({"unit": "u", "arm": {"column": "arm"}, "metrics": [MEAN]})
    assert pick_champion(parsed, ("b", "control")) == "control"
    with pytest.raises(InvalidInput, match=r"spec\.arm\.champion"):
        pick_champion(parsed, ("a", "b"))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"metrics": []}, "spec.metrics"),
        ({"metrics": [MEAN, MEAN]}, "spec.metrics"),
        ({"metric": [MEAN]}, "spec.metric"),
        ({"arm": {"champion": "a"}}, "spec.arm.column"),
        ({"arm": {"column": "arm", "weights": {"a": 0, "b": 0}}}, "spec.arm.weights"),
        ({"arm": {"column": "arm", "weights": {"a": -1, "b": 1}}}, "spec.arm.weights.a"),
        ({"arm": {"column": "arm", "weights": {"a": "150%"}}}, "spec.arm.weights.a"),
        ({"time": "t", "looks": [5, 3]}, "spec.looks"),
        ({"time": "t", "looks": 0}, "spec.looks"),
        ({"rows": "sessions"}, "spec.rows"),
        ({"rows": "events", "unit": None}, "spec.unit"),
        ({"metrics": [MEAN | {"mode": "planned"}]}, "spec.metrics[0].mode"),
        ({"metrics": [MEAN | {"margin": 1}]}, "spec.metrics[0].margin"),
        (
            {"metrics": [MEAN | {"role": "guardrail", "margin_relative": 1}]},
            "spec.metrics[0].margin_relative",
        ),
        (
            {
                "metrics": [
                    MEAN
                    | {"role": "guardrail", "margin_relative": 0.1}
                    | {"baseline": {"mean": -10, "sd": 5}}
                ]
            },
            "spec.metrics[0].margin_relative",
        ),
        ({"metrics": [MEAN | {"mde": 1, "mde_relative": 0.1}]}, "spec.metrics[0].mde"),
        ({"metrics": [MEAN | {"alpha": 5}]}, "spec.metrics[0].alpha"),
        ({"metrics": [MEAN | {"winsorize": 1.5}]}, "spec.metrics[0].winsorize"),
        ({"metrics": [BINARY | {"winsorize": 0.9}]}, "spec.metrics[0].winsorize"),
        ({"metrics": [QUANTILE | {"covariate": "x"}]}, "spec.metrics[0].covariate"),
        ({"metrics": [{"key": "x", "type": "ratio", "numerator": "a"}]}, "denominator"),
        ({"metrics": [MEAN | {"typo": 1}]}, "spec.metrics[0].typo"),
        ({"metrics": [QUANTILE | {"q": 1.5}]}, "spec.metrics[0].q"),
        ({"metrics": [QUANTILE | {"mode": "planned", "mde": 5}]}, "spec.metrics[0].horizon"),
        ({"metrics": [{"type": "mean", "column": "x"}]}, "spec.metrics[0].key"),
    ],
)
def test_a_wrong_description_names_the_place(change: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(spec(MEAN) | change)
    assert where in caught.value.message
