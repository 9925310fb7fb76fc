"""Two quantiles from the values themselves: exact, one- and two-sided, ties and all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from controller.errors import InvalidInput
from controller.stats.exact_quantile import (
    ExactQuantileTest,
    exact_quantile_log_e,
    exact_quantile_test,
)
from controller.stats.mixture import tuned_rho
from controller.stats.quantile_bets import Bias, quantile_bets
from controller.stats.results import Alternative, Inconclusive, Reason

Floats = NDArray[np.float64]
RNG = np.random.default_rng(22)
A = RNG.lognormal(0.0, 1.0, 300)
B = 1.6 * RNG.lognormal(0.0, 1.0, 260)
SIDES: tuple[Alternative, ...] = ("two-sided", "larger", "smaller")


def log_e(control: Floats, treatment: Floats, **options: Any) -> float:
    usual: dict[str, Any] = {"q": 0.9, "tuning": 200.0, "alpha": 0.05}
    found = exact_quantile_log_e(control, treatment, **usual | options)
    assert not isinstance(found, Inconclusive)
    return found


def compared(control: Floats, treatment: Floats, **options: Any) -> ExactQuantileTest:
    usual: dict[str, Any] = {"q": 0.9, "tuning": 200.0, "alpha": 0.05}
    found = exact_quantile_test(control, treatment, **usual | options)
    assert isinstance(found, ExactQuantileTest)
    return found


@pytest.mark.parametrize("bias", ["any", "more", "fewer"])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_an_arms_evidence_is_the_mixture_of_its_likelihood_ratios(bias: Bias, q: float) -> None:
    """Integrated by quadrature, for every count of a small arm."""
    n, weight = 12, 0.7 * q * (1.0 - q)
    bets = quantile_bets(np.arange(float(n)), q=q, weight=weight, bias=bias)
    a, b = weight / (1.0 - q), weight / q
    low, high = {"any": (0.0, 1.0), "more": (q, 1.0), "fewer": (0.0, q)}[bias]

    def integral(count: int, left: int) -> float:
        """Over p = t^(1/a) below one half and 1 - p = t^(1/b) above: without poles."""

        def lower(t: float) -> float:
            p = t ** (1.0 / a)
            return float(p**count * (1.0 - p) ** (b - 1.0 + left) / a)

        def upper(t: float) -> float:
            rest = t ** (1.0 / b)
            return float((1.0 - rest) ** (a - 1.0 + count) * rest**left / b)

        middle = min(max(0.5, low), high)
        below = quad(lower, low**a, middle**a, limit=200)[0] if low < middle else 0.0
        above = (
            quad(upper, (1.0 - high) ** b, (1.0 - middle) ** b, limit=200)[0]
            if middle < high
            else 0.0
        )
        return float(below + above)

    for count in range(n + 1):
        wanted = integral(count, n - count) / integral(0, 0)
        wanted /= q**count * (1.0 - q) ** (n - count)
        assert bets.table[count] == pytest.approx(math.log(wanted), abs=1e-6)


@pytest.mark.parametrize("bias", ["any", "more", "fewer"])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_an_arms_evidence_is_one_in_mean_where_x_is_its_quantile(bias: Bias, q: float) -> None:
    """Summed over every count; a coin on the null's side loses."""
    n = 400
    table = quantile_bets(np.zeros(n), q=q, weight=0.3, bias=bias).table
    counts = np.arange(n + 1)
    choose = np.array(
        [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in counts]
    )

    def mean(p: float) -> float:
        chance = choose + counts * math.log(p) + (n - counts) * math.log1p(-p)
        return float(np.exp(chance + table).sum())

    assert mean(q) == pytest.approx(1.0, rel=1e-9)
    if bias != "any":
        assert mean(q - 0.009 if bias == "more" else q + 0.009) < 1.0


@pytest.mark.parametrize("side", SIDES)
def test_the_smallest_product_is_found_among_all_places(side: Alternative) -> None:
    """By brute force over every value of either arm and every stretch between them."""
    control, treatment = np.round(A[:60], 1), np.round(B[:50], 1)
    q = 0.8
    spread = q * (1.0 - q)
    rho = tuned_rho(40.0 * spread, alpha=0.05, alternative=side)
    weight = max(rho - spread, 1e-3 * spread)
    biases: dict[Alternative, tuple[Bias, Bias]] = {
        "two-sided": ("any", "any"),
        "larger": ("more", "fewer"),
        "smaller": ("fewer", "more"),
    }
    arms = [
        quantile_bets(values, q=q, weight=weight, bias=bias)
        for values, bias in zip((control, treatment), biases[side], strict=True)
    ]
    every = np.unique(np.concatenate([control, treatment]))
    places = np.concatenate([every, every - 0.05, every + 0.05])
    wanted = float(np.min(arms[0].log_e(places) + arms[1].log_e(places)))
    assert log_e(control, treatment, q=q, tuning=40.0, alternative=side) == wanted


