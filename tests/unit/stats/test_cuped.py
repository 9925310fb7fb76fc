from __future__ import annotations

import numpy as np
import pytest

from controller.stats.cuped import coefficients


def _rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, w = rng.normal(5.0, 2.0, n), rng.exponential(3.0, n)
    return np.column_stack([0.8 * x - 0.3 * w + rng.normal(0.0, 1.0, n), x, w])


def _scatter(rows: np.ndarray) -> np.ndarray:
    deviations = rows - rows.mean(axis=0)
    return np.asarray(deviations.T @ deviations)


def test_it_equals_the_regression_on_unit_rows() -> None:
    rows = _rows(900, 1)
    centred = rows - rows.mean(axis=0)
    theta = np.linalg.lstsq(centred[:, 1:], centred[:, 0], rcond=None)[0]
    np.testing.assert_allclose(coefficients(_scatter(rows)), theta, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_covariates_that_say_the_same_explain_as_much_as_one(scale: float) -> None:
    rows = _rows(500, 2)
    (alone,) = coefficients(_scatter(rows[:, :2]))
    twice = np.column_stack([rows[:, :2], scale * rows[:, 1]])
    one, other = coefficients(_scatter(twice))
    assert one + scale * other == pytest.approx(alone, rel=1e-6)


def test_a_covariate_that_does_not_vary_explains_nothing_and_costs_nothing() -> None:
    rows = _rows(500, 3)
    constant = np.column_stack([rows[:, 0], np.ones(500), rows[:, 1]])
    nothing, something = coefficients(_scatter(constant))
    assert nothing == 0.0
    assert something == pytest.approx(coefficients(_scatter(rows[:, :2]))[0], rel=1e-9)
    assert coefficients(_scatter(constant[:, :2])).tolist() == [0.0]


def test_sums_that_overflowed_explain_nothing() -> None:
    scatter = _scatter(_rows(50, 4))
    scatter[0, 1] = np.inf
    assert coefficients(scatter).tolist() == [0.0, 0.0]
