"""What decision 0034 says of thin tails, in short: `tests/calibration/tails.py` at full length."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.stats.exact_quantile import exact_quantile_log_e
from controller.stats.results import Alternative, Inconclusive
from tests.calibration.tails import ALPHA, measure

pytestmark = pytest.mark.calibration


def test_in_a_thin_tail_only_the_values_find_anything() -> None:
    grid, exact = measure(0.99, 1200, 2.0, runs=25, seed=1)
    assert (grid.claimed, grid.width) == (0.0, None)
    assert exact.claimed > 0.9


def test_where_the_grid_speaks_it_is_the_narrower() -> None:
    grid, exact = measure(0.5, 1000, 0.25, runs=12, seed=1)
    assert grid.width is not None
    assert exact.width is not None
    assert grid.width < 0.97 * exact.width
    assert grid.units < exact.units


@pytest.mark.parametrize(("side", "scale"), [("two-sided", 1.0), ("larger", 1.2), ("smaller", 1.2)])
def test_without_an_effect_looking_all_the_time_claims_no_more_than_alpha(
    side: Alternative, scale: float
) -> None:
    """At the null's boundary itself; whole numbers, so that ties abound."""
    rng, runs, wrong = np.random.default_rng(5), 400, 0
    for _ in range(runs):
        a = np.round(20.0 * rng.lognormal(size=150))
        b = scale * np.round(20.0 * rng.lognormal(size=150))
        evidence = [
            exact_quantile_log_e(
                a[:n], b[:n], q=0.9, tuning=75.0, alpha=ALPHA, alternative=side, scale=scale
            )
            for n in range(5, 151, 5)
        ]
        heard = [e for e in evidence if not isinstance(e, Inconclusive)]
        wrong += max(heard) >= -math.log(ALPHA)
    assert wrong / runs <= ALPHA + 2.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / runs)
