"""What the looks of a planned test spend together: the recursion run forward over given bounds."""

from __future__ import annotations

from collections.abc import Sequence

from controller.stats.chain import Trail
from controller.stats.group_sequential import SequentialPlan, TakenLook, null_passage
from controller.stats.recursion import Step, probability_above


def crossing_probability(plan: SequentialPlan, taken: Sequence[TakenLook]) -> float:
    """P(any crossing by the last look) under the null, on all sides."""
    total, trail = 0.0, Trail()
    for look in taken:
        step = Step(variance_ratio=look.variance_ratio)
        total += probability_above(trail.density(look.variance_ratio), step, look.critical_value)
        trail = trail.then(null_passage(plan, look))
    return plan.sides * total
