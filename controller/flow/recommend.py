"""What the policy advises after a look: the judge, given the facts of this moment."""

from __future__ import annotations

from datetime import datetime

from controller.analysis.report import LookReport
from controller.experiments.plans import Plan
from controller.flow.act import champion_changed, slot_of
from controller.flow.ports.work import Work
from controller.rollout.bake import bake_plan, promoted_arm
from controller.rollout.judge import judge
from controller.rollout.judgement import Facts, Judgement
from controller.rollout.record import Allocation, Rollout
from controller.rollout.states import State

LOOKED_AT = frozenset(
    {State.AA_CHECK, State.RAMPING, State.DECIDING, State.PROMOTING, State.BAKING}
)
"""States in which looks are taken."""


def plan_in_force(rollout: Rollout, allocations: list[Allocation]) -> Plan:
    """What the next look is judged by: the plan, or that of the bake once it is promoted."""
    if rollout.state not in (State.PROMOTING, State.BAKING):
        return rollout.frozen_plan
    current = next(one for one in allocations if one.number == rollout.allocation)
    return bake_plan(rollout.frozen_plan, promoted_arm(current))


def compared_in(rollout: Rollout, allocations: list[Allocation]) -> list[Allocation]:
    """The allocations whose units the present evidence compares.

    The A/A check and the bake each stand for themselves; in between count all that are analysed.
    """
    if rollout.state in (State.AA_CHECK, State.PROMOTING, State.BAKING):
        return [one for one in allocations if one.number == rollout.allocation]
    return [one for one in allocations if one.analysed]


def recommend(
    work: Work,
    rollout: Rollout,
    report: LookReport,
    *,
    allocations: list[Allocation],
    evidence_sha256: str,
) -> Judgement:
    """Judge one look with the facts of this transaction."""
    slot = slot_of(work, rollout)
    since = min((one.opened_at for one in compared_in(rollout, allocations)), default=work.now)
    facts = Facts(
        state=rollout.state,
        epoch=rollout.epoch,
        exposed_seconds=_seconds(since, work.now),
        killed=slot.kill is not None,
        champion_changed=champion_changed(rollout, slot),
        dropped=dropped_in(rollout, allocations),
    )
    plan = plan_in_force(rollout, allocations)
    return judge(plan, report, facts, evidence_sha256=evidence_sha256)


def dropped_in(rollout: Rollout, allocations: list[Allocation]) -> tuple[str, ...]:
    """Challengers that have been given up while the others go on."""
    current = next((one for one in allocations if one.number == rollout.allocation), None)
    return tuple(current.dropped) if current is not None else ()


def _seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
