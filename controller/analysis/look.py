"""One look: a plan and its aggregates in, the immutable record of what they show out.

`take_look` is a pure function. It reads no clock, draws nothing at random and depends on no state
but what the look before has written down, so anyone can take it again from the stored evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from controller.analysis.alarms import Alarm, raise_alarms, show_alarm
from controller.analysis.claims import (
    Showing,
    anytime_claim,
    planned_claim,
    show_anytime,
    show_planned,
)
from controller.analysis.epochs import epochs_of
from controller.analysis.integrity import (
    can_miss,
    family,
    is_selected,
    missing_log_e,
    sample_ratio_report,
    why_held,
    why_unknown,
)
from controller.analysis.memory import AnytimeMemory, LookMemory, PlannedMemory
from controller.analysis.planned import Moment, PlannedRules
from controller.analysis.report import Held, LookInput, LookReport, MetricReport, Test
from controller.analysis.rules import guardrail_rules, oec_rules, shared_by_guardrails
from controller.analysis.sights import Sight, see
from controller.analysis.summaries import grid_error, summarise
from controller.analysis.verdicts import compare
from controller.experiments.metrics import Metric
from controller.experiments.policies import Mode

_NEW_PLANNED = PlannedMemory()
_NEW_ANYTIME = AnytimeMemory()


class Scene(NamedTuple):
    """One metric in its role, with everything this look sees of it.

    Attributes
    ----------
    unknown : str or None
        Why nothing of it may be read now.
    held : mapping of arm to Held
        Challengers whose comparison may not be read, and why.
    selected : bool
        Seen only after the decision: its claim may not move, its alarm may.
    """

    metric: Metric
    role: Literal["oec", "guardrail"]
    mode: Mode
    rules: PlannedRules
    sights: Mapping[str, Sight]
    unknown: str | None
    held: Mapping[str, Held]
    selected: bool

    def why_unread(self, arm: str) -> str | None:
        """Why the data of this comparison may not be read, if they may not."""
        return self.unknown or (self.held[arm].reason if arm in self.held else None)

    def why_unknown(self, arm: str) -> str | None:
        """Why the claim is unknown, if it is."""
        return self.why_unread(arm) or ("after_decision" if self.selected else None)

    def key(self, arm: str) -> str:
        """Where the claim's memory is kept."""
        return f"{self.metric.key}/{arm}/{self.rules.claim}"


def take_look(look: LookInput) -> LookReport:
    """Take one look.

    Parameters
    ----------
    look : LookInput
        The frozen plan, one snapshot of its statistics, the look's number and the memory of the
        look before (None at the first).

    Returns
    -------
    LookReport
        Same input, same bytes: every test one look on, verdicts with their reasons, and the memory
        for the next look.
    """
    taking = _Taking(look)
    srm, srm_log_e = sample_ratio_report(
        look.statistics, look.plan, log_e_max=taking.before.srm_log_e_max
    )
    scenes = list(taking.scenes())
    alarms = taking.alarms(scenes)
    metrics = tuple(taking.report(scene, alarms) for scene in scenes)
    memory = LookMemory(
        planned=taking.planned,
        anytime=taking.anytime,
        srm_log_e_max=srm_log_e,
        missing_log_e_max=taking.missing,
    )
    return LookReport(
        number=look.number,
        plan_sha256=look.plan.sha256,
        statistics=look.statistics,
        srm=srm,
        metrics=metrics,
        memory=memory.document(),
        previous=look.previous,
    )


