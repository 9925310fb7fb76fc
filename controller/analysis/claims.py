"""A claim at one look: the planned or always-valid test behind it, and what it shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from controller.analysis.anytime import (
    CLAIM_TUNING,
    half_width,
    holm_rejects,
    log_evidence,
    remember,
)
from controller.analysis.memory import (
    AnytimeMemory,
    Ends,
    PlannedMemory,
    settled,
)
from controller.analysis.planned import (
    Contender,
    Direction,
    Moment,
    PlannedRules,
    claimed,
    decide,
    is_due,
    level_of,
    one_end_open,
    relative_ends,
)
from controller.analysis.report import Crossing, Interval, Test
from controller.analysis.reserve import (
    reserve_bound,
    reserve_evidence,
    reserve_interval,
    spend_reserve,
)
from controller.analysis.sights import Sight
from controller.stats.mixture import e_from_log, p_from_log_e


class Showing(NamedTuple):
    """What one claim shows of one challenger: its test, and intervals valid at this look."""

    test: Test
    interval: Interval | None
    relative: Interval | None


def planned_claim(
    rules: PlannedRules,
    sights: Mapping[str, Sight],
    memories: Mapping[str, PlannedMemory],
    moment: Moment,
    *,
    readable: Collection[str],
) -> dict[str, PlannedMemory]:
    """Every challenger's planned test, one look on; those whose data are not readable stand."""
    before, contenders = dict(memories), {}
    for arm, sight in sights.items():
        reading, memory = sight.known, memories[arm]
        if reading is None or arm not in readable:
            continue
        if memory.open:  # lives on the reserve; a latch there moves Holm's ladder, too
            before[arm] = spend_reserve(rules, memory, sight, moment)
        elif is_due(rules, memory, reading.size):
            contenders[arm] = Contender(
                reading=reading,
                estimate=sight.estimate,
                standard_error=sight.standard_error,
                levels=sight.levels,
                units=sight.pair.units,
            )
    return decide(rules, before, contenders, moment) if contenders else before


def show_planned(
    rules: PlannedRules,
    sight: Sight,
    memories: Mapping[str, PlannedMemory],
    *,
    readable: bool,
) -> Showing:
    """The report of one planned test after `planned_claim`."""
    memory, known = memories[sight.pair.challenger], sight.known
    level = memory.level if memory.looks else level_of(rules, memories)
    z, size, bound = memory.z, memory.size, memory.bound
    interval, relative = memory.interval, memory.relative
    part = memory.part
    goes_on = part == "reserve" and memory.crossed is None
    if (memory.crossed is not None or goes_on) and known is not None and readable:
        z, size = rules.better * known.z, max(size, known.size)
    if goes_on and readable:
        bound = reserve_bound(rules, sight)
        interval = reserve_interval(rules, sight, interval)
        relative = relative_ends(rules, sight.levels, bound)
    log_e = None
    if readable:
        log_e = reserve_evidence(rules, sight) if part == "reserve" else _log_e(rules, sight)
    alpha = rules.alpha / level
    return Showing(
        test=Test(
            claim=rules.claim,
            mode="planned",
            look=memory.looks,
            t=size / rules.size_planned,
            z=z,
            bound=bound,
            futility_bound=memory.hopeless_below,
            alpha=alpha,
            alpha_spent=memory.alpha_spent(level),
            reserve=rules.reserve / rules.levels,
            part=part,
            e_value=settled(e_from_log(log_e)) if log_e is not None else None,
            p=memory.p,
            crossed=memory.crossed,
        ),
        interval=_interval(sight.anytime[0] if sight.anytime else interval, alpha),
        relative=_interval(sight.anytime[1] if sight.anytime else relative, alpha),
    )


