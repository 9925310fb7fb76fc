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
from pathlib import Path
from typing import Any, ClassVar

from controller.assignment.choice import CHAMPION, Model
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import RolloutRules, Ruleset, SlotRules
from controller.assignment.runs import build_runs
from controller.sdk.aio import AsyncClient
from controller.sdk.client import Client
from controller.sdk.core import Core
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


class _Recording(Core):
    """What both clients for tests share."""

    _engine_type: ClassVar[type[Engine]] = _RecordingEngine

    def __init__(
        self,
        arms: Mapping[str, str] | None = None,
        models: Mapping[str, Mapping[str, Model]] | None = None,
        *,
        ruleset: str | Path | Mapping[str, Any] | None = None,
    ) -> None:
        rules = fixed_ruleset(arms or {}, models).document() if ruleset is None else ruleset
        super().__init__(bootstrap=rules)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every accepted event so far, as it would travel; not `aliases`, which go elsewhere."""
        return [event for event in self._completed() if isinstance(event, dict) and "type" in event]

    @property
    def aliases(self) -> list[dict[str, Any]]:
        """Every accepted statement that two ids are one, as it would travel."""
        said = (event for event in self._completed() if isinstance(event, dict))
        return [alias for alias in said if "type" not in alias]

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


class RecordingClient(_Recording, Client):
    """A client whose units all get the arm a test chose, and which keeps what is reported.

    Parameters
    ----------
    arms : mapping of slot to arm, optional
        Every unit of these slots gets this arm.
    models : mapping of slot to (mapping of arm to Model), optional
        What serves in them; default is a model named after the arm, version ``test``.
    ruleset : path or mapping, optional
        Instead of `arms`: a ruleset document whose own rules decide.
    """


class RecordingAsyncClient(_Recording, AsyncClient):
    """The same for code that holds an `AsyncClient`."""


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
