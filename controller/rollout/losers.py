"""Drop the loser: which of several challengers have lost while at least one can still win.

Giving up a challenger takes units away from it and gives none to the others. It does not loosen
their tests either: alpha stays divided among the challengers that started (Holm's ladder moves on a
rejection only), so a drop may follow any rule without costing error rate.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.analysis.report import LookReport
from controller.experiments.plans import Plan
from controller.experiments.policies import HarmAction
from controller.rollout.judgement import Drop, Result
from controller.rollout.states import Verdict
from controller.rollout.weigh import harmed_metrics, suffix, weigh_arm

_OVER = frozenset({Verdict.ROLLBACK, Verdict.NO_DIFFERENCE})


def losers(report: LookReport, plan: Plan, arms: Sequence[str]) -> tuple[Drop, ...]:
    """The challengers to give up; none where all have lost: then the whole rollout ends.

    Parameters
    ----------
    report : LookReport
        Of these challengers alone.
    arms : sequence of str
        Those that have not been given up before.
    """
    found = [drop for arm in arms if (drop := _lost(report, plan, arm)) is not None]
    return tuple(found) if len(found) < len(arms) else ()


def _lost(report: LookReport, plan: Plan, arm: str) -> Drop | None:
    """Harm that takes back by itself, then what a whole rollout of this one would end by."""
    harmed = tuple(
        f"harm.{metric.key}{suffix(plan, arm)}"
        for metric, comparison in harmed_metrics(report)
        if comparison.arm == arm
        and plan.policy.guardrail_rules(metric.key).action is HarmAction.ROLLBACK
    )
    if harmed:
        return Drop(arm=arm, reason="guardrail_harm", clauses=harmed)
    weighed = weigh_arm(report, plan, arm)
    if weighed.verdict not in _OVER:
        return None
    failed = tuple(clause.id for clause in weighed.clauses if clause.result is Result.FAIL)
    return Drop(arm=arm, reason=weighed.reason, clauses=failed)
