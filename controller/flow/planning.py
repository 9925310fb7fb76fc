"""Before a rollout starts: how long it takes, what it can find, and whether it can decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controller.errors import BaselineUnknown, InvalidInput, NotFound
from controller.experiments.metrics import Baseline, Metric
from controller.experiments.plans import CHAMPION, challenger_names
from controller.experiments.policies import Policy
from controller.experiments.slots import Goal, Guardrail, Oec, Slot
from controller.flow.calendar import Step, calendar
from controller.flow.create import MOST_CHALLENGERS, usable_policy
from controller.flow.horizon import baseline_of, sequential_test, smallest_effect
from controller.flow.ports.work import Store, Work
from controller.stats.calendar import RampStage, Traffic
from controller.stats.feasibility import Demand, Forecast, forecast
from controller.stats.planning import contrast_variance, drift_for_power, inflation
from controller.stats.results import Alternative

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What will happen to a rollout that is planned like this.

    Attributes
    ----------
    start : datetime
        The instant that the calendar counts from.
    limit_days : float
        How long the policy lets it ramp and decide.
    traffic : Traffic
        New eligible units a day; `traffic_observed` where the slot at rest has shown them.
    oec : Forecast
        Of the metric that decides.
    guardrails : sequence of Forecast
        Of each margin that has to be shown as well.
    unknown : mapping of str to str
        Guardrails that cannot be planned for, and why.
    baselines : mapping of str to Baseline
        What every forecast stands on.
    split_cost : float
        Units needed with these weights over units needed with equal ones.
    """

    slot: str
    policy: Policy
    start: datetime
    limit_days: float
    traffic: Traffic
    traffic_observed: bool
    oec: Forecast
    guardrails: Sequence[Forecast]
    unknown: Mapping[str, str]
    baselines: Mapping[str, Baseline]
    calendar: Sequence[Step]
    split_cost: float

    @property
    def feasible(self) -> bool:
        """Whether everything that has to be shown is known to be possible within the limit."""
        return (
            not self.unknown and self.oec.feasible and all(one.feasible for one in self.guardrails)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is planned.

    Attributes
    ----------
    traffic : Traffic or None
        New eligible units a day; None asks the slot at rest.
    baselines : mapping of str to Baseline
        Stated for this question; they go before a metric's own and before what was observed.
    weights : mapping of str to float or None
        Of the arms; equal where not given.
    start : datetime or None
        Now where not given.
    """

    slot: str
    policy: str | None = None
    challengers: int = 1
    traffic: Traffic | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    start: datetime | None = None


def plan_rollout(store: Store, project: str, question: Question) -> Outlook:
    """Calendar, power and feasibility of a rollout in this slot under this policy.

    Raises
    ------
    NotFound, PolicyNotAllowed
        If there is no such slot or policy, or the slot does not list the policy.
    InvalidInput
        If the slot has no OEC, no challenger or more than eight are asked for, the weights do not
        fit the arms, or nobody says how much traffic there is.
    BaselineUnknown
        If nothing says how the OEC varies.
    """
    if not 1 <= question.challengers <= MOST_CHALLENGERS:
        raise InvalidInput(f"challengers: from 1 to {MOST_CHALLENGERS}.", field="challengers")
    with store.reading() as work:
        stored = work.definitions.slot(project, question.slot)
        if stored is None:
            raise NotFound(f"There is no slot {question.slot!r:.80}.")
        slot = stored.slot
        if slot.oec is None:
            raise InvalidInput(
                f"slot: {slot.key!r} has no oec, so nothing could decide.", field="slot"
            )
        policy = usable_policy(work, project, slot, question.policy or slot.policy)
        traffic = question.traffic or observed_traffic(work, project, slot)
        planner = _Planner(
            work, project, slot=slot, policy=policy, question=question, traffic=traffic
        )
        return planner.outlook(slot.oec)


def observed_traffic(work: Work, project: str, slot: Slot) -> Traffic:
    """New units a day that the slot at rest has shown on its last full days.

    Raises
    ------
    InvalidInput
        If it has not shown any.
    """
    days = work.measurements.observed_days(project, slot.key) if slot.observe > 0.0 else ()
    if not days:
        raise InvalidInput(
            f"traffic: slot {slot.key!r} has not been observed at rest for a full day; state how "
            "many new eligible units a day there are.",
            field="traffic",
        )
    units = [count / slot.observe for count in days]
    return Traffic(low=min(units), expected=sum(units) / len(units), high=max(units))


def _weights(question: Question) -> Mapping[str, float]:
    """Shares of the arms among enrolled units."""
    arms = (CHAMPION, *challenger_names(question.challengers))
    given = question.weights
    if given is None:
        return dict.fromkeys(arms, 1.0 / len(arms))
    if set(given) != set(arms) or not all(0.0 < one < math.inf for one in given.values()):
        raise InvalidInput(
            f"weights: a positive number for each of {', '.join(arms)}.", field="weights"
        )
    total = math.fsum(given.values())
    return {arm: given[arm] / total for arm in arms}


class _Planner:
    """One question's fixed parts."""

    def __init__(
        self,
        work: Work,
        project: str,
        *,
        slot: Slot,
        policy: Policy,
        question: Question,
        traffic: Traffic,
    ) -> None:
        self._work, self._project, self._slot, self._policy = work, project, slot, policy
        self._question, self._traffic = question, traffic
        self._weights = _weights(question)
        self._baselines: dict[str, Baseline] = {}
        # The challenger with the least weight needs the most units.
        self._treatment = min(share for arm, share in self._weights.items() if arm != CHAMPION)
        self._control = self._weights[CHAMPION]
        self._limit = (policy.deadlines.ramping + policy.deadlines.deciding) / DAY
        self._stages = [
            RampStage(
                enrolled=stage.enrolled,
                days=stage.dwell_seconds / DAY,
                units=stage.min_units,
                matured=stage.min_matured,
            )
            for stage in policy.ramp
        ]

    def outlook(self, oec: Oec) -> Outlook:
        decides = self._oec(oec)
        shown: list[Forecast] = []
        unknown: dict[str, str] = {}
        for guardrail in self._slot.guardrails:
            try:
                shown.append(self._guardrail(guardrail, decides.units))
            except BaselineUnknown as error:
                unknown[guardrail.metric] = error.message
        share = 1.0 / len(self._weights)
        return Outlook(
            slot=self._slot.key,
            policy=self._policy,
            start=self._question.start or self._work.now,
            limit_days=self._limit,
            traffic=self._traffic,
            traffic_observed=self._question.traffic is None,
            oec=decides,
            guardrails=shown,
            unknown=unknown,
            baselines=self._baselines,
            calendar=calendar(
                self._policy,
                self._stages,
                decides,
                traffic=self._traffic,
                treated=1.0 - self._control,
                delay_days=self._gate_delay(),
                limit_days=self._limit,
            ),
            split_cost=(1.0 / self._treatment + 1.0 / self._control) * share / 2.0,
        )

    def _gate_delay(self) -> float:
        """From exposure to completeness of the OEC, whose complete units the gates count."""
        assert self._slot.oec is not None
        return _delay(self._metric(self._slot.oec.metric))

    # ------------------------------------------------------------ the claims

    def _oec(self, oec: Oec) -> Forecast:
        metric = self._metric(oec.metric)
        baseline = self._baseline(metric)
        superior = oec.goal is Goal.SUPERIOR
        alpha = self._policy.oec.alpha if superior else self._policy.oec.alpha / 2.0
        return self._forecast(
            metric,
            effect=smallest_effect(oec, baseline.mean),
            variance=baseline.sd**2,
            alpha=alpha / self._question.challengers,
            alternative="two-sided" if superior else "larger",
            horizon=self._policy.oec.horizon,
            gives_up=True,
        )

    def _guardrail(self, guardrail: Guardrail, units: int) -> Forecast:
        metric = self._metric(guardrail.metric)
        baseline = self._baseline(metric)
        margin, variance = guardrail.margin, baseline.sd**2
        if margin is None:
            assert guardrail.margin_relative is not None
            margin = guardrail.margin_relative * abs(baseline.mean)
            variance = contrast_variance(
                variance,
                scale=1.0 - metric.better * guardrail.margin_relative,
                treatment_weight=self._treatment / (self._treatment + self._control),
            )
        if not margin > 0.0:
            raise BaselineUnknown(f"The champion's mean of {metric.key!r} is 0: state a margin.")
        rules = self._policy.guardrail_rules(metric.key)
        return self._forecast(
            metric,
            effect=margin,
            variance=variance,
            alpha=rules.alpha,
            alternative="larger",
            horizon=rules.horizon or units,
            gives_up=False,
        )

    def _forecast(
        self,
        metric: Metric,
        *,
        effect: float,
        variance: float,
        alpha: float,
        alternative: Alternative,
        horizon: int | None,
        gives_up: bool,
    ) -> Forecast:
        power = self._policy.oec.power
        test = sequential_test(
            self._policy, alpha=alpha, alternative=alternative, gives_up=gives_up
        )
        demand = Demand(
            key=metric.key,
            effect=effect,
            variance=variance,
            alpha=alpha,
            power=power,
            alternative=alternative,
            inflation=inflation(test, alpha=alpha, power=power, alternative=alternative),
            expected_fraction=test(drift_for_power(test, power)).expected_fraction,
            null_fraction=test(0.0).expected_fraction,
            delay_days=_delay(metric),
            horizon=horizon,
        )
        return forecast(
            demand,
            stages=self._stages,
            traffic=self._traffic,
            treatment_weight=self._treatment,
            control_weight=self._control,
            limit_days=self._limit,
            first_look=self._policy.oec.first_look,
            gate_delay_days=self._gate_delay(),
        )

    def _baseline(self, metric: Metric) -> Baseline:
        stated = self._question.baselines.get(metric.key)
        if stated is None:
            mean, sd = baseline_of(self._work, self._project, self._slot, metric)
            stated = Baseline(mean=mean, sd=sd)
        self._baselines[metric.key] = stated
        return stated

    def _metric(self, key: str) -> Metric:
        metric = self._work.definitions.metric(self._project, key)
        if metric is None:
            raise NotFound(f"There is no metric {key!r:.80}.")
        return metric


def _delay(metric: Metric) -> float:
    """Days from exposure to completeness."""
    return (metric.window_seconds + metric.lateness_seconds) / DAY
