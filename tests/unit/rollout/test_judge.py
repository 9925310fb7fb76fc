"""The judge: one fixed order, every clause reported, missing data never in favour (I5)."""

from __future__ import annotations

from itertools import product

import pytest

from controller.aggregation.statistics import Moments
from controller.analysis.report import Claim, LookReport, MetricReport, MetricVerdict
from controller.experiments.metrics import Direction
from controller.experiments.plans import Plan
from controller.experiments.policies import GuardrailRules, HarmAction
from controller.experiments.slots import Goal, Guardrail
from controller.rollout.judge import judge
from controller.rollout.judgement import Facts, Judgement, Recommendation, Result
from controller.rollout.states import State, Verdict
from tests import worlds
from tests.unit.rollout.reports import comparison, facts, metric, report

GUARD = worlds.metric("complaints")
PLAN = worlds.plan(guardrails={"complaints": (GUARD, Guardrail(metric="complaints", margin=0.02))})
SAFE = comparison(MetricVerdict.NOT_WORSE, claim=Claim.NON_INFERIOR, crossed="not_worse")
BETTER = comparison(MetricVerdict.BETTER, reason="boundary_crossed", crossed="better")
HARMED = comparison(MetricVerdict.HARM, claim=Claim.HARM, crossed="harm")


def judged(look: LookReport, told: Facts | None = None, plan: Plan = PLAN) -> Judgement:
    return judge(plan, look, told or facts(), evidence_sha256="e" * 64)


def seen(oec: MetricReport, guard: MetricReport, **parts: object) -> LookReport:
    return report(PLAN, [oec, guard], **parts)  # type: ignore[arg-type]


GOOD = seen(metric("conversion", "oec", BETTER), metric("complaints", "guardrail", SAFE))


def test_better_and_safe_is_promoted() -> None:
    found = judged(GOOD)
    assert (found.verdict, found.reason, found.arm) == (Verdict.PROMOTE, "oec_shown", "challenger")
    assert found.recommendation is Recommendation.PROMOTE
    assert found.blockers == ()
    assert found.lead == {"challenger": 0.01}


@pytest.mark.parametrize(
    ("told", "verdict", "reason"),
    [
        (facts(killed=True), Verdict.UNKNOWN, "killed"),
        (facts(champion_changed=True), Verdict.ROLLBACK, "champion_changed"),
        (facts(killed=True, champion_changed=True), Verdict.UNKNOWN, "killed"),
    ],
)
def test_what_is_true_outside_the_data_comes_first(
    told: Facts, verdict: Verdict, reason: str
) -> None:
    found = judged(GOOD, told)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_the_order_is_kill_integrity_harm_freshness_evidence() -> None:
    stale_and_harmed = [
        metric("conversion", "oec", BETTER, fresh=False, age=99_999.0),
        metric("complaints", "guardrail", HARMED),
    ]
    everything = report(PLAN, stale_and_harmed, srm=True)
    assert judged(everything, facts(killed=True)).reason == "killed"
    assert judged(everything).reason == "srm"
    assert judged(report(PLAN, stale_and_harmed)).reason == "guardrail_harm"
    only_stale = [stale_and_harmed[0], metric("complaints", "guardrail", SAFE)]
    assert judged(report(PLAN, only_stale)).reason == "stale"


def test_every_clause_is_reported_whatever_decides() -> None:
    found = judged(report(PLAN, GOOD.metrics, srm=True), facts(killed=True))
    ids = {clause.id for clause in found.clauses}
    assert ids == {
        "kill",
        "integrity.champion",
        "integrity.srm",
        "integrity.arm_mismatch",
        "integrity.double_exposure",
        "harm.complaints",
        "worse.conversion",
        "fresh.conversion",
        "fresh.complaints",
        "oec.conversion",
        "guardrail.complaints",
    }
    assert found.blockers == ("kill", "integrity.srm")
    assert all(clause.flip_if for clause in found.clauses)


def test_harm_stands_although_the_metric_has_become_stale() -> None:
    look = seen(
        metric("conversion", "oec", BETTER, fresh=False, age=None),
        metric("complaints", "guardrail", HARMED, fresh=False, age=99_999.0),
    )
    assert judged(look).verdict is Verdict.ROLLBACK


