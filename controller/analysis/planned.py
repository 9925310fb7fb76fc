"""A planned test, one look on: its clock, its bounds, its latch.

The test counts a look only when its effective size has grown by a two-hundredth of the planned one,
or has just passed it; in between nothing is spent and nothing can cross. Several challengers are
held to Holm's ladder: as long as r of K have been decided, the others test at alpha / (K - r), each
level with bounds of its own from the first look on, so that stepping up the ladder never re-spends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from controller.analysis.memory import Ends, PlannedMemory, Row, finite_or_none, settled
from controller.analysis.pairs import Levels
from controller.analysis.readings import Reading
from controller.analysis.report import Claim, Crossing
from controller.analysis.trails import Ladder, Trails, trails_of
from controller.stats.futility import FutilityLook, FutilityPlan, next_futility
from controller.stats.group_sequential import SequentialPlan, TakenLook, next_look
from controller.stats.ratio import relative_lift
from controller.stats.results import Alternative, Inconclusive
from controller.stats.score import Null
from controller.stats.spending import Spending
from controller.stats.stagewise import stagewise, stagewise_p

LOOKS_A_HORIZON = 200
# Looks closer than this bring nothing new: their statistics are one number.
MOST_CORRELATED = 0.9999
# See `memory.settled`; bounds are of the order of one, so decimals serve.
_DIGITS = 10

Direction = Literal["better", "worse", "futile", "not_worse", "harm", "ended"]


class PlannedRules(NamedTuple):
    """What the plan has fixed for one claim on one metric.

    Attributes
    ----------
    better : float
        +1 where an increase of the metric is better, -1 where a decrease is.
    null : Null
        Equality, or the margin.
    alpha : float
        Of the claim over both sides, before Holm divides it.
    reserve : float
        Part of alpha that the plan leaves for after its horizon (`reserve.py`); 0: it ends there.
    sides : int
        2 for "superior" (or worse), 1 for "not worse than the margin".
    levels : int
        Challengers that share the alpha.
    size_planned : float
        W_max of one comparison.
    first_look : float
        Share of it before which no look counts.
    """

    claim: Claim
    better: float
    null: Null
    alpha: float
    sides: Literal[1, 2]
    levels: int
    spending: Spending
    futility: FutilityPlan | None
    size_planned: float
    first_look: float
    reserve: float = 0.0

    def plan(self, level: int) -> SequentialPlan:
        """The plan at (alpha - reserve) / level."""
        alpha = (self.alpha - self.reserve) / level
        return SequentialPlan(alpha=alpha, sides=self.sides, spending=self.spending)

    def against(self, null: Null) -> PlannedRules:
        """The same test of another null."""
        return self._replace(null=null)

    @property
    def ladder(self) -> Ladder:
        """The plans at every level, and how hope is given up."""
        levels = range(1, self.levels + 1)
        return Ladder(plans=tuple(self.plan(level) for level in levels), futility=self.futility)


class Moment(NamedTuple):
    """When and at how many units a crossing would be latched."""

    look: int
    taken_at: str


class Contender(NamedTuple):
    """One challenger whose look may count.

    Attributes
    ----------
    reading : Reading
        Against the claim's null.
    estimate, standard_error : float or None
        The difference shown to people, and its standard error.
    levels : Levels or None
        Of both arms, for relative effects.
    units : int
        Of both arms.
    """

    reading: Reading
    estimate: float | None
    standard_error: float | None
    levels: Levels | None
    units: int


def decide(
    rules: PlannedRules,
    before: Mapping[str, PlannedMemory],
    contenders: Mapping[str, Contender],
    moment: Moment,
) -> dict[str, PlannedMemory]:
    """The memories of every challenger after this look.

    Parameters
    ----------
    rules : PlannedRules
    before : mapping of arm to PlannedMemory
        All of the family.
    contenders : mapping of arm to Contender
        Those of it for which a look is due (`is_due`).
    moment : Moment

    Returns
    -------
    dict of arm to PlannedMemory
        Unchanged where no look counted.

    References
    ----------
    .. [1] Ye, Li, Liu and Yao (2013), "A group sequential Holm procedure with multiple primary
       endpoints", Statistics in Medicine 32(7): Holm's ladder over spending bounds.
    """
    memories = dict(before)
    counted = []
    for arm, each in contenders.items():
        following = _count(rules, before[arm], each.reading)
        if following is not None:
            memories[arm] = following
            counted.append(arm)
    climbing = True
    while climbing:
        level = level_of(rules, memories)
        climbing = False
        for arm in counted:
            direction = _crosses(rules, memories[arm], level)
            if memories[arm].crossed is None and direction is not None:
                memories[arm] = _latch(memories[arm], direction, level, contenders[arm], moment)
                climbing = True
                break
    level = level_of(rules, memories)
    for arm in counted:
        memories[arm] = _close(rules, memories[arm], level, contenders[arm], moment)
    return memories


def claimed(rules: PlannedRules) -> Alternative:
    """The claim as a direction of the metric's value."""
    if rules.sides == 2:
        return "two-sided"
    return "larger" if rules.better > 0.0 else "smaller"


