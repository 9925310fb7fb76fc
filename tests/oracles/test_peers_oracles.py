"""What peers and papers compute, held by the pieces of ours that compute the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.stats.counts import EpochEvents
from controller.stats.counts import log_e_value as log_e_of_events
from controller.stats.exact_quantile import exact_quantile_log_e
from controller.stats.mixture import (
    AlwaysValid,
    always_valid,
    critical_z,
    p_from_log_e,
    regression_critical_z,
    regression_log_e,
    tuned_rho,
)
from controller.stats.ratio import RatioEffect, RelativeLift, ratio_effect
from controller.stats.ratio import relative_lift as fieller
from controller.stats.results import Inconclusive
from tests.sums import adjusted, arm_with_history, ratio_arm

_VALUES = json.loads((Path(__file__).parent / "peers_oracles.json").read_text())["values"]
_TINY = 3e-3

Floats = NDArray[np.float64]


def _cases(*names: str) -> list[Any]:
    found = [value for value in _VALUES if value["name"] in names]
    assert found, names
    return [
        pytest.param(v["inputs"], v["expected"], v["tolerance"], id=f"{v['name']}-{index}")
        for index, v in enumerate(found)
    ]


def check_close(actual: float, expected: float, tolerance: dict[str, float]) -> None:
    assert actual == pytest.approx(expected, rel=tolerance["rtol"], abs=tolerance["atol"])


# ------------------------------------------------------------------ regression (Lindon et al.)


def _table(n: int) -> tuple[Floats, Floats]:
    i = np.arange(1, n + 1)
    x = np.column_stack([np.ones(n), i % 2, ((37 * i) % 101) / 50.0 - 1.0])
    return x, 0.2 + 0.3 * x[:, 1] + 0.8 * x[:, 2] + ((53 * i) % 97) / 48.5 - 1.0


def _z_of(t: float, units: int, freedom: int) -> float:
    """The null-variance score that has this t."""
    return math.copysign(math.sqrt((units - 1) * t * t / (freedom + t * t)), t)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("avlm_regression_adjusted"))
def test_regression_adjusted_evidence_agrees_with_avlm(
    given: Any, wanted: Any, within: Any
) -> None:
    import statsmodels.api as sm

    n = given["n"]
    x, y = _table(n)
    fit = sm.OLS(y, x).fit(cov_type="nonrobust" if given["vcov"] == "classical" else given["vcov"])
    of = {"units": n, "freedom": n - x.shape[1]}
    ratio = n / given["g"]
    for k in range(x.shape[1]):
        check_close(float(fit.params[k]), wanted["coef"][k], within)
        check_close(float(fit.bse[k]), wanted["se"][k], within)
        z = _z_of(float(fit.params[k] / fit.bse[k]), **of)
        p = math.exp(-regression_log_e(z, ratio, **of))
        check_close(p, wanted["own_p"][k], within)
        check_close(p, wanted["p"][k], within)
    bound = regression_critical_z(ratio, alpha=given["alpha"], **of)
    radius = math.sqrt(of["freedom"] * bound**2 / (n - 1 - bound**2))
    check_close(radius, wanted["t_radius"], within)
    for end, side in zip(wanted["ci_treatment"], (-1.0, 1.0), strict=True):
        check_close(float(fit.params[1] + side * radius * fit.bse[1]), end, within)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("savvi_linear_regression"))
def test_regression_evidence_agrees_with_savvi(given: Any, wanted: Any, within: Any) -> None:
    """Its prior is on the effect itself, so n over g is the column's own sum of squares."""
    import statsmodels.api as sm

    n = given["n"]
    x, y = _table(n)
    fit = sm.OLS(y, x).fit()
    columns = x.shape[1]
    for k in range(columns):
        rest = np.delete(x, k, axis=1)
        left = x[:, k] - rest @ np.linalg.lstsq(rest, x[:, k], rcond=None)[0]
        of = {"units": n, "freedom": n - columns - 1}  # its own choice: one less than ours
        ratio = float(left @ left) / given["phi"]
        log_e = regression_log_e(_z_of(float(fit.tvalues[k]), **of), ratio, **of)
        check_close(math.exp(-log_e), wanted["p"][k], within)
        check_close(float(fit.params[k]), wanted["beta"][k], within)
        bound = regression_critical_z(ratio, alpha=given["alpha"], **of)
        radius = math.sqrt(of["freedom"] * bound**2 / (n - 1 - bound**2))
        for end, side in zip(wanted["ci"][k], (-1.0, 1.0), strict=True):
            check_close(float(fit.params[k] + side * radius * fit.bse[k]), end, within)


