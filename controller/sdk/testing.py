"""Clients for an application's own tests: fixed arms, real rules, recorded events, no network.

>>> client = RecordingClient({"late-flight-alert": "challenger"})
>>> client.assign("late-flight-alert", unit="4711").arm
'challenger'
>>> client.track("cost", unit="4711", value=5.0) is not None
True
>>> [(event["type"], event["unit"]) for event in client.events]
[('exposure', '4711'), ('outcome', '4711')]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from controller.assignment.choice import CHAMPION, Model
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import RolloutRules, Ruleset, SlotRules
from controller.assignment.runs import build_runs
from controller.sdk.client import Client
from controller.sdk.engine import Engine
from controller.sdk.reports import complete


def fixed_ruleset(
    arms: Mapping[str, str], models: Mapping[str, Mapping[str, Model]] | None = None
) -> Ruleset:
    """A ruleset in which every unit of a slot gets one arm.

    Parameters
    ----------
    arms : mapping of slot to arm
    models : mapping of slot to (mapping of arm to Model), optional
        What serves; default is a model named after the arm, version ``test``.
    """
    return Ruleset(
        project="test",
        deployment="test",
        version=1,
        slots={slot: _fixed(slot, arm, (models or {}).get(slot, {})) for slot, arm in arms.items()},
    )


class _RecordingEngine(Engine):
    """An engine that keeps events in a list."""

    recorded: list[dict[str, Any]]

    def _begin(self) -> None:
        self.recorded = []
        super()._begin()

    def put(self, event: dict[str, Any]) -> None:
        """Keep the event."""
        self.recorded.append(event)


class RecordingClient(Client):
    """A client whose units all get the arm a test chose, and which keeps what is reported.

    Parameters
    ----------
    arms : mapping of slot to arm
    models : mapping of slot to (mapping of arm to Model), optional
    """

    _engine_type: ClassVar[type[Engine]] = _RecordingEngine

    def __init__(
        self,
        arms: Mapping[str, str],
        models: Mapping[str, Mapping[str, Model]] | None = None,
    ) -> None:
        super().__init__(bootstrap=fixed_ruleset(arms, models).document())

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every accepted event so far, as it would travel."""
        return [event for event in self._completed() if isinstance(event, dict)]

    @property
    def complaints(self) -> list[str]:
        """Why the others would have been refused."""
        return [event for event in self._completed() if isinstance(event, str)]

    def clear(self) -> None:
        """Forget what was reported; units already exposed stay so."""
        self._recorded().clear()

    def _recorded(self) -> list[dict[str, Any]]:
        engine = self._engine
        assert isinstance(engine, _RecordingEngine)
        return engine.recorded

    def _completed(self) -> list[dict[str, Any] | str]:
        return [complete(event) for event in self._recorded()]


def _fixed(slot: str, arm: str, models: Mapping[str, Model]) -> SlotRules:
    names = {CHAMPION, arm, *models}
    served = {name: models.get(name) or Model(name=name, version="test") for name in sorted(names)}
    return SlotRules(
        slot=slot,
        unit_type="test",
        champion=served[CHAMPION],
        rollout=RolloutRules(
            id=f"test-{slot}",
            attempt=1,
            allocation=1,
            salt="test",
            enrolled_ppm=PPM,
            runs=build_runs({arm: 1.0}),
            arms=served,
        ),
    )
