"""The claim about each metric of a recorded experiment, as the live look's own rules."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

from controller.analysis.offline.recorded import Recorded
from controller.analysis.offline.spec import MetricSpec, Mode, Role
from controller.analysis.pairs import Levels, levels, pair_of
from controller.analysis.planned import PlannedRules
from controller.analysis.report import Claim
from controller.analysis.rules import margin_null, spending_of
from controller.experiments.plans import CHAMPION
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.planning import inflation, operating, required_size
from controller.stats.results import Inconclusive
from controller.stats.score import EQUAL, effective_size, planned_size
from controller.stats.spending import Spending

_PLANNING_LOOKS = 20


def rules_of(spec: MetricSpec, recorded: Recorded) -> PlannedRules:
    """What was to be shown, at which error, on which clock.

    A planned horizon comes from the description: units, or the mde with the stated baseline, else
    with the champion's own mean and variance (not the difference). Without either, an anytime test
    is tuned for the effective size there is, which says nothing about outcomes.
    """
    guardrail = spec.role is Role.GUARDRAIL
    challengers = len(recorded.arms) - 1
    null = EQUAL
    if guardrail:
        margin = None if spec.margin_relative is not None else spec.margin or 0.0
        null = margin_null(spec.metric, margin=margin, relative=spec.margin_relative)
    sides: Literal[1, 2] = 1 if guardrail else 2
    size = _planned_size(spec, recorded, sides)
    return PlannedRules(
        claim=Claim.NON_INFERIOR if guardrail else Claim.SUPERIOR,
        better=spec.metric.better,
        null=null,
        alpha=spec.alpha,
        sides=sides,
        levels=1 if guardrail else challengers,
        spending=spending_of(spec.spending),
        futility=None,
        size_planned=size if size is not None else _size_found(spec, recorded),
        first_look=spec.first_look,
        reserve=spec.reserve,
    )


def _planned_size(spec: MetricSpec, recorded: Recorded, sides: Literal[1, 2]) -> float | None:
    weights = recorded.looks[-1].statistics.epochs[-1].weights
    other = min((arm for arm in recorded.arms if arm != CHAMPION), key=weights.__getitem__)
    if spec.horizon is not None:
        return planned_size(spec.horizon, weights[other], weights[CHAMPION]) or None
    arms = levels(pair_of(recorded.looks[-1].statistics, spec.metric, other))
    effect = _effect(spec, arms)
    variance = _variance(spec, recorded, arms)
    if not (effect and variance):
        return None
    alpha = spec.alpha - spec.reserve
    return required_size(
        effect,
        variance,
        alpha=alpha,
        power=spec.power,
        alternative="two-sided" if sides == 2 else "larger",
        inflation=_inflation(alpha, sides, spec.power, spending_of(spec.spending))
        if spec.mode is Mode.PLANNED
        else 1.0,
    )


def _effect(spec: MetricSpec, arms: Levels | Inconclusive) -> float | None:
    if spec.mde is not None or spec.margin:
        return spec.mde if spec.mde is not None else spec.margin
    share = spec.mde_relative if spec.mde_relative is not None else spec.margin_relative
    if not share:
        return None
    if spec.metric.baseline is not None:
        return share * abs(spec.metric.baseline.mean)
    return None if isinstance(arms, Inconclusive) else share * abs(arms.champion)


def _variance(spec: MetricSpec, recorded: Recorded, arms: Levels | Inconclusive) -> float | None:
    """Of one unit: stated, or the champion's, without what a covariate explains."""
    if spec.metric.baseline is not None:
        return spec.metric.baseline.sd**2
    if isinstance(arms, Inconclusive):
        return None
    units = sum(
        moments.n
        for (key, _, arm), moments in recorded.looks[-1].statistics.moments.items()
        if key == spec.key and arm == CHAMPION
    )
    return (arms.champion_variance - arms.covariance) * units


def _size_found(spec: MetricSpec, recorded: Recorded) -> float:
    """The largest effective size any challenger reached; 1 where there is none."""
    statistics = recorded.looks[-1].statistics
    units = {key: m.n for key, m in statistics.moments.items() if key[0] == spec.key}
    units |= {key: g.units for key, g in statistics.grids.items() if key[0] == spec.key}
    sizes = [
        math.fsum(
            effective_size(
                units.get((spec.key, epoch.number, arm), 0),
                units.get((spec.key, epoch.number, CHAMPION), 0),
            )
            for epoch in statistics.epochs
        )
        for arm in recorded.arms
        if arm != CHAMPION
    ]
    return max(sizes) or 1.0


@lru_cache(maxsize=64)
def _inflation(alpha: float, sides: Literal[1, 2], power: float, spending: Spending) -> float:
    """Horizon of the sequential plan over the fixed one, at twenty even looks."""
    fractions = [k / _PLANNING_LOOKS for k in range(1, _PLANNING_LOOKS + 1)]
    plan = SequentialPlan(alpha=alpha, sides=sides, spending=spending)
    above = [look.critical_value for look in boundaries(plan, fractions)]
    below = [-c for c in above] if sides == 2 else None
    return inflation(
        lambda drift: operating(fractions, above, drift=drift, stop_below=below),
        alpha=alpha,
        power=power,
        alternative="two-sided" if sides == 2 else "larger",
    )
