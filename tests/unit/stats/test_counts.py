from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import beta

from controller.errors import InvalidInput
from controller.stats.counts import (
    EpochEvents,
    RateRatio,
    log_e_value,
    rate_ratio,
)
from controller.stats.results import Alternative, Inconclusive, Reason


def _epoch(control: int, treatment: int, share: float = 0.5) -> EpochEvents:
    return EpochEvents(control=control, treatment=treatment, share=share)


def _ratio(*epochs: EpochEvents, alternative: Alternative = "two-sided") -> RateRatio:
    found = rate_ratio(epochs, alpha=0.05, alternative=alternative)
    assert isinstance(found, RateRatio)
    return found


def test_one_sided_e_value_is_the_integral_over_its_half() -> None:
    hit, miss, k, share = 30, 18, 100.0, 0.4
    theta = np.linspace(share, 1.0, 2_000_001)[1:-1]
    prior = beta(k * share, k * (1 - share))
    density = prior.pdf(theta) / prior.sf(share)
    ratio = (theta / share) ** hit * ((1 - theta) / (1 - share)) ** miss
    integral = float(np.trapezoid(density * ratio, theta))
    actual = log_e_value([_epoch(miss, hit, share)], alternative="larger")
    assert actual == pytest.approx(math.log(integral), rel=1e-6)


def test_unequal_shares_do_not_look_like_a_difference() -> None:
    found = _ratio(_epoch(9_000, 1_000, 0.1), _epoch(500, 500, 0.5))
    assert found.ratio == pytest.approx(1.0, abs=1e-9)
    assert found.p_value == 1.0


@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_the_ends_of_the_interval_are_just_rejected(alternative: Alternative) -> None:
    epochs = [_epoch(180, 230), _epoch(1800, 230, 0.1)]
    found = _ratio(*epochs, alternative=alternative)
    for end in (found.lower, found.upper):
        if 0.0 < end < math.inf:
            at_end = log_e_value(epochs, ratio=end, alternative=alternative)
            assert at_end == pytest.approx(math.log(20.0), rel=1e-6)
    assert found.lower < found.ratio < found.upper


def test_swapping_the_arms_inverts_the_ratio() -> None:
    one, two = _ratio(_epoch(180, 230, 0.3)), _ratio(_epoch(230, 180, 0.7))
    assert two.log_e_value == pytest.approx(one.log_e_value, rel=1e-9)
    assert two.lower == pytest.approx(1.0 / one.upper, rel=1e-9)


def test_perfect_separation_is_a_one_sided_interval() -> None:
    found = _ratio(_epoch(0, 50))
    assert found.ratio == math.inf
    assert found.upper == math.inf
    assert found.lower > 1.0
    assert found.p_value < 0.05
    none = _ratio(_epoch(50_000, 0))
    assert none.ratio == 0.0
    assert none.lower == 0.0
    assert none.p_value == 0.0


def test_epochs_that_contradict_each_other_leave_one_point() -> None:
    found = _ratio(_epoch(100_000, 0), _epoch(0, 100_000))
    assert found.lower == found.upper == pytest.approx(1.0, abs=1e-9)


def test_strong_evidence_the_other_way_is_no_evidence() -> None:
    assert log_e_value([_epoch(5_000, 10)], alternative="larger") <= -100.0


def test_no_events_is_no_data() -> None:
    assert rate_ratio([_epoch(0, 0)], alpha=0.05) == Inconclusive(reason=Reason.NO_DATA)


def test_multinomial_marks_are_the_sample_ratio_of_events() -> None:
    expected = float(betaln(50 + 230, 50 + 180) - betaln(50, 50)) + 410 * math.log(2.0)
    assert log_e_value([_epoch(180, 230)]) == pytest.approx(expected)


def test_illegal_input_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        _epoch(1, 1, 0.0)
    with pytest.raises(InvalidInput):
        _epoch(-1, 1)
    with pytest.raises(InvalidInput):
        log_e_value([_epoch(1, 1)], ratio=0.0)
    with pytest.raises(InvalidInput):
        rate_ratio([_epoch(1, 1)], alpha=0.05, concentration=0.0)
