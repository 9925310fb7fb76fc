"""How many units a plan needs: what the policy states, else what the smallest effect asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from controller.analysis.rules import futility_plan, spending
from controller.errors import BaselineUnknown
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION
from controller.experiments.policies import Mode, Policy
from controller.experiments.slots import Goal, Oec, Slot
from controller.flow.ports.work import Work
from controller.stats.futility import FutilityLook, FutilityPlan, next_futility
from controller.stats.group_sequential import SequentialPlan, TakenLook, boundaries
from controller.stats.planning import (
    Operating,
    always_valid_bounds,
    horizon_units,
    inflation,
    operating,
    required_size,
)
from controller.stats.results import Alternative

_LOOKS = 20
_CLOSEST_LOOKS = 0.005
_DETECTED_BEFORE_END = 0.5


def horizon(
    work: Work,
    project: str,
    *,
    slot: Slot,
    oec: Oec,
    metric: Metric,
    policy: Policy,
    weights: Mapping[str, float],
) -> int:
    """Analysed units of all arms at which the OEC's test ends.

    Raises
    ------
    BaselineUnknown
        If the policy states no horizon, and the smallest effect or the metric's history is unknown.
    """
    if policy.oec.horizon is not None:
        return policy.oec.horizon
    mean, sd = baseline_of(work, project, slot, metric)
    effect = smallest_effect(oec, mean)
    superior = oec.goal is Goal.SUPERIOR
    alternative: Alternative = "two-sided" if superior else "larger"
    alpha = policy.oec.planned_alpha if superior else policy.oec.planned_alpha / 2.0
    challengers = [arm for arm in weights if arm != CHAMPION]
    alpha /= len(challengers)
    size = required_size(
        effect,
        sd * sd,
        alpha=alpha,
        power=policy.oec.power,
        alternative=alternative,
        inflation=inflation(
            sequential_test(policy, alpha=alpha, alternative=alternative, gives_up=True),
            alpha=alpha,
            power=policy.oec.power,
            alternative=alternative,
        ),
    )
    # The challenger with the least weight needs the most units.
    least = min(weights[arm] for arm in challengers)
    return horizon_units(
        size, treatment_weight=least, control_weight=weights[CHAMPION], what=metric.key
    )


def smallest_effect(oec: Oec, mean: float) -> float:
    """The smallest effect worth finding; for `not_worse`, the margin to clear."""
    if oec.goal is Goal.NOT_WORSE and oec.margin is not None:
        return oec.margin
    if oec.mde is not None:
        return oec.mde
    if oec.mde_relative is not None and mean != 0.0:
        return oec.mde_relative * abs(mean)
    raise BaselineUnknown(
        "The plan has no horizon: state oec.horizon (in units) in the policy, or a smallest effect "
        "(mde or mde_relative) in the slot's oec."
    )


def baseline_of(work: Work, project: str, slot: Slot, metric: Metric) -> tuple[float, float]:
    """Mean and standard deviation of one unit: as stated, else as observed at rest."""
    if metric.baseline is not None:
        return metric.baseline.mean, metric.baseline.sd
    observed = work.measurements.observed(project, slot.key, metric)
    if observed is None or not observed.sd > 0.0:
        raise BaselineUnknown(
            f"Metric {metric.key!r} has no baseline in slot {slot.key!r}. Do one of three: let the "
            "slot be observed at rest until 100 of its units are complete (its `observe` share), "
            f"give a file of past units (`controller plan --history FILE`), or state it "
            f'(`baseline: {{"mean": ..., "sd": ...}}` in the metric). Without one, the policy '
            "states oec.horizon in units."
        )
    return observed.mean, observed.sd


def sequential_test(
    policy: Policy, *, alpha: float, alternative: Alternative, gives_up: bool = False
) -> Callable[[float], Operating]:
    """What the policy's test does under a true drift, by the recursion that judges the looks.

    With `gives_up` it stops where the policy's futility says so, as a rollout does.
    """
    fractions = _fractions(policy.oec.first_look)
    if policy.oec.mode is Mode.ANYTIME:
        bounds = always_valid_bounds(
            fractions, alpha=alpha, tuning=_DETECTED_BEFORE_END, alternative=alternative
        )
        hopeless = None
    else:
        plan = SequentialPlan(
            alpha=alpha, sides=2 if alternative == "two-sided" else 1, spending=spending(policy.oec)
        )
        looks = boundaries(plan, fractions)
        bounds = [look.critical_value for look in looks]
        futility = futility_plan(policy.oec, plan) if gives_up else None
        hopeless = None if futility is None else _hopeless(plan, futility, looks)
    floor = [-bound for bound in bounds] if alternative == "two-sided" else None

    def run(drift: float) -> Operating:
        return operating(fractions, bounds, drift=drift, stop_below=floor, hopeless=hopeless)

    return run


def _fractions(first_look: float) -> list[float]:
    """Twenty looks from the first one to the end; fewer where they would fall upon each other."""
    start = max(first_look, 1.0 / _LOOKS)
    looks = 1 + min(_LOOKS - 1, int((1.0 - start) / _CLOSEST_LOOKS))
    return [1.0] if looks == 1 else [float(each) for each in np.linspace(start, 1.0, looks)]


def _hopeless(
    plan: SequentialPlan, futility: FutilityPlan, looks: Sequence[TakenLook]
) -> list[tuple[float, float]]:
    given_up: list[FutilityLook] = []
    for index, look in enumerate(looks):
        given_up.append(next_futility(plan, futility, looks[:index], given_up, look))
    return [(each.worse_above, each.better_below) for each in given_up]
