"""What a rollout has to show, as the planner's arithmetic sees it: effects, variances, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.errors import BaselineUnknown, NotFound
from controller.experiments.metric_rules import check_margin
from controller.experiments.metrics import Baseline, Metric, Observed
from controller.experiments.plans import CHAMPION
from controller.experiments.policies import Policy
from controller.experiments.slots import Goal, Guardrail, Oec, Slot
from controller.flow.horizon import baseline_of, sequential_test, smallest_effect
from controller.flow.ports.work import Work
from controller.stats.feasibility import Demand
from controller.stats.planning import contrast_variance, drift_for_power, inflation
from controller.stats.results import Alternative

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is to be tried: a policy in a slot, with a champion and some challengers.

    Attributes
    ----------
    weights : mapping of str to float
        Share of each arm among enrolled units; they add up to 1.
    baselines : mapping of str to Baseline
        Stated for this question: they go before a metric's own and before what was observed.
    """

    project: str
    slot: Slot
    policy: Policy
    weights: Mapping[str, float]
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    @property
    def control(self) -> float:
        """The champion's weight."""
        return self.weights[CHAMPION]

    @property
    def treatment(self) -> float:
        """The least weight of a challenger: that comparison needs the most units."""
        return min(share for arm, share in self.weights.items() if arm != CHAMPION)


class Demands:
    """Every claim of a trial, with the baseline that each stands on.

    `baselines` fills as claims are read.
    """

    def __init__(self, work: Work, trial: Trial) -> None:
        self._work, self._trial, self._policy = work, trial, trial.policy
        self.baselines: dict[str, Baseline] = {}

    def oec(self, oec: Oec) -> Demand:
        """The claim of the metric that decides.

        Raises
        ------
        BaselineUnknown
            If nothing says how it varies, or what the smallest effect is.
        """
        metric = self._metric(oec.metric)
        baseline = self._baseline(metric)
        superior = oec.goal is Goal.SUPERIOR
        alpha = self._policy.oec.planned_alpha / (1.0 if superior else 2.0)
        return self._demand(
            metric,
            effect=smallest_effect(oec, baseline.mean),
            variance=baseline.sd**2,
            alpha=alpha / (len(self._trial.weights) - 1),
            alternative="two-sided" if superior else "larger",
            horizon=self._policy.oec.horizon,
            gives_up=True,
        )

    def guardrails(self, units: int) -> tuple[Sequence[Demand], Mapping[str, str]]:
        """The claims of the guardrails, at the OEC's horizon where the policy states none.

        The second answer names the guardrails whose baseline is unknown, and why.

        Raises
        ------
        InvalidInput
            If a relative margin has no champion above zero to be a fraction of.
        """
        known: list[Demand] = []
        unknown: dict[str, str] = {}
        for guardrail in self._trial.slot.guardrails:
            if self._is_alarm_alone(self._metric(guardrail.metric)):
                continue  # its claim does not move, so nothing of it has to be shown
            try:
                known.append(self._guardrail(guardrail, units))
            except BaselineUnknown as error:
                unknown[guardrail.metric] = error.message
        return known, unknown

    def guarding(self) -> Mapping[str, Metric]:
        """The guardrails' metrics."""
        return {one.metric: self._metric(one.metric) for one in self._trial.slot.guardrails}

    def delay_days(self, key: str) -> float:
        """Days from exposure to completeness of a metric."""
        return _delay(self._metric(key))

    def _is_alarm_alone(self, metric: Metric) -> bool:
        return metric.observed is Observed.AFTER_DECISION and not self._policy.allow_selected

    def _guardrail(self, guardrail: Guardrail, units: int) -> Demand:
        metric = self._metric(guardrail.metric)
        baseline = self._baseline(metric)
        margin, variance = guardrail.margin, baseline.sd**2
        if margin is None:
            assert guardrail.margin_relative is not None
            check_margin(guardrail, metric, mean=baseline.mean, where="slot.guardrails")
            margin = guardrail.margin_relative * baseline.mean
            variance = contrast_variance(
                variance,
                scale=1.0 - metric.better * guardrail.margin_relative,
                treatment_weight=self._trial.treatment
                / (self._trial.treatment + self._trial.control),
            )
        rules = self._policy.guardrail_rules(metric.key)
        return self._demand(
            metric,
            effect=margin,
            variance=variance,
            alpha=rules.alpha,
            alternative="larger",
            horizon=rules.horizon or units,
            gives_up=False,
        )

    def _demand(
        self,
        metric: Metric,
        *,
        effect: float,
        variance: float,
        alpha: float,
        alternative: Alternative,
        horizon: int | None,
        gives_up: bool,
    ) -> Demand:
        power = self._policy.oec.power
        test = sequential_test(
            self._policy, alpha=alpha, alternative=alternative, gives_up=gives_up
        )
        return Demand(
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

    def _baseline(self, metric: Metric) -> Baseline:
        stated = self._trial.baselines.get(metric.key)
        if stated is None:
            mean, sd = baseline_of(self._work, self._trial.project, self._trial.slot, metric)
            stated = Baseline(mean=mean, sd=sd)
        self.baselines[metric.key] = stated
        return stated

    def _metric(self, key: str) -> Metric:
        metric = self._work.definitions.metric(self._trial.project, key)
        if metric is None:
            raise NotFound(f"There is no metric {key!r:.80}.")
        return metric


def _delay(metric: Metric) -> float:
    return (metric.window_seconds + metric.lateness_seconds) / DAY
