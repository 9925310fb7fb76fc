"""Before a rollout starts: how long it takes, what it can find, and whether it can decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controller.errors import InvalidInput, NotFound
from controller.experiments.metrics import Baseline
from controller.experiments.plans import CHAMPION, challenger_names
from controller.experiments.policies import Policy
from controller.experiments.slots import Oec, Slot
from controller.experiments.weights import read_weights
from controller.flow.calendar import Step, calendar
from controller.flow.create import MOST_CHALLENGERS, usable_policy
from controller.flow.demands import DAY, Demands, Trial
from controller.flow.lint import warnings_of
from controller.flow.ports.work import Store, Work
from controller.flow.traffic_rules import reach_of
from controller.stats.calendar import RampStage, Traffic
from controller.stats.feasibility import Demand, Forecast, forecast


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
    warnings : sequence of str
        What the plan leaves unguarded.
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
    warnings: Sequence[str] = ()

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
    weights : mapping of str to share, or None
        Of the arms, adding up to 1; equal where not given.
    start : datetime or None
        Now where not given.
    """

    slot: str
    policy: str | None = None
    challengers: int = 1
    traffic: Traffic | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    weights: Mapping[str, Any] | None = None
    start: datetime | None = None


def plan_rollout(store: Store, project: str, question: Question) -> Outlook:
    """Calendar, power and feasibility of a rollout in this slot under this policy.

    Raises
    ------
    NotFound, PolicyNotAllowed
        If there is no such slot or policy, or the slot does not list the policy.
    InvalidInput
        If the slot has no OEC, no challenger or more than eight are asked for, the weights do not
        fit the arms, a baseline is of no metric of the slot, or nobody says how much traffic there
        is.
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
        _check_baselines(question, slot)
        policy = usable_policy(work, project, slot, question.policy or slot.policy)
        trial = Trial(
            project=project,
            slot=slot,
            policy=policy,
            weights=_weights(question),
            baselines=question.baselines,
        )
        return outlook_of(
            work,
            trial,
            slot.oec,
            traffic=question.traffic or observed_traffic(work, project, slot),
            start=question.start,
            traffic_observed=question.traffic is None,
        )


def observed_traffic(work: Work, project: str, slot: Slot) -> Traffic:
    """New units a day that the slot at rest has shown on its last full days, and may be reached.

    Holdouts and layers do not count while no rollout lives, so what was observed is cut to the
    share that they leave.

    Raises
    ------
    InvalidInput
        If it has not shown any, or none of them may be reached.
    """
    days = work.measurements.observed_days(project, slot.key) if slot.observe > 0.0 else ()
    if not days:
        raise InvalidInput(
            f"traffic: slot {slot.key!r} has not been observed at rest for a full day; state how "
            "many new eligible units a day there are.",
            field="traffic",
        )
    reach = reach_of(work, project, slot)
    if reach.share <= 0.0:
        raise InvalidInput(f"traffic: {reach.sentence}", field="traffic")
    units = [count / slot.observe * reach.share for count in days]
    return Traffic(low=min(units), expected=sum(units) / len(units), high=max(units))


def _check_baselines(question: Question, slot: Slot) -> None:
    """A baseline that no claim would read is a slip: the plan would stand on another number."""
    for key in question.baselines:
        if key not in slot.metrics:
            raise InvalidInput(
                f"baselines: {key!r:.80} is no metric of slot {slot.key}; name "
                f"{', '.join(slot.metrics)}.",
                field="baselines",
            )


def _weights(question: Question) -> Mapping[str, float]:
    """Shares of the arms among enrolled units."""
    arms = (CHAMPION, *challenger_names(question.challengers))
    if question.weights is None:
        return dict.fromkeys(arms, 1.0 / len(arms))
    return read_weights(question.weights, arms, "weights")


def outlook_of(
    work: Work,
    trial: Trial,
    oec: Oec,
    *,
    traffic: Traffic,
    start: datetime | None = None,
    traffic_observed: bool = False,
) -> Outlook:
    """Everything that can be said about a trial under this traffic."""
    policy, demands = trial.policy, Demands(work, trial)
    limit_days = (policy.deadlines.ramping + policy.deadlines.deciding) / DAY
    gate_delay = demands.delay_days(oec.metric)
    stages = [
        RampStage(
            enrolled=stage.enrolled,
            days=stage.dwell_seconds / DAY,
            units=stage.min_units,
            matured=stage.min_matured,
        )
        for stage in policy.ramp
    ]

    def forecast_of(demand: Demand) -> Forecast:
        return forecast(
            demand,
            stages=stages,
            traffic=traffic,
            treatment_weight=trial.treatment,
            control_weight=trial.control,
            limit_days=limit_days,
            first_look=policy.oec.first_look,
            gate_delay_days=gate_delay,
        )

    decides = forecast_of(demands.oec(oec))
    guardrails, unknown = demands.guardrails(decides.units)
    return Outlook(
        slot=trial.slot.key,
        policy=policy,
        start=start or work.now,
        limit_days=limit_days,
        traffic=traffic,
        traffic_observed=traffic_observed,
        oec=decides,
        guardrails=[forecast_of(demand) for demand in guardrails],
        unknown=unknown,
        baselines=demands.baselines,
        calendar=calendar(
            policy,
            stages,
            decides,
            traffic=traffic,
            treated=1.0 - trial.control,
            delay_days=gate_delay,
            limit_days=limit_days,
        ),
        warnings=warnings_of(trial.slot, policy, demands.guarding()),
        split_cost=(1.0 / trial.treatment + 1.0 / trial.control) / (2.0 * len(trial.weights)),
    )
