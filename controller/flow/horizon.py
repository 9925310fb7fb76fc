"""How many units a plan needs: what the policy states, else what the smallest effect asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from controller.errors import BaselineUnknown
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION
from controller.experiments.policies import Mode, Policy
from controller.experiments.slots import Goal, Oec, Slot
from controller.flow.ports.work import Work
from controller.stats.group_sequential import SequentialPlan, boundaries
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
    alpha = policy.oec.alpha if superior else policy.oec.alpha / 2.0
    challengers = [arm for arm in weights if arm != CHAMPION]
    alpha /= len(challengers)
    size = required_size(
        effect,
        sd * sd,
        alpha=alpha,
        power=policy.oec.power,
        alternative=alternative,
        inflation=inflation(
            sequential_test(policy, alpha=alpha, alternative=alternative),
            alpha=alpha,
            power=policy.oec.power,
            alternative=alternative,
        ),
    )
    return horizon_units(
        size, treatment_weight=weights[challengers[0]], control_weight=weights[CHAMPION]
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
            f"Metric {metric.key!r} has no history in slot {slot.key!r} (100 observed units are "
            "needed) and states no baseline: state oec.horizon in the policy instead."
        )
    return observed.mean, observed.sd


def sequential_test(
    policy: Policy, *, alpha: float, alternative: Alternative
) -> Callable[[float], Operating]:
    """What the policy's test does under a true drift, by the recursion that judges the looks."""
    fractions = np.linspace(max(policy.oec.first_look, 1.0 / _LOOKS), 1.0, _LOOKS).tolist()
    if policy.oec.mode is Mode.ANYTIME:
        bounds = always_valid_bounds(
            fractions, alpha=alpha, tuning=_DETECTED_BEFORE_END, alternative=alternative
        )
    else:
        plan = SequentialPlan(alpha=alpha, sides=2 if alternative == "two-sided" else 1)
        looks = boundaries(plan, fractions)
        bounds = [look.critical_value for look in looks]

    def run(drift: float) -> Operating:
        return operating(fractions, bounds, drift=drift)

    return run
