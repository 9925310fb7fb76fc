"""Drop the loser: what is given up, what goes on, and that it costs the others nothing."""

from __future__ import annotations

from typing import Any

import pytest

from controller.analysis.look import take_look
from controller.analysis.report import (
    Claim,
    Comparison,
    LookInput,
    LookReport,
    MetricVerdict,
)
from controller.experiments.policies import GuardrailRules, HarmAction
from controller.experiments.slots import Guardrail
from controller.rollout.judge import judge
from controller.rollout.judgement import Facts, Judgement
from controller.rollout.proposal import broken_claims
from controller.rollout.states import State, Verdict
from tests import worlds
from tests.unit.rollout.reports import comparison, facts, metric, report

THREE = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
GUARD = worlds.metric("complaints")
WATCHED = {"complaints": (GUARD, Guardrail(metric="complaints", margin=0.02))}
PLAN = worlds.plan(weights=THREE, guardrails=WATCHED)
ONE, TWO = "challenger-1", "challenger-2"


def better(arm: str, estimate: float = 0.03) -> Comparison:
    return comparison(MetricVerdict.BETTER, arm=arm, estimate=estimate, crossed="better")


def going(arm: str) -> Comparison:
    return comparison(arm=arm)


def worse(arm: str) -> Comparison:
    return comparison(MetricVerdict.WORSE, arm=arm, estimate=-0.05, crossed="worse")


def futile(arm: str) -> Comparison:
    return comparison(MetricVerdict.NO_DIFFERENCE, arm=arm, reason="futile", crossed="futile")


def safe(arm: str) -> Comparison:
    return comparison(
        MetricVerdict.NOT_WORSE, arm=arm, claim=Claim.NON_INFERIOR, crossed="not_worse"
    )


def harmed(arm: str) -> Comparison:
    return comparison(MetricVerdict.HARM, arm=arm, claim=Claim.HARM, crossed="harm")


def unshown(arm: str) -> Comparison:
    return comparison(MetricVerdict.NO_DIFFERENCE, arm=arm, claim=Claim.NON_INFERIOR)


def look(oec: list[Comparison], guard: list[Comparison], **parts: Any) -> LookReport:
    return report(
        PLAN,
        [metric("conversion", "oec", *oec), metric("complaints", "guardrail", *guard)],
        **parts,
    )


def judged(seen: LookReport, told: Facts | None = None, plan: Any = PLAN) -> Judgement:
    return judge(plan, seen, told or facts(), evidence_sha256="e" * 64)


@pytest.mark.parametrize(
    ("oec", "guard", "reason", "clause"),
    [
        (going(ONE), harmed(ONE), "guardrail_harm", "harm.complaints.challenger-1"),
        (worse(ONE), safe(ONE), "oec_worse", "oec.conversion.challenger-1"),
        (futile(ONE), safe(ONE), "futile", "oec.conversion.challenger-1"),
        (going(ONE), unshown(ONE), "guardrail_not_shown", "guardrail.complaints.challenger-1"),
    ],
)
def test_one_that_has_lost_is_given_up_alone(
    oec: Comparison, guard: Comparison, reason: str, clause: str
) -> None:
    found = judged(look([oec, going(TWO)], [guard, safe(TWO)]))
    (loser,) = found.drop
    assert (loser.arm, loser.reason) == (ONE, reason)
    assert clause in loser.clauses
    assert found.verdict is Verdict.KEEP_GOING
    assert found.blockers == ()
    assert found.harm == ()


def test_the_best_survivor_that_passed_is_promoted() -> None:
    found = judged(look([harmful := better(ONE, 0.2), better(TWO, 0.03)], [harmed(ONE), safe(TWO)]))
    assert (found.verdict, found.arm) == (Verdict.PROMOTE, TWO)
    assert harmful.estimate == found.lead[ONE]
    assert [loser.arm for loser in found.drop] == [ONE]


def test_where_all_have_lost_the_rollout_ends() -> None:
    both = judged(look([going(ONE), going(TWO)], [harmed(ONE), harmed(TWO)]))
    assert (both.verdict, both.reason, both.drop) == (Verdict.ROLLBACK, "guardrail_harm", ())
    hopeless = judged(look([futile(ONE), futile(TWO)], [safe(ONE), safe(TWO)]))
    assert (hopeless.verdict, hopeless.drop) == (Verdict.NO_DIFFERENCE, ())