# ------------------------------------------------------------------ shares and hits, confseq


def _concentration(v_opt: float, alpha: float, share: float, *, one_sided: bool) -> float:
    """Howard et al. (2021): r = rho - g h, and a Beta(r / h, r / g) prior for shares g and h."""
    side: Any = "larger" if one_sided else "two-sided"
    rho = tuned_rho(v_opt, alpha=alpha, alternative=side)
    return rho / (share * (1.0 - share)) - 1.0


@pytest.mark.parametrize(
    ("given", "wanted", "within"), _cases("confseq_beta_binomial_mixture_bound")
)
def test_evidence_of_hits_agrees_with_confseqs_bound(given: Any, wanted: Any, within: Any) -> None:
    """At the bound the e-value is 1 / alpha; sums and variances are not whole numbers of hits."""
    g, h, one_sided = given["g"], given["h"], given["one_sided"]
    hits = given["v"] / h + wanted["value"]
    misses = given["v"] / g - wanted["value"]
    seen = EpochEvents(control=misses, treatment=hits, share=g)
    log_e = log_e_of_events(
        [seen],
        alternative="larger" if one_sided else "two-sided",
        concentration=_concentration(given["v_opt"], given["alpha_opt"], g, one_sided=one_sided),
    )
    assert log_e == pytest.approx(-math.log(given["alpha"]), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "wanted", "within"), _cases("confseq_bernoulli_confidence_interval")
)
def test_a_share_at_confseqs_ends_is_just_rejected(given: Any, wanted: Any, within: Any) -> None:
    hits, trials = given["num_successes"], given["num_trials"]
    for p in wanted["value"]:
        seen = EpochEvents(control=trials - hits, treatment=hits, share=p)
        v_opt = given["t_opt"] * p * (1.0 - p)
        log_e = log_e_of_events(
            [seen],
            concentration=_concentration(v_opt, given["alpha_opt"], p, one_sided=False),
        )
        assert log_e == pytest.approx(-math.log(given["alpha"]), rel=1e-6)


# ------------------------------------------------------------------ gbstats


def _arm(name: str, sums: Any) -> tuple[float, float, float]:
    """Level, variance of the level, units."""
    n = sums["n"]
    if name == "gb_proportion":
        mean = sums["sum"] / n
        return mean, mean * (1.0 - mean) / n, n
    mean = sums["sum"] / n
    return mean, (sums["sum_squares"] - n * mean * mean) / (n - 1) / n, n


def _levels(name: str, given: Any) -> tuple[tuple[float, float, float], ...]:
    """Champion's and challenger's level, its variance and units, by our own estimators."""
    if name in ("gb_proportion", "gb_mean"):
        return _arm(name, given["a"]), _arm(name, given["b"])
    if name == "gb_ratio":
        effect = ratio_effect(ratio_arm(given["a"]), ratio_arm(given["b"]))
        assert isinstance(effect, RatioEffect)
        return (
            (effect.control, effect.control_variance, given["a"]["n"]),
            (effect.treatment, effect.treatment_variance, given["b"]["n"]),
        )
    if name == "gb_quantile":
        z = 1.959963984540054
        return tuple(
            (
                float(arm["q"]),
                # A cluster a unit: the order statistics' interval, n - 1 for n as gbstats has it.
                ((arm["hi"] - arm["lo"]) / (2.0 * z)) ** 2 * (arm["n"] - 1) / arm["n"],
                float(arm["n"]),
            )
            for arm in (given["a"], given["b"])
        )
    raw = arm_with_history(given["a"])
    arms = adjusted(raw, arm_with_history(given["b"]))
    control, treatment = (arm.m2 / (arm.n - 1) / arm.n for arm in arms)
    gap = arms[1].mean - arms[0].mean
    return (raw.mean, control, arms[0].n), (raw.mean + gap, treatment, arms[1].n)


