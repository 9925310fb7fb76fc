from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from controller.analysis.offline import tables
from controller.errors import InvalidInput
from controller.stats.mixture import regression_critical_z, regression_log_e, tuned_rho
from tests.unit.analysis_offline.tables import (
    ARM,
    BINARY,
    COUNT,
    MEAN,
    QUANTILE,
    RATIO,
    comparison,
    spec,
    units,
)

DATA = units(effect=0.05)
FIXED = {"mode": "fixed"}


def _split(column: str) -> tuple[np.ndarray, np.ndarray]:
    values = DATA[column].to_numpy(float)
    treated = (DATA["arm"] == "treatment").to_numpy()
    return values[~treated], values[treated]


def test_binary_is_the_pooled_z_test_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportions_ztest

    control, treatment = _split("converted")
    found = comparison(DATA, spec(BINARY | FIXED), "conversion")
    _, p = proportions_ztest([treatment.sum(), control.sum()], [len(treatment), len(control)])
    assert found["fixed"]["p"] == pytest.approx(p, rel=1e-9)
    assert found["fixed"]["method"] == "pooled_z"
    assert found["estimate"] == pytest.approx(treatment.mean() - control.mean(), rel=1e-12)
    assert found["sequential"] is None


@pytest.mark.parametrize(("metric", "column"), [(MEAN, "spend"), (COUNT, "errors")])
def test_mean_and_count_are_welchs_test(metric: dict[str, Any], column: str) -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    control, treatment = _split(column)
    found = comparison(DATA, spec(metric | FIXED), metric["key"])
    welch = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    _, p, _ = welch.ttest_ind(usevar="unequal")
    low, high = welch.tconfint_diff(usevar="unequal")
    assert found["fixed"]["p"] == pytest.approx(p, rel=1e-9)
    assert found["fixed"]["ci"] == pytest.approx([low, high], rel=1e-9)


def test_arms_show_units_mean_and_variance_per_unit() -> None:
    document = analyze(DATA, spec(MEAN | FIXED, BINARY | FIXED)).document
    for key, column in (("revenue", "spend"), ("conversion", "converted")):
        for arm, values in zip(("control", "treatment"), _split(column), strict=True):
            shown = document["metrics"][key]["arms"][arm]
            assert shown["n"] == len(values)
            assert shown["mean"] == pytest.approx(values.mean(), rel=1e-12)
            assert shown["variance"] == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_ratio_is_the_difference_of_sums_with_the_delta_methods_error() -> None:
    (m0, m1), (d0, d1) = _split("spend"), _split("orders")
    found = comparison(DATA, spec(RATIO | FIXED), "value")
    r0, r1 = m0.sum() / d0.sum(), m1.sum() / d1.sum()
    errors = [
        (m - r * d).var(ddof=1) / len(m) / d.mean() ** 2 for m, d, r in ((m0, d0, r0), (m1, d1, r1))
    ]
    half = 1.959963984540054 * math.sqrt(sum(errors))
    assert found["estimate"] == pytest.approx(r1 - r0, rel=1e-9)
    assert found["fixed"]["ci"] == pytest.approx([r1 - r0 - half, r1 - r0 + half], rel=1e-9)
    anytime = comparison(DATA, spec(RATIO), "value")
    assert anytime["estimate"] == pytest.approx(r1 - r0, rel=1e-9)


def test_a_covariate_removes_variance_as_regression_does() -> None:
    import statsmodels.api as sm

    y, x = DATA["spend"].to_numpy(), DATA[["history", "orders"]].to_numpy(float)
    arm = (DATA["arm"] == "treatment").to_numpy(float)
    plain = comparison(DATA, spec(MEAN | FIXED), "revenue")
    one = comparison(DATA, spec(MEAN | FIXED | {"covariate": "history"}), "revenue")
    two = comparison(DATA, spec(MEAN | FIXED | {"covariate": ["history", "orders"]}), "revenue")
    widths = [f["fixed"]["ci"][1] - f["fixed"]["ci"][0] for f in (plain, one, two)]
    assert widths == sorted(widths, reverse=True)
    design = sm.add_constant(np.column_stack([arm, x - x.mean(axis=0)]))
    assert two["estimate"] == pytest.approx(sm.OLS(y, design).fit().params[1], rel=0.01)


