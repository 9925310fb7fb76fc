"""Every family that a policy can name reaches the look and the planner."""

from __future__ import annotations

import pytest

from controller.analysis.rules import oec_rules
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, OecRules, Policy
from controller.experiments.policies import Spending as SpendingName
from controller.flow.horizon import sequential_test
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.planning import inflation
from controller.stats.spending import Spending, SpendingShape
from tests.unit.analysis.looking import claim, counts, walk
from tests.worlds import plan

TABLE = ((0.25, 0.0), (0.5, 0.2), (1.0, 1.0))
FAMILIES = {
    SpendingName.HSD: ({"gamma": -1.5}, Spending(parameter=-1.5)),
    SpendingName.OBRIEN_FLEMING: ({}, Spending(shape=SpendingShape.OBRIEN_FLEMING)),
    SpendingName.POCOCK: ({}, Spending(shape=SpendingShape.POCOCK)),
    SpendingName.KIM_DEMETS: (
        {"rho": 3.0},
        Spending(shape=SpendingShape.KIM_DEMETS, parameter=3.0),
    ),
    SpendingName.TABULATED: (
        {"spending_table": TABLE},
        Spending(shape=SpendingShape.TABULATED, table=TABLE),
    ),
}


def chosen(name: SpendingName) -> tuple[Plan, Spending]:
    given, shape = FAMILIES[name]
    rules = OecRules(futility=Futility.NONE, spending=name, **given)  # type: ignore[arg-type]
    return Plan.from_document(plan(rules=rules).document()), shape


@pytest.mark.parametrize("name", list(SpendingName))
def test_a_look_spends_by_the_policys_family(name: SpendingName) -> None:
    the_plan, shape = chosen(name)
    reports = walk(the_plan, *(counts(n, 0.1, 0.1) for n in (2000, 3500, 5000)))
    expected = boundaries(SequentialPlan(alpha=0.05, spending=shape), [0.4, 0.7, 1.0])
    for report, look in zip(reports, expected, strict=True):
        test = claim(report)
        assert test.bound == pytest.approx(look.critical_value, abs=1e-9)
        assert test.alpha_spent == pytest.approx(look.alpha_spent, rel=1e-12)


def test_a_table_that_releases_nothing_yet_cannot_cross() -> None:
    (first,) = walk(chosen(SpendingName.TABULATED)[0], counts(1000, 0.1, 0.5))
    assert claim(first).bound is None
    assert claim(first).crossed is None


def test_the_planner_pays_for_the_policys_family() -> None:
    def factor(name: SpendingName) -> float:
        rules = chosen(name)[0].policy.oec
        written = {"ramp": [{"enrolled": 1}], "oec": rules.document()}
        policy = Policy.from_document(written, name="p")
        run = sequential_test(policy, alpha=0.05, alternative="two-sided")
        return inflation(run, alpha=0.05, power=0.9)

    late, early = factor(SpendingName.OBRIEN_FLEMING), factor(SpendingName.POCOCK)
    assert 1.0 < late < factor(SpendingName.KIM_DEMETS) < factor(SpendingName.HSD) < early
    assert late < factor(SpendingName.TABULATED) < early


def test_guardrails_share_the_shape_of_the_plan() -> None:
    the_plan, shape = chosen(SpendingName.KIM_DEMETS)
    oec = the_plan.slot.oec
    assert oec is not None
    assert oec_rules(the_plan, oec, the_plan.metrics[oec.metric]).spending == shape
