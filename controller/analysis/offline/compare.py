"""A recorded experiment judged look by look, by the tests of the live look."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from controller.analysis.alarms import Alarm, raise_alarms, show_alarm
from controller.analysis.claims import (
    Showing,
    anytime_claim,
    planned_claim,
    show_anytime,
    show_planned,
)
from controller.analysis.memory import AnytimeMemory, PlannedMemory
from controller.analysis.offline.claims import rules_of
from controller.analysis.offline.held import held_of, split_of, too_many_met_both
from controller.analysis.offline.recorded import Recorded, RecordedLook
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec, Mode, Role
from controller.analysis.offline.tables import Progress
from controller.analysis.planned import Moment, PlannedRules
from controller.analysis.report import Comparison, Held
from controller.analysis.sights import Sight, see
from controller.analysis.verdicts import compare
from controller.experiments.plans import CHAMPION
from controller.stats.mixture import e_from_log
from controller.stats.results import Inconclusive
from controller.stats.score import EQUAL
from controller.stats.srm import EpochCounts, SampleRatio, chi_square_p, sample_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One metric at one look: what was seen and concluded of each challenger.

    `held` are the challengers whose comparison may not be read, and why.
    """

    sights: Mapping[str, Sight]
    comparisons: Mapping[str, Comparison]
    held: Mapping[str, Held]


