from __future__ import annotations

import math
from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.stats.calendar import RampStage, Traffic
from controller.stats.feasibility import Demand, Forecast, forecast

RAMP = (RampStage(enrolled=0.1, days=5.0), RampStage(enrolled=1.0, days=10.0))


def _forecast(limit_days: float = 30.0, daily: float = 1000.0, **changed: Any) -> Forecast:
    demand = Demand(
        **{
            "key": "conversion",
            "effect": 0.01,
            "variance": 0.0475,
            "alpha": 0.05,
            "power": 0.9,
            "delay_days": 2.0,
            **changed,
        }
    )
    return forecast(
        demand,
        stages=RAMP,
        traffic=Traffic(low=daily / 2, expected=daily, high=2 * daily),
        treatment_weight=0.5,
        control_weight=0.5,
        limit_days=limit_days,
    )


def test_a_plan_with_time_enough_is_feasible() -> None:
    found = _forecast()
    assert found.feasible
    assert found.units == 19_965
    assert found.end.expected == pytest.approx(5.0 + (19_965 - 500) / 1000 + 2.0)
    assert found.power_at_limit == pytest.approx(0.9, abs=1e-4)


def test_more_traffic_is_sooner() -> None:
    found = _forecast()
    for span in (found.first_look, found.decision, found.end):
        assert span.soonest <= span.expected <= span.latest


def test_a_plan_without_time_says_what_would_do() -> None:
    found = _forecast(limit_days=15.0)
    assert not found.feasible
    assert found.power_at_limit < 0.9
    assert _forecast(limit_days=math.ceil(found.days_needed)).feasible
    assert _forecast(limit_days=15.0, daily=1000.0 * found.traffic_factor * 1.001).feasible
    assert _forecast(limit_days=15.0, effect=found.effect_at_limit * 1.001).feasible


def test_a_stated_horizon_that_is_too_small_is_not_feasible() -> None:
    found = _forecast(horizon=2_000)
    assert found.units == 2_000
    assert not found.feasible
    assert found.power_at_limit < 0.5


def test_the_mde_curve_falls() -> None:
    curve = _forecast(limit_days=200.0).mde_curve
    effects = [effect for _, effect in curve]
    assert effects == sorted(effects, reverse=True)
    assert len(curve) <= 61
    assert curve[-1][0] == 200


def test_labels_later_than_the_limit_show_nothing() -> None:
    found = _forecast(limit_days=1.0)
    assert not found.feasible
    assert found.mde_curve == ()
    assert found.effect_at_limit == math.inf
    assert found.traffic_factor == math.inf


def test_a_range_out_of_order_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        Traffic(low=2.0, expected=1.0, high=3.0)
