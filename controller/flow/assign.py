"""Evaluate for a remote caller: the pure function with pins, and the exposure in the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.assignment.choice import Choice, Reason
from controller.assignment.hashing import check_unit
from controller.assignment.ruleset import Ruleset
from controller.errors import NotFound, NotPermitted
from controller.flow.exposures import Durability, ExposureLog
from controller.flow.pinning import assign_pinned
from controller.flow.ports_pins import Pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One unit at one slot."""

    slot: str
    unit: str
    attributes: dict[str, Any] | None = None
    expose: bool = True


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
        If the unit cannot be hashed.
    NotFound
        If there is no such slot.
    NotPermitted
        If a browser's key asks about a slot that is not for browsers.
    """
    check_unit(request.unit)
    rules = ruleset.slots.get(request.slot)
    if rules is None:
        raise NotFound(f"There is no slot {request.slot!r:.80}.")
    if asker.is_client and not rules.clients:
        raise NotPermitted(f"The slot {request.slot!r} is not open to browsers.")
    choice = _choose(ruleset, request, pins=pins, now=now)
    if not request.expose or not choice.exposed:
        return choice, "none"
    written = exposures.expose(
        asker.project, asker.key_id, [(choice, request.unit)], [request.attributes]
    )
    return choice, written


def assign_many(
    ruleset: Ruleset,
    requests: Sequence[Request],
    *,
    asker: Asker,
    pins: Pins,
    exposures: ExposureLog,
    now: float,
) -> tuple[list[Choice], Durability]:
    """The answers for many units; one that cannot be answered says why in its reason."""
    choices = [
        _closed(ruleset, request)
        if _is_closed(ruleset, request, asker)
        else _choose(ruleset, request, pins=pins, now=now)
        for request in requests
    ]
    met = [
        (choice, request)
        for choice, request in zip(choices, requests, strict=True)
        if request.expose
    ]
    written = exposures.expose(
        asker.project,
        asker.key_id,
        [(choice, request.unit) for choice, request in met],
        [request.attributes for _, request in met],
    )
    return choices, written


def _choose(ruleset: Ruleset, request: Request, *, pins: Pins, now: float) -> Choice:
    return assign_pinned(
        ruleset,
        request.slot,
        request.unit,
        request.attributes,
        pins=pins,
        now=now,
        expose=request.expose,
    )


def _is_closed(ruleset: Ruleset, request: Request, asker: Asker) -> bool:
    rules = ruleset.slots.get(request.slot)
    return asker.is_client and rules is not None and not rules.clients


def _closed(ruleset: Ruleset, request: Request) -> Choice:
    """A slot that is not for browsers looks like one that is not there."""
    return Choice(
        slot=request.slot,
        arm="champion",
        model=None,
        payload=None,
        reason=Reason.UNKNOWN_SLOT,
        rollout=None,
        allocation=None,
        ruleset=ruleset.version,
    )
