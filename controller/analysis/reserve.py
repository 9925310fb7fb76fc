"""What keeps a planned test valid after its horizon: the part of alpha that its plan never spends.

A planned test with a reserve spends alpha - reserve by its horizon. From then on an always-valid
test at level `reserve` reads the same statistics at every look. Either part may cross; the chance
that one of them ever does under the null is at most their sum (union bound), however long the test
goes on. Challengers share the reserve evenly, whatever rung of Holm's ladder they stand on.
"""

from __future__ import annotations

import math
from typing import Literal

from controller.analysis.anytime import half_width, log_evidence
from controller.analysis.memory import Ends, PlannedMemory, finite_or_none, settled
from controller.analysis.planned import (
    Moment,
    PlannedRules,
    claimed,
    one_end_open,
    relative_ends,
)
from controller.analysis.report import Crossing
from controller.analysis.sights import Sight

# Narrowest where it is first of use: half a horizon beyond the end.
RESERVE_TUNING = 1.5


def reserve_evidence(rules: PlannedRules, sight: Sight) -> float | None:
    """Log e-value of the claim, mixed for what comes after the horizon.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Theorem 2.2, through `anytime.log_evidence`.
    """
    if sight.known is None or not rules.reserve:
        return None
    return log_evidence(
        sight.pair,
        sight.grids,
        sight.known,
        null=rules.null,
        alternative=claimed(rules),
        alpha=_alpha(rules),
        tuning=RESERVE_TUNING * rules.size_planned,
    )


def reserve_bound(rules: PlannedRules, sight: Sight) -> float | None:
    """The z at which the reserve crosses at this look; None where it cannot."""
    if sight.known is None:
        return None
    bound = half_width(
        sight.known,
        alpha=_alpha(rules),
        tuning=RESERVE_TUNING * rules.size_planned,
        alternative=claimed(rules),
    )
    return finite_or_none(settled(bound))


def reserve_interval(rules: PlannedRules, sight: Sight, planned: Ends | None) -> Ends | None:
    """Confidence sequence at level 1 - reserve, within the last interval of the plan.

    Both cover together with 1 - alpha. Where they contradict each other, the effect has moved, and
    the present one is shown alone.
    """
    bound = reserve_bound(rules, sight)
    if bound is None or sight.estimate is None or sight.standard_error is None:
        return planned
    half = bound * sight.standard_error
    now = one_end_open(rules, sight.estimate - half, sight.estimate + half)
    return now if planned is None else _common(now, planned)


def spend_reserve(
    rules: PlannedRules, memory: PlannedMemory, sight: Sight, moment: Moment
) -> PlannedMemory:
    """The memory after a look beyond the horizon: latched if the reserve crosses.

    The p-value weighs the reserve's by its part of alpha, as `planned` weighs the plan's: p <=
    alpha tells a crossing of either, and P(p <= x) <= x at every x, which a family that tests at
    alpha / k relies on.
    """
    log_e, reading = reserve_evidence(rules, sight), sight.known
    if reading is None or log_e is None or log_e < -math.log(_alpha(rules)):
        return memory
    crossed = Crossing(
        look=moment.look,
        taken_at=moment.taken_at,
        n=sight.pair.units,
        direction=_direction(rules, reading.z),
        estimate=sight.estimate,
        part="reserve",
    )
    bound = reserve_bound(rules, sight)
    return memory.but(
        crossed=crossed,
        level=rules.levels,
        z=rules.better * reading.z,
        size=reading.size,
        bound=bound,
        interval=reserve_interval(rules, sight, memory.interval),
        relative=relative_ends(rules, sight.levels, bound),
        p=settled(min(1.0, rules.alpha / rules.reserve * math.exp(-log_e))),
    )


def _alpha(rules: PlannedRules) -> float:
    return rules.reserve / rules.levels


def _direction(rules: PlannedRules, z: float) -> Literal["better", "worse", "not_worse"]:
    if rules.sides == 1:
        return "not_worse"
    return "better" if rules.better * z > 0.0 else "worse"


def _common(a: Ends, b: Ends) -> Ends:
    lows = [end for end in (a[0], b[0]) if end is not None]
    highs = [end for end in (a[1], b[1]) if end is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return a
    return low, high
