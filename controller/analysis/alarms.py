"""Harm alarms: every guardrail watched at every look, from the first unit on, for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.analysis.anytime import HARM_TUNING, holm_rejects, log_evidence, remember
from controller.analysis.claims import latch
from controller.analysis.memory import AnytimeMemory, settled
from controller.analysis.planned import Moment, PlannedRules
from controller.analysis.report import Claim, Test
from controller.analysis.sights import Sight
from controller.stats.mixture import e_from_log, p_from_log_e


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
    if not alarm.readable or alarm.sight.known is None:
        return alarm
    log_e = log_evidence(
        alarm.sight.pair,
        alarm.sight.grids,
        alarm.sight.known,
        null=alarm.rules.null,
        alternative="smaller" if alarm.rules.better > 0.0 else "larger",
        alpha=alarm.alpha,
        tuning=HARM_TUNING * alarm.rules.size_planned,
    )
    return replace(alarm, memory=remember(alarm.memory, log_e), log_e_value=log_e)
