from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from controller.stats.results import Inconclusive, Reason
from controller.stats.score import (
    ArmMoments,
    EpochMoments,
    Null,
    Score,
    effective_size,
    planned_size,
    score,
    variance_ratio,
)


def arm(values: ArrayLike) -> ArmMoments:
    y: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    mean = float(y.mean()) if y.size else 0.0
    return ArmMoments(
        n=int(y.size), mean=mean, m2=float(((y - mean) ** 2).sum()), nonzero=int((y != 0).sum())
    )


def epoch(number: int, control: ArrayLike, treatment: ArrayLike) -> EpochMoments:
    return EpochMoments(epoch=number, control=arm(control), treatment=arm(treatment))


def concluded(result: Score | Inconclusive) -> Score:
    assert isinstance(result, Score)
    return result


HUGE = EpochMoments(
    epoch=0,
    control=ArmMoments(n=5, mean=1e200, m2=math.inf, nonzero=5),
    treatment=ArmMoments(n=5, mean=-1e200, m2=1e300, nonzero=5),
)
RNG = np.random.default_rng(11)
A0, A1 = RNG.normal(3, 1, 200), RNG.normal(3.2, 1, 180)
B0, B1 = RNG.normal(7, 2, 50), RNG.normal(7.1, 2, 450)


def test_one_epoch_is_the_pooled_two_sample_statistic() -> None:
    got = concluded(score([epoch(0, A0, A1)]))
    both = np.concatenate([A0, A1])
    standard_error = math.sqrt(both.var(ddof=1) * (1 / 200 + 1 / 180))
    assert got.distance == pytest.approx(A1.mean() - A0.mean(), rel=1e-12)
    assert got.z == pytest.approx((A1.mean() - A0.mean()) / standard_error, rel=1e-12)
    assert got.standard_error == pytest.approx(standard_error, rel=1e-12)
    assert got.size == effective_size(180, 200) == pytest.approx(180 * 200 / 380)


def test_epochs_are_weighted_by_design_and_order_does_not_matter() -> None:
    first, second = epoch(0, A0, A1), epoch(1, B0, B1)
    got = concluded(score([second, first]))
    w = np.array([effective_size(180, 200), effective_size(450, 50)])
    d = np.array([A1.mean() - A0.mean(), B1.mean() - B0.mean()])
    s2 = np.array([np.concatenate(x).var(ddof=1) for x in ((A0, A1), (B0, B1))])
    assert got.score == pytest.approx(float(w @ d), rel=1e-12)
    assert got.variance == pytest.approx(float(w @ s2), rel=1e-12)
    assert got == concluded(score([first, second]))


def test_unequal_weights_take_the_larger_variance() -> None:
    noisy = RNG.normal(7, 20, 50)
    data = [epoch(1, noisy, B1)]
    null_only = concluded(score(data))
    robust = concluded(score(data, equal_weights=False))
    w = effective_size(450, 50)
    by_arm = w**2 * (B1.var(ddof=1) / 450 + noisy.var(ddof=1) / 50)
    assert robust.variance == pytest.approx(max(null_only.variance, by_arm), rel=1e-12)
    assert robust.variance > null_only.variance


def test_unequal_weights_wait_for_twenty_five_non_zero_units_an_arm() -> None:
    control = np.r_[np.ones(24), np.zeros(400)]
    treatment = np.r_[np.ones(300), np.zeros(4000)]
    waiting = score([epoch(0, control, treatment)], equal_weights=False)
    assert waiting == Inconclusive(
        reason=Reason.BURN_IN, detail="unequal weights wait for 25 non-zero units in each arm"
    )
    enough = epoch(0, np.r_[control, 1.0], treatment)
    assert isinstance(score([enough], equal_weights=False), Score)
    assert isinstance(score([epoch(0, control, treatment)]), Score)


def test_an_absolute_margin_shifts_control() -> None:
    shifted = concluded(score([epoch(0, A0, A1)], null=Null(shift=-0.5)))
    assert shifted.distance == pytest.approx(A1.mean() - A0.mean() + 0.5, rel=1e-12)
    both = np.concatenate([A0 - 0.5, A1])
    assert shifted.epochs[0].variance == pytest.approx(both.var(ddof=1), rel=1e-12)