@dataclass(frozen=True, slots=True, kw_only=True)
class Srm:
    """The sample ratio over all looks; None where no unit has been seen.

    `e_value` is the largest of any look, of which `p_sequential` is the reciprocal.
    """

    p_fixed: float | None
    p_sequential: float | None
    e_value: float | None
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Everything found.

    Attributes
    ----------
    recorded : Recorded
    rules : mapping of metric to PlannedRules
    looks : tuple of mapping of metric to Seen
        In order; the last one has the verdicts.
    doubt : str or None
        Why no comparison may be read: `srm` or `double_exposure`.
    """

    recorded: Recorded
    rules: Mapping[str, PlannedRules]
    looks: tuple[Mapping[str, Seen], ...]
    srm: Srm
    doubt: str | None


@dataclass(slots=True)
class _Memory:
    """`doubt` says why no comparison may be read, once there is such a reason.

    Where arms were `drawn` at random the split and the covariates are what the draw made of them.
    """

    drawn: bool = False
    doubt: str | None = None
    srm: SampleRatio | None = None
    planned: dict[str, PlannedMemory] = field(default_factory=dict)
    anytime: dict[str, AnytimeMemory] = field(default_factory=dict)
    missing_log_e_max: dict[str, float] = field(default_factory=dict)


def judge(
    spec: AnalysisSpec, recorded: Recorded, progress: Progress, *, at_equality: bool = False
) -> Judged:
    """Take every look in order.

    Parameters
    ----------
    at_equality : bool
        Test guardrails against no difference instead of their margin, which is the truth where
        arms were drawn at random.
    """
    rules = {metric.key: rules_of(metric, recorded) for metric in recorded.metrics}
    if at_equality:
        rules = {key: each.against(EQUAL) for key, each in rules.items()}
    memory = _Memory(
        drawn=at_equality,
        doubt="double_exposure" if too_many_met_both(recorded) else None,
    )
    looks = []
    for look in recorded.looks:
        looks.append(_look(spec, recorded, rules, look, memory))
        progress("taking looks", look.number / len(recorded.looks))
    return Judged(
        recorded=recorded,
        rules=rules,
        looks=tuple(looks),
        srm=_srm(recorded, memory),
        doubt=memory.doubt,
    )


def _look(
    spec: AnalysisSpec,
    recorded: Recorded,
    rules: Mapping[str, PlannedRules],
    look: RecordedLook,
    memory: _Memory,
) -> dict[str, Seen]:
    moment = Moment(look=look.number, taken_at=str(look.at))
    others = tuple(arm for arm in recorded.arms if arm != CHAMPION)
    sights = {
        m.key: {
            arm: see(
                look.statistics,
                m.metric,
                arm,
                rules[m.key],
                covariates=max(1, len(m.covariates)),
            )
            for arm in others
        }
        for m in recorded.metrics
    }
    _weigh_the_split(spec, recorded, look, memory)
    split = split_of(recorded, srm_alpha=spec.srm_alpha)
    held = {
        m.key: held_of(split, look, m.metric, memory.missing_log_e_max, covariates=not memory.drawn)
        for m in recorded.metrics
    }
    if memory.doubt is not None:
        held = dict.fromkeys(held, dict.fromkeys(others, Held(reason=memory.doubt, cause=CHAMPION)))
    alarms = raise_alarms(
        {
            f"{m.key}/{arm}": Alarm(
                rules=rules[m.key],
                sight=sight,
                alpha=spec.harm_alpha,
                readable=arm not in held[m.key],
                memory=memory.anytime.get(f"{m.key}/{arm}/harm", AnytimeMemory()),
            )
            for m in recorded.metrics
            if m.role is Role.GUARDRAIL and m.mode is not Mode.FIXED
            for arm, sight in sights[m.key].items()
        },
        moment,
    )
    memory.anytime |= {f"{key}/harm": alarm.memory for key, alarm in alarms.items()}
    seen = {}
    for metric in recorded.metrics:
        why = held[metric.key]
        readable = sights[metric.key].keys() - why.keys()
        shown = _claim(
            metric, rules[metric.key], sights[metric.key], memory, moment, readable=readable
        )
        comparisons = {
            arm: compare(
                rules[metric.key],
                sight,
                shown[arm],
                alarm=show_alarm(alarms[f"{metric.key}/{arm}"])
                if f"{metric.key}/{arm}" in alarms
                else None,
                unknown=why[arm].reason if arm in why else None,
            )
            for arm, sight in sights[metric.key].items()
        }
        seen[metric.key] = Seen(sights=sights[metric.key], comparisons=comparisons, held=why)
    return seen


def _claim(
    metric: MetricSpec,
    rules: PlannedRules,
    sights: Mapping[str, Sight],
    memory: _Memory,
    moment: Moment,
    *,
    readable: Collection[str],
) -> dict[str, Showing]:
    keys = {arm: f"{metric.key}/{arm}" for arm in sights}
    if metric.mode is Mode.PLANNED:
        before = {arm: memory.planned.get(key, PlannedMemory()) for arm, key in keys.items()}
        planned = planned_claim(rules, sights, before, moment, readable=readable)
        memory.planned |= {keys[arm]: value for arm, value in planned.items()}
        return {
            arm: show_planned(rules, sight, planned, readable=arm in readable)
            for arm, sight in sights.items()
        }
    known = {arm: memory.anytime.get(key, AnytimeMemory()) for arm, key in keys.items()}
    always = anytime_claim(rules, sights, known, moment, readable=readable)
    memory.anytime |= {keys[arm]: value for arm, value in always.items()}
    return {
        arm: show_anytime(rules, sight, always[arm], readable=arm in readable)
        for arm, sight in sights.items()
    }


def _weigh_the_split(
    spec: AnalysisSpec, recorded: Recorded, look: RecordedLook, memory: _Memory
) -> None:
    """From the look of its alarm on, a split that is not the planned one holds everything."""
    peak = memory.srm.log_e_max if memory.srm is not None else 0.0
    found = sample_ratio(_counts(look, recorded), alpha=spec.srm_alpha, log_e_max=peak)
    if isinstance(found, Inconclusive):
        return
    memory.srm = found
    if found.alarm and not memory.drawn:
        memory.doubt = "srm"


def _srm(recorded: Recorded, memory: _Memory) -> Srm:
    fixed = chi_square_p(_counts(recorded.looks[-1], recorded)) if recorded.looks else None
    found = memory.srm
    return Srm(
        p_fixed=fixed if isinstance(fixed, float) else None,
        p_sequential=found.p_value if found is not None else None,
        e_value=e_from_log(found.log_e_max) if found is not None else None,
        alarm=found is not None and found.alarm,
    )


def _counts(look: RecordedLook, recorded: Recorded) -> list[EpochCounts]:
    statistics = look.statistics
    return [
        EpochCounts(
            counts=tuple(statistics.exposed.get((e.number, arm), 0) for arm in recorded.arms),
            weights=tuple(e.weights[arm] for arm in recorded.arms),
        )
        for e in statistics.epochs
    ]
