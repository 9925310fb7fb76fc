"""Small rulesets for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.assignment.choice import Model
from controller.assignment.ruleset import RolloutRules, Ruleset, Share, SlotRules
from controller.assignment.runs import build_runs

CHAMPION = Model(name="late-flight", version="3", payload={"threshold": 0.25})
CHALLENGER = Model(name="late-flight", version="4", uri="models:/late-flight/4", payload=["x", 1])
PREVIOUS = Model(name="late-flight", version="2")


def rollout(**changes: Any) -> RolloutRules:
    rules = RolloutRules(
        id="r-1",
        attempt=1,
        allocation=1,
        salt="5e1f00d5a17",
        enrolled_ppm=500_000,
        runs=build_runs({"champion": 0.5, "challenger": 0.5}),
        arms={"champion": CHAMPION, "challenger": CHALLENGER},
    )
    return replace(rules, **changes)


def slot(rules: RolloutRules | None = None, **changes: Any) -> SlotRules:
    made = SlotRules(
        slot="alert",
        unit_type="departure",
        champion=CHAMPION,
        observe=Share(salt="0b5e7e", ppm=50_000),
        rollout=rules,
    )
    return replace(made, **changes)


def ruleset(*slots: SlotRules, version: int = 7) -> Ruleset:
    return Ruleset(
        project="default",
        deployment="d-1",
        version=version,
        slots={rules.slot: rules for rules in slots},
    )
