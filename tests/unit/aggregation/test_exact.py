"""Exact numbers: canonical, reversible, rounded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
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


def test_moments_of_a_ratio_and_both_its_covariates() -> None:
    parts = [
        Contribution(2.0, 1.0, 4.0, second=2.0),
        Contribution(0.0, 3.0, 0.0, second=1.0),
        Contribution(1.0, 2.0),
    ]
    moments = Sums.of(parts).moments()
    assert (moments.covariate_n, moments.mean, moments.denominator_mean) == (2, 1.0, 2.0)
    assert (moments.covariate_mean, moments.second_mean) == (4 / 3, 1.0)
    table = np.array([[2.0, 1.0, 4.0, 2.0], [0.0, 3.0, 0.0, 1.0], [1.0, 2.0, 0.0, 0.0]])
    scatter = np.cov(table.T) * 2
    m, d, x, z = range(4)
    found = {
        (m, m): moments.m2,
        (m, d): moments.cross_m2,
        (m, x): moments.covariate_cross_m2,
        (m, z): moments.second_cross_m2,
        (d, d): moments.denominator_m2,
        (d, x): moments.denominator_covariate_m2,
        (d, z): moments.denominator_second_m2,
        (x, x): moments.covariate_m2,
        (x, z): moments.covariate_second_m2,
        (z, z): moments.second_m2,
    }
    assert found == pytest.approx({place: scatter[place] for place in found}, abs=1e-14)


def test_a_covariate_leaves_as_it_came() -> None:
    parts = [
        Contribution(19.99 * d, float(d), 0.1 * x, second=x / 3)
        for d, x in enumerate(WIDE, start=1)
    ]
    whole, one = Sums.of(parts), Sums.of(parts[:1])
    assert whole.minus(one) == Sums.of(parts[1:])
    assert whole.minus(one).plus(one) == whole
    again = Sums.read(n=7, missing=0, nonzero=7, covariate_n=7, texts=whole.texts())
    assert again == whole


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
