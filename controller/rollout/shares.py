"""What share of a slot's traffic is split, and what share meets the challenger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.assignment.hashing import BUCKETS
from controller.assignment.runs import arm_shares, build_runs, living
from controller.experiments.plans import CHAMPION, Plan
from controller.rollout.record import Allocation, Rollout
from controller.rollout.states import State

PPM = 1_000_000
IN_RULESET = frozenset(
    {
        State.AA_CHECK,
        State.RAMPING,
        State.DECIDING,
        State.PROMOTING,
        State.BAKING,
        State.ROLLING_BACK,
    }
)
"""States in which the published ruleset carries the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What one state asks of the traffic.

    Attributes
    ----------
    enrolled_ppm : int
        Enrolled share in parts per million.
    weights : mapping of arm to float
        Share of each arm among enrolled units.
    analysed : bool
        False where the data are thrown away.
    """

    enrolled_ppm: int
    weights: Mapping[str, float]
    analysed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Both shares, each in [0, 1]; every surface shows both."""

    enrolled: float
    challenger: float


def to_ppm(share: float) -> int:
    """Parts per million of a share in [0, 1]."""
    return round(share * PPM)


def stage_exposure(plan: Plan, stage: int, *, analysed: bool = True) -> Exposure:
    """The traffic of one ramp stage: its enrolled share at the plan's weights."""
    share = plan.policy.ramp[stage].enrolled
    return Exposure(enrolled_ppm=to_ppm(share), weights=dict(plan.weights), analysed=analysed)


def bake_exposure(plan: Plan, arm: str) -> Exposure:
    """All traffic: the promoted arm except for the holdback, which keeps the old champion."""
    holdback = plan.policy.bake.holdback
    return Exposure(enrolled_ppm=PPM, weights={CHAMPION: holdback, arm: 1.0 - holdback})


def shares_of(rollout: Rollout, allocation: Allocation | None, *, killed: bool = False) -> Shares:
    """The two shares in force: what is split, and what meets any challenger.

    In an A/A check both arms serve the champion, so nobody meets the challenger; under a kill
    switch nobody is split at all.
    """
    if killed or allocation is None or rollout.state not in IN_RULESET:
        return Shares(enrolled=0.0, challenger=0.0)
    if rollout.state is State.AA_CHECK:
        return Shares(enrolled=rollout.enrolled, challenger=0.0)
    return Shares(
        enrolled=rollout.enrolled, challenger=rollout.enrolled * challenger_part(allocation)
    )


def challenger_part(allocation: Allocation) -> float:
    """Share of the enrolled traffic that meets any challenger; what is retired does not."""
    start = met = 0
    for end, arm in living(allocation.runs, allocation.retired):
        met += (end - start) * (arm not in (CHAMPION, None))
        start = end
    return met / BUCKETS


def share_that_would_meet(exposure: Exposure) -> float:
    """The challenger's share once `exposure` is in force."""
    champion = arm_shares(build_runs(exposure.weights)).get(CHAMPION, 0)
    return exposure.enrolled_ppm / PPM * float(1 - champion)