def test_covariates_of_a_ratio_do_what_a_regression_of_its_linearised_outcome_does() -> None:
    """One, two or more of them; `fixed` is the delta method, two-sided against no difference."""
    data = DATA.assign(ordered=np.random.default_rng(9).poisson(1.0 + DATA["orders"]))
    treated = (data["arm"] == "treatment").to_numpy()
    m, d = data["spend"].to_numpy(), data["orders"].to_numpy(float)
    widths = []
    for columns in (["ordered"], ["history", "ordered"], ["history", "ordered", "ms", "errors"]):
        found = comparison(data, spec(RATIO | FIXED | {"covariate": columns}), "value")
        line = (m - m.sum() / d.sum() * d) / d.mean()
        x = np.column_stack([np.ones(len(data)), data[columns].to_numpy(float)])
        theta = np.linalg.lstsq(x, line, rcond=None)[0]
        moved = x[:, 1:].mean(axis=0)
        levels, variances = [], []
        for arm in (~treated, treated):
            ratio = m[arm].sum() / d[arm].sum()
            own = (m[arm] - ratio * d[arm]) / d[arm].mean() - x[arm, 1:] @ theta[1:]
            levels.append(ratio - (x[arm, 1:].mean(axis=0) - moved) @ theta[1:])
            variances.append(own.var(ddof=1) / arm.sum())
        half = 1.959963984540054 * math.sqrt(sum(variances))
        ends = [levels[1] - levels[0] - half, levels[1] - levels[0] + half]
        assert found["fixed"]["ci"] == pytest.approx(ends, rel=1e-9)
        assert found["fixed"]["method"] == "delta"
        look = analyze(data, spec(RATIO | {"covariate": columns})).document["looks"][-1]
        rest = line - x @ theta
        gap = rest[treated].mean() - rest[~treated].mean()
        seen = look["metrics"]["value"]["treatment"]
        assert seen["estimate"] == pytest.approx(gap, rel=1e-9)
        size = 1.0 / (1.0 / treated.sum() + 1.0 / (~treated).sum())
        assert seen["z"] == pytest.approx(gap * math.sqrt(size / rest.var(ddof=1)), rel=1e-9)
        widths.append(2.0 * half)
    plain = comparison(data, spec(RATIO | FIXED), "value")["fixed"]["ci"]
    assert [plain[1] - plain[0], *widths] == sorted([plain[1] - plain[0], *widths], reverse=True)
    assert widths[1] < 0.99 * (plain[1] - plain[0])


def test_a_ratio_with_a_covariate_that_says_it_twice_uses_it_once() -> None:
    once = comparison(DATA, spec(RATIO | {"covariate": "history"}), "value")
    twice = comparison(DATA, spec(RATIO | {"covariate": ["history", "history"]}), "value")
    assert twice["estimate"] == pytest.approx(once["estimate"], rel=1e-12)


def test_a_unit_without_history_counts_with_the_average() -> None:
    data = DATA.assign(history=DATA["history"].where(DATA["t"] % 3 > 0))
    found = comparison(data, spec(MEAN | FIXED | {"covariate": "history"}), "revenue")
    assert math.isfinite(found["fixed"]["p"])


def test_winsorizing_caps_at_the_quantile_of_the_first_thousand_units() -> None:
    first = np.sort(DATA["spend"].to_numpy()[:1000])
    cap = first[math.ceil(0.95 * 1000) - 1]
    document = analyze(DATA, spec(MEAN | FIXED | {"winsorize": 0.95})).document
    control = np.minimum(_split("spend")[0], cap)
    shown = document["metrics"]["revenue"]["arms"]["control"]
    assert shown["mean"] == pytest.approx(control.mean(), rel=1e-12)
    fixed_cap = analyze(DATA, spec(MEAN | FIXED | {"winsorize": {"value": cap}})).document
    assert fixed_cap["metrics"]["revenue"]["arms"]["control"] == shown


