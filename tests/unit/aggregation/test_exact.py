"""Exact numbers: canonical, reversible, rounded once."""

from __future__ import annotations

from fractions import Fraction

import pytest

from controller.aggregation.exact import ZERO, Exact, canonical, co_deviation, divide, parse, scaled
from controller.aggregation.sums import Contribution, Sums
from controller.errors import InvalidInput

WIDE = [1e15, -1e15, 1e-300, 0.1, 0.2, 5e-324, 3.0]


def fraction(number: Exact) -> Fraction:
    return Fraction(number.mantissa) / Fraction(2) ** number.scale


def test_scaled_integers_are_the_numbers() -> None:
    integers, scale = scaled(WIDE)
    assert [Fraction(n, 2**scale) for n in integers] == [Fraction(x) for x in WIDE]
    assert scaled([]) == ([], 0)


def test_there_is_one_way_to_write_a_number() -> None:
    assert canonical(8, 2) == canonical(2, 0) == canonical(4, 1) == Exact(1, -1)
    assert canonical(0, 7) == ZERO
    assert Exact(5, 1).text() == "5p-1"
    assert canonical(-12, 0).text() == "-3p2"


@pytest.mark.parametrize("text", ["5p-1", "-3p2", "0p0", f"{2**2100 + 1:x}p-2148"])
def test_texts_read_back(text: str) -> None:
    assert parse(text).text() == text


@pytest.mark.parametrize("text", ["", "5", "p", "xp1", "5p", "5p1.5"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_what_cancels_leaves_nothing() -> None:
    sums = Sums.of([Contribution(value) for value in WIDE])
    assert sums.minus(sums) == Sums()
    assert sums.plus(Sums.of([Contribution(0.1)])).minus(sums) == Sums.of([Contribution(0.1)])


def test_a_sum_that_floats_lose_is_kept() -> None:
    sums = Sums.of([Contribution(1e15), Contribution(1e-9), Contribution(-1e15)])
    assert fraction(sums.value) == Fraction(1e-9)
    assert sums.moments().mean == 1e-9 / 3


def test_division_rounds_to_the_nearest_float() -> None:
    assert divide(canonical(1, 0), 3) == 1 / 3
    assert divide(canonical(3, -60), 2) == 3 * 2.0**59
    assert divide(canonical(2**60 + 1, 60), 1) == 1.0


def test_squared_deviations_are_those_of_exact_arithmetic() -> None:
    values = [1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.4]
    exact = [Fraction(value) for value in values]
    centre = sum(exact) / 3
    expected = float(sum((value - centre) ** 2 for value in exact))
    assert Sums.of([Contribution(value) for value in values]).moments().m2 == expected
    assert co_deviation(canonical(9, 0), canonical(3, 0), canonical(3, 0), 1) == 0.0


def test_moments_of_ratio_and_covariate() -> None:
    parts = [Contribution(2.0, 1.0, 4.0), Contribution(0.0, 0.0), Contribution(None)]
    moments = Sums.of(parts).moments()
    assert (moments.n, moments.missing, moments.nonzero, moments.covariate_n) == (2, 1, 1, 1)
    assert (moments.mean, moments.m2) == (1.0, 2.0)
    assert (moments.denominator_mean, moments.denominator_m2, moments.cross_m2) == (0.5, 0.5, 1.0)
    assert (moments.covariate_mean, moments.covariate_m2) == (2.0, 8.0)
    assert moments.covariate_cross_m2 == 4.0


def test_nothing_entered_has_no_mean() -> None:
    assert Sums.of([Contribution(None)]).moments().document() == {"missing": 1}


def test_stored_sums_read_back() -> None:
    sums = Sums.of([Contribution(0.1, 3.0, -2.0), Contribution(None)])
    again = Sums.read(
        n=sums.n,
        missing=sums.missing,
        nonzero=sums.nonzero,
        covariate_n=sums.covariate_n,
        texts=sums.texts(),
    )
    assert again == sums
    assert Sums().texts() == {}
