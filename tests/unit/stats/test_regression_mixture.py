"""The t-mixture: exact where the normal one is asymptotic, and better at few units."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import t as student

from controller.stats.mixture import (
    critical_z,
    log_e_of,
    log_e_value,
    regression_critical_z,
    regression_log_e,
    tuned_rho,
)

Floats = NDArray[np.float64]


@pytest.mark.parametrize("units", [5, 12, 60])
@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.0])
def test_mean_e_value_is_one_for_normal_outcomes(units: int, columns: int, ratio: float) -> None:
    freedom = units - columns

    def weighted(t: float) -> float:
        z = math.sqrt((units - 1) * t * t / (freedom + t * t))
        return math.exp(regression_log_e(z, ratio, units=units, freedom=freedom)) * float(
            student.pdf(t, freedom)
        )

    mean, _ = quad(weighted, -math.inf, math.inf, limit=400)
    assert mean == pytest.approx(1.0, abs=1e-6)


def test_at_many_units_it_is_the_normal_mixture_and_at_few_it_is_more() -> None:
    for z in (0.5, 2.0, 4.0):
        normal = log_e_of(z, 3.0)
        many = regression_log_e(z, 3.0, units=10**8, freedom=10**8 - 2)
        assert many == pytest.approx(normal, abs=1e-5)
    assert regression_log_e(4.0, 3.0, units=30, freedom=28) > log_e_of(4.0, 3.0) + 0.5


@pytest.mark.parametrize("units", [16, 40, 4000])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_bound_and_evidence_are_duals(units: int, alpha: float) -> None:
    of = {"units": units, "freedom": units - 2}
    bound = regression_critical_z(2.0, alpha=alpha, **of)
    assert regression_log_e(bound, 2.0, **of) == pytest.approx(-math.log(alpha), rel=1e-9)


def test_where_no_outcome_can_convince_the_bound_is_infinite() -> None:
    assert regression_critical_z(0.2, alpha=0.001, units=5, freedom=3) == math.inf
    assert math.isfinite(regression_log_e(2.0, 0.2, units=5, freedom=3))
    assert critical_z(0.2, alpha=0.001) < math.inf


def test_one_number_is_what_the_array_form_gives() -> None:
    z = np.array([-7.0, -1.0, 0.0, 0.3, 2.5, 30.0])
    for side in ("two-sided", "larger", "smaller"):
        many = log_e_value(z, 1.7, alternative=side)
        single = [log_e_of(each, 1.7, alternative=side) for each in z.tolist()]
        np.testing.assert_allclose(single, many, rtol=1e-13)


LAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda r, shape: r.normal(0.0, 1.0, shape),
    "lognormal": lambda r, shape: r.lognormal(0.0, 1.2, shape),
    "coin": lambda r, shape: (r.random(shape) < 0.5).astype(np.float64),
}


def peeked(law: str, *, units: int, runs: int, effect: float = 0.0) -> dict[str, float]:
    """Share of runs that ever reach 20, looked at after every pair of units."""
    rng = np.random.default_rng(33)
    each = units // 2
    y = LAWS[law](rng, (runs, 2, each))
    y[:, 1] += effect
    k = np.arange(1, each + 1)
    sums, squares = y.cumsum(axis=2), (y * y).cumsum(axis=2)
    within = (squares - sums * sums / k).sum(axis=1)
    gap = k / 2.0 * ((sums[:, 1] - sums[:, 0]) / k) ** 2
    null = np.maximum((within + gap) / (2 * k - 1), 1e-12)
    own = np.maximum(within / np.maximum(2 * k - 2, 1), 1e-12)
    ratio = k / 2.0 / tuned_rho(each / 4.0, alpha=0.05)
    shrink = ratio / (1.0 + ratio)
    explained = np.minimum(gap / null / (2 * k - 1), 1.0)
    found = {
        "t": -0.5 * ((2 * k - 1) * np.log1p(-shrink * explained) + np.log1p(ratio)),
        "normal": log_e_value(np.sqrt(gap / null), ratio),
        "plug-in": log_e_value(np.sqrt(gap / own), ratio),
    }
    return {
        name: float((log_e[:, 1:] >= math.log(20.0)).any(axis=1).mean())
        for name, log_e in found.items()
    }


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("units", [20, 100])
def test_few_units_keep_the_error_where_a_plug_in_variance_loses_it(law: str, units: int) -> None:
    found = peeked(law, units=units, runs=8000)
    error = math.sqrt(0.05 * 0.95 / 8000)
    assert found["t"] <= 0.05 + 2 * error
    assert found["plug-in"] > 0.06


def test_few_units_find_more_than_under_the_normal_mixture() -> None:
    found = peeked("normal", units=20, runs=4000, effect=1.6)
    assert found["normal"] < 0.40
    assert found["t"] > 0.60