def test_a_relative_margin_is_a_contrast_not_a_quotient() -> None:
    scaled = concluded(score([epoch(0, A0, A1)], null=Null(scale=0.9)))
    assert scaled.distance == pytest.approx(A1.mean() - 0.9 * A0.mean(), rel=1e-12)
    both = np.concatenate([0.9 * A0, A1])
    assert scaled.epochs[0].variance == pytest.approx(both.var(ddof=1), rel=1e-12)
    assert scaled.epochs[0].variance_control == pytest.approx(0.81 * A0.var(ddof=1), rel=1e-12)


def test_swapping_the_arms_turns_the_sign() -> None:
    there = concluded(score([epoch(0, A0, A1), epoch(1, B0, B1)]))
    back = concluded(score([epoch(0, A1, A0), epoch(1, B1, B0)]))
    assert back.z == pytest.approx(-there.z, rel=1e-12)
    assert back.size == there.size


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_the_unit_of_the_metric_does_not_matter(scale: float) -> None:
    plain = concluded(score([epoch(0, A0, A1)]))
    scaled = concluded(score([epoch(0, scale * A0, scale * A1)]))
    assert scaled.z == pytest.approx(plain.z, rel=1e-9)


def test_a_mean_of_a_billion_loses_nothing() -> None:
    plain = concluded(score([epoch(0, A0, A1)]))
    far = concluded(score([epoch(0, A0 + 1e9, A1 + 1e9)]))
    assert far.z == pytest.approx(plain.z, rel=1e-5)


def test_z_stays_bounded_with_one_unit_in_an_arm() -> None:
    lonely = concluded(score([epoch(0, np.zeros(1000), [1.0])]))
    assert abs(lonely.z) <= math.sqrt(1001 - 1)
    pair = concluded(score([epoch(0, [0.0], [5.0])]))
    assert pair.z == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("epochs", "reason"),
    [
        ([], Reason.NO_DATA),
        ([epoch(0, [], [])], Reason.NO_DATA),
        ([epoch(0, [1.0, 2.0], [])], Reason.ARM_EMPTY),
        ([epoch(0, [1.0], []), epoch(1, [], [2.0])], Reason.ARM_EMPTY),
        ([epoch(0, [3.0] * 9, [3.0] * 9)], Reason.ZERO_VARIANCE),
        ([epoch(0, [0.0], [0.0])], Reason.ZERO_VARIANCE),
        ([HUGE], Reason.NOT_FINITE),
    ],
)
def test_degenerate_data_are_named(epochs: list[EpochMoments], reason: Reason) -> None:
    result = score(epochs)
    assert isinstance(result, Inconclusive)
    assert result.reason == reason


def test_perfect_separation_is_a_number_and_a_large_one() -> None:
    got = concluded(score([epoch(0, np.zeros(500), np.ones(500))]))
    assert got.z == pytest.approx(math.sqrt(999), rel=1e-12)


def test_the_ratio_of_neighbouring_looks_uses_todays_variances() -> None:
    now = concluded(score([epoch(0, A0, A1), epoch(1, B0, B1)]))
    s2 = [e.variance for e in now.epochs]
    before = effective_size(100, 90) * s2[0] + effective_size(10, 40) * s2[1]
    assert variance_ratio({0: (90, 100), 1: (40, 10)}, now) == pytest.approx(before / now.variance)
    assert variance_ratio({0: (90, 100)}, now) == pytest.approx(
        effective_size(100, 90) * s2[0] / now.variance
    )
    assert variance_ratio(now.counts, now) == 1.0
    assert variance_ratio({}, now) == 0.0


def test_the_ratio_follows_the_robust_variance_where_weights_are_unequal() -> None:
    now = concluded(score([epoch(0, RNG.normal(7, 20, 50), B1)], equal_weights=False))
    part = now.epochs[0]
    w = effective_size(225, 25)
    by_arm = w**2 * (part.variance_treatment / 225 + part.variance_control / 25)
    assert variance_ratio({0: (225, 25)}, now) == pytest.approx(by_arm / now.variance)


def test_the_clock_ends_at_the_horizon() -> None:
    assert planned_size(1000, 0.5, 0.5) == 250.0
    assert planned_size(1000, 0.1, 0.9) == pytest.approx(90.0)
    assert planned_size(900, 1 / 3, 1 / 3) == pytest.approx(150.0)