def test_quantiles_are_near_those_of_the_rows() -> None:
    document = analyze(DATA, spec(QUANTILE)).document["metrics"]["p90"]
    for arm, values in zip(("control", "treatment"), _split("ms"), strict=True):
        shown = document["arms"][arm]
        assert shown["quantile"] == pytest.approx(np.quantile(values, 0.9), rel=0.03)
        assert shown["n"] == len(values)
    found = document["comparisons"]["treatment"]
    low, high = found["fixed"]["ci"]
    assert low < found["estimate"] < high
    assert found["sequential"]["ci"][0] < low < high < found["sequential"]["ci"][1]


def test_a_slower_arm_harms_a_latency_guardrail() -> None:
    slower = DATA.assign(ms=DATA["ms"] * np.where(DATA["arm"] == "treatment", 1.5, 1.0))
    guardrail = QUANTILE | {
        "role": "guardrail",
        "direction": "decrease",
        "margin_relative": 0.05,
    }
    found = comparison(slower, spec(guardrail), "p90")
    assert found["verdict"] == "harm"
    assert found["harm"]["alarm"]
    assert found["sequential"]["first_n"] == len(DATA)
    good = comparison(DATA, spec(guardrail | {"margin_relative": 0.2}), "p90")
    assert good["verdict"] == "not_worse"
    assert good["sequential"]["ci"][0] is None


def test_order_of_rows_changes_nothing() -> None:
    description = spec(BINARY, MEAN, RATIO, time="t", looks=5)
    shuffled = DATA.sample(frac=1.0, random_state=1)
    one, two = analyze(DATA, description).document, analyze(shuffled, description).document
    for key in ("conversion", "revenue", "value"):
        found, again = (d["metrics"][key]["comparisons"]["treatment"] for d in (one, two))
        assert again["estimate"] == pytest.approx(found["estimate"], rel=1e-9)
        assert again["sequential"]["first_look"] == found["sequential"]["first_look"]
        assert again["sequential"]["p"] == pytest.approx(found["sequential"]["p"], rel=1e-6)


@pytest.mark.parametrize("rows", ["units", "events"])
def test_the_size_of_the_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch, rows: str) -> None:
    metrics = (BINARY, MEAN | {"covariate": "history", "winsorize": 0.99}, RATIO, QUANTILE, COUNT)
    description = spec(*metrics, time="t", looks=5, rows=rows)
    whole = analyze(DATA, description).document
    monkeypatch.setattr(tables, "CHUNK_ROWS", 97)
    pieces = analyze(DATA, description).document
    for key, metric in whole["metrics"].items():
        again = pieces["metrics"][key]
        for arm, shown in metric["arms"].items():
            for name, value in shown.items():
                near = None if value is None else pytest.approx(value, rel=1e-12)
                assert again["arms"][arm][name] == near
        one, two = (m["comparisons"]["treatment"]["fixed"] for m in (metric, again))
        assert two["ci"] == pytest.approx(one["ci"], rel=1e-9)


def test_many_looks_add_up_to_one() -> None:
    many = analyze(DATA, spec(MEAN, time="t", looks=50)).document["metrics"]["revenue"]
    one = analyze(DATA, spec(MEAN)).document["metrics"]["revenue"]
    for arm, shown in one["arms"].items():
        assert many["arms"][arm] == pytest.approx(shown, rel=1e-12)


@pytest.mark.parametrize(
    ("direction", "alternative"), [("increase", "larger"), ("decrease", "smaller")]
)
def test_a_guardrails_p_is_one_sided_against_its_margin(direction: str, alternative: str) -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    control, treatment = _split("errors")
    guardrail = COUNT | FIXED | {"role": "guardrail", "direction": direction, "margin": 0.02}
    found = comparison(DATA, spec(guardrail), "errors")
    null = -0.02 if direction == "increase" else 0.02
    welch = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    _, p, _ = welch.ttest_ind(alternative=alternative, usevar="unequal", value=null)
    assert found["fixed"]["p"] == pytest.approx(p, rel=1e-9)
    low, high = welch.tconfint_diff(alpha=0.025, alternative=alternative, usevar="unequal")
    ends = [low, None] if direction == "increase" else [None, high]
    for mine, theirs in zip(found["fixed"]["ci"], ends, strict=True):
        assert mine == (None if theirs is None else pytest.approx(theirs, rel=1e-9))


