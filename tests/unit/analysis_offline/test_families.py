"""Several deciding metrics under one error, and differences too small to matter."""

from __future__ import annotations

from typing import Any

import pytest

from controller.analysis import analyze
from controller.analysis.offline.families import adjust
from controller.analysis.offline.spec import Multiplicity
from controller.errors import InvalidInput
from tests.unit.analysis_offline.tables import ARM, BINARY, COUNT, MEAN, comparison, spec, units

DATA = units(n=8000, effect=0.05)
FIXED = {"mode": "fixed"}


def report(*metrics: dict[str, Any], **described: Any) -> Any:
    return analyze(
        DATA, {"arm": ARM, "unit": "user", "metrics": list(metrics), **described}
    ).document


def test_adjusted_p_values_are_those_of_the_papers() -> None:
    p = [0.04, 0.001, 0.03]
    assert adjust(p, Multiplicity.HOLM) == pytest.approx([0.06, 0.003, 0.06])
    assert adjust(p, Multiplicity.FIXED_SEQUENCE) == [0.04, 0.04, 0.04]
    assert adjust([], Multiplicity.HOLM) == []


def of(document: Any, key: str) -> dict[str, Any]:
    (found,) = document["metrics"][key]["comparisons"].values()
    return dict(found)


@pytest.mark.parametrize("mode", ["fixed", "anytime"])
def test_holm_takes_back_what_does_not_stand_beside_the_others(mode: str) -> None:
    """conversion is shown by far; errors, where nothing is, only by its generous alpha."""
    alone = [{**metric, "mode": mode, "alpha": 0.5} for metric in (BINARY, COUNT)]
    part = "fixed" if mode == "fixed" else "sequential"
    plain, held = report(*alone), report(*alone, multiplicity="holm")
    assert "multiplicity" not in plain
    assert held["multiplicity"] == "holm"
    ps = [of(plain, str(metric["key"]))[part]["p"] for metric in alone]
    adjusted = [of(held, str(metric["key"]))["adjusted_p"] for metric in alone]
    assert adjusted == pytest.approx(adjust(ps, Multiplicity.HOLM))
    assert of(held, BINARY["key"])["verdict"] == "better"


def test_a_claim_that_only_its_own_alpha_carries_is_taken_back() -> None:
    metrics = [{**metric, **FIXED} for metric in (BINARY, COUNT)]
    p = of(report(*metrics), COUNT["key"])["fixed"]["p"]
    weak = [{**metric, "alpha": round(p + 0.01, 4)} for metric in metrics]
    assert of(report(*weak), COUNT["key"])["reason"] == "significant"
    first = of(report(*reversed(weak), multiplicity="fixed_sequence"), COUNT["key"])
    assert first["reason"] == "significant"
    strict = [{**metric, "alpha": round(p * 0.9, 4)} for metric in metrics]
    order = report(*reversed(strict), multiplicity="fixed_sequence")
    assert of(order, BINARY["key"])["verdict"] == "inconclusive"
    assert of(order, BINARY["key"])["reason"] == "not_after_correction"
    assert of(report(*strict, multiplicity="fixed_sequence"), BINARY["key"])["verdict"] == "better"


def test_guardrails_are_no_part_of_the_family() -> None:
    guard = {**COUNT, "role": "guardrail", "direction": "decrease", "margin": 0.1}
    held = report({**BINARY, **FIXED}, guard, multiplicity="holm")
    assert "adjusted_p" not in of(held, COUNT["key"])
    assert of(held, BINARY["key"])["adjusted_p"] == of(held, BINARY["key"])["fixed"]["p"]


@pytest.mark.parametrize("mode", [FIXED, {"mode": "anytime"}, {"mode": "planned", "horizon": 8000}])
def test_a_narrow_interval_around_nothing_is_no_difference(mode: dict[str, Any]) -> None:
    nothing = units(n=8000, seed=3)
    wide = comparison(nothing, spec(BINARY | mode | {"equivalence": 0.004}), "conversion")
    assert wide["reason"] != "equivalent"
    found = comparison(nothing, spec(BINARY | mode | {"equivalence": 0.10}), "conversion")
    assert (found["verdict"], found["reason"]) == ("no_difference", "equivalent")