def test_a_latched_harm_stands_whatever_is_said_since() -> None:
    calmed = comparison(MetricVerdict.INCONCLUSIVE, claim=Claim.HARM, crossed="harm")
    look = seen(metric("conversion", "oec", BETTER), metric("complaints", "guardrail", calmed))
    found = judged(look)
    assert (found.verdict, found.harm) == (Verdict.ROLLBACK, ("complaints",))


def test_harm_under_a_pausing_policy_holds() -> None:
    plan = worlds.plan(
        guardrails={"complaints": (GUARD, Guardrail(metric="complaints", margin=0.02))},
        guardrail_rules=GuardrailRules(action=HarmAction.PAUSE),
    )
    look = seen(metric("conversion", "oec", BETTER), metric("complaints", "guardrail", HARMED))
    found = judged(look, plan=plan)
    assert (found.verdict, found.recommendation) == (Verdict.UNKNOWN, Recommendation.HOLD)


@pytest.mark.parametrize(("age", "reason"), [(None, "no_data"), (99_999.0, "stale")])
def test_data_that_cannot_be_read_are_unknown(age: float | None, reason: str) -> None:
    look = seen(
        metric("conversion", "oec", BETTER),
        metric("complaints", "guardrail", SAFE, fresh=False, age=age),
    )
    found = judged(look)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, reason)
    clause = found.clause("fresh.complaints")
    assert clause is not None
    assert clause.result is Result.UNKNOWN


def test_a_metric_without_a_report_is_unknown() -> None:
    found = judged(report(PLAN, [metric("conversion", "oec", BETTER)]))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "no_data")


@pytest.mark.parametrize("oec", list(MetricVerdict))
@pytest.mark.parametrize("guard", list(MetricVerdict))
def test_nothing_but_better_and_safe_is_ever_promoted(
    oec: MetricVerdict, guard: MetricVerdict
) -> None:
    look = seen(
        metric("conversion", "oec", comparison(oec)),
        metric("complaints", "guardrail", comparison(guard)),
    )
    promoted = judged(look).verdict is Verdict.PROMOTE
    safe = guard in (MetricVerdict.BETTER, MetricVerdict.NOT_WORSE)
    assert promoted == (oec is MetricVerdict.BETTER and safe)


@pytest.mark.parametrize(
    ("oec", "guard", "verdict", "reason"),
    [
        (MetricVerdict.INCONCLUSIVE, MetricVerdict.NOT_WORSE, Verdict.KEEP_GOING, "why"),
        (MetricVerdict.BETTER, MetricVerdict.INCONCLUSIVE, Verdict.KEEP_GOING, "guardrail_pending"),
        (MetricVerdict.BETTER, MetricVerdict.UNKNOWN, Verdict.UNKNOWN, "why"),
        (MetricVerdict.UNKNOWN, MetricVerdict.NOT_WORSE, Verdict.UNKNOWN, "why"),
        (MetricVerdict.NO_DIFFERENCE, MetricVerdict.NOT_WORSE, Verdict.NO_DIFFERENCE, "why"),
        (
            MetricVerdict.INCONCLUSIVE,
            MetricVerdict.NO_DIFFERENCE,
            Verdict.NO_DIFFERENCE,
            "guardrail_not_shown",
        ),
        (MetricVerdict.WORSE, MetricVerdict.NOT_WORSE, Verdict.ROLLBACK, "oec_worse"),
    ],
)
def test_what_the_evidence_amounts_to(
    oec: MetricVerdict, guard: MetricVerdict, verdict: Verdict, reason: str
) -> None:
    look = seen(
        metric("conversion", "oec", comparison(oec, reason="why")),
        metric("complaints", "guardrail", comparison(guard, reason="why")),
    )
    found = judged(look)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_latched_winner_that_no_longer_leads_is_not_promoted_now() -> None:
    behind = comparison(MetricVerdict.BETTER, estimate=-0.001, crossed="better")
    look = seen(metric("conversion", "oec", behind), metric("complaints", "guardrail", SAFE))
    found = judged(look)
    assert (found.verdict, found.reason) == (Verdict.KEEP_GOING, "claim_broken")
    assert found.recommendation is Recommendation.HOLD


def test_where_less_is_better_a_fall_leads() -> None:
    cost = worlds.metric("cost", direction=Direction.DECREASE)
    plan = worlds.plan(oec=cost)
    cheaper = comparison(MetricVerdict.BETTER, estimate=-0.06, crossed="better")
    found = judged(report(plan, [metric("cost", "oec", cheaper)]), plan=plan)
    assert found.verdict is Verdict.PROMOTE
    assert found.lead == {"challenger": 0.06}