def test_swapping_the_labels_mirrors_the_result() -> None:
    swapped = {"column": "arm", "champion": "treatment", "weights": ARM["weights"]}
    one = comparison(DATA, spec(MEAN), "revenue")
    document = analyze(DATA, spec(MEAN) | {"arm": swapped}).document
    two = document["metrics"]["revenue"]["comparisons"]["control"]
    assert two["estimate"] == pytest.approx(-one["estimate"])
    assert two["sequential"]["e_value"] == pytest.approx(one["sequential"]["e_value"])


def test_looks_are_cumulative_and_end_with_all_units() -> None:
    document = analyze(DATA, spec(BINARY, time="t", looks=[500, 1500])).document
    assert [look["at"] for look in document["looks"]] == [500, 1500, 4000]
    assert [sum(look["n"].values()) for look in document["looks"]] == [500, 1500, 4000]
    early = DATA.iloc[:500]
    control = early[early["arm"] == "control"]["converted"]
    treatment = early[early["arm"] == "treatment"]["converted"]
    shown = document["looks"][0]["metrics"]["conversion"]["treatment"]
    assert shown["estimate"] == pytest.approx(treatment.mean() - control.mean())


def test_first_crossing_is_named_and_stays() -> None:
    strong = units(effect=0.15)
    found = comparison(strong, spec(BINARY, time="t", looks=20), "conversion")
    sequential = found["sequential"]
    assert found["verdict"] == "better"
    assert sequential["conclusive"]
    assert sequential["first_n"] == sequential["first_look"] * 200
    assert sequential["p"] < 0.05
    none = comparison(units(effect=0.0), spec(BINARY, time="t", looks=20), "conversion")
    assert none["sequential"]["first_look"] is None
    assert none["sequential"]["first_n"] is None
    assert not none["sequential"]["conclusive"]
    assert none["verdict"] == "inconclusive"


@pytest.mark.parametrize("plan", [{"horizon": 4000}, {"mde": 0.06}, {"mde_relative": 0.3}])
def test_planned_tests_cross_at_their_bounds(plan: dict[str, float]) -> None:
    planned = BINARY | {"mode": "planned"} | plan
    found = comparison(units(effect=0.15), spec(planned, time="t", looks=20), "conversion")
    assert found["verdict"] == "better"
    assert found["sequential"]["mode"] == "planned"
    assert found["sequential"]["p"] <= 0.05
    low, high = found["sequential"]["ci"]
    assert 0.0 < low < found["sequential"]["estimate"] < high


def test_an_mde_becomes_a_horizon_by_the_champions_variance_or_a_stated_one() -> None:
    def clock(**plan: Any) -> float:
        found = comparison(DATA, spec(MEAN | {"mode": "planned", "mde": 2.0} | plan), "revenue")
        return float(found["sequential"]["t"])

    control, treatment = _split("spend")
    sd = float(control.std(ddof=1))
    assert clock(baseline={"mean": control.mean(), "sd": sd}) == pytest.approx(clock(), rel=1e-9)
    size = len(control) * len(treatment) / len(DATA)
    fixed = (1.959963984540054 + 1.2815515655446004) ** 2 * sd**2 / 2.0**2
    assert clock() == pytest.approx(size / (1.0847 * fixed), rel=1e-3)


def test_a_planned_test_says_how_it_ended() -> None:
    nothing = units(seed=3)
    ended = comparison(
        nothing, spec(BINARY | {"mode": "planned", "horizon": 4000}, time="t"), "conversion"
    )
    assert (ended["verdict"], ended["reason"]) == ("no_difference", "horizon_reached")
    short = comparison(
        nothing, spec(BINARY | {"mode": "planned", "horizon": 40_000}, time="t"), "conversion"
    )
    assert (short["verdict"], short["reason"]) == ("inconclusive", "horizon_not_reached")
    assert short["sequential"]["p"] is None
    assert short["sequential"]["e_value"] > 0.0


