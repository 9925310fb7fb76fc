"""Assignment with remembered arms: the pure function, then one wait for all the pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.assignment.choice import Choice, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.flow.ports_pins import PinKey, Pins, Wanted

PIN_AFTER_END_SECONDS: Final = 30 * 86_400
PIN_WITHOUT_END_SECONDS: Final = 180 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One unit at one slot; `expose` says whether it meets its arm now, or only looks."""

    slot: str
    unit: str
    attributes: dict[str, Any] | None = None
    expose: bool = True


def assign_pinned(
    ruleset: Ruleset, requests: Sequence[Request], *, pins: Pins, now: float
) -> list[Choice]:
    """The answers for units of any slots, honouring and writing their pins.

    Only who is exposed is pinned; who looks reads. All of them wait for the store together.

    Parameters
    ----------
    now : float
        Unix seconds, for a pin's life: the rollout's end + 30 days.

    Notes
    -----
    With a store that is down this is the pure function: the same arm for every unit except merged
    identities and units that lost their eligibility.
    """
    choices = [evaluate(ruleset, one.slot, one.unit, one.attributes) for one in requests]
    wanted: dict[int, Wanted] = {}
    for place, (request, pure) in enumerate(zip(requests, choices, strict=True)):
        asked = _wanted(ruleset, request, pure, now=now)
        if asked is not None:
            wanted[place] = asked
    if not wanted:
        return choices
    held = pins.settle(list(wanted.values()))
    for (place, asked), pin in zip(wanted.items(), held, strict=True):
        if pin is not None and pin != asked.mine:
            one = requests[place]
            choices[place] = evaluate(ruleset, one.slot, one.unit, one.attributes, pin)
    return choices


def pin_seconds(ends_at: int | None, *, now: float) -> int:
    """How long a pin lives: until the rollout's end, a Unix second, and 30 days more."""
    if ends_at is None:
        return PIN_WITHOUT_END_SECONDS
    return max(0, ends_at - int(now)) + PIN_AFTER_END_SECONDS


def _wanted(ruleset: Ruleset, request: Request, pure: Choice, *, now: float) -> Wanted | None:
    """What to ask the pin store about a unit; None where no pin could change its answer."""
    evaluator = ruleset.evaluators.get(request.slot)
    rollout = evaluator.rollout if evaluator is not None else None
    if evaluator is None or rollout is None or rollout.sticky == "none":
        return None
    if not evaluator.reaches_pin(request.unit):
        return None
    claims = request.expose and pure.reason is Reason.SPLIT and rollout.sticky == "all"
    return Wanted(
        key=PinKey(project=ruleset.project, unit_type=evaluator.rules.unit_type, unit=request.unit),
        rollout=rollout.id,
        allocation=rollout.allocation,
        # A unit that has lost its eligibility keeps the arm it met under an earlier condition.
        earlier=tuple(rollout.keeps) if pure.reason is Reason.NOT_ELIGIBLE else (),
        mine=evaluator.pin_for(request.unit, pure) if claims else None,
        ttl_seconds=pin_seconds(rollout.ends_at, now=now) if claims else 0,
    )