def test_not_worse_is_enough_where_that_is_the_goal() -> None:
    plan = worlds.plan(goal=Goal.NOT_WORSE, margin=0.02)
    a_little_behind = comparison(MetricVerdict.NOT_WORSE, estimate=-0.01, crossed="not_worse")
    found = judged(report(plan, [metric("conversion", "oec", a_little_behind)]), plan=plan)
    assert found.verdict is Verdict.PROMOTE


def test_of_several_that_are_better_the_one_ahead_is_promoted() -> None:
    plan = worlds.plan(weights={"champion": 1 / 3, "challenger-1": 1 / 3, "challenger-2": 1 / 3})
    both = [
        comparison(MetricVerdict.BETTER, arm="challenger-1", estimate=0.02),
        comparison(MetricVerdict.BETTER, arm="challenger-2", estimate=0.05),
    ]
    found = judged(report(plan, [metric("conversion", "oec", *both)]), plan=plan)
    assert (found.verdict, found.arm) == (Verdict.PROMOTE, "challenger-2")


def test_one_of_several_that_is_worse_does_not_end_the_others() -> None:
    plan = worlds.plan(weights={"champion": 1 / 3, "challenger-1": 1 / 3, "challenger-2": 1 / 3})
    mixed = [
        comparison(MetricVerdict.WORSE, arm="challenger-1", estimate=-0.05, crossed="worse"),
        comparison(MetricVerdict.INCONCLUSIVE, arm="challenger-2"),
    ]
    found = judged(report(plan, [metric("conversion", "oec", *mixed)]), plan=plan)
    assert found.verdict is Verdict.KEEP_GOING


@pytest.mark.parametrize(("wrong", "alarmed"), [(10, False), (11, True)])
def test_a_few_mismatched_arms_are_tolerated(wrong: int, alarmed: bool) -> None:
    found = judged(report(PLAN, GOOD.metrics, excluded={"arm_mismatch": wrong}))
    assert (found.reason == "arm_mismatch") == alarmed


@pytest.mark.parametrize(
    ("double", "exposed", "alarmed"),
    [(10, 400, False), (11, 400, True), (19, 19_000, False), (21, 19_000, True)],
)
def test_more_than_one_unit_in_a_thousand_with_two_arms_is_an_alarm(
    double: int, exposed: int, alarmed: bool
) -> None:
    counts = {(1, "champion"): exposed // 2, (1, "challenger"): exposed - exposed // 2}
    look = report(PLAN, GOOD.metrics, excluded={"double_exposure": double}, exposed=counts)
    found = judged(look)
    assert (found.reason == "double_exposure") == alarmed
    assert (found.verdict is Verdict.UNKNOWN) == alarmed


def test_an_aa_check_is_judged_by_its_split_alone() -> None:
    checking = facts(state=State.AA_CHECK)
    assert judged(report(PLAN, []), checking).verdict is Verdict.KEEP_GOING
    assert judged(report(PLAN, [], srm=True), checking).reason == "srm"


def test_units_are_counted_in_the_epoch_of_the_stage() -> None:
    cells = {
        ("conversion", epoch, arm): Moments(n=10 * epoch, missing=epoch)
        for epoch, arm in product((1, 2), ("champion", "challenger"))
    }
    exposed = {
        (epoch, arm): 100 * epoch for epoch, arm in product((1, 2), ("champion", "challenger"))
    }
    found = judged(report(PLAN, GOOD.metrics, exposed=exposed, moments=cells), facts(epoch=2))
    assert (found.exposed, found.matured) == (400, 44)


def test_nothing_is_overdue_before_the_first_window_has_passed() -> None:
    slow = worlds.metric("repaid", window_seconds=30 * 86_400.0)
    plan = worlds.plan(oec=slow)
    silent = report(plan, [metric("repaid", "oec", comparison(), fresh=False, age=None)])
    early = judged(silent, facts(exposed_seconds=86_400.0), plan)
    late = judged(silent, facts(exposed_seconds=31 * 86_400.0), plan)
    assert early.missing_seconds == 0
    assert late.missing_seconds == 86_400 - plan.policy.data.max_age_seconds


def test_a_judgement_survives_being_written_down() -> None:
    found = judged(GOOD)
    assert Judgement.from_document(found.document()) == found