def test_epochs_of_different_shares_are_compared_within() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    late = np.arange(n) >= n // 2
    treated = rng.random(n) < np.where(late, 0.5, 0.1)
    value = (rng.random(n) < np.where(late, 0.30, 0.10)).astype(int)
    data = pd.DataFrame(
        {
            "user": np.arange(n),
            "arm": np.where(treated, "treatment", "control"),
            "stage": np.where(late, "late", "early"),
            "converted": value,
        }
    )
    shares = {
        "early": {"control": 0.9, "treatment": 0.1},
        "late": {"control": 0.5, "treatment": 0.5},
    }
    arm = {"column": "arm", "champion": "control", "weights": shares}
    stratified = {"unit": "user", "arm": arm, "epoch": "stage", "metrics": [BINARY]}
    document = analyze(data, stratified).document
    found = document["metrics"]["conversion"]["comparisons"]["treatment"]
    assert found["fixed"]["method"] == "stratified_z"
    assert found["fixed"]["p"] > 0.001
    assert not document["srm"]["alarm"]
    pooled = analyze(data, {"unit": "user", "arm": ARM, "metrics": [BINARY]}).document
    assert pooled["metrics"]["conversion"]["comparisons"]["treatment"]["fixed"]["p"] < 1e-6
    assert pooled["srm"]["alarm"]


def test_epochs_that_disagree_are_shown_each() -> None:
    early = (DATA["stage"] == "first").to_numpy()
    treated = (DATA["arm"] == "treatment").to_numpy()
    moved = DATA["spend"] + np.where(treated, np.where(early, 9.0, -3.0), 0.0)
    analysis = analyze(DATA.assign(spend=moved), spec(MEAN, epoch="stage"))
    found = analysis.document["metrics"]["revenue"]["comparisons"]["treatment"]["heterogeneity"]
    assert found["p"] < 1e-6
    assert found["differ"]
    early_effect, late_effect = (effect["estimate"] for effect in found["effects"])
    assert early_effect > 0.0 > late_effect
    assert "the epochs disagree" in str(analysis)
    same = analyze(DATA, spec(MEAN, epoch="stage"))
    assert "disagree" not in str(same)


