from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.betting import (
    BettingInterval,
    bounded_difference,
    bounded_mean,
    predictable_bets,
)
from controller.stats.results import Inconclusive, Reason


def _interval(found: BettingInterval | Inconclusive) -> BettingInterval:
    assert isinstance(found, BettingInterval)
    return found


def test_it_follows_the_scale_of_the_values() -> None:
    values = np.random.default_rng(1).random(300)
    unit = _interval(bounded_mean(values, alpha=0.05))
    wide = _interval(bounded_mean(10.0 * values - 4.0, alpha=0.05, low=-4.0, high=6.0))
    assert wide.lower == pytest.approx(10.0 * unit.lower - 4.0)
    assert wide.estimate == pytest.approx(10.0 * unit.estimate - 4.0)


def test_it_never_widens_with_more_values() -> None:
    values = np.random.default_rng(2).random(400)
    widths = [
        (found := _interval(bounded_mean(values[:n], alpha=0.05))).upper - found.lower
        for n in (50, 100, 200, 400)
    ]
    assert widths == sorted(widths, reverse=True)


def test_bets_never_see_the_value_they_bet_on() -> None:
    values = np.random.default_rng(3).random(50)
    changed = values.copy()
    changed[20:] = 1.0 - changed[20:]
    same = predictable_bets(values, alpha=0.05)[:21]
    np.testing.assert_array_equal(same, predictable_bets(changed, alpha=0.05)[:21])


def test_a_difference_under_uneven_shares_is_found() -> None:
    rng = np.random.default_rng(4)
    share = np.repeat([0.2, 0.5], 6_000)
    treated = rng.random(12_000) < share
    values = (rng.random(12_000) < np.where(treated, 0.7, 0.4)).astype(float)
    found = _interval(bounded_difference(values, treated, share=share, alpha=0.05))
    assert 0.0 < found.lower < 0.3 < found.upper
    assert found.estimate == pytest.approx(0.3, abs=0.05)


def test_all_values_at_a_bound_are_no_trouble() -> None:
    found = _interval(bounded_mean(np.zeros(200), alpha=0.05))
    assert found.lower == 0.0
    assert found.upper < 0.1


def test_no_values_and_values_beyond_the_bounds() -> None:
    assert bounded_mean([], alpha=0.05) == Inconclusive(reason=Reason.NO_DATA)
    assert bounded_difference([], [], share=0.5, alpha=0.05) == Inconclusive(reason=Reason.NO_DATA)
    with pytest.raises(InvalidInput):
        bounded_mean([0.5, 1.5], alpha=0.05)
    with pytest.raises(InvalidInput):
        bounded_mean([0.5, math.nan], alpha=0.05)
    with pytest.raises(InvalidInput):
        bounded_difference([0.5], [True], share=1.0, alpha=0.05)
    with pytest.raises(InvalidInput):
        bounded_difference([1.5], [True], share=0.5, alpha=0.05)
    with pytest.raises(InvalidInput):
        bounded_mean([0.5], alpha=0.05, low=1.0, high=0.0)
