"""How numbers are written, everywhere the product shows them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flow import numbers
from controller.flow.numbers import Measure, half_width, interval_text

SHARE = Measure(kind="share")
PLAIN = Measure()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, 2, "0.00"),
        (-0.001, 2, "0.00"),
        (1234567.8, 0, "1,234,568"),
        (-1.05, 2, "−1.05"),
    ],
)
def test_a_number_has_thousands_and_a_real_minus(value: float, decimals: int, text: str) -> None:
    assert numbers.plain(value, decimals) == text


def test_a_difference_of_shares_is_in_percentage_points_and_never_in_per_cent() -> None:
    text = SHARE.difference(0.0105, 2)
    assert text == "+1.05\N{NARROW NO-BREAK SPACE}pp"
    assert "%" not in text


def test_the_precision_is_two_digits_of_the_half_width() -> None:
    assert SHARE.decimals(half_width(0.0009, 0.0201, 0.0105)) == 2
    assert PLAIN.decimals(half_width(-132.0, -28.0, -75.0)) == 0
    assert PLAIN.decimals(None) == 2


def test_an_open_end_is_said() -> None:
    assert interval_text(None, 0.01, SHARE, 1) == "at most +1.0\N{NARROW NO-BREAK SPACE}pp"
    assert interval_text(-0.5, None, PLAIN, 1) == "at least −0.5"
    assert interval_text(None, None, PLAIN, 1) == numbers.UNKNOWN


def test_unknown_is_a_dash_and_no_zero() -> None:
    shown = [
        PLAIN.difference(None, 2),
        SHARE.level(None),
        numbers.count(None),
        numbers.share(None),
        numbers.probability(None),
        numbers.relative(None),
        numbers.score(None),
    ]
    assert set(shown) == {numbers.UNKNOWN}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000001, "<0.001"), (0.0042, "0.0042"), (0.43, "0.43"), (0.9999, ">0.999")],
)
def test_a_p_value_claims_no_false_exactness(value: float, text: str) -> None:
    assert numbers.probability(value) == text


def test_a_p_value_is_said_as_a_sentence_needs_it() -> None:
    assert numbers.p_value(0.43) == "p = 0.43"
    assert numbers.p_value(1e-9) == "p < 0.001"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0%"), (0.5, "50%"), (0.025, "2.5%"), (1.0, "100%"), (0.00001, "<\u202f0.01%")],
)
def test_a_share(value: float, text: str) -> None:
    assert numbers.share(value) == text


@given(
    estimate=st.floats(-1e6, 1e6),
    width=st.floats(1e-5, 1e6),
    kind=st.sampled_from([SHARE, PLAIN]),
)
def test_estimate_and_interval_have_the_same_decimals(
    estimate: float, width: float, kind: Measure
) -> None:
    low, high = estimate - width, estimate + width
    decimals = kind.decimals(half_width(low, high, estimate))
    texts = [
        kind.difference(estimate, decimals),
        *interval_text(low, high, kind, decimals).split(" to "),
    ]
    digits = {len(match) for text in texts for match in re.findall(r"\.(\d+)", text)}
    assert digits <= {decimals}
    assert not any(text.startswith(("−0 ", "+0 ")) for text in texts)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_a_signed_number_reads_back(value: float) -> None:
    text = numbers.signed(value, 3).replace(",", "").replace(numbers.MINUS, "-")
    assert math.isclose(float(text), value, abs_tol=0.000501)


def test_a_sliver_of_the_planned_evidence_has_no_digits() -> None:
    assert numbers.planned(0.0042) == f"<{numbers.NARROW}1%"
    assert [numbers.planned(one) for one in (None, 0.0, 0.25)] == ["–", "0%", "25%"]
