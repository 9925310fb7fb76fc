"""Harm alarms: every guardrail watched at every look, from the first unit on, for ever.

The evidence is a mixture of two e-processes, fixed before the data: the asymptotic one, which every
metric has, and for a binary metric an exact one, which speaks while the other cannot (decisions
0028 and 0063).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from controller.analysis.anytime import HARM_TUNING, holm_rejects, log_evidence, remember
from controller.analysis.claims import latch
from controller.analysis.memory import AnytimeMemory, settled
from controller.analysis.pairs import Pair
from controller.analysis.planned import Moment, PlannedRules
from controller.analysis.readings import Reading, read
from controller.analysis.report import Claim, Test
from controller.analysis.rules import harm_nulls
from controller.analysis.sights import Sight
from controller.experiments.metrics import MetricType
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.results import Inconclusive
from controller.stats.share_bets import EpochHits, share_log_e

EXACT_WEIGHT = 0.25
"""Part of the alarm's capital on the exact e-process: its price is .29 of the other's log e."""
_LOG_EXACT, _LOG_OTHER = math.log(EXACT_WEIGHT), math.log1p(-EXACT_WEIGHT)


class Alarm(NamedTuple):
    """One guardrail's alarm for one challenger.

    Attributes
    ----------
    rules : PlannedRules
        Of the guardrail: its null is the margin, which is the alarm's null as well (`harm_nulls`).
    sight : Sight
    alpha : float
        Shared with every other alarm of the rollout.
    readable : bool
    memory : AnytimeMemory
    reading : Reading or None
        Of this look, against the null that speaks least of harm.
    log_e_value : float or None
        Of this look.
    """

    rules: PlannedRules
    sight: Sight
    alpha: float
    readable: bool
    memory: AnytimeMemory
    reading: Reading | None = None
    log_e_value: float | None = None

    def remembering(self, memory: AnytimeMemory) -> Alarm:
        """The same with this memory."""
        return self._replace(memory=memory)


def raise_alarms(alarms: Mapping[str, Alarm], moment: Moment) -> dict[str, Alarm]:
    """Every alarm one look on; those that Holm rejects are latched."""
    heard = {key: _listen(alarm) for key, alarm in alarms.items()}
    rejected = holm_rejects(
        {key: alarm.memory for key, alarm in heard.items()},
        [alarm.alpha for alarm in heard.values()],
    )
    return {
        key: alarm.remembering(latch(alarm.memory, "harm", alarm.sight, moment))
        if rejected[key] and alarm.memory.crossed is None
        else alarm
        for key, alarm in heard.items()
    }


def show_alarm(alarm: Alarm) -> Test:
    """The report of one alarm; z is positive where the challenger is worse than its margin."""
    reading = alarm.reading
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
    """The alarm one look on, before Holm."""
    reading = _least_harmful(alarm)
    log_e = _log_e(alarm, reading) if alarm.readable else None
    return Alarm(
        rules=alarm.rules,
        sight=alarm.sight,
        alpha=alarm.alpha,
        readable=alarm.readable,
        memory=remember(alarm.memory, log_e),
        reading=reading,
        log_e_value=log_e,
    )


def _least_harmful(alarm: Alarm) -> Reading | None:
    """The reading with the least evidence, which is all that refutes every null; None without one.

    Rejecting a union of nulls needs each of them rejected (Berger 1982, Technometrics 24(4)): the
    smallest of their e-values is one against all. All have one size, so the least z has it.
    """
    found = alarm.sight.known
    for null in harm_nulls(alarm.rules.null, alarm.sight.pair.metric)[1:]:
        other = read(alarm.sight.pair, alarm.sight.grids, null=null)
        if found is None or isinstance(other, Inconclusive):
            return None
        found = max(found, other, key=lambda each: alarm.rules.better * each.z)
    return found


def _log_e(alarm: Alarm, reading: Reading | None) -> float | None:
    """Log of EXACT_WEIGHT x exact + (1 - EXACT_WEIGHT) x asymptotic e-value.

    A part that cannot speak yet counts with nothing: less capital than it holds, so the alarm's
    level stands. Both parts are e-processes against the same null, and a mixture of e-processes
    with weights fixed before the data is one under any dependence.
    """
    asymptotic = _asymptotic(alarm, reading)
    pair = alarm.sight.pair
    if pair.metric.type is not MetricType.BINARY:
        return asymptotic
    if asymptotic is None and _all_alike(pair):
        return None  # neither part says anything of what does not vary
    exact = _LOG_EXACT + _exact(alarm) if pair.epochs else None
    if asymptotic is None:
        return exact
    other = _LOG_OTHER + asymptotic
    return other if exact is None else _log_sum(exact, other)


def _all_alike(pair: Pair) -> bool:
    """Whether no unit is hit, or every one."""
    return sum(a.nonzero + b.nonzero for _, a, b in pair.epochs) in (0, pair.units)


def _asymptotic(alarm: Alarm, reading: Reading | None) -> float | None:
    sight, rules = alarm.sight, alarm.rules
    if reading is None:
        return None
    return log_evidence(
        sight.pair,
        sight.grids,
        reading,
        null=rules.null,
        alternative=_harm(rules),
        alpha=alarm.alpha,
        tuning=HARM_TUNING * rules.size_planned,
    )


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
