"""Sums agree in any order and any grouping, to the bit."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from controller.aggregation.exact import canonical, divide, parse
from controller.aggregation.sums import Contribution, Sums

FLOATS = st.floats(-1e15, 1e15, allow_nan=False)
HISTORY = st.one_of(st.just((None, None)), st.tuples(FLOATS, st.one_of(st.none(), FLOATS)))
PARTS = st.builds(
    lambda value, denominator, history: Contribution(
        value, denominator, history[0], second=history[1]
    ),
    st.one_of(st.none(), FLOATS),
    st.one_of(st.none(), FLOATS),
    HISTORY,
)


@given(st.lists(PARTS, max_size=30), st.randoms(use_true_random=False))
def test_order_and_grouping_change_nothing(parts: list[Contribution], random: Random) -> None:
    whole = Sums.of(parts)
    shuffled = random.sample(parts, len(parts))
    grouped = Sums()
    while shuffled:
        size = random.randint(1, len(shuffled))
        grouped = grouped.plus(Sums.of(shuffled[:size]))
        shuffled = shuffled[size:]
    assert grouped == whole
    assert grouped.moments() == whole.moments()


@given(st.lists(PARTS, min_size=1, max_size=20), PARTS)
def test_a_correction_leaves_what_would_have_been(
    parts: list[Contribution], other: Contribution
) -> None:
    corrected = Sums.of(parts).minus(Sums.of(parts[:1])).plus(Sums.of([other]))
    assert corrected == Sums.of([other, *parts[1:]])


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_moments_are_the_exact_ones_rounded_once(values: list[float]) -> None:
    moments = Sums.of([Contribution(value) for value in values]).moments()
    exact = [Fraction(value) for value in values]
    centre = sum(exact, Fraction(0)) / len(exact)
    assert moments.mean == float(centre)
    assert moments.m2 == float(sum(((value - centre) ** 2 for value in exact), Fraction(0)))
    assert moments.m2 >= 0


@given(st.integers(-(2**200), 2**200), st.integers(-300, 300), st.integers(1, 10**6))
def test_texts_and_division(mantissa: int, scale: int, n: int) -> None:
    number = canonical(mantissa, scale)
    assert parse(number.text()) == number
    assert divide(number, n) == float(Fraction(mantissa) / Fraction(2) ** scale / n)
