"""The demo's applications, made ready: their data, their models, their SDK client, their clock."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Final, Self

from controller.demo.application import ClickDesk, FlightDesk
from controller.demo.bandit import BanditLog, load_bandit
from controller.demo.clock import RecordedTime, started_at
from controller.demo.flights import Flights, load_flights
from controller.demo.models import Models, train_models
from controller.demo.scenario import BROKEN_FEED_SLOT, FLIGHTS_SLOT, WEEK_SECONDS
from controller.demo.traffic import Traffic
from controller.errors import SetupFailed
from controller.sdk.client import Client

RULESET_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The live part of the real data, and the models trained on what came before."""

    flights: Flights
    models: Models
    log: BanditLog

    @classmethod
    def load(cls) -> Self:
        """Read the packaged data and train; takes a few seconds."""
        flights = load_flights()
        return cls(
            flights=flights.live(), models=train_models(flights.history()), log=load_bandit()
        )


class Desks:
    """Both applications on one SDK client, from April to December."""

    def __init__(
        self, client: Client, material: Material, calendar: RecordedTime, *, again: bool
    ) -> None:
        flights, models, log = material.flights, material.models, material.log
        week = RecordedTime(
            started_at=calendar.started_at,
            begins=0.0,
            ends=float(log.arrival_second[-1]),
            lasts_seconds=WEEK_SECONDS,
        )
        every = [getattr(models, field.name) for field in fields(models)]
        self._client = client
        self._alerts = FlightDesk(
            client,
            flights=flights,
            models={model.digest: model for model in every},
            default=models.champion,
            slots=[FLIGHTS_SLOT, BROKEN_FEED_SLOT],
            clock=calendar,
            again=again,
        )
        self._traffic = Traffic([self._alerts, ClickDesk(client, log, week)], client.flush)

    def open(self) -> None:
        """Begin to serve."""
        self._traffic.start()

    def check(self) -> None:
        """Raise what ended an application before its time."""
        self._traffic.check()

    @property
    def day(self) -> date:
        """The recorded date that is now; the last one when all is over."""
        return self._alerts.day

    def counts(self) -> dict[str, int]:
        """What became of the events: delivered, waiting, lost; as the SDK counted."""
        return self._client.counts()

    @property
    def later_season(self) -> bool:
        """Whether December is over and the few flights of later seasons are served."""
        return self._alerts.season > 0

    @property
    def served(self) -> int:
        """Flights served so far."""
        return self._alerts.served

    @property
    def finished(self) -> bool:
        """Whether the recorded time is over."""
        return self._traffic.finished

    def close(self) -> None:
        """Stop serving and deliver what is still to be told."""
        self._traffic.stop()
        self._client.close()


def open_desks(
    material: Material, *, url: str, key: str, data_dir: Path, year_seconds: float, again: bool
) -> Desks:
    """Connect to the service and begin to serve; `again` flies the nine months over and over.

    Raises
    ------
    SetupFailed
        If the service gives no ruleset.
    """
    client = Client(url, key, state_dir=data_dir / "sdk", poll_seconds=2.0, flush_seconds=0.25)
    if not client.wait_until_ready(RULESET_SECONDS):
        client.close()
        raise SetupFailed(f"The service at {url} gave the demo no ruleset: {client.states()}.")
    calendar = RecordedTime(
        started_at=started_at(data_dir / "demo.json"),
        begins=float(material.flights.predict_minute[0]),
        ends=float(material.flights.predict_minute[-1]),
        lasts_seconds=year_seconds,
    )
    desks = Desks(client, material, calendar, again=again)
    desks.open()
    return desks