def level_of(rules: PlannedRules, memories: Mapping[str, PlannedMemory]) -> int:
    """Holm's level now in force: how many claims still share the alpha."""
    if rules.levels == 1:
        return 1
    decided = sum(
        each.crossed is not None and each.crossed.direction in ("better", "worse", "not_worse")
        for each in memories.values()
    )
    return max(rules.levels - decided, 1)


def is_due(rules: PlannedRules, memory: PlannedMemory, size: float) -> bool:
    """Whether a look at this effective size counts."""
    if memory.crossed is not None or memory.open or size <= 0.0:
        return False
    if not memory.looks:
        return size >= rules.first_look * rules.size_planned
    if memory.size < rules.size_planned <= size:
        return True
    return size - memory.size >= rules.size_planned / LOOKS_A_HORIZON


def _count(rules: PlannedRules, memory: PlannedMemory, reading: Reading) -> PlannedMemory | None:
    """The memory with one more counted look, or None if it would bring nothing new."""
    ratio = _ratio(memory, reading) if memory.looks else 0.0
    if memory.looks and not 0.0 < ratio <= MOST_CORRELATED:
        return None
    trails = trails_of(rules.ladder, memory)
    row = _row(trails, min(reading.size / rules.size_planned, 1.0), ratio)
    stored = row.document()
    return memory.but(
        stored=(*memory.stored, stored),
        counts=reading.counts,
        size=reading.size,
        variance=reading.variance,
        z=rules.better * reading.z,
        rows_sha256=trails.then(row, stored).name,
    )


def _ratio(memory: PlannedMemory, reading: Reading) -> float:
    """Squared correlation with the last counted look: the smaller of two estimates.

    V_prev from today's variances and the earlier counts never contradicts V_now, but it
    spreads a variance that has risen since evenly over the epoch and then sees too little that is
    new: .071 of true nulls rejected when the spread of revenue triples in the last third. V_prev as
    it was estimated then is right about that, and noisy. A smaller ratio only raises the bound.
    """
    return min(reading.ratio_to(memory.counts, memory.size), memory.variance / reading.variance)


def _row(trails: Trails, time: float, ratio: float) -> Row:
    """The look's bounds at every level, each ten digits long as it is stored."""
    looks = []
    for level, (plan, trail) in enumerate(zip(trails.ladder.plans, trails.levels, strict=True), 1):
        look = next_look(
            plan, _taken(trails, level), spending_time=time, variance_ratio=ratio, trail=trail
        )
        looks.append(
            TakenLook(
                spending_time=time,
                variance_ratio=ratio,
                alpha_spent=look.alpha_spent,
                critical_value=round(look.critical_value, _DIGITS),
            )
        )
    return Row(
        spending_time=time,
        variance_ratio=ratio,
        alpha_spent=tuple([look.alpha_spent for look in looks]),
        critical_values=tuple([look.critical_value for look in looks]),
        futility=_futility(trails, looks[-1]),
    )


def _taken(trails: Trails, level: int) -> tuple[TakenLook, ...]:
    """Of the looks already taken the last: all that is asked for beside their trail."""
    return (trails.last.taken(level),) if trails.last is not None else ()


def _futility(trails: Trails, look: TakenLook) -> FutilityLook | None:
    ladder, last = trails.ladder, trails.last
    if ladder.futility is None:
        return None
    given_up = next_futility(
        ladder.plans[-1],
        ladder.futility,
        _taken(trails, len(ladder.plans)),
        (last.futility,) if last is not None and last.futility is not None else (),
        look,
        trails=trails.hope,
    )
    return FutilityLook(
        better_below=round(given_up.better_below, _DIGITS),
        worse_above=round(given_up.worse_above, _DIGITS),
    )


def _crosses(rules: PlannedRules, memory: PlannedMemory, level: int) -> Direction | None:
    assert memory.z is not None
    critical = memory.critical_value(level)
    if memory.z >= critical:
        return "better" if rules.sides == 2 else "not_worse"
    if rules.sides == 2 and memory.z <= -critical:
        return "worse"
    return None


