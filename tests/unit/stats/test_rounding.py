from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from controller.stats.ratio import RatioMoments, linearise
from controller.stats.restricted import Law
from controller.stats.results import Inconclusive, Reason
from controller.stats.rounding import (
    CLEAR,
    UNIT,
    beyond_rounding,
    is_clear,
    mean_error,
    square_error,
)
from controller.stats.score import ArmMoments, EpochMoments, Null, Score, score


def moments(m: np.ndarray, d: np.ndarray) -> RatioMoments:
    """Sums of these doubles without any error, each rounded once."""
    x, y = ([Fraction(float(v)) for v in values] for values in (m, d))
    n = len(x)

    def co(a: list[Fraction], b: list[Fraction]) -> float:
        return float(sum(p * q for p, q in zip(a, b, strict=True)) - sum(a) * sum(b) / n)

    return RatioMoments(
        n=n,
        mean=float(sum(x) / n),
        m2=co(x, x),
        denominator_mean=float(sum(y) / n),
        denominator_m2=co(y, y),
        cross_m2=co(x, y),
    )


@pytest.mark.parametrize("price", [19.99, 1 / 3, 3.3e-13, 1e9 + 0.1, 1e12 / 3])
@pytest.mark.parametrize("seed", range(8))
def test_what_one_price_leaves_lies_within_the_bounds(price: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arms = []
    for n in (300, 280):
        d = rng.integers(1, 6, n).astype(float)
        arms.append(moments(price * d, d))
    found = linearise(*arms)
    assert not isinstance(found, Inconclusive)
    for arm in found:
        assert arm.m2 == 0.0
        assert abs(arm.mean) <= arm.mean_error
        assert arm.mean_error <= 40.0 * UNIT * price


@pytest.mark.parametrize("price", [0.1, 1 / 3, 2.2])
def test_a_shift_leaves_the_rounding_of_what_it_took_away(price: float) -> None:
    rng = np.random.default_rng(1)
    d, e = (rng.integers(1, 6, n).astype(float) for n in (300, 280))
    found = linearise(moments(price * d, d), moments((1e6 + price) * e, e), shift=1e6)
    assert not isinstance(found, Inconclusive)
    assert [arm.m2 for arm in found] == [0.0, 0.0]
    assert abs(found[1].mean - found[0].mean) <= found[0].mean_error + found[1].mean_error


def test_the_bound_of_a_residual_holds_against_exact_arithmetic() -> None:
    """A ratio of known noise: the float residual differs from the exact one by less."""
    rng = np.random.default_rng(3)
    d = rng.integers(1, 6, 200).astype(float)
    m = 19.99 * d + 1e-4 * rng.normal(size=200)
    arm = moments(m, d)
    ratio = Fraction(arm.mean) / Fraction(arm.denominator_mean)
    rest = [Fraction(float(a)) - ratio * Fraction(float(b)) for a, b in zip(m, d, strict=True)]
    exact = float(sum(r * r for r in rest) - sum(rest) ** 2 / 200)
    raw = arm.m2 - 2 * float(ratio) * arm.cross_m2 + float(ratio) ** 2 * arm.denominator_m2
    r = float(ratio)
    bound = square_error(arm.m2, 2 * r * arm.cross_m2, r * r * arm.denominator_m2)
    assert abs(raw - exact) <= bound
    assert exact > CLEAR * bound


def test_below_sixteen_times_its_rounding_a_square_is_nothing() -> None:
    assert beyond_rounding(CLEAR * 0.5, 0.5) == 0.0
    assert beyond_rounding(-1.0, 0.5) == 0.0
    above = math.nextafter(CLEAR * 0.5, math.inf)
    assert beyond_rounding(above, 0.5) == above
    assert beyond_rounding(math.inf, 1.0) == math.inf


def test_a_score_is_clear_from_sixteen_times_its_rounding_on() -> None:
    assert not is_clear(256.0, score_error=1.0)
    assert is_clear(257.0, score_error=1.0)
    assert not is_clear(0.0, score_error=0.0)
    assert not is_clear(1e-300, score_error=0.0)


def test_errors_grow_with_every_term_whatever_its_sign() -> None:
    assert mean_error(-3.0, 5.0) == 8.0 * UNIT * 8.0
    assert square_error(-3.0, 5.0) == 64.0 * UNIT * 8.0


def arm(mean: float, sd: float, n: int = 50_000) -> ArmMoments:
    return ArmMoments(n=n, mean=mean, m2=sd * sd * (n - 1), nonzero=n)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_small_effect_on_a_large_mean_is_found_and_the_last_digit_is_not(unit: float) -> None:
    def look(sd: float, gap: float) -> Score | Inconclusive:
        both = arm(1e9 * unit, sd * unit), arm((1e9 + gap) * unit, sd * unit)
        return score([EpochMoments(epoch=0, control=both[0], treatment=both[1])])

    seen = look(1.0, 0.1)
    assert isinstance(seen, Score)
    assert seen.z == pytest.approx(0.1 / math.sqrt(2 / 50_000), rel=2e-3)
    assert look(1e-6, 2e-7) == Inconclusive(reason=Reason.ZERO_VARIANCE)
    assert look(0.0, 2e-7) == Inconclusive(reason=Reason.ZERO_VARIANCE)


def test_an_epoch_of_rounding_beside_one_that_varies_adds_no_variance() -> None:
    last = math.nextafter(19.99, 20.0)
    quiet = EpochMoments(epoch=0, control=arm(19.99, 0.0, 300), treatment=arm(last, 0.0, 300))
    loud = EpochMoments(epoch=1, control=arm(3.0, 1.0, 200), treatment=arm(3.1, 1.0, 200))
    found = score([quiet, loud])
    assert isinstance(found, Score)
    assert found.epochs[0].variance == 0.0
    assert found.epochs[0].difference > 0.0
    assert found.epochs[1].variance > 0.9


def hits(n: int, share: float) -> ArmMoments:
    return ArmMoments(n=n, mean=share, m2=n * share * (1.0 - share), nonzero=round(n * share))


@pytest.mark.parametrize(
    ("share", "shift", "law", "wanted"),
    [
        # z = m sqrt(n) / sqrt(v(m)): the challenger's share is the margin, champion's 0.
        (0.0, 0.02, "binary", 0.02 * math.sqrt(500 / (0.02 * 0.98))),
        (1.0, -0.02, "binary", 0.02 * math.sqrt(500 / (0.02 * 0.98))),
        (0.0, 0.02, "count", 0.02 * math.sqrt(500 / 0.02)),
    ],
)
def test_a_margin_states_the_variance_of_shares_that_do_not_vary(
    share: float, shift: float, law: Law, wanted: float
) -> None:
    epoch = EpochMoments(epoch=0, control=hits(500, share), treatment=hits(500, share))
    found = score([epoch], null=Null(shift=shift), law=law)
    assert isinstance(found, Score)
    assert abs(found.z) == pytest.approx(wanted, rel=1e-9)


def test_where_hits_are_enough_the_margins_variance_is_the_common_one() -> None:
    epoch = EpochMoments(epoch=0, control=hits(5000, 0.1), treatment=hits(5000, 0.1))
    found = (score([epoch], null=Null(shift=0.01), law=law) for law in ("binary", None))
    with_law, without = (each.variance for each in found if isinstance(each, Score))
    assert without <= with_law < 1.002 * without
