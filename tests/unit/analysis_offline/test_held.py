"""Recorded values that may not be believed: the live look's rules, at every look of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from tests.unit.analysis_offline.tables import ARM, BINARY, COUNT, MEAN, comparison, spec, units

DATA = units(n=6000, effect=0.08)
TREATED = (DATA["arm"] == "treatment").to_numpy()
EARLY = (DATA["t"] < len(DATA) // 2).to_numpy()
THIRDS = (DATA["t"] % 3 == 0).to_numpy()
UNKNOWN = MEAN | {"zero_means": "unknown"}
MODES: tuple[dict[str, Any], ...] = (
    {"mode": "fixed"},
    {"mode": "planned", "horizon": 6000},
    {"mode": "anytime"},
)


def without(lost: np.ndarray) -> pd.DataFrame:
    return DATA.assign(spend=DATA["spend"].where(~lost))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode["mode"]))
def test_values_missing_in_one_arm_only_show_nothing(mode: dict[str, Any]) -> None:
    description = spec(UNKNOWN | mode, time="t", looks=5)
    document = analyze(without(THIRDS & TREATED), description).document
    found = document["metrics"]["revenue"]["comparisons"]["treatment"]
    assert (found["verdict"], found["reason"]) == ("unknown", "missing_differs")
    assert found["cause"] == "treatment"
    if found["sequential"] is not None:
        assert not found["sequential"]["conclusive"]
        assert found["sequential"]["e_value"] is None
    even = comparison(without(THIRDS), description, "revenue")
    assert even["verdict"] == "better"
    assert "cause" not in even


def test_a_claim_made_before_values_went_missing_no_longer_stands() -> None:
    data = without(THIRDS & TREATED & ~EARLY)
    found = comparison(data, spec(UNKNOWN, time="t", looks=10), "revenue")
    assert found["sequential"]["first_look"] is not None
    assert found["sequential"]["first_look"] <= 5
    assert found["verdict"] == "unknown"
    assert not found["sequential"]["conclusive"]


def test_missing_values_are_asked_about_at_every_look() -> None:
    """One arm misses early, the other late: at the last look both miss the same share."""
    swapped = without(THIRDS & (TREATED == EARLY))
    assert abs(swapped[TREATED]["spend"].isna().mean() - 1 / 6) < 0.01
    assert abs(swapped[~TREATED]["spend"].isna().mean() - 1 / 6) < 0.01
    many = comparison(swapped, spec(UNKNOWN, time="t", looks=10), "revenue")
    assert (many["verdict"], many["reason"]) == ("unknown", "missing_differs")
    once = comparison(swapped, spec(UNKNOWN), "revenue")
    assert once["verdict"] == "better"


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode["mode"]))
@pytest.mark.parametrize(
    ("direction", "silent"), [("decrease", "treatment"), ("increase", "control")]
)
def test_an_arm_of_zeros_only_is_silent_where_silence_would_help(
    mode: dict[str, Any], direction: str, silent: str
) -> None:
    heard = DATA["converted"].where(DATA["arm"] != silent, 0)
    metric = BINARY | mode | {"direction": direction}
    found = comparison(DATA.assign(converted=heard), spec(metric), "conversion")
    assert (found["verdict"], found["reason"]) == ("unknown", "arm_silent")
    assert found["cause"] == silent
    measured = comparison(
        DATA.assign(converted=heard), spec(metric | {"zero_means": "unknown"}), "conversion"
    )
    assert measured["verdict"] == "better"


def test_silence_that_speaks_against_the_challenger_is_left_to_speak() -> None:
    quiet = DATA.assign(converted=DATA["converted"].where(~TREATED, 0))
    assert comparison(quiet, spec(BINARY), "conversion")["verdict"] == "worse"


def test_a_silent_guardrail_is_neither_cleared_nor_alarmed() -> None:
    quiet = DATA.assign(converted=DATA["converted"].where(~TREATED, 0))
    guardrail = BINARY | {"role": "guardrail", "direction": "decrease", "margin": 0.05}
    found = comparison(quiet, spec(guardrail), "conversion")
    assert (found["verdict"], found["reason"]) == ("unknown", "arm_silent")
    assert not found["harm"]["alarm"]


def test_one_silent_challenger_does_not_hold_the_other() -> None:
    third = np.where(THIRDS, "third", DATA["arm"])
    weights = {"control": 1 / 3, "treatment": 1 / 3, "third": 1 / 3}
    data = DATA.assign(arm=third, converted=DATA["converted"].where(~THIRDS, 0))
    description = spec(BINARY | {"direction": "decrease"}) | {"arm": ARM | {"weights": weights}}
    found = analyze(data, description).document["metrics"]["conversion"]["comparisons"]
    assert found["third"]["reason"] == "arm_silent"
    assert found["treatment"]["verdict"] == "worse"


def test_the_report_counts_what_is_missing() -> None:
    found = analyze(without(THIRDS & TREATED), spec(UNKNOWN))
    arms = found.document["metrics"]["revenue"]["arms"]
    lost = int((THIRDS & TREATED).sum())
    assert arms["treatment"]["missing"] == lost
    assert arms["treatment"]["n"] == int(TREATED.sum()) - lost
    assert "missing" not in arms["control"]
    shown = f"of {TREATED.sum():,} complete units {lost:,} ({100 * lost / TREATED.sum():.1f} %)"
    assert shown in str(found)
    assert "values are missing unevenly, most often of treatment" in str(found)
    assert "values are missing unevenly" in found._repr_html_()


def test_missing_values_of_a_quantile_are_counted_too() -> None:
    data = DATA.assign(ms=DATA["ms"].where(~(THIRDS & TREATED)))
    metric = {"key": "p90", "column": "ms", "type": "quantile", "q": 0.9, "zero_means": "unknown"}
    found = analyze(data, spec(metric)).document["metrics"]["p90"]
    assert found["arms"]["treatment"]["missing"] == int((THIRDS & TREATED).sum())
    assert found["comparisons"]["treatment"]["reason"] == "missing_differs"


def test_what_is_held_is_no_evidence_in_a_family() -> None:
    metrics = (UNKNOWN | {"mode": "fixed"}, BINARY | {"mode": "fixed"})
    found = analyze(without(THIRDS & TREATED), spec(*metrics, multiplicity="holm")).document
    held = found["metrics"]["revenue"]["comparisons"]["treatment"]
    assert held["fixed"]["p"] < 1e-6
    assert held["adjusted_p"] == 1.0
    assert found["metrics"]["conversion"]["comparisons"]["treatment"]["verdict"] == "better"


def test_an_alarm_is_not_raised_by_values_that_are_missing() -> None:
    """Where the treatment's large values are lost it looks like harm; nobody knows."""
    large = (DATA["spend"] > 0).to_numpy()
    guardrail = UNKNOWN | {"role": "guardrail", "margin": 0.1}
    found = comparison(without(large & TREATED), spec(guardrail), "revenue")
    assert found["fixed"]["ci"][1] is None
    assert found["estimate"] < -1.0
    assert (found["verdict"], found["reason"]) == ("unknown", "missing_differs")
    assert not found["harm"]["alarm"]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode["mode"]))
