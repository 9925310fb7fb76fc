"""What the demo puts before the service: three slots, their metrics and their policies.

Everything here is in the words of the HTTP API. The numbers of the policies were chosen with
`controller.demo.offline`: over 200 seeds each slot ends with its verdict in at least 98 % of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:  # loading scikit-learn takes longer than starting the service
    from controller.demo.models import Models, TrainedModel

YEAR_SECONDS: Final = 80.0
"""Seconds in which the application lives from April to December, while somebody watches."""
HEADLESS_YEAR_SECONDS: Final = 100.0
"""The same where nobody waits for a page."""
HEADLESS_DECIDING: Final = "240s"
"""Longest wait for a decision where nobody signs in: a slow machine may still mature units."""
WEEK_SECONDS: Final = 60.0
"""Seconds in which the week of logged clicks passes."""

FLIGHTS_SLOT: Final = "late-flight-alert"
BROKEN_FEED_SLOT: Final = "gate-screen-alert"
CLICKS_SLOT: Final = "recommendation"
FLIGHTS_POLICY: Final = "demo-flights"
CLICKS_POLICY: Final = "demo-clicks"
FLIGHTS_UNIT: Final = "departure"
CLICKS_UNIT: Final = "visit"
COST: Final = "cost"
CLICK: Final = "click"

COST_METRIC: Final = "cost-per-departure"
COSTLY_METRIC: Final = "costly-departures"
CLICK_METRIC: Final = "clicks-per-visit"

AUTHOR: Final = "dana"
"""Requests the rollouts, so cannot approve them."""
APPROVERS: Final = ("omar", "ruth")

COSTLY_MARGIN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRollout:
    """One slot, the challenger that wants to replace its champion, and how it has to end.

    Attributes
    ----------
    slot : str
        Key of the slot.
    definition : mapping
        Body of `PUT /v1/slots/{slot}`.
    request : mapping
        Body of `POST /v1/rollouts`.
    verdict : str
        What the evidence has to say.
    """

    slot: str
    definition: Mapping[str, Any]
    request: Mapping[str, Any]
    verdict: str


def salt_of(slot: str, seed: int) -> str:
    """The salt of a slot's rollout under a seed: what makes a demo repeatable, and rehearsable."""
    return f"{slot}-{seed}"


def metrics() -> dict[str, dict[str, Any]]:
    """Bodies of `PUT /v1/metrics/{key}` by key.

    The slowest flight of the year takes a quarter of a second of the demo's clock; windows of two
    seconds leave room for a machine that hesitates. A cancelled flight never gets a cost: unknown.
    """
    of_cost = {
        "direction": "decrease",
        "outcome": COST,
        "window_seconds": 2.5,
        "lateness_seconds": 1.5,
        "zero_means": "unknown",
    }
    return {
        COST_METRIC: {"type": "mean", **of_cost},
        COSTLY_METRIC: {"type": "binary", **of_cost},
        CLICK_METRIC: {
            "type": "binary",
            "direction": "increase",
            "outcome": CLICK,
            "window_seconds": 2.5,
            "lateness_seconds": 1.5,
        },
    }


def policies(*, deciding: str | None = None) -> dict[str, dict[str, Any]]:
    """Bodies of `PUT /v1/policies/{name}` by name.

    Parameters
    ----------
    deciding : str, optional
        Deadline of the flights' decision, in place of one that leaves people time to sign in.
    """
    folder = files("controller.demo").joinpath("policies")
    found: dict[str, dict[str, Any]] = {
        name: yaml.safe_load(folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
        for name in (FLIGHTS_POLICY, CLICKS_POLICY)
    }
    if deciding is not None:
        found[FLIGHTS_POLICY]["deadlines"]["deciding"] = deciding
    return found


def rollouts(models: Models) -> tuple[DemoRollout, DemoRollout, DemoRollout]:
    """The three rollouts: a better model, a broken feed, and a difference nobody can claim yet."""
    return (
        _flights(
            FLIGHTS_SLOT,
            models.champion,
            models.weather,
            description="Warn passengers of late flights",
            hypothesis="Weather tells which flights will be late: fewer alerts, and cheaper ones.",
            verdict="PROMOTE",
        ),
        _flights(
            BROKEN_FEED_SLOT,
            models.champion,
            models.broken_feed,
            description="Warn passengers of late flights on the screens at the gate",
            hypothesis="The nightly build of the weather model is as good as the weather model.",
            verdict="ROLLBACK",
        ),
        _clicks(),
    )


def _flights(
    slot: str,
    champion: TrainedModel,
    challenger: TrainedModel,
    *,
    description: str,
    hypothesis: str,
    verdict: str,
) -> DemoRollout:
    return DemoRollout(
        slot=slot,
        definition={
            "unit": FLIGHTS_UNIT,
            "champion": _document(champion),
            "oec": {"metric": COST_METRIC},
            "guardrails": [{"metric": COSTLY_METRIC, "margin": COSTLY_MARGIN}],
            "policy": FLIGHTS_POLICY,
            "description": description,
        },
        request={
            "slot": slot,
            "challengers": [_document(challenger) | {"authors": [AUTHOR]}],
            "owner": AUTHOR,
            "hypothesis": hypothesis,
        },
        verdict=verdict,
    )


def _clicks() -> DemoRollout:
    return DemoRollout(
        slot=CLICKS_SLOT,
        definition={
            "unit": CLICKS_UNIT,
            "champion": {"name": "uniform-random", "version": "1"},
            "oec": {"metric": CLICK_METRIC},
            "policy": CLICKS_POLICY,
            "description": "Choose which garment a visitor sees first",
        },
        request={
            "slot": CLICKS_SLOT,
            "challengers": [
                {"name": "thompson-sampling", "version": "1", "authors": [AUTHOR]},
            ],
            "owner": AUTHOR,
            "hypothesis": "Thompson sampling earns more clicks than showing garments at random.",
        },
        verdict="NO_DIFFERENCE",
    )


def _document(model: TrainedModel) -> dict[str, Any]:
    return {"name": model.name, "version": model.version, "digest": model.digest}
