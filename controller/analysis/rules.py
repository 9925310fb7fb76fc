"""From a frozen plan to the rules of each test: which null, which alpha, which clock."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from controller.analysis.planned import PlannedRules
from controller.analysis.report import Claim
from controller.experiments.metrics import Metric, MetricType
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

_SIGNED = frozenset({MetricType.MEAN, MetricType.RATIO})


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
        size_planned=planned_size(plan.horizon, *_weights(plan)),
        first_look=rules.first_look,
        reserve=reserve,
    )


class Shared(NamedTuple):
    """What the tests of a plan's guardrails share: how alpha is spent, and `_weights`."""

    spending: Spending
    weights: tuple[float, float]


def shared_by_guardrails(plan: Plan) -> Shared:
    """Derived once for all of them."""
    return Shared(spending=spending(plan.policy.oec), weights=_weights(plan))


def guardrail_rules(
    plan: Plan, guardrail: Guardrail, metric: Metric, *, shared: Shared | None = None
) -> PlannedRules:
    """A guardrail's non-inferiority test: one-sided at its own alpha, on its own clock.

    Every guardrail must be shown (intersection-union), so nothing is divided between them, nor
    between challengers, whose promotion their OEC already limits.
    """
    release, weights = shared or shared_by_guardrails(plan)
    horizon = plan.guardrail_horizons.get(guardrail.metric, plan.horizon)
    return PlannedRules(
        claim=Claim.NON_INFERIOR,
        better=metric.better,
        null=margin_null(metric, margin=guardrail.margin, relative=guardrail.margin_relative),
        alpha=plan.policy.guardrail_rules(guardrail.metric).alpha,
        sides=1,
        levels=1,
        spending=release,
        futility=None,
        size_planned=planned_size(horizon, *weights),
        first_look=plan.policy.oec.first_look,
    )


def margin_null(metric: Metric, *, margin: float | None, relative: float | None) -> Null:
    """Where a challenger would be that is worse by exactly the margin.

    A relative one as it is where champion stands above zero; below, this null asks for more than
    the margin does, so that a claim against it holds all the same.
    """
    if relative is not None:
        return Null(scale=1.0 - metric.better * relative)
    assert margin is not None
    return Null(shift=-metric.better * margin)


def harm_nulls(null: Null, metric: Metric) -> tuple[Null, ...]:
    """Every null that has to be refuted before a challenger is worse than the margin.

    A relative margin is a part of the size of champion's level, |mean0|. Where an increase is
    better, harm lies below both (1 - m) mean0 and (1 + m) mean0; which of them is lower, the sign
    of mean0 says. Shares, counts and quantiles cannot lie below zero and have the one (decision
    0062).
    """
    if null.scale == 1.0 or metric.type not in _SIGNED:
        return (null,)
    return (null, Null(scale=2.0 - null.scale, shift=null.shift))


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


def _weights(plan: Plan) -> tuple[float, float]:
    """Of the challenger with the least weight, which serves for all, and of champion: for W_max."""
    return min([plan.weights[arm] for arm in plan.challengers]), plan.weights[CHAMPION]
