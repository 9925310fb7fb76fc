"""Numbers of the recorded report, worked out from the rows by other means."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from tests.unit.analysis_offline.tables import MEAN, RATIO, comparison, spec, units

DATA = units(n=3000, seed=21, effect=0.03)
NORMAL = NormalDist()


def split(data: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return data[data["arm"] == "control"], data[data["arm"] == "treatment"]


def ratio_of(rows: pd.DataFrame) -> tuple[float, float]:
    """Spend per order, and its delta-method variance."""
    below = rows["orders"].mean()
    ratio = rows["spend"].sum() / rows["orders"].sum()
    rest = rows["spend"] - ratio * rows["orders"]
    return float(ratio), float(rest.var(ddof=1) / len(rows) / below**2)


def test_a_ratio_against_a_relative_margin_scales_the_champions_error_with_its_level() -> None:
    guarded = {"role": "guardrail", "direction": "decrease", "margin_relative": 0.5}
    (r0, v0), (r1, _) = (ratio_of(rows) for rows in split(DATA))
    factor = (1.5 * r0 - 2.0 * math.sqrt(v0)) / r1
    dear = DATA.assign(spend=DATA["spend"] * np.where(DATA["arm"] == "treatment", factor, 1.0))
    found = comparison(dear, spec(RATIO | guarded | {"mode": "fixed"}), "value")
    (r0, v0), (r1, v1) = (ratio_of(rows) for rows in split(dear))
    z = (r1 - 1.5 * r0) / math.sqrt(v1 + 1.5**2 * v0)
    assert found["fixed"]["method"] == "delta"
    assert 0.001 < NORMAL.cdf(z) < 0.4
    assert found["fixed"]["p"] == pytest.approx(NORMAL.cdf(z), rel=1e-6)


def test_a_ratios_variance_is_that_of_its_linearised_units_with_n_minus_one() -> None:
    few = DATA[DATA["orders"] > 0].head(14)
    document = analyze(few, spec(RATIO)).document
    for rows, name in zip(split(few), ("control", "treatment"), strict=True):
        linear = (rows["spend"] - ratio_of(rows)[0] * rows["orders"]) / rows["orders"].mean()
        shown = document["metrics"]["value"]["arms"][name]["variance"]
        assert shown == pytest.approx(float(linear.var(ddof=1)), rel=1e-9)


def test_an_mde_is_planned_with_what_the_covariate_leaves_of_the_champions_variance() -> None:
    found = comparison(DATA, spec(MEAN | {"covariate": "history", "mde": 0.5}), "revenue")
    control, treatment = split(DATA)
    x, y = (DATA[name] - DATA[name].mean() for name in ("history", "spend"))
    theta = float((x * y).sum() / (x * x).sum())
    left = float((control["spend"] - theta * control["history"]).var(ddof=1))
    wanted = left * ((NORMAL.inv_cdf(0.975) + NORMAL.inv_cdf(0.9)) / 0.5) ** 2
    size = len(control) * len(treatment) / len(DATA)
    assert found["sequential"]["t"] == pytest.approx(size / wanted, rel=1e-3)


def test_a_covariate_is_read_from_a_units_first_event_alone() -> None:
    later = DATA.assign(t=DATA["t"] + 10_000, spend=0.0, history=1e6 * DATA["spend"])
    events = pd.concat([DATA, later], ignore_index=True)
    adjusted = MEAN | {"covariate": "history"}
    once = comparison(DATA, spec(adjusted, time="t"), "revenue")
    twice = comparison(events, spec(adjusted, time="t", rows="events"), "revenue")
    assert twice["estimate"] == pytest.approx(once["estimate"], rel=1e-9)
    assert twice["fixed"]["ci"] == pytest.approx(once["fixed"]["ci"], rel=1e-9)


def test_evidence_stands_beside_the_sequential_p_of_the_split() -> None:
    document = analyze(DATA, spec(MEAN, time="t")).document
    assert document["srm"]["e_value"] >= 1.0
    assert document["srm"]["p_sequential"] == pytest.approx(1.0 / document["srm"]["e_value"])


def test_evidence_stands_beside_the_exact_p_of_few_hits() -> None:
    rng = np.random.default_rng(2)
    rare = DATA.assign(failed=(rng.random(len(DATA)) < 0.01) & (DATA["arm"] == "treatment"))
    rare["failed"] = rare["failed"].astype(int)
    found = comparison(rare, spec({"key": "e", "column": "failed", "type": "binary"}), "e")["rare"]
    assert found["e_value"] > 1.0
    assert found["p"] == pytest.approx(1.0 / found["e_value"])


def test_a_planned_test_that_has_not_ended_has_no_p() -> None:
    """Its evidence is the e-value; the p of another test would call .05 what its bounds do not."""
    early = MEAN | {"mode": "planned", "horizon": 100_000}
    found = comparison(
        DATA.assign(spend=DATA["spend"] + (DATA["arm"] == "treatment")),
        spec(early, time="t"),
        "revenue",
    )["sequential"]
    assert not found["conclusive"]
    assert found["p"] is None
    assert found["e_value"] is not None


@pytest.mark.parametrize("covariates", [(), ("history",), ("history", "ms", "t")])
@pytest.mark.parametrize("mode", ["fixed", "planned", "anytime"])
def test_fewer_units_than_the_regression_fits_are_too_few(
    covariates: tuple[str, ...], mode: str
) -> None:
    """Two units and a covariate are fitted without a rest: an interval of a width of 1e-16."""
    control, treatment = split(DATA)
    most = 2 + len(covariates)
    few = pd.concat([control.head(most // 2), treatment.head(most - most // 2)])
    metric = MEAN | {"mode": mode, "horizon": 2, "covariate": list(covariates)}
    if not covariates:
        del metric["covariate"]
    found = comparison(few, spec(metric), "revenue")
    assert (found["verdict"], found["reason"]) == ("inconclusive", "too_few_units")
    assert found["fixed"]["p"] is None
    assert found["estimate"] is None


@pytest.mark.parametrize("price", [19.99, 1 / 3, 3.3e-13, 1e9 + 0.1])
def test_a_constant_adds_up_to_itself_and_varies_by_nothing(price: float) -> None:
    document = analyze(DATA.assign(spend=price), spec(MEAN, time="t", looks=7)).document
    for arm in document["metrics"]["revenue"]["arms"].values():
        assert arm["mean"] == price
        assert arm["variance"] == 0.0


def test_a_ratio_of_one_price_varies_by_nothing() -> None:
    one = DATA.assign(spend=19.99 * DATA["orders"])
    for arm in analyze(one, spec(RATIO)).document["metrics"]["value"]["arms"].values():
        assert arm["variance"] == 0.0


def test_a_covariate_that_explains_all_but_the_arm_leaves_the_arm() -> None:
    shifted = DATA.assign(spend=1.1 * DATA["history"] + (DATA["arm"] == "treatment"))
    found = comparison(shifted, spec(MEAN | {"covariate": "history"}), "revenue")
    assert found["verdict"] == "better"
    assert found["estimate"] == pytest.approx(1.0, rel=1e-2)
    assert found["fixed"]["p"] < 1e-6


def test_sums_lose_no_digits_where_arrivals_jump() -> None:
    """A thousand small values, then as many around a billion: the pivot is far from both means."""
    rng = np.random.default_rng(8)
    values = np.r_[rng.normal(0.0, 1.0, 1500), 1e9 + rng.normal(0.0, 1.0, 1500)]
    stage = np.where(np.arange(3000) < 1500, "early", "late")
    data = DATA.assign(spend=values, stage=stage)
    document = analyze(data, spec(MEAN, epoch="stage")).document
    shown = document["metrics"]["revenue"]["comparisons"]["treatment"]["heterogeneity"]
    for effect, rows in zip(shown["effects"], (data.head(1500), data.tail(1500)), strict=True):
        control, treatment = split(rows)
        gap = math.fsum(treatment["spend"]) / len(treatment)
        gap -= math.fsum(control["spend"]) / len(control)
        assert effect["estimate"] == pytest.approx(gap, abs=3e-7)