def test_several_challengers_share_the_alpha() -> None:
    data = DATA.assign(arm=np.array(["control", "b", "c"])[np.arange(len(DATA)) % 3])
    arm = {
        "column": "arm",
        "champion": "control",
        "weights": dict.fromkeys(["control", "b", "c"], 1),
    }
    document = analyze(data, {"unit": "user", "arm": arm, "metrics": [BINARY]}).document
    assert set(document["metrics"]["conversion"]["comparisons"]) == {"b", "c"}
    assert document["srm"]["p_fixed"] > 0.9


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_files_say_what_frames_say(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"units{suffix}"
    if suffix == ".parquet":
        DATA.to_parquet(path)
    else:
        DATA.to_csv(path, index=False)
    description = spec(BINARY, MEAN, RATIO, QUANTILE, COUNT, time="t", looks=4)
    assert analyze(path, description).document == analyze(DATA, description).document


@pytest.mark.parametrize("words", [("True", "False"), ("true", "FALSE"), ("1", "0"), (True, False)])
def test_binary_values_may_be_words(words: tuple[Any, Any]) -> None:
    yes, no = words
    data = DATA.assign(converted=[yes if v else no for v in DATA["converted"]])
    plain = comparison(DATA, spec(BINARY), "conversion")
    assert comparison(data, spec(BINARY), "conversion") == plain


@pytest.mark.parametrize(
    ("metric", "column", "bad", "rule"),
    [
        (BINARY, "converted", "maybe", "must be a number"),
        (BINARY, "converted", 2, "must be 0 or 1"),
        (MEAN, "spend", "12,5", "must be a number"),
        (MEAN, "spend", None, "is empty"),
        (MEAN, "spend", math.inf, "must lie within 1e+60 of 0"),
        (COUNT, "errors", 1.5, "whole number"),
        (COUNT, "errors", -1, "whole number"),
        (QUANTILE, "ms", -5.0, "at least 0"),
        (RATIO, "orders", "x", "must be a number"),
        (BINARY, "arm", None, "is empty"),
        (BINARY, "arm", "treatment2", "has no weight"),
        (BINARY, "user", None, "is empty"),
        (BINARY, "user", "u7", "came before"),
        (BINARY, "t", "yesterday", "ISO 8601"),
    ],
)
def test_a_bad_cell_names_row_column_and_rule(
    tmp_path: Path, metric: dict[str, Any], column: str, bad: object, rule: str
) -> None:
    cells = DATA[column].tolist()
    data = DATA.assign(**{column: [*cells[:1234], bad, *cells[1235:]]})
    path = tmp_path / "units.csv"
    data.to_csv(path, index=False)
    with pytest.raises(InvalidInput) as caught:
        analyze(path, spec(metric, time="t"))
    assert "row 1235 (line 1236)" in caught.value.message
    assert repr(column) in caught.value.message
    assert rule in caught.value.message
    assert caught.value.details["row"] == 1235


def test_an_empty_cell_may_be_given_a_meaning() -> None:
    data = DATA.assign(spend=DATA["spend"].where(DATA["t"] % 2 == 0))
    zero = analyze(data, spec(MEAN | {"zero_means": "zero"})).document["metrics"]["revenue"]
    unknown = analyze(data, spec(MEAN | {"zero_means": "unknown"})).document["metrics"]["revenue"]
    assert zero["arms"]["control"]["n"] + zero["arms"]["treatment"]["n"] == 4000
    assert unknown["arms"]["control"]["n"] + unknown["arms"]["treatment"]["n"] == 2000
    assert unknown["arms"]["control"]["missing"] + unknown["arms"]["treatment"]["missing"] == 2000
    assert unknown["arms"]["control"]["mean"] > zero["arms"]["control"]["mean"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spend": 0.0}, "zero_variance"),
        ({"spend": 1e12}, "zero_variance"),
    ],
)
def test_data_without_variance_are_inconclusive_by_name(
    change: dict[str, float], reason: str
) -> None:
    found = comparison(DATA.assign(**change), spec(MEAN), "revenue")
    assert found["verdict"] == "inconclusive"
    assert found["reason"] == reason
    assert found["fixed"]["p"] is None
    assert found["sequential"]["p"] is None


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_scale_of_the_values_changes_no_verdict(scale: float) -> None:
    plain = comparison(DATA, spec(MEAN), "revenue")
    scaled = comparison(DATA.assign(spend=DATA["spend"] * scale), spec(MEAN), "revenue")
    assert scaled["estimate"] == pytest.approx(plain["estimate"] * scale, rel=1e-9)
    assert scaled["sequential"]["e_value"] == pytest.approx(
        plain["sequential"]["e_value"], rel=1e-6
    )


def test_a_huge_mean_loses_no_digits() -> None:
    plain = comparison(DATA, spec(COUNT), "errors")
    moved = comparison(DATA.assign(errors=DATA["errors"] + 10**9), spec(COUNT), "errors")
    # A mean of 1e9 is known to 1e-7, the spacing of doubles there; its variance loses nothing.
    assert moved["estimate"] == pytest.approx(plain["estimate"], abs=3e-7)
    assert moved["fixed"]["p"] == pytest.approx(plain["fixed"]["p"], rel=1e-4)


def test_one_arm_alone_is_a_finding_where_two_were_asked_for() -> None:
    alone = DATA[DATA["arm"] == "control"]
    document = analyze(alone, spec(BINARY, MEAN, QUANTILE, RATIO)).document
    assert document["srm"]["alarm"]
    for metric in document["metrics"].values():
        found = metric["comparisons"]["treatment"]
        assert found["verdict"] in ("inconclusive", "unknown")
        assert found["estimate"] is None
        assert found["fixed"]["p"] is None
        assert metric["arms"]["treatment"]["n"] == 0
    undeclared = spec(BINARY) | {"arm": {"column": "arm"}}
    with pytest.raises(InvalidInput, match="fewer than two arms"):
        analyze(alone, undeclared)


