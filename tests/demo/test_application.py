"""The applications live in label order: predict, wait for the aircraft, then report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.assignment.choice import Choice, Model, Reason
from controller.assignment.hashing import BUCKETS, bucket, hash_unit
from controller.demo.application import MOST_AT_ONCE, MOST_WAITING, ClickDesk, FlightDesk
from controller.demo.bandit import load_bandit
from controller.demo.clock import RecordedTime, started_at
from controller.demo.flights import Flights
from controller.demo.models import Models, cost
from controller.errors import SetupFailed


@dataclass(slots=True)
class Ledger:
    """Splits units evenly with the product's hash and keeps what it is told, in order."""

    digests: Mapping[str, str]
    told: list[tuple[str, str, str, float | None]] = field(default_factory=list)
    event_ids: set[str] = field(default_factory=set)
    waiting: int = 0

    def counts(self) -> dict[str, int]:
        return {"events_delivered": 7, "events_waiting": self.waiting}

    def assign(
        self, slot: str, *, unit: str, attributes: Mapping[str, Any] | None = None
    ) -> Choice:
        _, low = hash_unit("salt", "departure", unit)
        arm = "challenger" if bucket(low, BUCKETS) >= BUCKETS // 2 else "champion"
        self.told.append(("exposure", slot, unit, None))
        return Choice(
            slot=slot,
            arm=arm,
            model=Model(name=arm, version="1", digest=self.digests.get(arm)),
            payload=None,
            reason=Reason.SPLIT,
            rollout="r",
            allocation=1,
            ruleset=1,
        )

    def track(
        self,
        name: str,
        *,
        unit: str,
        value: float | None = None,
        slot: str | None = None,
        event_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> object:
        assert event_id is not None
        assert event_id not in self.event_ids
        self.event_ids.add(event_id)
        self.told.append((name, str(slot), unit, value))
        return None


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def week(flights: Flights) -> Flights:
    """The first days of April."""
    live = flights.live()
    return live.subset(live.predict_minute < live.predict_minute[0] + 5 * 24 * 60)


def _run(desk: FlightDesk | ClickDesk, hands: Hands, *, seconds: float, step: float = 0.25) -> None:
    until = hands.at + seconds
    while hands.at < until and not desk.finished:
        hands.at += step
        desk.step()


def test_every_flight_is_exposed_in_order_and_reported_when_it_has_arrived(
    week: Flights, models: Models
) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=60, now=hands
    )
    ledger = Ledger({"challenger": models.weather.digest, "champion": models.champion.digest})
    desk = FlightDesk(
        ledger,
        flights=week,
        models={model.digest: model for model in (models.champion, models.weather)},
        default=models.champion,
        slots=["a", "b"],
        clock=clock,
    )
    _run(desk, hands, seconds=90)
    assert desk.finished
    units = [str(flight) for flight in week.flight_id]
    for slot in ("a", "b"):
        exposed = [
            unit for kind, where, unit, _ in ledger.told if (kind, where) == ("exposure", slot)
        ]
        assert exposed == units
        reported = {
            unit: (order, value)
            for order, (kind, where, unit, value) in enumerate(ledger.told)
            if (kind, where) == ("cost", slot)
        }
        assert set(reported) == {
            unit for unit, known in zip(units, week.known, strict=True) if known
        }
    assert desk.served == len(week)
    assert desk.reported == 2 * int(week.known.sum())


def test_costs_are_those_of_the_model_that_the_service_chose(week: Flights, models: Models) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=20, now=hands
    )
    ledger = Ledger({"challenger": models.weather.digest, "champion": models.champion.digest})
    known_models = {model.digest: model for model in (models.champion, models.weather)}
    desk = FlightDesk(
        ledger,
        flights=week,
        models=known_models,
        default=models.champion,
        slots=["a"],
        clock=clock,
    )
    _run(desk, hands, seconds=40)
    by_arm = {
        "champion": cost(models.champion.alerts(week.features), week.late),
        "challenger": cost(models.weather.alerts(week.features), week.late),
    }
    index = {str(flight): position for position, flight in enumerate(week.flight_id)}
    told = [(unit, value) for kind, _, unit, value in ledger.told if kind == "cost"]
    for unit, value in told:
        arm = Ledger({}).assign("a", unit=unit).arm
        assert value == by_arm[arm][index[unit]]
    assert len(told) == week.known.sum()


def test_no_outcome_is_reported_before_its_aircraft_has_arrived(
    week: Flights, models: Models
) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at,
        begins=begins,
        ends=begins + 5 * 24 * 60,
        lasts_seconds=5 * 24,
        now=hands,
    )
    ledger = Ledger({})
    desk = FlightDesk(
        ledger, flights=week, models={}, default=models.champion, slots=["a"], clock=clock
    )
    arrival = dict(zip([str(f) for f in week.flight_id], week.arrived_minute.tolist(), strict=True))
    seen = 0
    while hands.at < 1000.0 + 48:
        hands.at += 0.5
        desk.step()
        for kind, _, unit, _ in ledger.told[seen:]:
            if kind == "cost":
                assert arrival[unit] <= clock.reached()
        seen = len(ledger.told)
    assert desk.reported > 100
    assert desk.served > desk.reported


