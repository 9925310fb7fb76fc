"""An event as the application states it, turned into one the service accepts, or a complaint.

This runs in the delivery thread: the application only queues what it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controller.assignment.hashing import valid_unit
from controller.events.attributes import fitting
from controller.events.contracts import Rejection, TimeRules, validate
from controller.events.times import format_unix
from controller.sdk.delivery import ALIAS

# Whether a time is too old or from the future is the service's to say.
_ANY_TIME: Final = TimeRules(
    received_at=datetime(2100, 1, 1, tzinfo=UTC),
    max_age=timedelta(days=200 * 365),
    max_skew=timedelta(days=200 * 365),
)
MAX_TYPE_LENGTH: Final = 64
_NUMBERS: Final = ("value", "score")


def complete(event: dict[str, Any]) -> dict[str, Any] | str:
    """The event's wire document, or a sentence saying why the service would refuse it.

    Numbers of other libraries (numpy, Decimal) become floats, Unix times become text, and
    attributes that an event cannot carry are left out: they never cost the event itself.
    """
    wire = dict(event)
    if wire["type"] == ALIAS:
        return _alias(wire)
    try:
        if not isinstance(wire["occurred_at"], str):
            wire["occurred_at"] = format_unix(float(wire["occurred_at"]))
        for name in _NUMBERS:
            if name in wire:
                wire[name] = float(wire[name])
    except (TypeError, ValueError, OverflowError, OSError) as error:
        return f"{wire['type']}: {error}"
    if "attributes" in wire:
        wire["attributes"] = fitting(wire["attributes"])
    checked = validate(wire, 0, _ANY_TIME)
    return f"{wire['type']}: {checked.detail}" if isinstance(checked, Rejection) else wire


def _alias(said: Mapping[str, Any]) -> dict[str, Any] | str:
    """The statement without its type, or why the service would refuse the batch it is in."""
    unit_type, unit, alias = said["unit_type"], said["unit"], said["alias"]
    for name, value in (("unit_type", unit_type), ("unit", unit), ("alias", alias)):
        if not valid_unit(value) or (name == "unit_type" and len(value) > MAX_TYPE_LENGTH):
            return f"alias: {name} is not a name that the service takes."
    if unit == alias:
        return "alias: a unit is not its own alias."
    return {"unit_type": unit_type, "unit": unit, "alias": alias}