def test_the_last_one_ends_the_rollout_after_the_other_was_dropped() -> None:
    seen = look([going(ONE), going(TWO)], [harmed(ONE), harmed(TWO)])
    last = judged(seen, facts(dropped=(ONE,)))
    assert (last.verdict, last.arm, last.drop) == (Verdict.ROLLBACK, TWO, ())


def test_what_was_dropped_says_nothing_any_more() -> None:
    """Its latched harm neither blocks the others nor breaks what people approved."""
    seen = look([better(ONE, 0.2), better(TWO)], [harmed(ONE), safe(TWO)])
    found = judged(seen, facts(dropped=(ONE,)))
    assert (found.verdict, found.arm, found.drop) == (Verdict.PROMOTE, TWO, ())
    assert set(found.lead) == {TWO}
    assert not any(clause.id.endswith(ONE) for clause in found.clauses)
    assert broken_claims({"no_harm": True, "no_srm": True}, found) == []


@pytest.mark.parametrize(
    ("told", "srm"),
    [
        (facts(killed=True), False),
        (facts(champion_changed=True), False),
        (facts(), True),
        (facts(state=State.BAKING), False),
        (facts(state=State.AA_CHECK), False),
    ],
)
def test_nobody_is_dropped_on_numbers_that_cannot_be_trusted(told: Facts, srm: bool) -> None:
    seen = look([going(ONE), going(TWO)], [harmed(ONE), safe(TWO)], srm=srm)
    assert judged(seen, told).drop == ()


def test_harm_that_only_pauses_holds_everybody() -> None:
    pausing = worlds.plan(
        weights=THREE, guardrails=WATCHED, guardrail_rules=GuardrailRules(action=HarmAction.PAUSE)
    )
    found = judged(look([going(ONE), going(TWO)], [harmed(ONE), safe(TWO)]), plan=pausing)
    assert found.drop == ()
    assert found.blockers == ("harm.complaints.challenger-1",)


def test_a_single_challenger_is_rolled_back_not_dropped() -> None:
    alone = worlds.plan(guardrails=WATCHED)
    seen = report(
        alone,
        [
            metric("conversion", "oec", comparison()),
            metric("complaints", "guardrail", harmed("challenger")),
        ],
    )
    found = judged(seen, plan=alone)
    assert (found.verdict, found.drop) == (Verdict.ROLLBACK, ())


def test_a_judgement_from_before_drops_is_read() -> None:
    found = judged(look([worse(ONE), going(TWO)], [safe(ONE), safe(TWO)]))
    document = found.document()
    assert Judgement.from_document(document) == found
    document.pop("drop")
    assert Judgement.from_document(document).drop == ()


def test_dropping_loosens_nobodys_level() -> None:
    """Alpha stays divided among those who started: a drop is no rejection on Holm's ladder."""
    plan = worlds.plan(weights=THREE, horizon=6000)
    before = {
        "champion": worlds.binary(800, 240),
        ONE: worlds.binary(600, 180),
        TWO: worlds.binary(600, 186),
    }
    after = {"champion": worlds.binary(800, 240), TWO: worlds.binary(600, 186)}
    going_on = after | {ONE: worlds.binary(600, 180)}
    bounds = []
    for second in (after, going_on):
        cells = {("conversion", 0, arm): cell for arm, cell in before.items()}
        one = take_look(
            LookInput(plan=plan, statistics=worlds.statistics(cells, weights=[THREE]), number=1)
        )
        cells |= {("conversion", 1, arm): cell for arm, cell in second.items()}
        seen = worlds.statistics(cells, weights=[THREE, THREE])
        two = take_look(LookInput(plan=plan, statistics=seen, number=2, previous=one.memory))
        oec = two.metric("conversion")
        assert oec is not None
        (test, *_) = next(each for each in oec.comparisons if each.arm == TWO).tests
        bounds.append((test.look, test.alpha, test.bound, test.alpha_spent))
    assert bounds[0] == bounds[1]
    assert bounds[0][:2] == (2, 0.025)