@dataclass(slots=True)
class _Taking:
    """A look while it is being taken: what was remembered, and what will be."""

    look: LookInput
    planned: dict[str, PlannedMemory] = field(default_factory=dict)
    anytime: dict[str, AnytimeMemory] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    before: LookMemory = field(init=False)
    moment: Moment = field(init=False)
    arms: tuple[str, ...] = field(init=False)
    challengers: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.before = LookMemory.from_document(self.look.previous)
        self.moment = Moment(look=self.look.number, taken_at=self.look.statistics.taken_at)
        self.arms, self.challengers = tuple(self.look.plan.arms), self.look.plan.challengers

    def scenes(self) -> Iterator[Scene]:
        """The OEC first, then the guardrails in the slot's order."""
        plan = self.look.plan
        if plan.slot.oec is not None:
            metric = plan.metrics[plan.slot.oec.metric]
            rules = oec_rules(plan, plan.slot.oec, metric)
            yield self._scene(metric, "oec", plan.policy.oec.mode, rules)
        shared = shared_by_guardrails(plan) if plan.slot.guardrails else None
        for guardrail in plan.slot.guardrails:
            metric = plan.metrics[guardrail.metric]
            mode = plan.policy.guardrail_rules(guardrail.metric).mode
            rules = guardrail_rules(plan, guardrail, metric, shared=shared)
            yield self._scene(metric, "guardrail", mode, rules)

    def alarms(self, scenes: list[Scene]) -> Mapping[str, Alarm]:
        """Every guardrail's harm alarm, one look on, as one family under Holm."""
        alarms = {
            (key := _alarm_key(scene, arm)): Alarm(
                rules=scene.rules,
                sight=sight,
                alpha=self.look.plan.policy.guardrail_rules(scene.metric.key).harm_alpha,
                readable=scene.why_unread(arm) is None,
                memory=self.before.anytime.get(key, _NEW_ANYTIME),
            )
            for scene in scenes
            if scene.role == "guardrail"
            for arm, sight in scene.sights.items()
        }
        raised = raise_alarms(alarms, self.moment)
        self.anytime |= {key: alarm.memory for key, alarm in raised.items()}
        return raised

    def report(self, scene: Scene, alarms: Mapping[str, Alarm]) -> MetricReport:
        """Move the metric's claim one look on and write down what it shows."""
        showings = self._claim(scene)
        freshness = self.look.statistics.freshness.get(scene.metric.key)
        return MetricReport(
            key=scene.metric.key,
            role=scene.role,
            arms=summarise(self.look.statistics, scene.metric, self.arms),
            comparisons=tuple(
                compare(
                    scene.rules,
                    sight,
                    showings[arm],
                    alarm=_alarm_test(alarms, scene, arm),
                    unknown=scene.why_unknown(arm),
                    epochs=epochs_of(sight, scene.rules, self.look.statistics.epochs),
                )
                for arm, sight in scene.sights.items()
            ),
            fresh=scene.unknown is None,
            age_seconds=freshness.age_seconds if freshness is not None else None,
            held=scene.held,
            relative_error=grid_error(self.look.statistics, scene.metric),
        )

    def _scene(
        self, metric: Metric, role: Literal["oec", "guardrail"], mode: Mode, rules: PlannedRules
    ) -> Scene:
        statistics, plan = self.look.statistics, self.look.plan
        unknown = why_unknown(statistics, plan, metric)
        sights, held = {}, {}
        for arm in self.challengers:
            sights[arm] = see(statistics, metric, arm, rules)
            why = self._held(metric, arm)
            if why is not None and unknown is None:
                held[arm] = why
        return Scene(
            metric=metric,
            role=role,
            mode=mode,
            rules=rules,
            sights=sights,
            unknown=unknown,
            held=held,
            selected=is_selected(plan, metric),
        )

    def _held(self, metric: Metric, arm: str) -> Held | None:
        """Why this comparison may not be read."""
        statistics, plan = self.look.statistics, self.look.plan
        peak = self._missing(metric, arm) if can_miss(metric) else None
        return why_held(statistics, plan, metric, arm, missing_log_e_max=peak)

    def _missing(self, metric: Metric, arm: str) -> float:
        """How unevenly values have been missing, remembered for every family of arms."""
        statistics, plan = self.look.statistics, self.look.plan
        arms = family(statistics, plan, arm)
        key = metric.key if arms == self.arms else f"{metric.key}/{','.join(arms[1:])}"
        before = self.before.missing_log_e_max.get(key, 0.0)
        self.missing[key] = missing_log_e(statistics, plan, metric, arms, log_e_max=before)
        return self.missing[key]

    def _claim(self, scene: Scene) -> dict[str, Showing]:
        readable = {arm for arm in scene.sights if scene.why_unknown(arm) is None}
        keys = {arm: scene.key(arm) for arm in scene.sights}
        if scene.mode is Mode.ANYTIME:
            known = {arm: self.before.anytime.get(key, _NEW_ANYTIME) for arm, key in keys.items()}
            always = anytime_claim(scene.rules, scene.sights, known, self.moment, readable=readable)
            self.anytime |= {keys[arm]: memory for arm, memory in always.items()}
            return {
                arm: show_anytime(scene.rules, sight, always[arm], readable=arm in readable)
                for arm, sight in scene.sights.items()
            }
        earlier = {arm: self.before.planned.get(key, _NEW_PLANNED) for arm, key in keys.items()}
        planned = planned_claim(scene.rules, scene.sights, earlier, self.moment, readable=readable)
        self.planned |= {keys[arm]: memory for arm, memory in planned.items()}
        return {
            arm: show_planned(scene.rules, sight, planned, readable=arm in readable)
            for arm, sight in scene.sights.items()
        }


def _alarm_key(scene: Scene, arm: str) -> str:
    return f"{scene.metric.key}/{arm}/harm"


def _alarm_test(alarms: Mapping[str, Alarm], scene: Scene, arm: str) -> Test | None:
    alarm = alarms.get(_alarm_key(scene, arm))
    return show_alarm(alarm) if alarm is not None else None