def test_nobody_new_is_served_while_too_many_events_wait(week: Flights, models: Models) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=20, now=hands
    )
    ledger = Ledger({})
    desk = FlightDesk(
        ledger, flights=week, models={}, default=models.champion, slots=["a"], clock=clock
    )
    _run(desk, hands, seconds=5)
    served, reported, day = desk.served, desk.reported, desk.day
    ledger.waiting = MOST_WAITING + 1
    _run(desk, hands, seconds=30)
    assert desk.served == served > 0
    assert desk.reported > reported, "aircraft in the air still arrive"
    assert desk.day == day, "the calendar waits with the traffic"
    ledger.waiting = 0
    told = len(ledger.told)
    hands.at += 0.1
    desk.step()
    assert desk.served == served + MOST_AT_ONCE
    assert len(ledger.told) - told <= 2 * MOST_AT_ONCE
    _run(desk, hands, seconds=10)
    assert desk.finished
    assert desk.served == len(week), "nothing was left out"


def test_visitors_wait_too_while_too_many_events_wait() -> None:
    hands = Hands()
    log = load_bandit()
    ends = float(log.arrival_second[-1])
    clock = RecordedTime(started_at=hands.at, begins=0.0, ends=ends, lasts_seconds=60, now=hands)
    ledger = Ledger({}, waiting=MOST_WAITING + 1)
    desk = ClickDesk(ledger, log, clock)
    _run(desk, hands, seconds=30)
    assert desk.served == 0
    ledger.waiting = MOST_WAITING
    desk.step()
    assert desk.served == MOST_AT_ONCE


def test_after_december_the_same_flights_fly_again_as_new_departures(
    week: Flights, models: Models
) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=4, now=hands
    )
    ledger = Ledger({})
    desk = FlightDesk(
        ledger,
        flights=week,
        models={},
        default=models.champion,
        slots=["a"],
        clock=clock,
        again=True,
    )
    _run(desk, hands, seconds=10)
    exposed = [unit for kind, _, unit, _ in ledger.told if kind == "exposure"]
    first, later = exposed[: len(week)], exposed[len(week) :]
    assert first == [str(flight) for flight in week.flight_id]
    assert len(set(exposed)) == len(exposed) == desk.served
    assert len(week) / 30 < len(later) < len(week) / 5
    flights, seasons = zip(*(unit.split("/") for unit in later), strict=True)
    assert set(flights) <= set(first)
    assert len(set(flights)) == len(flights), "a later season flies another twentieth"
    assert set(seasons) == {"2", "3"}
    assert desk.season == 2, "two seasons are over, the third is flown"
    assert not desk.finished


def test_an_unknown_model_means_the_application_s_default(week: Flights, models: Models) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=1, now=hands
    )
    ledger = Ledger({})
    desk = FlightDesk(
        ledger, flights=week, models={}, default=models.champion, slots=["a"], clock=clock
    )
    _run(desk, hands, seconds=5)
    told = np.array([value for kind, _, _, value in ledger.told if kind == "cost"])
    expected = cost(models.champion.alerts(week.features), week.late)[week.known]
    assert sorted(told.tolist()) == sorted(expected.tolist())


def test_a_restart_goes_on_where_the_clock_stands(week: Flights, models: Models) -> None:
    hands = Hands()
    begins = float(week.predict_minute[0])
    clock = RecordedTime(
        started_at=hands.at, begins=begins, ends=begins + 5 * 24 * 60, lasts_seconds=10, now=hands
    )
    hands.at += 5.0
    ledger = Ledger({})
    desk = FlightDesk(
        ledger, flights=week, models={}, default=models.champion, slots=["a"], clock=clock
    )
    _run(desk, hands, seconds=10)
    later = int((week.predict_minute >= begins + 2.5 * 24 * 60).sum())
    assert desk.served == later


def test_visitors_take_the_rows_of_their_arm_until_one_log_is_empty() -> None:
    hands = Hands()
    log = load_bandit()
    clock = RecordedTime(
        started_at=hands.at,
        begins=0.0,
        ends=float(log.arrival_second[-1]),
        lasts_seconds=60,
        now=hands,
    )
    ledger = Ledger({})
    desk = ClickDesk(ledger, log, clock)
    _run(desk, hands, seconds=70)
    assert desk.finished
    assert 19_500 < desk.served < 20_000
    clicks = [told for told in ledger.told if told[0] == "click"]
    assert 100 < len(clicks) <= 115


def test_the_start_is_kept_with_the_data(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    assert started_at(path, now=lambda: 5.0) == 5.0
    assert started_at(path, now=lambda: 9.0) == 5.0
    path.write_text("[]")
    with pytest.raises(SetupFailed, match="another --data-dir"):
        started_at(path)
