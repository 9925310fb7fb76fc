"""An arm that is silent holds the rollout while it lives, and nobody once it is given up."""

from __future__ import annotations

from typing import Any

import pytest

from controller.analysis.report import Claim, Comparison, Held, LookReport, MetricVerdict
from controller.experiments.plans import Plan
from controller.experiments.slots import Guardrail
from controller.rollout.judge import judge
from controller.rollout.judgement import Clause, Facts, Hold, Judgement, Result
from controller.rollout.states import State, Verdict
from tests import worlds
from tests.unit.rollout.reports import comparison, facts, metric, report

THREE = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
WATCHED = {"complaints": (worlds.metric("complaints"), Guardrail(metric="complaints", margin=0.02))}
PLAN = worlds.plan(weights=THREE, guardrails=WATCHED)
ALONE = worlds.plan(guardrails=WATCHED)
ONE, TWO = "challenger-1", "challenger-2"


def better(arm: str) -> Comparison:
    return comparison(MetricVerdict.BETTER, arm=arm, crossed="better")


def safe(arm: str) -> Comparison:
    return comparison(
        MetricVerdict.NOT_WORSE, arm=arm, claim=Claim.NON_INFERIOR, crossed="not_worse"
    )


def unknown(arm: str, reason: str) -> Comparison:
    return comparison(MetricVerdict.UNKNOWN, arm=arm, reason=reason)


def silent(*arms: str, cause: str | None = None, reason: str = "arm_silent") -> LookReport:
    """Both challengers are better; on the guardrail these arms are held, the others safe."""
    held = {arm: Held(reason=reason, cause=cause or arm) for arm in arms}
    guard = [unknown(arm, reason) if arm in arms else safe(arm) for arm in (ONE, TWO)]
    return report(
        PLAN,
        [
            metric("conversion", "oec", better(ONE), better(TWO)),
            metric("complaints", "guardrail", *guard, held=held),
        ],
    )


def judged(look: LookReport, plan: Plan = PLAN, **told: Any) -> Judgement:
    state: Facts = facts(**told)
    return judge(plan, look, state, evidence_sha256="e" * 64)


def fresh(found: Judgement) -> Clause:
    clause = found.clause("fresh.complaints")
    assert clause is not None
    return clause


def test_a_silent_arm_that_lives_holds_the_whole_rollout_and_is_named() -> None:
    found = judged(silent(ONE))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "arm_silent")
    assert found.blockers == ("fresh.complaints",)
    assert found.held == (Hold(metric="complaints", arm=ONE, reason="arm_silent", cause=ONE),)
    assert fresh(found).result is Result.UNKNOWN
    assert fresh(found).observed == [found.held[0].document()]
    assert fresh(found).flip_if.startswith("an outcome of challenger-1 arrives, or challenger-1 is")
    assert Judgement.from_document(found.document()) == found


def test_once_it_is_given_up_the_other_is_promoted() -> None:
    found = judged(silent(ONE), dropped=(ONE,))
    assert (found.verdict, found.arm) == (Verdict.PROMOTE, TWO)
    assert (found.held, found.blockers) == ((), ())
    assert fresh(found).result is Result.PASS


@pytest.mark.parametrize("reason", ["arm_silent", "missing_differs"])
def test_giving_up_the_other_one_frees_nobody(reason: str) -> None:
    found = judged(silent(ONE, reason=reason), dropped=(TWO,))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, reason)


def test_a_silent_champion_holds_whoever_is_left() -> None:
    both = silent(ONE, TWO, cause="champion")
    for dropped in ((), (ONE,), (TWO,)):
        found = judged(both, dropped=dropped)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "arm_silent")
        assert fresh(found).flip_if == "an outcome of champion arrives"


def test_what_is_held_holds_whatever_its_comparison_says() -> None:
    """A verdict that protects is shown even then; the rollout waits all the same."""
    held = {"challenger": Held(reason="missing_differs", cause="challenger")}
    harmless = comparison(MetricVerdict.NOT_WORSE, claim=Claim.NON_INFERIOR, crossed="not_worse")
    look = report(
        ALONE,
        [
            metric("conversion", "oec", comparison(MetricVerdict.BETTER, crossed="better")),
            metric("complaints", "guardrail", harmless, held=held),
        ],
    )
    found = judged(look, ALONE)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "missing_differs")
    assert fresh(found).flip_if == "never: retry once challenger reports again"


def test_stale_data_hold_everybody_whoever_is_given_up() -> None:
    look = report(
        PLAN,
        [
            metric("conversion", "oec", better(ONE), better(TWO)),
            metric("complaints", "guardrail", safe(ONE), safe(TWO), fresh=False, age=99_999.0),
        ],
    )
    assert judged(look, dropped=(ONE,)).reason == "stale"


def test_nothing_is_held_while_only_the_split_is_checked() -> None:
    assert judged(silent(ONE), state=State.AA_CHECK).held == ()
