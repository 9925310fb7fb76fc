"""The applications that live on the service: a client of the SDK like any other.

`FlightDesk` lives through April to December in order. When a scheduled hour of departure begins it
asks for the model of every flight in it, predicts the hours that have become due in one batch, and
alerts at p > .25. What an alert or its absence cost is reported when the aircraft has really
arrived. `ClickDesk` takes the next row of the log of the arm that each visitor is given.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from controller.demo.bandit import BanditLog, Queues
from controller.demo.clock import RecordedTime
from controller.demo.flights import NEVER, Flights, date_at, date_text
from controller.demo.models import TrainedModel, cost
from controller.demo.scenario import CLICK, CLICKS_SLOT, COST

LATER_SEASONS_PART: Final = 20
MOST_WAITING: Final = 10_000
"""Events that may wait for delivery before nobody new is served: half of what the SDK holds."""
MOST_AT_ONCE: Final = 1_000
"""Units served in one step, so that catching up does not fill the SDK's queue either."""


class Model(Protocol):
    """A model as the service names it."""

    @property
    def digest(self) -> str | None:
        """Content digest of the artefact."""


class Choice(Protocol):
    """The part of an SDK answer that the applications read."""

    @property
    def arm(self) -> str:
        """`champion` or `challenger`."""

    @property
    def model(self) -> Model | None:
        """The model to serve; None before any ruleset."""


class Service(Protocol):
    """The part of the SDK that the applications call."""

    def assign(
        self, slot: str, *, unit: str, attributes: Mapping[str, Any] | None = None
    ) -> Choice:
        """Which model this unit gets; reports the exposure."""

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
        """Report an outcome."""

    def counts(self) -> dict[str, int]:
        """What became of the events so far."""


