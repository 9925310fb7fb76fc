"""The answer for one unit, as a test asks for it."""

from __future__ import annotations

from typing import Any

from controller.assignment.choice import Choice
from controller.assignment.ruleset import Ruleset
from controller.flow import pinning
from controller.flow.ports_pins import Pins


def assign_pinned(
    ruleset: Ruleset,
    slot: str,
    unit: str,
    attributes: dict[str, Any] | None = None,
    *,
    pins: Pins,
    now: float,
    expose: bool = True,
) -> Choice:
    """`flow.pinning.assign_pinned` for one unit."""
    request = pinning.Request(slot=slot, unit=unit, attributes=attributes, expose=expose)
    (choice,) = pinning.assign_pinned(ruleset, [request], pins=pins, now=now)
    return choice