def test_ties_count_as_whatever_speaks_least() -> None:
    """Whole milliseconds: a tenth of the values at the quantile itself refute nothing."""
    tied = np.repeat([1.0, 2.0, 3.0], [850, 100, 50])
    assert log_e(tied, tied) < 0.0
    assert log_e(tied, tied + 1.0) > 7.0


@pytest.mark.parametrize("side", SIDES)
def test_an_interval_holds_the_nulls_that_are_not_rejected(side: Alternative) -> None:
    found = compared(A, B, alternative=side)
    bar = -math.log(0.05)
    for low, high, null in (
        (found.ratio_lower, found.ratio_upper, "scale"),
        (found.difference_lower, found.difference_upper, "shift"),
    ):
        for end, outward in ((low, -1e-6), (high, 1e-6)):
            if math.isinf(end) or end == 0.0:
                assert side != "two-sided"
                continue
            assert log_e(A, B, alternative=side, **{null: end + outward}) >= bar
            assert log_e(A, B, alternative=side, **{null: end - 1e3 * outward}) < bar


def test_swapping_the_arms_turns_the_answer_over() -> None:
    one, two = compared(A, B), compared(B, A)
    assert one.log_e_value == pytest.approx(two.log_e_value, abs=1e-12)
    assert one.difference_lower == pytest.approx(-two.difference_upper, rel=1e-9)
    assert one.ratio_lower == pytest.approx(1.0 / two.ratio_upper, rel=1e-9)
    assert log_e(A, B, alternative="larger") == log_e(B, A, alternative="smaller")


def test_units_of_measurement_do_not_matter() -> None:
    """Seconds or milliseconds; at 1e-12 and 1e12 too."""
    plain = compared(A, B)
    for factor in (1e-12, 1e3, 1e12):
        scaled = compared(factor * A, factor * B)
        assert scaled.log_e_value == pytest.approx(plain.log_e_value, abs=1e-9)
        assert scaled.ratio_upper == pytest.approx(plain.ratio_upper, rel=1e-6)


def test_a_margin_of_harm_is_a_stretched_control() -> None:
    """Twice as slow is more than a tenth slower, and a tenth slower is not shown to be less."""
    slow = 2.0 * RNG.lognormal(0.0, 0.5, 400)
    control = RNG.lognormal(0.0, 0.5, 400)
    assert log_e(control, slow, alternative="larger", scale=1.1) > -math.log(0.01)
    assert log_e(control, slow, alternative="smaller", scale=1.1) < 0.0
    assert log_e(control, control, alternative="smaller", scale=3.0) > -math.log(0.01)


def test_an_arm_that_lies_far_on_the_other_side_keeps_its_digits() -> None:
    """The mass left beyond q is below 1e-280; its bound is finite and never above the truth."""
    table = quantile_bets(np.zeros(50_000), q=0.5, weight=0.3, bias="fewer").table
    assert np.isfinite(table).all()
    assert (np.diff(table) < 0.0).all()
    assert -40.0 < table[-1] < -5.0


@pytest.mark.parametrize("side", SIDES)
def test_wholly_separate_arms_and_tiny_ones_have_open_ends_or_none(side: Alternative) -> None:
    few = compared(np.array([1.0]), np.array([2.0]), alternative=side)
    assert few.p_value == 1.0
    assert math.isinf(few.difference_lower)
    assert math.isinf(few.difference_upper)
    assert (few.ratio_lower, few.ratio_upper) == (0.0, math.inf)
    apart = compared(A, A + 1e6)
    assert apart.difference_lower > 9e5
    assert apart.e_value > 1e9


def test_zeros_leave_the_ratio_open() -> None:
    zeros = np.zeros(200)
    found = compared(zeros, zeros)
    assert (found.ratio_lower, found.ratio_upper) == (0.0, math.inf)
    assert found.p_value == 1.0
    mixed = compared(np.concatenate([zeros, A]), np.concatenate([zeros, B]))
    assert mixed.control > 0.0
    assert 0.0 < mixed.ratio_lower < mixed.ratio_upper


def test_what_cannot_be_compared_has_a_name() -> None:
    empty = exact_quantile_test(A, [], q=0.9, tuning=10.0, alpha=0.05)
    assert isinstance(empty, Inconclusive)
    assert empty.reason == Reason.ARM_EMPTY
    for wrong in ({"q": 1.0}, {"alpha": 0.0}, {"tuning": 0.0}):
        with pytest.raises(InvalidInput):
            log_e(A, B, **wrong)
    with pytest.raises(InvalidInput):
        log_e(np.array([1.0, math.nan]), B)