def _latch(
    memory: PlannedMemory,
    direction: Direction,
    level: int,
    contender: Contender,
    moment: Moment,
) -> PlannedMemory:
    crossed = Crossing(
        look=moment.look,
        taken_at=moment.taken_at,
        n=contender.units,
        direction=direction,
        estimate=contender.estimate,
    )
    return memory.but(crossed=crossed, level=level)


def _close(
    rules: PlannedRules,
    memory: PlannedMemory,
    level: int,
    contender: Contender,
    moment: Moment,
) -> PlannedMemory:
    """End hopeless and exhausted tests, and note what this look shows."""
    row, z = memory.last, memory.z
    assert row is not None
    assert z is not None
    if memory.crossed is None and row.spending_time >= 1.0:
        if not rules.reserve:
            memory = _latch(memory, "ended", level, contender, moment)
    elif memory.crossed is None and row.futility is not None and row.futility.stops(z):
        memory = _latch(memory, "futile", level, contender, moment)
    level = memory.level if memory.crossed else level
    bound = finite_or_none(row.critical_values[level - 1])
    memory = memory.but(
        level=level,
        bound=bound,
        interval=_interval(rules, contender, bound),
        relative=relative_ends(rules, contender.levels, bound),
    )
    return memory if memory.crossed is None else _final(rules, memory, memory.crossed, contender)


def _final(
    rules: PlannedRules, memory: PlannedMemory, crossed: Crossing, contender: Contender
) -> PlannedMemory:
    """The last word of a test that is over: stagewise p, median-unbiased estimate, exact interval.

    Against a relative margin the statistic is a contrast, and for a quantile a share, not a
    difference in the metric's units: estimate and interval then stay as they are.

    With a reserve the plan's p counts by its part of alpha, as the reserve's own does: together
    they lie below any x with probability x at most, not only below alpha.
    """
    assert memory.z is not None
    plan, part = rules.plan(memory.level), rules.alpha / (rules.alpha - rules.reserve)
    rows = memory.rows
    taken = [row.taken(memory.level) for row in rows]
    if rules.null.scale != 1.0 or contender.standard_error is None:
        return memory.but(p=settled(min(1.0, part * stagewise_p(plan, taken, memory.z))))
    last = stagewise(plan, taken, memory.z, share=_drift_shares(rules, memory, rows))
    error = contender.reading.standard_error

    def effect(drift: float) -> float:
        return settled(rules.null.shift + rules.better * drift * error)

    low, high = sorted((effect(last.lower), effect(last.upper)))
    return memory.but(
        p=settled(min(1.0, part * last.p_value)),
        crossed=replace(crossed, estimate=effect(last.drift)),
        interval=one_end_open(rules, low, high),
    )


def _drift_shares(
    rules: PlannedRules, memory: PlannedMemory, rows: Sequence[Row]
) -> tuple[float, ...]:
    """Mean of z at each look over its mean at the last: (W_k / W) / sqrt(V_k / V)."""
    variance, sizes, shares = 1.0, memory.size / rules.size_planned, [1.0]
    for row, following in zip(reversed(rows[:-1]), reversed(rows[1:]), strict=True):
        variance *= following.variance_ratio
        shares.append(row.spending_time / sizes / math.sqrt(variance))
    return tuple(reversed(shares))


def _interval(rules: PlannedRules, contender: Contender, bound: float | None) -> Ends | None:
    """The repeated confidence interval: estimate and bound times its standard error."""
    if bound is None or contender.estimate is None or contender.standard_error is None:
        return None
    half = bound * contender.standard_error
    return one_end_open(rules, contender.estimate - half, contender.estimate + half)


def relative_ends(rules: PlannedRules, arms: Levels | None, bound: float | None) -> Ends | None:
    """The same as a fraction of champion, Fieller's way; None where champion may be zero."""
    if bound is None or arms is None or bound <= 0.0:
        return None
    lift = relative_lift(
        arms.challenger,
        arms.champion,
        treatment_variance=arms.challenger_variance,
        control_variance=arms.champion_variance,
        covariance=arms.covariance,
        critical=bound,
    )
    if isinstance(lift, Inconclusive):
        return None
    return one_end_open(rules, lift.lower, lift.upper)


def one_end_open(rules: PlannedRules, low: float, high: float) -> Ends:
    """Two-sided claims close both ends; "not worse" bounds the harm alone."""
    if rules.sides == 2:
        return finite_or_none(low), finite_or_none(high)
    return (finite_or_none(low), None) if rules.better > 0.0 else (None, finite_or_none(high))
