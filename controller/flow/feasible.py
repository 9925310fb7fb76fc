"""Whether a plan is known to be unable to decide: it would end as "no difference" untried."""

from __future__ import annotations

from contextlib import suppress

from controller.errors import BaselineUnknown, InvalidInput
from controller.experiments.plans import Plan
from controller.flow.demands import Demands, Trial
from controller.flow.planning import observed_traffic, outlook_of
from controller.flow.ports.work import Work
from controller.stats.calendar import Traffic
from controller.stats.feasibility import FEWEST_POWER, Demand, Forecast, power_with


def infeasible(work: Work, plan: Plan) -> list[str]:
    """Each claim that the plan's own horizon, or the traffic seen at rest, cannot show, and advice.

    What nobody knows speaks for nothing here: a claim without a baseline, or a slot that was never
    observed, is not held against the plan.
    """
    trial = Trial(project=plan.project, slot=plan.slot, policy=plan.policy, weights=plan.weights)
    return _too_few_units(work, trial, plan) or _too_little_time(work, trial)


def _too_few_units(work: Work, trial: Trial, plan: Plan) -> list[str]:
    """Claims that would fail more often than not even with every planned unit."""
    demands = Demands(work, trial)
    claims: list[tuple[Demand, int]] = []
    assert plan.slot.oec is not None
    with suppress(BaselineUnknown):
        claims.append((demands.oec(plan.slot.oec), plan.horizon))
    guardrails, _ = demands.guardrails(plan.horizon)
    claims += [(one, plan.guardrail_horizons[one.key]) for one in guardrails]
    said = []
    for demand, units in claims:
        power = power_with(
            demand, units, treatment_weight=trial.treatment, control_weight=trial.control
        )
        if power < FEWEST_POWER:
            said.append(
                f"{demand.key}: with {units:,} units the chance to show {demand.effect:.4g} is "
                f"{power:.2f}; state a longer horizon, or a larger effect or margin."
            )
    return said


def _too_little_time(work: Work, trial: Trial) -> list[str]:
    """Claims whose horizon is out of reach even with the traffic of the best observed day."""
    assert trial.slot.oec is not None
    try:
        traffic = observed_traffic(work, trial.project, trial.slot)
        best = Traffic(low=traffic.expected, expected=traffic.high, high=traffic.high)
        outlook = outlook_of(work, trial, trial.slot.oec, traffic=best)
    except (BaselineUnknown, InvalidInput):
        return []
    return [
        _late(one, outlook.limit_days)
        for one in (outlook.oec, *outlook.guardrails)
        if not one.feasible
    ]


def _late(one: Forecast, limit_days: float) -> str:
    return (
        f"{one.key}: {one.units:,} units take {one.days_needed:,.1f} of {limit_days:,.1f} days "
        f"even with the traffic of the best observed day; {one.traffic_factor:,.1f} times that, "
        f"or an effect of {one.effect_at_limit:.4g}, would do."
    )