def anytime_claim(
    rules: PlannedRules,
    sights: Mapping[str, Sight],
    memories: Mapping[str, AnytimeMemory],
    moment: Moment,
    *,
    readable: Collection[str],
) -> dict[str, AnytimeMemory]:
    """Every challenger's always-valid test, one look on; Holm over challengers.

    Holm may reject one for what it has shown before, once another has crossed: what is latched then
    is what its maximum spoke for, whatever it looks like today.
    """
    following = {
        arm: _one_look_on(rules, memories[arm], sight) if arm in readable else memories[arm]
        for arm, sight in sights.items()
    }
    rejected = holm_rejects(following, [rules.alpha] * len(following))
    for arm, sight in sights.items():
        if rejected[arm] and following[arm].crossed is None and sight.known is not None:
            direction = following[arm].towards or _direction(rules, sight.known.z)
            following[arm] = latch(following[arm], direction, sight, moment)
    return following


def _one_look_on(rules: PlannedRules, memory: AnytimeMemory, sight: Sight) -> AnytimeMemory:
    """The memory after a look, with what its maximum speaks for where that may be latched later."""
    following = remember(memory, _log_e(rules, sight))
    if rules.sides == 1 or rules.levels == 1 or sight.known is None:
        return following
    if following.log_e_max == memory.log_e_max:
        return following
    return following.but(towards="better" if rules.better * sight.known.z > 0.0 else "worse")


def show_anytime(
    rules: PlannedRules, sight: Sight, memory: AnytimeMemory, *, readable: bool
) -> Showing:
    """The report of one always-valid claim after `anytime_claim`."""
    reading = sight.known
    alpha = rules.alpha / rules.levels
    log_e = _log_e(rules, sight) if readable else None
    interval = relative = None
    if reading is not None and readable:
        bound = half_width(
            reading,
            alpha=alpha,
            tuning=CLAIM_TUNING * rules.size_planned,
            alternative=claimed(rules),
        )
        interval, relative = _sequences(rules, sight, settled(bound))
    return Showing(
        test=Test(
            claim=rules.claim,
            mode="anytime",
            look=memory.looks,
            t=reading.size / rules.size_planned if reading is not None else 0.0,
            z=rules.better * reading.z if reading is not None else None,
            bound=None,
            alpha=alpha,
            e_value=settled(e_from_log(log_e)) if log_e is not None else None,
            p=settled(p_from_log_e(memory.log_e_max)) if memory.looks else None,
            crossed=memory.crossed,
        ),
        interval=_interval(interval, alpha),
        relative=_interval(relative, alpha),
    )


def latch(
    memory: AnytimeMemory, direction: Direction, sight: Sight, moment: Moment
) -> AnytimeMemory:
    """The memory with its crossing, which stays whatever comes."""
    return memory.but(
        crossed=Crossing(
            look=moment.look,
            taken_at=moment.taken_at,
            n=sight.pair.units,
            direction=direction,
            estimate=sight.estimate,
        ),
    )


def _direction(rules: PlannedRules, z: float) -> Literal["better", "worse", "not_worse"]:
    if rules.sides == 1:
        return "not_worse"
    return "better" if rules.better * z > 0.0 else "worse"


def _log_e(rules: PlannedRules, sight: Sight) -> float | None:
    known = sight.known
    if known is None:
        return None
    return log_evidence(
        sight.pair,
        sight.grids,
        known,
        null=rules.null,
        alternative=claimed(rules),
        alpha=rules.alpha / rules.levels,
        tuning=CLAIM_TUNING * rules.size_planned,
    )


def _sequences(rules: PlannedRules, sight: Sight, bound: float) -> tuple[Ends | None, Ends | None]:
    """Confidence sequences of the difference and of the relative lift."""
    if sight.anytime is not None:
        return sight.anytime
    if sight.estimate is None or sight.standard_error is None:
        return None, None
    half = bound * sight.standard_error
    interval = one_end_open(rules, sight.estimate - half, sight.estimate + half)
    return interval, relative_ends(rules, sight.levels, bound)


def _interval(ends: Ends | None, alpha: float) -> Interval | None:
    if ends is None:
        return None
    return Interval(low=ends[0], high=ends[1], level=1.0 - alpha)
