from __future__ import annotations

import math

import pytest

from controller.errors import InvalidInput
from controller.stats.calendar import (
    RampStage,
    Traffic,
    arrivals,
    days_until,
    lengthened,
    openings,
)

RAMP = (RampStage(enrolled=0.1, days=3.0), RampStage(enrolled=1.0, days=7.0))
GATED = (
    RampStage(enrolled=0.1, days=1.0, units=500),
    RampStage(enrolled=0.5, days=1.0, matured=400),
    RampStage(enrolled=1.0, days=7.0, units=10),
)


def test_arrivals_wait_for_the_labels() -> None:
    assert arrivals(RAMP, daily=1000.0, days=5, delay_days=1.0).tolist() == [
        0.0,
        100.0,
        200.0,
        300.0,
        1300.0,
    ]


@pytest.mark.parametrize(("units", "days"), [(200, 4.0), (300, 5.0), (1300, 6.0), (20_300, 25.0)])
def test_days_until_agree_with_arrivals(units: int, days: float) -> None:
    assert days_until(units, RAMP, daily=1000.0, delay_days=2.0) == pytest.approx(days)
    complete = arrivals(RAMP, daily=1000.0, days=int(days), delay_days=2.0)
    assert complete[-1] == pytest.approx(units)


def test_without_traffic_it_never_ends() -> None:
    assert days_until(1, RAMP, daily=0.0) == math.inf


def test_a_stage_lasts_until_its_gates_open() -> None:
    found = openings(GATED, daily=1000.0, delay_days=2.0)
    # 500 units at 100 a day; 400 at 500 a day and two days to become complete; then the dwell.
    assert [opening.days for opening in found] == pytest.approx([5.0, 7.8, 14.8])
    assert [opening.waits_for for opening in found] == ["min_units", "min_matured", "dwell"]


def test_lengthened_stages_open_when_the_gates_do() -> None:
    stages = lengthened(GATED, daily=1000.0, delay_days=2.0)
    assert [stage.days for stage in stages] == pytest.approx([5.0, 2.8, 7.0])
    assert days_until(500.0, stages, daily=1000.0) == pytest.approx(5.0)


def test_a_gate_without_traffic_never_opens() -> None:
    assert [opening.days for opening in openings(GATED, daily=0.0)] == [math.inf] * 3
    stages = lengthened(GATED, daily=0.0)
    assert days_until(1.0, stages, daily=0.0) == math.inf
    assert arrivals(stages, daily=0.0, days=2).tolist() == [0.0, 0.0]


def test_more_traffic_is_sooner_in_every_span() -> None:
    traffic = Traffic(low=500.0, expected=1000.0, high=2000.0)
    span = traffic.span(lambda daily: openings(GATED, daily=daily)[-1].days)
    assert span.soonest < span.expected < span.latest


def test_illegal_calendars_are_errors() -> None:
    with pytest.raises(InvalidInput):
        arrivals((), daily=1.0, days=1)
    with pytest.raises(InvalidInput):
        arrivals(RAMP, daily=1.0, days=1, delay_days=-1.0)
