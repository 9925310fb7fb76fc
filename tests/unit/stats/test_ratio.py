from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.ratio import (
    RatioEffect,
    RatioMoments,
    RelativeLift,
    linearise,
    ratio_effect,
    relative_lift,
)
from controller.stats.results import Inconclusive, Reason


def _arm(m: np.ndarray, d: np.ndarray) -> RatioMoments:
    dm, dd = m - m.mean(), d - d.mean()
    return RatioMoments(
        n=len(m),
        mean=float(m.mean()),
        m2=float(dm @ dm),
        denominator_mean=float(d.mean()),
        denominator_m2=float(dd @ dd),
        cross_m2=float(dm @ dd),
    )


def _rows(n: int, seed: int, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    d = rng.poisson(4.0, n).astype(float)
    return ratio * d + rng.normal(0.0, 1.0, n), d


def test_linearised_rows_have_these_moments() -> None:
    (m0, d0), (m1, d1) = _rows(300, 1, 2.0), _rows(200, 2, 2.3)
    found = linearise(_arm(m0, d0), _arm(m1, d1))
    assert not isinstance(found, Inconclusive)
    ratio = (m0.sum() + m1.sum()) / (d0.sum() + d1.sum())
    per_unit = (d0.sum() + d1.sum()) / 500
    for (m, d), arm in zip(((m0, d0), (m1, d1)), found, strict=True):
        rows = (m - ratio * d) / per_unit
        assert arm.mean == pytest.approx(rows.mean(), rel=1e-9)
        assert arm.m2 == pytest.approx(((rows - rows.mean()) ** 2).sum(), rel=1e-9)


def test_linearised_difference_is_close_to_the_difference_of_ratios() -> None:
    arms = _arm(*_rows(30_000, 3, 2.0)), _arm(*_rows(30_000, 4, 2.1))
    linear, direct = linearise(*arms), ratio_effect(*arms)
    assert isinstance(direct, RatioEffect)
    assert not isinstance(linear, Inconclusive)
    assert linear[1].mean - linear[0].mean == pytest.approx(direct.difference, rel=1e-3)
    variance = sum(arm.m2 / (arm.n - 1) / arm.n for arm in linear)
    assert variance == pytest.approx(direct.variance, rel=0.02)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.9, 0.0), (1.0, -0.2)])
def test_at_the_null_the_linearised_means_agree(scale: float, shift: float) -> None:
    d = np.array([1.0, 2.0, 5.0, 3.0])
    noise = np.array([0.5, -0.5, 0.1, -0.1])
    control = 2.0 * d + noise
    treatment = (scale * 2.0 + shift) * d + scale * noise
    found = linearise(_arm(control, d), _arm(treatment, d), scale=scale, shift=shift)
    assert not isinstance(found, Inconclusive)
    assert found[1].mean == pytest.approx(found[0].mean, abs=1e-12)


def test_a_ratio_needs_a_denominator_and_units() -> None:
    zero = np.zeros(5)
    one = _arm(np.ones(5), zero)
    empty = RatioMoments(
        n=0, mean=0.0, m2=0.0, denominator_mean=0.0, denominator_m2=0.0, cross_m2=0.0
    )
    assert linearise(one, one) == Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    assert ratio_effect(one, one) == Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    assert linearise(one, empty) == Inconclusive(reason=Reason.ARM_EMPTY)
    assert ratio_effect(one, empty) == Inconclusive(reason=Reason.TOO_FEW_UNITS)


def test_fieller_ends_are_the_lifts_just_rejected() -> None:
    found = relative_lift(
        11.0, 10.0, treatment_variance=0.09, control_variance=0.16, covariance=0.02, critical=1.96
    )
    assert isinstance(found, RelativeLift)
    assert found.estimate == pytest.approx(0.1)
    for lift in (found.lower, found.upper):
        variance = 0.09 + (1 + lift) ** 2 * 0.16 - 2 * (1 + lift) * 0.02
        assert abs(11.0 - (1 + lift) * 10.0) == pytest.approx(1.96 * math.sqrt(variance))
    assert found.lower < 0.1 < found.upper


def test_below_zero_the_lift_is_a_part_of_the_size() -> None:
    """From -10 to -8 is a fifth of 10 upwards; mirrored data have the mirrored interval."""
    spread = {"treatment_variance": 0.04, "control_variance": 0.09, "critical": 1.96}
    below = relative_lift(-8.0, -10.0, covariance=0.01, **spread)
    above = relative_lift(8.0, 10.0, covariance=0.01, **spread)
    assert isinstance(below, RelativeLift)
    assert isinstance(above, RelativeLift)
    assert below.estimate == pytest.approx(0.2)
    assert (below.lower, below.upper) == (-above.upper, -above.lower)
    assert 0.0 < below.lower < below.estimate < below.upper


def test_a_baseline_near_zero_has_no_relative_lift() -> None:
    found = relative_lift(11.0, 0.5, treatment_variance=0.09, control_variance=0.16, critical=1.96)
    assert found == Inconclusive(reason=Reason.BASELINE_ZERO)
    never = relative_lift(1.0, 1.0, treatment_variance=0.1, control_variance=0.1, critical=math.inf)
    assert never == Inconclusive(reason=Reason.NOT_FINITE)


def test_negative_variance_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        relative_lift(1.0, 1.0, treatment_variance=-1.0, control_variance=0.1, critical=1.96)