def test_a_split_that_is_not_the_planned_one_holds_everything(mode: dict[str, Any]) -> None:
    kept = DATA[~(THIRDS & TREATED)]
    found = analyze(kept, spec(BINARY | mode, time="t", looks=5))
    conversion = found.document["metrics"]["conversion"]["comparisons"]["treatment"]
    assert found.document["srm"]["alarm"]
    assert (conversion["verdict"], conversion["reason"]) == ("unknown", "srm")
    assert "cause" not in conversion
    if conversion["sequential"] is not None:
        assert not conversion["sequential"]["conclusive"]
    assert "not split as planned" in str(found)


def test_units_that_met_two_arms_hold_everything_above_one_in_a_thousand() -> None:
    description = spec(BINARY, rows="events")
    other = DATA.assign(arm=np.where(TREATED, "control", "treatment"))
    few, many = (pd.concat([DATA, other.head(count)]) for count in (10, 11))
    assert comparison(few, description, "conversion")["verdict"] == "better"
    found = comparison(many, description, "conversion")
    assert (found["verdict"], found["reason"]) == ("unknown", "double_exposure")


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode["mode"]))
@pytest.mark.parametrize("fault", ["lost", "follows the arm", "level"])
def test_a_covariate_that_knows_the_arm_shows_nothing(mode: dict[str, Any], fault: str) -> None:
    history = DATA["history"].to_numpy()
    faults = {
        "lost": np.where(TREATED & (DATA["t"] % 5 == 0), np.nan, history),
        "follows the arm": TREATED.astype(float),
        "level": history + 2.0 * TREATED,
    }
    metric = MEAN | mode | {"covariate": "history"}
    found = comparison(DATA.assign(history=faults[fault]), spec(metric), "revenue")
    assert (found["verdict"], found["reason"]) == ("unknown", "covariate_differs")
    assert found["cause"] == "treatment"
    even = np.where(DATA["t"] % 5 == 0, np.nan, history)
    assert comparison(DATA.assign(history=even), spec(metric), "revenue")["verdict"] == "better"


def test_harm_has_the_level_that_the_description_gives() -> None:
    guardrail = COUNT | {"role": "guardrail", "margin": 0.02, "direction": "decrease"}
    data = units(n=3000, seed=4)
    worse = data.assign(errors=data["errors"] + (data["arm"] == "treatment") * (data["t"] % 8 == 0))
    for level, alarm in ((0.05, True), (0.01, True), (1e-9, False)):
        found = comparison(worse, spec(guardrail, harm_alpha=level), "errors")
        assert (found["harm"]["p"] <= level) is alarm
        assert found["harm"]["alarm"] is alarm
        assert (found["verdict"] == "harm") is alarm
