"""Before a rollout starts: how long it takes, what it can find, and whether it can decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.errors import BaselineUnknown, InvalidInput, NotFound
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION, challenger_names
from controller.experiments.policies import Policy
from controller.experiments.slots import Goal, Guardrail, Oec, Slot
from controller.flow.create import MOST_CHALLENGERS, usable_policy
from controller.flow.horizon import baseline_of, sequential_test, smallest_effect
from controller.flow.ports.work import Store, Work
from controller.stats.feasibility import Demand, Forecast, Traffic, forecast
from controller.stats.planning import RampStage, drift_for_power, inflation
from controller.stats.results import Alternative

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What will happen to a rollout that is planned like this.

    Attributes
    ----------
    limit_days : float
        How long the policy lets it ramp and decide.
    oec : Forecast
        Of the metric that decides.
    guardrails : sequence of Forecast
        Of each margin that has to be shown as well.
    unknown : mapping of str to str
        Guardrails that cannot be planned for, and why.
    """

    slot: str
    policy: Policy
    limit_days: float
    oec: Forecast
    guardrails: Sequence[Forecast]
    unknown: Mapping[str, str]

    @property
    def feasible(self) -> bool:
        """Whether everything that has to be shown can be, within the limit."""
        return self.oec.feasible and all(one.feasible for one in self.guardrails)


def plan_rollout(
    store: Store,
    project: str,
    *,
    slot: str,
    policy: str | None = None,
    challengers: int = 1,
    traffic: Traffic,
) -> Outlook:
    """Duration, power and feasibility of a rollout in this slot under this policy.

    Parameters
    ----------
    traffic : Traffic
        New eligible units a day.

    Raises
    ------
    NotFound, PolicyNotAllowed
        If there is no such slot or policy, or the slot does not list the policy.
    InvalidInput
        If the slot has no OEC, or no challenger or more than eight are asked for.
    BaselineUnknown
        If nothing says how the OEC varies.
    """
    if not 1 <= challengers <= MOST_CHALLENGERS:
        raise InvalidInput(f"challengers: from 1 to {MOST_CHALLENGERS}.", field="challengers")
    with store.reading() as work:
        stored = work.definitions.slot(project, slot)
        if stored is None:
            raise NotFound(f"There is no slot {slot!r:.80}.")
        if stored.slot.oec is None:
            raise InvalidInput(f"slot: {slot!r} has no oec, so nothing could decide.", field="slot")
        chosen = usable_policy(work, project, stored.slot, policy or stored.slot.policy)
        planner = _Planner(
            work,
            project,
            slot=stored.slot,
            policy=chosen,
            challengers=challengers,
            traffic=traffic,
        )
        return planner.outlook(stored.slot.oec)


class _Planner:
    """One question's fixed parts."""

    def __init__(
        self,
        work: Work,
        project: str,
        *,
        slot: Slot,
        policy: Policy,
        challengers: int,
        traffic: Traffic,
    ) -> None:
        self._work, self._project, self._slot, self._policy = work, project, slot, policy
        self._traffic = traffic
        self._comparisons = challengers
        arms = (CHAMPION, *challenger_names(challengers))
        self._weight = 1.0 / len(arms)
        self._limit = (policy.deadlines.ramping + policy.deadlines.deciding) / DAY
        self._stages = [
            RampStage(enrolled=stage.enrolled, days=stage.dwell_seconds / DAY)
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
        return Outlook(
            slot=self._slot.key,
            policy=self._policy,
            limit_days=self._limit,
            oec=decides,
            guardrails=shown,
            unknown=unknown,
        )

    def _oec(self, oec: Oec) -> Forecast:
        metric = self._metric(oec.metric)
        mean, sd = baseline_of(self._work, self._project, self._slot, metric)
        superior = oec.goal is Goal.SUPERIOR
        alpha = self._policy.oec.alpha if superior else self._policy.oec.alpha / 2.0
        return self._forecast(
            metric,
            effect=smallest_effect(oec, mean),
            sd=sd,
            alpha=alpha / self._comparisons,
            alternative="two-sided" if superior else "larger",
            horizon=self._policy.oec.horizon,
        )

    def _guardrail(self, guardrail: Guardrail, units: int) -> Forecast:
        metric = self._metric(guardrail.metric)
        mean, sd = baseline_of(self._work, self._project, self._slot, metric)
        margin = guardrail.margin
        if margin is None:
            margin = (guardrail.margin_relative or 0.0) * abs(mean)
        if not margin > 0.0:
            raise BaselineUnknown(f"The champion's mean of {metric.key!r} is 0: state a margin.")
        rules = self._policy.guardrail_rules(metric.key)
        return self._forecast(
            metric,
            effect=margin,
            sd=sd,
            alpha=rules.alpha,
            alternative="larger",
            horizon=rules.horizon or units,
        )

    def _forecast(
        self,
        metric: Metric,
        *,
        effect: float,
        sd: float,
        alpha: float,
        alternative: Alternative,
        horizon: int | None,
    ) -> Forecast:
        power = self._policy.oec.power
        test = sequential_test(self._policy, alpha=alpha, alternative=alternative)
        demand = Demand(
            key=metric.key,
            effect=effect,
            variance=sd * sd,
            alpha=alpha,
            power=power,
            alternative=alternative,
            inflation=inflation(test, alpha=alpha, power=power, alternative=alternative),
            expected_fraction=test(drift_for_power(test, power)).expected_fraction,
            delay_days=(metric.window_seconds + metric.lateness_seconds) / DAY,
            horizon=horizon,
        )
        return forecast(
            demand,
            stages=self._stages,
            traffic=self._traffic,
            treatment_weight=self._weight,
            control_weight=self._weight,
            limit_days=self._limit,
            first_look=self._policy.oec.first_look,
        )

    def _metric(self, key: str) -> Metric:
        metric = self._work.definitions.metric(self._project, key)
        if metric is None:
            raise NotFound(f"There is no metric {key!r:.80}.")
        return metric
