"""Assignment with remembered arms: the pure function, then at most one round trip for a pin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.assignment.choice import Choice, Reason
from controller.assignment.evaluate import Evaluator, evaluate
from controller.assignment.ruleset import Ruleset
from controller.flow.ports_pins import PinKey, Pins

PIN_AFTER_END_SECONDS: Final = 30 * 86_400
PIN_WITHOUT_END_SECONDS: Final = 180 * 86_400


def assign_pinned(
    ruleset: Ruleset,
    slot: str,
    unit: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    pins: Pins,
    now: float,
    expose: bool = True,
) -> Choice:
    """The answer of one slot for one unit, honouring and writing its pin.

    Parameters
    ----------
    now : float
        Unix seconds, for the pin's life: the rollout's end + 30 days.
    expose : bool
        Whether the unit meets its arm now. Only then is a pin written; a peek reads.

    Notes
    -----
    With a store that is down this is the pure function: the same arm for every unit except merged
    identities and units that lost their eligibility.
    """
    pure = evaluate(ruleset, slot, unit, attributes)
    evaluator = ruleset.evaluators.get(slot)
    rollout = evaluator.rollout if evaluator is not None else None
    if evaluator is None or rollout is None or rollout.sticky == "none":
        return pure
    if not evaluator.reaches_pin(unit):
        return pure
    key = PinKey(project=ruleset.project, unit_type=evaluator.rules.unit_type, unit=unit)
    if expose and pure.reason is Reason.SPLIT and rollout.sticky == "all":
        return _claimed(evaluator, key, pure, attributes, pins=pins, now=now)
    # A unit that has lost its eligibility keeps the arm it met under an earlier condition.
    earlier = rollout.keeps if pure.reason is Reason.NOT_ELIGIBLE else ()
    (found,) = pins.read([key], rollout.id, rollout.allocation, earlier=earlier)
    return pure if found is None else evaluator.evaluate(unit, attributes, found)


def pin_seconds(ends_at: int | None, *, now: float) -> int:
    """How long a pin lives: until the rollout's end, a Unix second, and 30 days more."""
    if ends_at is None:
        return PIN_WITHOUT_END_SECONDS
    return max(0, ends_at - int(now)) + PIN_AFTER_END_SECONDS


def _claimed(
    evaluator: Evaluator,
    key: PinKey,
    pure: Choice,
    attributes: Mapping[str, Any] | None,
    *,
    pins: Pins,
    now: float,
) -> Choice:
    rollout, mine = evaluator.rollout, evaluator.pin_for(key.unit, pure)
    assert rollout is not None
    assert mine is not None
    holds = pins.claim(key, rollout.id, mine, ttl_seconds=pin_seconds(rollout.ends_at, now=now))
    if holds == mine:
        return pure
    return evaluator.evaluate(key.unit, attributes, holds)
