from __future__ import annotations

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.cuped import Cuped, JointMoments, cuped
from controller.stats.results import Inconclusive, Reason


def _moments(rows: np.ndarray) -> JointMoments:
    deviations = rows - rows.mean(axis=0)
    return JointMoments(n=len(rows), mean=rows.mean(axis=0), scatter=deviations.T @ deviations)


def _rows(n: int, seed: int, effect: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, w = rng.normal(5.0, 2.0, n), rng.exponential(3.0, n)
    return np.column_stack([0.8 * x - 0.3 * w + rng.normal(0.0, 1.0, n) + effect, x, w])


def test_it_equals_the_regression_on_unit_rows() -> None:
    control, treatment = _rows(400, 1), _rows(500, 2, 0.5)
    found = cuped([_moments(control), _moments(treatment)])
    assert isinstance(found, Cuped)
    both = np.vstack([control, treatment])
    centred = both - both.mean(axis=0)
    theta = np.linalg.lstsq(centred[:, 1:], centred[:, 0], rcond=None)[0]
    np.testing.assert_allclose(found.theta, theta, rtol=1e-9)
    for rows, arm in zip((control, treatment), found.arms, strict=True):
        adjusted = rows[:, 0] - (rows[:, 1:] - both[:, 1:].mean(axis=0)) @ theta
        assert arm.mean == pytest.approx(adjusted.mean(), rel=1e-9)
        assert arm.m2 == pytest.approx(((adjusted - adjusted.mean()) ** 2).sum(), rel=1e-9)
    assert 0.6 < found.variance_removed < 0.9


def test_the_overall_mean_is_kept() -> None:
    arms = [_moments(_rows(400, 3)), _moments(_rows(100, 4, 1.0))]
    found = cuped(arms)
    assert isinstance(found, Cuped)
    raw = sum(arm.n * float(arm.mean[0]) for arm in arms)
    assert sum(arm.n * arm.mean for arm in found.arms) == pytest.approx(raw, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:1], Reason.TOO_FEW_UNITS),
        (lambda rows: np.column_stack([rows[:, 0], np.ones(len(rows))]), Reason.ZERO_VARIANCE),
        (lambda rows: np.column_stack([rows[:, 0], rows[:, 1], 2 * rows[:, 1]]), Reason.COLLINEAR),
        (lambda rows: np.where(rows > 0, np.nan, rows), Reason.NOT_FINITE),
    ],
)
def test_useless_covariates_are_named(change: object, reason: Reason) -> None:
    arms = [_moments(change(_rows(50, seed))) for seed in (5, 6)]  # type: ignore[operator]
    found = cuped(arms)
    assert isinstance(found, Inconclusive)
    assert found.reason == reason


def test_different_covariates_are_an_error() -> None:
    with pytest.raises(InvalidInput):
        cuped([_moments(_rows(50, 1)), _moments(_rows(50, 1)[:, :2])])
