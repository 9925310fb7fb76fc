"""From a frozen plan to the rules of each test: which null, which alpha, which clock."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from controller.analysis.planned import PlannedRules
from controller.analysis.report import Claim
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION, Plan
from controller.experiments.policies import Futility, OecRules
from controller.experiments.policies import Spending as SpendingName
from controller.experiments.slots import Goal, Guardrail, Oec
from controller.experiments.spending_choice import SpendingChoice
from controller.stats.futility import FutilityPlan, design_drift
from controller.stats.group_sequential import SequentialPlan
from controller.stats.score import EQUAL, Null, planned_size
from controller.stats.spending import Spending, SpendingShape

_SHAPES: Mapping[SpendingName, SpendingShape] = MappingProxyType(
    {
        SpendingName.HSD: SpendingShape.HWANG_SHIH_DECANI,
        SpendingName.OBRIEN_FLEMING: SpendingShape.OBRIEN_FLEMING,
        SpendingName.POCOCK: SpendingShape.POCOCK,
        SpendingName.KIM_DEMETS: SpendingShape.KIM_DEMETS,
        SpendingName.TABULATED: SpendingShape.TABULATED,
    }
)


def oec_rules(plan: Plan, oec: Oec, metric: Metric) -> PlannedRules:
    """The OEC's test: superior (or worse) two-sided at alpha, not worse one-sided at alpha / 2."""
    rules = plan.policy.oec
    superior = oec.goal is Goal.SUPERIOR
    alpha = rules.alpha if superior else rules.alpha / 2.0
    levels = len(plan.challengers)
    reserve = rules.reserve * alpha / rules.alpha
    whole = SequentialPlan(alpha=(alpha - reserve) / levels, sides=2 if superior else 1)
    return PlannedRules(
        claim=Claim.SUPERIOR if superior else Claim.NOT_WORSE,
        better=metric.better,
        null=EQUAL if superior else margin_null(metric, margin=oec.margin, relative=None),
        alpha=alpha,
        sides=whole.sides,
        levels=levels,
        spending=spending(rules),
        futility=futility_plan(rules, whole),
        size_planned=_size(plan, plan.horizon),
        first_look=rules.first_look,
        reserve=reserve,
    )


def guardrail_rules(plan: Plan, guardrail: Guardrail, metric: Metric) -> PlannedRules:
    """A guardrail's non-inferiority test: one-sided at its own alpha, on its own clock.

    Every guardrail must be shown (intersection-union), so nothing is divided between them, nor
    between challengers, whose promotion their OEC already limits.
    """
    horizon = plan.guardrail_horizons.get(guardrail.metric, plan.horizon)
    return PlannedRules(
        claim=Claim.NON_INFERIOR,
        better=metric.better,
        null=margin_null(metric, margin=guardrail.margin, relative=guardrail.margin_relative),
        alpha=plan.policy.guardrail_rules(guardrail.metric).alpha,
        sides=1,
        levels=1,
        spending=spending(plan.policy.oec),
        futility=None,
        size_planned=_size(plan, horizon),
        first_look=plan.policy.oec.first_look,
    )


def margin_null(metric: Metric, *, margin: float | None, relative: float | None) -> Null:
    """Where a challenger would be that is worse by exactly the margin."""
    if relative is not None:
        return Null(scale=1.0 - metric.better * relative)
    assert margin is not None
    return Null(shift=-metric.better * margin)


def spending(rules: OecRules) -> Spending:
    """How a policy's planned tests release their alpha."""
    return spending_of(SpendingChoice(rules.spending, rules.gamma, rules.rho, rules.spending_table))


def spending_of(choice: SpendingChoice) -> Spending:
    """The spending function behind what is written down."""
    power = choice.spending is SpendingName.KIM_DEMETS
    return Spending(
        shape=_SHAPES[choice.spending],
        parameter=choice.rho if power else choice.gamma,
        table=choice.table,
    )


def futility_plan(rules: OecRules, whole: SequentialPlan) -> FutilityPlan | None:
    """How the OEC's test gives up hope; None where the policy does not want it to."""
    if rules.futility is not Futility.NON_BINDING:
        return None
    return FutilityPlan(drift=design_drift(whole, power=rules.power), beta=1.0 - rules.power)


def _size(plan: Plan, horizon: int) -> float:
    """W_max of one challenger beside champion: of the one with the least weight, for all."""
    least = min(plan.weights[arm] for arm in plan.challengers)
    return planned_size(horizon, least, plan.weights[CHAMPION])