def _effect(name: str, given: Any) -> tuple[float, float, float]:
    """Estimate, standard error and units; relative by the slope of Fieller's interval at 0."""
    (a, va, na), (b, vb, nb) = _levels(name, given)
    if given["difference"] == "absolute":
        return b - a, math.sqrt(va + vb), na + nb
    lift = fieller(b, a, treatment_variance=vb, control_variance=va, critical=_TINY)
    assert isinstance(lift, RelativeLift)
    return lift.estimate, (lift.upper - lift.lower) / (2.0 * _TINY), na + nb


_GB = ("gb_proportion", "gb_mean", "gb_cuped", "gb_ratio", "gb_quantile")


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        pytest.param(v["name"], v["inputs"], v["expected"], id=f"{v['name']}-{index}")
        for index, v in enumerate(_VALUES)
        if v["name"] in _GB
    ],
)
def test_estimates_and_intervals_agree_with_gbstats(name: str, given: Any, wanted: Any) -> None:
    """Two-sided sequences are the same formula. Its one-sided one is an upper bound of the exact
    root that ours is, and its fixed test has a t where ours, at thousands of units, has a z."""
    estimate, error, units = _effect(name, given)
    assert estimate == pytest.approx(wanted["estimate"], rel=1e-9)
    if name == "gb_cuped" and given["difference"] == "relative":
        # Its delta method keeps the raw baseline's variance and the cross moment; ours adjusts it.
        assert error == pytest.approx(wanted["se"], rel=0.25)
        error = wanted["se"]
    assert error == pytest.approx(wanted["se"], rel=1e-6)
    low, high = (float(end) for end in wanted["ci"])
    test, alpha = given["test"], given["alpha"]
    if test == "fixed":
        z = 1.959963984540054
        assert (high - low) / 2.0 / error == pytest.approx(z, rel=3e-3)
        return
    tuning = 20_000.0 if test.endswith("20000") else 5000.0
    if test in ("sequential", "sequential_tuning_20000"):
        found = always_valid(estimate, error**2, information=units, tuning=tuning, alpha=alpha)
        assert isinstance(found, AlwaysValid)
        assert (found.lower, found.upper) == pytest.approx((low, high), rel=1e-6)
        if "p" in wanted:
            assert found.p_value == pytest.approx(wanted["p"], rel=1e-6)
        return
    bound = critical_z(
        units / tuned_rho(tuning, alpha=alpha, alternative="larger"),
        alpha=alpha,
        alternative="larger",
    )
    theirs = (estimate - low if test == "sequential_greater" else high - estimate) / error
    assert 0.97 * theirs < bound <= theirs


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("gb_post_stratification"))
def test_the_unstratified_answer_to_simpsons_table_is_gbstats(
    given: Any, wanted: Any, within: Any
) -> None:
    assert not given["post_stratify"]
    sums = {
        side: {
            part: sum(stratum[side][part] for stratum in given["strata"])
            for part in ("n", "sum", "sum_squares")
        }
        for side in ("a", "b")
    }
    whole = {**sums, "difference": given["difference"]}
    estimate, error, _ = _effect("gb_mean", whole)
    check_close(estimate, wanted["estimate"], within)
    assert error == pytest.approx(wanted["se"], rel=1e-6)
    half = 1.959963984540054 * error
    assert (estimate - half, estimate + half) == pytest.approx(wanted["ci"], rel=2e-3)


@pytest.mark.parametrize(("given", "wanted", "within"), _cases("confseq_quantile_ab_p_value"))
def test_exact_evidence_of_two_quantiles_agrees_with_confseq(
    given: Any, wanted: Any, within: Any
) -> None:
    """Congruential values: they fix the arithmetic, not the statistics."""
    i = np.arange(1, given["n"] + 1)
    control = -np.log(1.0 - ((i * 7919 % 10007) + 0.5) / 10007)
    treatment = -given["factor"] * np.log(1.0 - ((i * 6007 % 10009) + 0.5) / 10009)
    log_e = exact_quantile_log_e(
        control, treatment, q=given["q"], tuning=given["t_opt"], alpha=given["alpha_opt"]
    )
    assert not isinstance(log_e, Inconclusive)
    assert p_from_log_e(log_e) == pytest.approx(wanted["value"], rel=within["rtol"])
