from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.planning import (
    Operating,
    always_valid_bounds,
    contrast_variance,
    detectable_effect,
    drift_for_power,
    horizon_units,
    inflation,
    operating,
    power_at,
    required_size,
)
from controller.stats.results import Alternative

FRACTIONS = [k / 20 for k in range(1, 21)]


def _two_sided(bounds: list[float], drift: float) -> Operating:
    return operating(FRACTIONS, bounds, drift=drift, stop_below=[-c for c in bounds])


@pytest.mark.parametrize(
    ("alternative", "theirs"), [("two-sided", "two-sided"), ("larger", "larger")]
)
def test_sample_size_agrees_with_statsmodels(alternative: Alternative, theirs: str) -> None:
    from statsmodels.stats.power import NormalIndPower

    wanted = NormalIndPower().solve_power(
        effect_size=0.1, alpha=0.05, power=0.9, ratio=1.0, alternative=theirs
    )
    size = required_size(0.5, 25.0, alpha=0.05, power=0.9, alternative=alternative)
    units = horizon_units(size, treatment_weight=0.5, control_weight=0.5)
    assert units == math.ceil(2 * wanted)


def test_the_formulas_invert_each_other() -> None:
    size = required_size(0.02, 0.16, alpha=0.05, power=0.8, inflation=1.1)
    back = detectable_effect([size], 0.16, alpha=0.05, power=0.8, inflation=1.1)
    assert back[0] == pytest.approx(0.02)
    assert power_at(size / 1.1, 0.02, 0.16, alpha=0.05) == pytest.approx(0.8)


def test_uneven_weights_need_more_units() -> None:
    even = horizon_units(1000.0, treatment_weight=0.5, control_weight=0.5)
    uneven = horizon_units(1000.0, treatment_weight=0.1, control_weight=0.9)
    assert even == 4000
    assert uneven == 11112


def test_nothing_is_detectable_without_units() -> None:
    assert detectable_effect([0.0], 1.0, alpha=0.05, power=0.9).tolist() == [math.inf]
    assert power_at(0.0, 1.0, 1.0, alpha=0.05) == pytest.approx(0.025)


def test_hwang_shih_decani_saves_two_fifths_for_eight_per_cent_more_horizon() -> None:
    bounds = [look.critical_value for look in boundaries(SequentialPlan(alpha=0.05), FRACTIONS)]
    factor = inflation(lambda drift: _two_sided(bounds, drift), alpha=0.05, power=0.9)
    assert factor == pytest.approx(1.0847, abs=0.001)
    at = _two_sided(bounds, drift_for_power(lambda drift: _two_sided(bounds, drift), 0.9))
    assert at.power == pytest.approx(0.9, abs=1e-6)
    assert at.expected_fraction == pytest.approx(0.607, abs=0.002)


def test_always_valid_bounds_spend_less_than_alpha_and_cost_power() -> None:
    bounds = always_valid_bounds(FRACTIONS, alpha=0.05)
    null, design = _two_sided(bounds, 0.0), _two_sided(bounds, 3.2415155)
    assert 2 * null.power < 0.05
    assert 0.60 < design.power < 0.72


def test_one_look_is_the_fixed_test() -> None:
    found = operating([1.0], [1.959963984540054], drift=3.2415155)
    assert found.power == pytest.approx(0.9, abs=1e-6)
    assert found.expected_fraction == 1.0


def test_recursion_agrees_with_simulation() -> None:
    bounds = always_valid_bounds(FRACTIONS, alpha=0.05)
    found = _two_sided(bounds, 2.0)
    steps = np.random.default_rng(1).normal(2.0 / 20, math.sqrt(1 / 20), (20_000, 20))
    z = steps.cumsum(axis=1) / np.sqrt(FRACTIONS)
    crossed = np.abs(z) >= np.array(bounds)
    assert found.stopped_by[-1] == pytest.approx(crossed.any(axis=1).mean(), abs=0.012)


def test_a_bound_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(InvalidInput):
        drift_for_power(lambda drift: operating([1.0], [math.inf], drift=drift), 0.9)


def test_a_relative_margin_scales_the_control() -> None:
    assert contrast_variance(4.0, scale=0.9, treatment_weight=0.5) == pytest.approx(3.62)


def test_a_horizon_holds_a_unit_of_either_arm() -> None:
    assert horizon_units(1e-300, treatment_weight=0.5, control_weight=0.5) == 2


def test_illegal_input_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        required_size(0.0, 1.0, alpha=0.05, power=0.9)
    with pytest.raises(InvalidInput):
        required_size(1.0, 1.0, alpha=0.05, power=0.01)
    with pytest.raises(InvalidInput):
        horizon_units(1.0, treatment_weight=0.0, control_weight=1.0)
    for size in (1e12, 1e300, math.inf, math.nan):
        with pytest.raises(InvalidInput, match=r"cost: more than 1,000,000,000,000 units"):
            horizon_units(size, treatment_weight=0.5, control_weight=0.5, what="cost")
    with pytest.raises(InvalidInput):
        operating([1.0], [1.0, 2.0], drift=0.0)
    with pytest.raises(InvalidInput):
        power_at(1.0, 1.0, 1.0, alpha=0.0)


def test_giving_up_costs_power_and_ends_a_hopeless_test_sooner() -> None:
    bounds = [look.critical_value for look in boundaries(SequentialPlan(alpha=0.05), FRACTIONS)]
    gone = [(-0.3, 0.3)] * len(FRACTIONS)

    def run(drift: float, hopeless: list[tuple[float, float]] | None) -> Operating:
        return operating(
            FRACTIONS, bounds, drift=drift, stop_below=[-c for c in bounds], hopeless=hopeless
        )

    for drift in (0.0, 3.0):
        going_on, giving_up = run(drift, None), run(drift, gone)
        assert giving_up.power < going_on.power
        assert giving_up.expected_fraction < going_on.expected_fraction
    steps = np.random.default_rng(5).normal(3.0 / 20, math.sqrt(1 / 20), (20_000, 20))
    z = steps.cumsum(axis=1) / np.sqrt(FRACTIONS)
    ended = (np.abs(z) >= np.array(bounds)) | (np.abs(z) < 0.3)
    first = np.where(ended.any(axis=1), ended.argmax(axis=1), 19)
    won = (z >= np.array(bounds))[np.arange(20_000), first]
    assert run(3.0, gone).power == pytest.approx(won.mean(), abs=0.011)
    assert run(3.0, gone).expected_fraction == pytest.approx(
        np.take(FRACTIONS, first).mean(), abs=0.01
    )