def test_a_difference_that_is_shown_is_shown_however_small() -> None:
    found = comparison(DATA, spec(BINARY | FIXED | {"equivalence": 0.9}), "conversion")
    assert found["verdict"] == "better"


@pytest.mark.parametrize(
    "described",
    [
        {"metrics": [BINARY | {"role": "guardrail", "equivalence": 0.1}]},
        {"metrics": [BINARY | {"equivalence": 0.0}]},
        {"metrics": [BINARY, MEAN | {"alpha": 0.1}], "multiplicity": "holm"},
        {"metrics": [BINARY], "multiplicity": "bonferroni"},
    ],
)
def test_what_makes_no_sense_is_refused(described: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        analyze(DATA, {"arm": ARM, "unit": "user", **described})


FEW = units(n=1200, effect=0.05, seed=5)
SEVERAL = FEW.assign(
    arm=[
        "one" if arm == "treatment" else ("control", "two", "three")[t % 3]
        for arm, t in zip(FEW["arm"], FEW["t"], strict=True)
    ]
)
SHARES = {"control": 1, "one": 3, "two": 1, "three": 1}
FOUR = {"column": "arm", "champion": "control", "weights": SHARES}


def several(*metrics: dict[str, Any], **described: Any) -> Any:
    return analyze(SEVERAL, spec(*metrics, **described) | {"arm": FOUR})


@pytest.mark.parametrize("metric", [BINARY, MEAN], ids=["binary", "mean"])
def test_challengers_at_one_look_are_corrected_as_statsmodels_does(metric: dict[str, Any]) -> None:
    from statsmodels.stats.multitest import multipletests

    found = several(metric | FIXED).document["metrics"][metric["key"]]["comparisons"]
    p = [each["fixed"]["p"] for each in found.values()]
    adjusted = [each["adjusted_p"] for each in found.values()]
    assert adjusted == pytest.approx(list(multipletests(p, method="holm")[1]), rel=1e-12)
    assert {each["adjusted_for"] for each in found.values()} == {3}
    assert len(set(adjusted)) > 1


def test_a_challenger_that_stands_alone_only_is_taken_back() -> None:
    found = several(BINARY | FIXED).document["metrics"]["conversion"]["comparisons"]
    p = min(each["fixed"]["p"] for each in found.values())
    between = BINARY | FIXED | {"alpha": 1.5 * p}
    report_of = several(between)
    held = report_of.document["metrics"]["conversion"]["comparisons"]
    best = min(held.values(), key=lambda each: each["fixed"]["p"])
    assert best["fixed"]["p"] < between["alpha"] < best["adjusted_p"]
    assert (best["verdict"], best["reason"]) == ("inconclusive", "not_after_correction")
    assert "beside the other claims, 3 in all" in str(report_of)
    enough = several(BINARY | FIXED | {"alpha": 3.5 * p})
    held = enough.document["metrics"]["conversion"]["comparisons"]
    assert any(each["verdict"] in ("better", "worse") for each in held.values())


def test_challengers_of_a_sequential_test_or_a_guardrail_are_not_corrected_twice() -> None:
    guard = COUNT | FIXED | {"role": "guardrail", "direction": "decrease", "margin": 0.1}
    document = several(BINARY, guard).document
    for metric in document["metrics"].values():
        assert all("adjusted_p" not in each for each in metric["comparisons"].values())


def test_one_family_holds_all_metrics_and_all_challengers() -> None:
    from statsmodels.stats.multitest import multipletests

    document = several(BINARY | FIXED, MEAN | FIXED, multiplicity="holm").document
    found = [each for m in document["metrics"].values() for each in m["comparisons"].values()]
    expected = multipletests([each["fixed"]["p"] for each in found], method="holm")[1]
    assert [each["adjusted_p"] for each in found] == pytest.approx(list(expected), rel=1e-12)
    assert {each["adjusted_for"] for each in found} == {6}
