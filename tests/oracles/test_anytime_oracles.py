"""Always-valid methods against published libraries; every value names its source."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from controller.stats.betting import BettingInterval, bounded_mean
from controller.stats.counts import EpochEvents
from controller.stats.counts import log_e_value as log_e_of_events
from controller.stats.mixture import AlwaysValid, always_valid, critical_z, log_e_value, tuned_rho
from controller.stats.ratio import RatioEffect, ratio_effect
from controller.stats.srm import EpochCounts, SampleRatio, chi_square_p, sample_ratio
from tests.sums import adjusted, arm_with_history, ratio_arm

_VALUES = json.loads((Path(__file__).parent / "anytime_oracles.json").read_text())["values"]


def _cases(*names: str) -> list[Any]:
    found = [value for value in _VALUES if value["name"] in names]
    assert found, names
    return [
        pytest.param(v["inputs"], v["expected"], v["tolerance"], id=f"{v['name']}-{index}")
        for index, v in enumerate(found)
    ]


def check_close(actual: float, expected: float, tolerance: dict[str, float]) -> None:
    assert actual == pytest.approx(expected, rel=tolerance["rtol"], abs=tolerance["atol"])


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("confseq_normal_mixture_bound"))
def test_normal_mixture_bound_agrees_with_confseq(given: Any, wanted: Any, within: Any) -> None:
    side: Any = "larger" if given["one_sided"] else "two-sided"
    rho = tuned_rho(given["v_opt"], alpha=given["alpha_opt"], alternative=side)
    bound = critical_z(given["v"] / rho, alpha=given["alpha"], alternative=side)
    check_close(bound * math.sqrt(given["v"]), wanted["value"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("confseq_normal_log_mixture"))
def test_log_mixture_agrees_with_confseq(given: Any, wanted: Any, within: Any) -> None:
    rho = tuned_rho(given["v_opt"], alpha=given["alpha_opt"], alternative="larger")
    z = given["s"] / math.sqrt(given["v"])
    actual = float(log_e_value(z, given["v"] / rho, alternative="larger"))
    check_close(actual, wanted["value"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("msprt_two_sample"))
def test_msprt_is_the_mixture_at_its_prior(given: Any, wanted: Any, within: Any) -> None:
    variance = 2.0 * given["variance_per_arm"] / given["n_per_arm"]
    z = given["diff"] / math.sqrt(variance)
    actual = float(log_e_value(z, given["tau2"] / variance))
    check_close(math.exp(actual), wanted["lambda_"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("gb_mean", "gb_proportion"))
def test_confidence_sequence_of_a_mean_agrees_with_gbstats(
    given: Any, wanted: Any, within: Any
) -> None:
    tuning = 20000 if given["test"].endswith("20000") else 5000
    found = always_valid(
        wanted["estimate"],
        wanted["se"] ** 2,
        information=given["a"]["n"] + given["b"]["n"],
        tuning=tuning,
        alpha=given["alpha"],
    )
    assert isinstance(found, AlwaysValid)
    check_close(found.lower, wanted["ci"][0], within)
    check_close(found.upper, wanted["ci"][1], within)
    if "p" in wanted:
        check_close(found.p_value, wanted["p"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("gb_ratio"))
def test_ratio_difference_agrees_with_gbstats(given: Any, wanted: Any, within: Any) -> None:
    effect = ratio_effect(ratio_arm(given["a"]), ratio_arm(given["b"]))
    assert isinstance(effect, RatioEffect)
    check_close(effect.difference, wanted["estimate"], within)
    check_close(math.sqrt(effect.variance), wanted["se"], within)
    if given["test"] == "sequential":
        units = given["a"]["n"] + given["b"]["n"]
        found = always_valid(
            effect.difference, effect.variance, information=units, tuning=5000, alpha=0.05
        )
        assert isinstance(found, AlwaysValid)
        check_close(found.lower, wanted["ci"][0], within)
        check_close(found.p_value, wanted["p"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("gb_cuped"))
def test_cuped_agrees_with_gbstats(given: Any, wanted: Any, within: Any) -> None:
    control, treatment = adjusted(arm_with_history(given["a"]), arm_with_history(given["b"]))
    check_close(treatment.mean - control.mean, wanted["estimate"], within)
    error = sum(arm.m2 / (arm.n - 1) / arm.n for arm in (control, treatment))
    check_close(math.sqrt(error), wanted["se"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("srm_multinomial_sequential"))
def test_sequential_srm_agrees_with_the_paper(given: Any, wanted: Any, within: Any) -> None:
    epoch = EpochCounts(counts=tuple(given["counts"]), weights=tuple(given["expected"]))
    found = sample_ratio([epoch], concentration=given["concentration"])
    assert isinstance(found, SampleRatio)
    check_close(found.log_e_value, wanted["log_bayes_factor"], within)
    check_close(found.p_value, wanted["p"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("srm_chi2_fixed"))
def test_chi_square_agrees_with_pearson(given: Any, wanted: Any, within: Any) -> None:
    epoch = EpochCounts(counts=tuple(given["counts"]), weights=tuple(given["expected"]))
    found = chi_square_p([epoch])
    assert isinstance(found, float)
    check_close(found, wanted["p"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("gb_srm"))
def test_chi_square_agrees_with_gbstats(given: Any, wanted: Any, within: Any) -> None:
    epoch = EpochCounts(counts=tuple(given["users"]), weights=tuple(given["weights"]))
    found = chi_square_p([epoch])
    assert isinstance(found, float)
    check_close(found, wanted["p"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("poisson_rate_equality_sequential"))
def test_rate_equality_agrees_with_savvi(given: Any, wanted: Any, within: Any) -> None:
    control, treatment = given["events"]
    epoch = EpochEvents(
        control=control, treatment=treatment, share=given["assignment_probabilities"][1]
    )
    actual = log_e_of_events([epoch], concentration=given["concentration"])
    check_close(actual, wanted["log_bayes_factor"], within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("confseq_betting_cs"))
def test_betting_sequence_agrees_with_confseq(given: Any, wanted: Any, within: Any) -> None:
    share, n = given["p"], given["n"]
    values = [float((i * 7919 % 10007) / 10007 < share) for i in range(1, n + 1)]
    for side in ("lower", "upper"):
        for count, edge in wanted[f"{side}_at"]:
            found = bounded_mean(values[:count], alpha=given["alpha"], grid=given["breaks"])
            assert isinstance(found, BettingInterval)
            check_close(getattr(found, side), edge, within)
