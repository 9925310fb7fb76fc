"""Harm alarms: every guardrail watched at every look, from the first unit on, for ever.

The evidence is a mixture of two e-processes, fixed before the data: the asymptotic one, which every
metric has, and for units that are hit or not an exact one, which speaks while the other cannot
(decision 0028).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from controller.analysis.anytime import HARM_TUNING, holm_rejects, log_evidence, remember
from controller.analysis.claims import latch
from controller.analysis.memory import AnytimeMemory, settled
from controller.analysis.pairs import Pair
from controller.analysis.planned import Moment, PlannedRules
from controller.analysis.report import Claim, Test
from controller.analysis.sights import Sight
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.share_bets import EpochHits, share_log_e

EXACT_WEIGHT = 0.25
"""Part of the alarm's capital on the exact e-process: its price is .29 of the other's log e."""
_LOG_EXACT, _LOG_OTHER = math.log(EXACT_WEIGHT), math.log1p(-EXACT_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One guardrail's alarm for one challenger.

    Attributes
    ----------
    rules : PlannedRules
        Of the guardrail: its null is the margin, which is the alarm's null as well.
    sight : Sight
    alpha : float
        Shared with every other alarm of the rollout.
    readable : bool
    memory : AnytimeMemory
    log_e_value : float or None
        Of this look.
    """

    rules: PlannedRules
    sight: Sight
    alpha: float
    readable: bool
    memory: AnytimeMemory
    log_e_value: float | None = None


def raise_alarms(alarms: Mapping[str, Alarm], moment: Moment) -> dict[str, Alarm]:
    """Every alarm one look on; those that Holm rejects are latched."""
    heard = {key: _listen(alarm) for key, alarm in alarms.items()}
    rejected = holm_rejects(
        {key: alarm.memory for key, alarm in heard.items()},
        [alarm.alpha for alarm in heard.values()],
    )
    return {
        key: replace(alarm, memory=latch(alarm.memory, "harm", alarm.sight, moment))
        if rejected[key] and alarm.memory.crossed is None
        else alarm
        for key, alarm in heard.items()
    }


def show_alarm(alarm: Alarm) -> Test:
    """The report of one alarm; z is positive where the challenger is worse than its margin."""
    reading = alarm.sight.known
    log_e = alarm.log_e_value
    return Test(
        claim=Claim.HARM,
        mode="anytime",
        look=alarm.memory.looks,
        t=reading.size / alarm.rules.size_planned if reading is not None else 0.0,
        z=-alarm.rules.better * reading.z if reading is not None else None,
        bound=None,
        alpha=alarm.alpha,
        e_value=settled(e_from_log(log_e)) if log_e is not None else None,
        p=settled(p_from_log_e(alarm.memory.log_e_max)) if alarm.memory.looks else None,
        crossed=alarm.memory.crossed,
    )


def _listen(alarm: Alarm) -> Alarm:
    if not alarm.readable:
        return alarm
    log_e = _log_e(alarm)
    return replace(alarm, memory=remember(alarm.memory, log_e), log_e_value=log_e)


def _log_e(alarm: Alarm) -> float | None:
    """Log of EXACT_WEIGHT x exact + (1 - EXACT_WEIGHT) x asymptotic e-value.

    A part that cannot speak yet counts with nothing: less capital than it holds, so the alarm's
    level stands. Both parts are e-processes against the same null, and a mixture of e-processes
    with weights fixed before the data is one under any dependence.
    """
    asymptotic = _asymptotic(alarm)
    metric = alarm.sight.pair.metric
    if not is_hit_or_not(metric):
        return asymptotic
    if asymptotic is None and _all_alike(alarm.sight.pair):
        return None  # neither part says anything of what does not vary
    exact = _LOG_EXACT + _exact(alarm) if _exact_speaks(alarm) else None
    if asymptotic is None:
        return exact
    other = _LOG_OTHER + asymptotic
    return other if exact is None else _log_sum(exact, other)


def is_hit_or_not(metric: Metric) -> bool:
    """Whether units that are hit or not tell what the metric says.

    A binary metric is a share of units. Of a count of what is bad, units with any event are counted
    once each, because events of one unit are no independent draws.
    """
    return metric.type is MetricType.BINARY or (
        metric.type is MetricType.COUNT and metric.direction is Direction.DECREASE
    )


def _all_alike(pair: Pair) -> bool:
    """Whether no unit is hit, or every one."""
    return sum(a.nonzero + b.nonzero for _, a, b in pair.epochs) in (0, pair.units)


def _asymptotic(alarm: Alarm) -> float | None:
    sight, rules = alarm.sight, alarm.rules
    if sight.known is None:
        return None
    return log_evidence(
        sight.pair,
        sight.grids,
        sight.known,
        null=rules.null,
        alternative=_harm(rules),
        alpha=alarm.alpha,
        tuning=HARM_TUNING * rules.size_planned,
    )


def _exact_speaks(alarm: Alarm) -> bool:
    """A count's share of units speaks only while its mean, too, lies beyond the margin."""
    sight, null = alarm.sight, alarm.rules.null
    if not sight.pair.epochs:
        return False
    if sight.pair.metric.type is MetricType.BINARY:
        return True
    arms = sight.levels
    return arms is not None and arms.challenger > null.scale * arms.champion + null.shift


def _exact(alarm: Alarm) -> float:
    pair, null = alarm.sight.pair, alarm.rules.null
    hits = [
        EpochHits(
            control=champion.n,
            control_hits=champion.nonzero,
            treatment=challenger.n,
            treatment_hits=challenger.nonzero,
            share=share,
        )
        for (_, champion, challenger), share in zip(pair.epochs, pair.shares, strict=True)
        if 0.0 < share < 1.0
    ]
    return share_log_e(hits, alternative=_harm(alarm.rules), scale=null.scale, shift=null.shift)


def _harm(rules: PlannedRules) -> Literal["larger", "smaller"]:
    return "smaller" if rules.better > 0.0 else "larger"


def _log_sum(a: float, b: float) -> float:
    """log(e^a + e^b)."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