def test_a_declared_arm_without_rows_raises_the_sample_ratio_alarm() -> None:
    shares = {"control": "40%", "treatment": "40%", "other": "20%"}
    third = {"column": "arm", "champion": "control", "weights": shares}
    document = analyze(DATA, spec(BINARY) | {"arm": third}).document
    assert document["srm"]["alarm"]
    assert document["looks"][-1]["n"]["other"] == 0


def test_without_a_time_rows_come_in_the_order_of_the_table() -> None:
    timed = analyze(DATA, spec(BINARY, time="t", looks=7)).document
    untimed = analyze(DATA, spec(BINARY, looks=7)).document
    assert untimed["looks"] == timed["looks"]
    assert untimed["warnings"] == ["no time column: rows are taken in the order of the table"]


def test_perfect_separation_is_found_without_a_warning() -> None:
    data = DATA.assign(converted=(DATA["arm"] == "treatment").astype(int))
    measured = BINARY | {"zero_means": "unknown"}  # a zero is a zero, not silence
    found = comparison(data, spec(measured), "conversion")
    assert found["verdict"] == "better"
    assert found["estimate"] == 1.0
    assert found["relative"]["estimate"] is None
    assert found["relative"]["ci"] is None


def test_few_units_are_judged_by_the_t_of_their_regression() -> None:
    """Exact for normal outcomes: e-value and interval are those of the t-mixture, with N - 2."""
    few = units(n=40, seed=9, effect=0.5)
    found = comparison(few, spec(MEAN | {"mode": "anytime"}), "revenue")
    arms = [few.loc[few["arm"] == arm, "spend"].to_numpy(float) for arm in ("control", "treatment")]
    n0, n1 = (len(arm) for arm in arms)
    size = n0 * n1 / (n0 + n1)
    gap = arms[1].mean() - arms[0].mean()
    about_common = sum(((arm - arm.mean()) ** 2).sum() for arm in arms) + size * gap**2
    error = math.sqrt(about_common / (n0 + n1 - 1) / size)
    ratio = size / tuned_rho(0.5 * size, alpha=0.05)
    of = {"units": 40, "freedom": 38}
    assert found["sequential"]["e_value"] == pytest.approx(
        math.exp(regression_log_e(gap / error, ratio, **of)), rel=1e-8
    )
    half = regression_critical_z(ratio, alpha=0.05, **of) * error
    assert found["sequential"]["ci"] == pytest.approx([gap - half, gap + half], rel=1e-8)


def test_a_cap_taken_where_most_units_have_nothing_leaves_the_metric() -> None:
    rng = np.random.default_rng(2)
    few = np.where(rng.random(len(DATA)) < 0.03, DATA["history"] + 1.0, 0.0)
    metric = MEAN | FIXED | {"winsorize": 0.9}
    arms = analyze(DATA.assign(spend=few), spec(metric)).document["metrics"]["revenue"]["arms"]
    paid = few[:1000][few[:1000] > 0]
    cap = np.quantile(paid, 0.9, method="inverted_cdf")
    control = (DATA["arm"] == "control").to_numpy()
    assert arms["control"]["mean"] == pytest.approx(np.minimum(few, cap)[control].mean())


def test_the_horizon_does_not_depend_on_which_row_comes_first() -> None:
    rng = np.random.default_rng(3)
    arm = rng.choice(["control", "a", "b"], len(DATA), p=[0.5, 0.4, 0.1])
    split = {"control": 0.5, "a": 0.4, "b": 0.1}
    description = {
        **spec(MEAN | {"mode": "planned", "horizon": len(DATA)}, time="t", looks=10),
        "arm": {"column": "arm", "champion": "control", "weights": split},
    }
    data, found = DATA.assign(arm=arm), []
    for first in ("a", "b"):
        rows = data.assign(t=np.where(np.cumsum(arm == first) == 1, -1, data["t"]))
        found.append(analyze(rows.sort_values("t", kind="stable"), description).document)
    a, b = (each["metrics"]["revenue"]["comparisons"]["b"]["sequential"] for each in found)
    assert a["t"] == pytest.approx(b["t"], rel=0.01)
    assert a["t"] < 1.1
