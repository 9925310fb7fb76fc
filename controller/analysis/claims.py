"""A claim at one look: the planned or always-valid test behind it, and what it shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
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
    contenders = {
        arm: Contender(
            memory=_beyond(rules, memories[arm], sight, moment)
            if arm in readable
            else memories[arm],
            reading=sight.known if arm in readable else None,
            estimate=sight.estimate,
            standard_error=sight.standard_error,
            levels=sight.levels,
            units=sight.pair.units,
        )
        for arm, sight in sights.items()
    }
    return decide(rules, contenders, moment)


def _beyond(
    rules: PlannedRules, memory: PlannedMemory, sight: Sight, moment: Moment
) -> PlannedMemory:
    """What lives on the reserve looks at every look; a latch there moves Holm's ladder, too."""
    return spend_reserve(rules, memory, sight, moment) if memory.open else memory


def show_planned(
    rules: PlannedRules,
    sight: Sight,
    memories: Mapping[str, PlannedMemory],
    *,
    readable: bool,
) -> Showing:
    """The report of one planned test after `planned_claim`."""
    memory = memories[sight.pair.challenger]
    level = memory.level if memory.looks else level_of(rules, memories)
    over_run = memory.crossed is not None and sight.known is not None and readable
    z, size, bound = memory.z, memory.size, memory.bound
    interval, relative = memory.interval, memory.relative
    goes_on = memory.open and readable
    if (over_run or goes_on) and sight.known is not None:
        z, size = rules.better * sight.known.z, max(size, sight.known.size)
    if goes_on:
        bound = reserve_bound(rules, sight)
        interval = reserve_interval(rules, sight, interval)
        relative = relative_ends(rules, sight.levels, bound)
    log_e = None
    if readable:
        beyond = memory.part == "reserve"
        log_e = reserve_evidence(rules, sight) if beyond else _log_e(rules, sight)
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
            part=memory.part,
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
    """Every challenger's always-valid test, one look on; Holm over challengers."""
    following = {
        arm: remember(memories[arm], _log_e(rules, sight)) if arm in readable else memories[arm]
        for arm, sight in sights.items()
    }
    rejected = holm_rejects(following, [rules.alpha] * len(following))
    for arm, sight in sights.items():
        if rejected[arm] and following[arm].crossed is None and sight.known is not None:
            direction = _direction(rules, sight.known.z)
            following[arm] = latch(following[arm], direction, sight, moment)
    return following


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
    return replace(
        memory,
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
    if sight.known is None:
        return None
    return log_evidence(
        sight.pair,
        sight.grids,
        sight.known,
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
