"""Evaluate for a remote caller: the pure function with pins, and the exposure in the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.assignment.choice import Choice, Reason
from controller.assignment.evaluate import unknown_slot
from controller.assignment.hashing import check_unit
from controller.assignment.ruleset import Ruleset
from controller.errors import NotFound
from controller.flow.exposures import Durability, ExposureLog
from controller.flow.pinning import Request, assign_pinned
from controller.flow.ports_pins import Pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: project, the key that exposures are booked on, and whether it is a browser's."""

    project: str
    key_id: str
    is_client: bool = False


def assign(
    ruleset: Ruleset,
    request: Request,
    *,
    asker: Asker,
    pins: Pins,
    exposures: ExposureLog,
    now: float,
) -> tuple[Choice, Durability]:
    """The answer for one unit, and what became of its exposure.

    Raises
    ------
    InvalidInput
        If the answer depends on the unit and it cannot be hashed: a kill reaches what is no unit.
    NotFound
        If there is no such slot, or none for a browser's key.
    """
    if request.slot not in ruleset.slots or _is_closed(ruleset, request, asker):
        raise NotFound(f"There is no slot {request.slot!r:.80}.")
    (choice,) = assign_pinned(ruleset, [request], pins=pins, now=now)
    if choice.reason is Reason.INVALID_UNIT:
        check_unit(request.unit)
    return choice, expose([choice], [request], asker=asker, exposures=exposures)


def assign_many(
    ruleset: Ruleset, requests: Sequence[Request], *, asker: Asker, pins: Pins, now: float
) -> list[Choice]:
    """The answers for many units; one that cannot be answered says why in its reason.

    A slot that is not for browsers looks to them like one that is not there.
    """
    closed = {place for place, one in enumerate(requests) if _is_closed(ruleset, one, asker)}
    asked = [one for place, one in enumerate(requests) if place not in closed]
    answers = iter(assign_pinned(ruleset, asked, pins=pins, now=now))
    return [
        unknown_slot(one.slot, ruleset.version) if place in closed else next(answers)
        for place, one in enumerate(requests)
    ]


def expose(
    choices: Sequence[Choice],
    requests: Sequence[Request],
    *,
    asker: Asker,
    exposures: ExposureLog,
) -> Durability:
    """Log that the units of those requests that expose met their answers."""
    met = [
        (choice, request)
        for choice, request in zip(choices, requests, strict=True)
        if request.expose and choice.exposed
    ]
    if not met:
        return "none"
    return exposures.expose(
        asker.project,
        asker.key_id,
        [(choice, request.unit) for choice, request in met],
        [request.attributes for _, request in met],
    )


def _is_closed(ruleset: Ruleset, request: Request, asker: Asker) -> bool:
    rules = ruleset.slots.get(request.slot)
    return asker.is_client and rules is not None and not rules.clients
