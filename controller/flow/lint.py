"""What a plan leaves unguarded: said to whoever submits it, refused by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from controller.experiments.metrics import Metric, Observed
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot
from controller.flow.numbers import duration

_UNGUARDED: Final = (
    "No guardrail has a harm alarm: nothing but the metric that decides can stop this rollout. "
    "Give the slot a guardrail."
)


def warnings_of(slot: Slot, policy: Policy, metrics: Mapping[str, Metric]) -> list[str]:
    """What a person should know before the first unit meets a challenger.

    Parameters
    ----------
    metrics : mapping of str to Metric
        At least those of the slot's guardrails.
    """
    guarding = [metrics[guardrail.metric] for guardrail in slot.guardrails]
    return [*_silent_first_stage(policy, guarding), *_alarms_alone(policy, guarding)]


def closes_after_seconds(metric: Metric) -> float:
    """Least time from a unit's exposure to its value: window (or expected delay) and lateness."""
    return metric.window_seconds + metric.lateness_seconds


def _silent_first_stage(policy: Policy, guarding: Sequence[Metric]) -> list[str]:
    """No alarm can speak before the share is raised.

    A single stage lasts until the decision, so there any metric that can decide at all closes.
    """
    if not guarding:
        return [_UNGUARDED]
    if len(policy.ramp) < 2:
        return []
    dwell = policy.ramp[0].dwell_seconds
    soonest = min(guarding, key=closes_after_seconds)
    if closes_after_seconds(soonest) < dwell:
        return []
    said = (
        f"No harm alarm can speak during the first stage: it may end after {duration(dwell)}, and "
        f"the first unit of {soonest.key} is complete after "
        f"{duration(closes_after_seconds(soonest))}. Let the stage last longer, or guard a metric "
        "that closes sooner."
    )
    return [said]


def _alarms_alone(policy: Policy, guarding: Sequence[Metric]) -> list[str]:
    """Guardrails whose claim may not move under this policy."""
    return [
        f"{metric.key} is seen only after the model said yes: its harm alarm guards, and it need "
        "not be shown to be no worse. A policy with allow_selected: true would ask for that."
        for metric in guarding
        if metric.observed is Observed.AFTER_DECISION and not policy.allow_selected
    ]