class FlightDesk:
    """Alerts for late flights in one or more slots, and their cost when it is known.

    Parameters
    ----------
    service : Service
    flights : Flights
        What is lived through, in order.
    models : mapping of digest to TrainedModel
        What this application can serve.
    default : TrainedModel
        Served where the service names no model of these.
    slots : sequence of str
        Slots that see every flight.
    clock : RecordedTime
        Of which `begins` and `ends` are the first and last minute of the recorded span.
    again : bool
        After the span fly it again and again, each time another twentieth of it, as new departures
        with unit ids of their own: enough to keep a page alive, too little to fill a disk.
    """

    def __init__(
        self,
        service: Service,
        *,
        flights: Flights,
        models: Mapping[str, TrainedModel],
        default: TrainedModel,
        slots: Sequence[str],
        clock: RecordedTime,
        again: bool = False,
    ) -> None:
        self._service, self._flights, self._clock = service, flights, clock
        self._models, self._default, self._slots = models, default, slots
        self._ids = [str(flight) for flight in flights.flight_id.tolist()]
        self._due = flights.predict_minute
        self._span = clock.ends - clock.begins
        self._again = again
        passed = clock.reached() - clock.begins
        self._season = int(max(passed, 0.0) // self._span) if again else 0
        self._next = int(np.searchsorted(self._due, self._season_minute(), side="left"))
        self._pending: list[tuple[float, int, int, str, float]] = []
        self.served = 0
        self.reported = 0

    @property
    def finished(self) -> bool:
        """Every departure was served and every arrival reported."""
        return not self._again and self._next >= len(self._ids) and not self._pending

    @property
    def season(self) -> int:
        """How often the span has been flown to its end."""
        return self._season

    @property
    def day(self) -> date:
        """The recorded date that is served now; the last one when all is over."""
        behind = self._due[self._next] if self._next < len(self._due) else self._clock.ends
        return date_at(min(self._season_minute(), float(behind), self._clock.ends))

    def step(self) -> None:
        """Serve the scheduled hours that have begun, then report the aircraft that have arrived.

        While too many events wait for delivery nobody is served: the demo falls behind its
        calendar instead of losing what it reports. Aircraft in the air are reported all the same.
        """
        self._serve_due()
        if self._again and self._next >= len(self._ids):
            self._season, self._next = self._season + 1, 0
            self._serve_due()
        reached = self._clock.reached()
        while self._pending and self._pending[0][0] <= reached:
            self._report(*heapq.heappop(self._pending))

    def _season_minute(self) -> float:
        return self._clock.reached() - self._season * self._span

    def _serve_due(self) -> None:
        upto = int(np.searchsorted(self._due, self._season_minute(), side="right"))
        upto = min(upto, self._next + _room(self._service))
        if upto > self._next:
            due = self._flying(range(self._next, upto))
            for slot in self._slots:
                self._serve(slot, due)
            self.served += len(due)
            self._next = upto

    def _flying(self, indices: range) -> Sequence[int]:
        """All of them in the first season, every twentieth in a later one."""
        if self._season == 0:
            return indices
        part = self._season % LATER_SEASONS_PART
        return [index for index in indices if index % LATER_SEASONS_PART == part]

    def _serve(self, slot: str, due: Sequence[int]) -> None:
        """One batch: assign every flight, let each model predict its own, remember the costs."""
        shares: dict[str, list[int]] = defaultdict(list)
        for index in due:
            day = {"date": date_text(self._due[index])}
            unit = self._unit(index, self._season)
            choice = self._service.assign(slot, unit=unit, attributes=day)
            shares[_digest(choice)].append(index)
        for digest, indices in shares.items():
            rows = np.asarray(indices)
            alerts = self._models.get(digest, self._default).alerts(self._flights.features[rows])
            self._expect(slot, rows, cost(alerts, self._flights.late[rows]))

    def _expect(self, slot: str, rows: NDArray[np.int64], costs: NDArray[np.float64]) -> None:
        season, later = self._season, self._season * self._span
        for index, minute, value in zip(
            rows.tolist(), self._flights.arrived_minute[rows].tolist(), costs.tolist(), strict=True
        ):
            if minute != NEVER:
                heapq.heappush(self._pending, (minute + later, season, index, slot, value))

    def _report(self, minute: float, season: int, index: int, slot: str, value: float) -> None:
        unit = self._unit(index, season)
        self._service.track(
            COST,
            unit=unit,
            value=value,
            slot=slot,
            event_id=f"{slot}/{unit}/{COST}",
            attributes={"date": date_text(minute - season * self._span)},
        )
        self.reported += 1

    def _unit(self, index: int, season: int) -> str:
        return self._ids[index] if season == 0 else f"{self._ids[index]}/{season + 1}"


class ClickDesk:
    """Recommendations of a fashion site, until one policy's log is empty."""

    def __init__(self, service: Service, log: BanditLog, clock: RecordedTime) -> None:
        self._service, self._clock = service, clock
        self._queues = Queues(log)
        self._due = log.arrival_second
        self._units = log.unit_ids
        self._next = int(np.searchsorted(self._due, clock.reached(), side="left"))
        self.served = 0

    @property
    def finished(self) -> bool:
        """One log is empty, or the week is over."""
        return self._queues.exhausted or self._next >= len(self._units)

    def step(self) -> None:
        """Serve the visitors who have come since the last step."""
        upto = int(np.searchsorted(self._due, self._clock.reached(), side="right"))
        upto = min(upto, self._next + _room(self._service))
        while self._next < upto and not self._queues.exhausted:
            unit = self._units[self._next]
            self._next += 1
            self.served += 1
            arm = self._service.assign(CLICKS_SLOT, unit=unit).arm
            if self._queues.take(arm):
                self._service.track(
                    CLICK,
                    unit=unit,
                    value=1.0,
                    slot=CLICKS_SLOT,
                    event_id=f"{CLICKS_SLOT}/{unit}/{CLICK}",
                )


def _room(service: Service) -> int:
    """How many may be served in one step; none while too many events wait for delivery."""
    return 0 if service.counts().get("events_waiting", 0) > MOST_WAITING else MOST_AT_ONCE


def _digest(choice: Choice) -> str:
    """The digest of the chosen model; empty where there is none, which means the default."""
    return (choice.model.digest or "") if choice.model is not None else ""
