"""Gates of the ramp and of the bake: what must have been seen before the next step."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.experiments.plans import Plan
from controller.rollout.judgement import Clause, Judgement, Result
from controller.rollout.record import Rollout


def dwelt_seconds(rollout: Rollout, now: datetime) -> float:
    """Time spent in this stage, not counting the time it was paused."""
    paused = rollout.paused_seconds
    if rollout.paused_since is not None:
        paused += (now - rollout.paused_since).total_seconds()
    return max(0.0, (now - rollout.stage_entered_at).total_seconds() - paused)


def stage_clauses(rollout: Rollout, judgement: Judgement | None, now: datetime) -> list[Clause]:
    """Dwell, exposed units and complete units of the present stage.

    Units are counted in the stage's own epoch: evidence of an earlier, smaller share says nothing
    about how this one is carried.
    """
    stage = rollout.frozen_plan.policy.ramp[rollout.stage]
    counted = judgement if judgement is not None and judgement.epoch == rollout.epoch else None
    dwelt = dwelt_seconds(rollout, now)
    return [
        _at_least("stage.dwell", dwelt, stage.dwell_seconds, "seconds have passed in this stage"),
        _at_least(
            "stage.min_units",
            counted.exposed if counted else 0,
            stage.min_units,
            "units are exposed in this stage",
        ),
        _at_least(
            "stage.min_matured",
            counted.matured if counted else 0,
            stage.min_matured,
            "units are complete in this stage",
        ),
    ]


def earliest_next(rollout: Rollout, now: datetime) -> datetime | None:
    """When the dwell of this stage ends if nothing pauses it; None while it is paused."""
    if rollout.paused:
        return None
    stage = rollout.frozen_plan.policy.ramp[rollout.stage]
    left = stage.dwell_seconds - dwelt_seconds(rollout, now)
    return now + timedelta(seconds=max(0.0, left))


def bake_clause(rollout: Rollout, now: datetime) -> Clause:
    """The watch after promotion: its whole duration must pass; time spent paused does not count."""
    duration = rollout.frozen_plan.policy.bake.duration_seconds
    return _at_least(
        "bake.duration", dwelt_seconds(rollout, now), duration, "seconds of the watch have passed"
    )


def aa_clause(plan: Plan, judgement: Judgement | None) -> Clause:
    """The A/A check must have counted enough units to notice a broken split."""
    least = plan.policy.aa.min_units if plan.policy.aa else 0
    return _at_least(
        "aa.min_units", judgement.exposed if judgement else 0, least, "units are counted"
    )


def _at_least(clause: str, observed: float, threshold: float, what: str) -> Clause:
    passed = observed >= threshold
    return Clause(
        id=clause,
        result=Result.PASS if passed else Result.UNKNOWN,
        observed=observed,
        threshold=threshold,
        flip_if="nothing takes it back" if passed else f"{threshold:g} {what} (now {observed:g})",
    )
