"""The plan of the watch after promotion: the old champion as a holdback, evidence at any time."""

from __future__ import annotations

from dataclasses import replace

from controller.experiments.plans import CHAMPION, Plan
from controller.experiments.policies import Mode, OnNoDifference
from controller.rollout.record import Allocation
from controller.rollout.shares import bake_exposure


def bake_plan(plan: Plan, arm: str) -> Plan:
    """What a promoted rollout is judged by while it bakes.

    Two arms at the holdback's weights, every test in anytime mode: the bake has no horizon, and
    its evidence is its own.
    """
    policy = plan.policy
    overrides = {
        key: replace(rules, mode=Mode.ANYTIME) for key, rules in policy.guardrail_overrides.items()
    }
    anytime = replace(
        policy,
        oec=replace(
            policy.oec,
            mode=Mode.ANYTIME,
            reserve=0.0,
            on_no_difference=OnNoDifference.KEEP_CHAMPION,
        ),
        guardrails=replace(policy.guardrails, mode=Mode.ANYTIME),
        guardrail_overrides=overrides,
    )
    return replace(
        plan,
        policy=anytime,
        arms={name: plan.arms[name] for name in (CHAMPION, arm)},
        weights=bake_exposure(plan, arm).weights,
    )


def promoted_arm(allocation: Allocation) -> str:
    """The challenger that a bake's allocation serves."""
    return next(arm for arm in allocation.weights if arm != CHAMPION)
