"""Why a unit gets its answer, step by step, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.assignment.choice import Choice, Pin
from controller.assignment.conditions import compile_condition, unreadable_part
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit, keyed_hash, valid_unit
from controller.assignment.ruleset import RolloutRules, Ruleset, SlotRules
from controller.assignment.runs import arm_of, living

Step = dict[str, Any]


def explain(
    ruleset: Ruleset,
    slot: str,
    unit: str,
    attributes: Mapping[str, Any] | None = None,
    pin: Pin | None = None,
    *,
    given: Choice | None = None,
) -> list[Step]:
    """Each rule in the order of evaluation with what it saw; the last step is the answer.

    All steps are shown, also those that an earlier one made idle, so that a person sees what would
    happen otherwise. The answer itself comes from `evaluate`.

    Parameters
    ----------
    given : Choice, optional
        The answer that was given, where the machine that gave it had a reason of its own: its
        override file, rules too old, a pin not yet known. A first step names that reason.
    """
    ruled = evaluate(ruleset, slot, unit, attributes, pin)
    choice = ruled if given is None else given
    answer = {"step": "answer", "arm": choice.arm, "reason": choice.reason.value}
    rules = ruleset.slots.get(slot)
    steps: list[Step] = []
    if choice.reason is not ruled.reason:
        steps.append({"step": "machine", "reason": choice.reason.value})
    if rules is None or not valid_unit(unit):
        return [*steps, answer]
    steps.append({"step": "kill", "to": rules.kill.to if rules.kill else None})
    if rules.unreadable is not None:
        steps.append({"step": "rules", "unreadable": rules.unreadable})
    if rules.rollout is None:
        steps.append({"step": "rollout", "live": False})
    else:
        steps += _gates(rules, unit) + _split(rules, rules.rollout, unit, attributes or {}, pin)
    return [*steps, answer]


def _gates(rules: SlotRules, unit: str) -> list[Step]:
    steps: list[Step] = []
    if rules.overrides is not None:
        name = keyed_hash(rules.overrides.key, rules.unit_type, unit)
        steps.append({"step": "override", "arm": rules.overrides.arms.get(name)})
    for share in rules.holdouts:
        mine = bucket(hash_unit(share.salt, rules.unit_type, unit)[0], PPM)
        steps.append(
            {"step": "holdout", "name": share.name, "bucket": mine, "held_below": share.ppm}
        )
    if rules.layer is not None:
        mine = bucket(hash_unit(rules.layer.salt, rules.unit_type, unit)[0], BUCKETS)
        ranges = [list(part) for part in rules.layer.ranges]
        steps.append({"step": "layer", "name": rules.layer.name, "bucket": mine, "ranges": ranges})
    return steps


def _split(
    rules: SlotRules,
    rollout: RolloutRules,
    unit: str,
    attributes: Mapping[str, Any],
    pin: Pin | None,
) -> list[Step]:
    hi, lo = hash_unit(rollout.salt, rules.unit_type, unit, algo=rollout.algo)
    steps: list[Step] = []
    if pin is not None:
        counts = pin.allocation in (rollout.allocation, *rollout.keeps)
        steps.append({"step": "pin", "arm": pin.arm, "bucket": pin.bucket, "counts": counts})
    steps.append(
        {
            "step": "enrolment",
            "bucket": bucket(hi, PPM),
            "enrolled_below": rollout.enrolled_ppm,
        }
    )
    if rollout.eligible is not None:
        problem = unreadable_part(rollout.eligible)
        verdict = None if problem else compile_condition(rollout.eligible)(attributes)
        steps.append({"step": "eligibility", "result": verdict, "unreadable": problem})
    arm_bucket = bucket(lo, BUCKETS)
    steps.append(
        {
            "step": "arm",
            "bucket": arm_bucket,
            "arm": arm_of(living(rollout.runs, rollout.retired), arm_bucket),
        }
    )
    return steps
