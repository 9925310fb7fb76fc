"""Real departures, and the order in which their outcomes became known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from controller.demo.airports import minutes_ahead_of_new_york
from controller.demo.flights import FEATURES, NEVER, YEAR_BEGINS, Flights, date_at


def test_the_year_has_112349_departures_and_the_live_part_begins_in_april(flights: Flights) -> None:
    live = flights.live()
    assert len(flights) == 112_349
    assert len(live) == 85_586
    assert live.month.min() == 4
    assert len(flights.history()) + len(live) == len(flights)
    assert len(np.unique(flights.flight_id)) == len(flights)


def test_departures_are_in_scheduled_order(flights: Flights) -> None:
    assert (np.diff(flights.predict_minute) >= 0).all()
    assert date_at(flights.predict_minute[0]) == YEAR_BEGINS
    assert date_at(flights.predict_minute[-1]).isoformat() == "2013-12-31"


def test_no_outcome_is_known_before_the_prediction_or_a_day_and_a_half_after(
    flights: Flights,
) -> None:
    waited = (flights.arrived_minute - flights.predict_minute)[flights.known]
    assert waited.min() > 0
    assert waited.max() < 36 * 60
    assert 150 < np.median(waited) < 250


def test_labels_arrive_in_another_order_than_predictions(flights: Flights) -> None:
    arrived = flights.arrived_minute[flights.known]
    assert 0.2 < (np.diff(arrived) < 0).mean() < 0.8


def test_cancelled_and_diverted_flights_never_get_an_outcome(flights: Flights) -> None:
    assert (~flights.known).sum() == 3_140
    assert (flights.arrived_minute[~flights.known] == NEVER).all()
    assert not flights.late[~flights.known].any()


def test_a_flight_west_arrives_on_new_yorks_clock(flights: Flights) -> None:
    # UA 1545, 1 January, EWR 05:15 to Houston 08:19 local (09:19 in New York), 11 minutes late.
    first = int(np.flatnonzero(flights.flight_id == 0)[0])
    assert flights.arrived_minute[first] == 9 * 60 + 19 + 11
    assert not flights.late[first]


def test_scheduled_block_times_are_those_of_aircraft(flights: Flights) -> None:
    known = flights.known
    miles = flights.features[:, FEATURES.index("distance")][known]
    hours = (flights.arrived_minute - flights.predict_minute)[known] / 60
    near, far = hours[miles < 300], hours[miles > 4000]
    assert 1.0 < np.median(near) < 3.0
    assert 9.0 < np.median(far) < 13.0


def test_zones_follow_the_rules_of_2013() -> None:
    assert minutes_ahead_of_new_york("LAX", summer=True) == -180
    assert minutes_ahead_of_new_york("PHX", summer=False) == -120
    assert minutes_ahead_of_new_york("PHX", summer=True) == -180
    assert minutes_ahead_of_new_york("SJU", summer=True) == 0
    assert minutes_ahead_of_new_york("BOS", summer=True) == 0


def test_zones_agree_with_the_time_zone_database() -> None:
    zones = {
        "ORD": "America/Chicago",
        "DEN": "America/Denver",
        "PHX": "America/Phoenix",
        "SEA": "America/Los_Angeles",
        "HNL": "Pacific/Honolulu",
        "SJU": "America/Puerto_Rico",
        "ATL": "America/New_York",
    }
    for airport, zone in zones.items():
        for day, summer in (("2013-01-15 12:00", False), ("2013-07-15 12:00", True)):
            here = pd.Timestamp(day, tz="America/New_York")
            there = here.tz_convert(zone)
            assert there.utcoffset() is not None
            ahead = (there.tz_localize(None) - here.tz_localize(None)).total_seconds() / 60
            assert minutes_ahead_of_new_york(airport, summer=summer) == ahead


def test_features_hold_no_leak_of_the_outcome() -> None:
    assert "dep_delay" not in FEATURES
    assert "arr_delay" not in FEATURES
