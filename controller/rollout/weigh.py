"""Weighing the evidence of one look: the OEC and the guardrails of every challenger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from controller.analysis.report import Comparison, LookReport, MetricReport, MetricVerdict
from controller.experiments.plans import Plan
from controller.experiments.slots import Goal
from controller.rollout.judgement import Clause, Result
from controller.rollout.states import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the evidence alone would say; `arm` is the challenger it says it of."""

    verdict: Verdict
    reason: str
    arm: str | None = None
    clauses: tuple[Clause, ...] = ()


NOTHING_WEIGHED = Weighed(verdict=Verdict.KEEP_GOING, reason="checking_the_split")

_RANK = {
    Verdict.PROMOTE: 0,
    Verdict.UNKNOWN: 1,
    Verdict.KEEP_GOING: 2,
    Verdict.NO_DIFFERENCE: 3,
    Verdict.ROLLBACK: 4,
}


def weigh_evidence(
    report: LookReport, plan: Plan, arms: Sequence[str], *, lost: frozenset[str] = frozenset()
) -> Weighed:
    """OEC and guardrails of every challenger; of several that may be promoted, the one ahead.

    Parameters
    ----------
    arms : sequence of str
        Challengers that have not been given up before.
    lost : set of str
        Those of them that are given up now: their clauses are told, they decide nothing.
    """
    weighed = [weigh_arm(report, plan, arm) for arm in arms]
    by_arm = oec_by_arm(report, plan)

    def order(found: Weighed) -> tuple[int, float]:
        comparison = by_arm.get(found.arm or "")
        lead = lead_of(plan, comparison) if comparison else None
        return _RANK[found.verdict], -(lead or 0.0)

    best = min((found for found in weighed if found.arm not in lost), key=order)
    clauses = tuple(clause for found in weighed for clause in found.clauses)
    return Weighed(verdict=best.verdict, reason=best.reason, arm=best.arm, clauses=clauses)


_OVER = (MetricVerdict.NO_DIFFERENCE, MetricVerdict.WORSE, MetricVerdict.HARM)


def weigh_arm(report: LookReport, plan: Plan, arm: str) -> Weighed:
    """One challenger: intersection-union, the OEC and every guardrail must be shown.

    A guardrail that is seen only after the decision shows nothing; its alarm is heard elsewhere.
    """
    oec = oec_by_arm(report, plan).get(arm)
    guardrails = [
        found
        for metric in report.metrics
        if metric.role == "guardrail"
        for found in metric.comparisons
        if found.arm == arm and not is_alarm_alone(found)
    ]
    if oec is None:
        verdict, reason = Verdict.UNKNOWN, "no_data"
    else:
        verdict, reason = _ended(oec, guardrails) or _open(plan, oec, guardrails)
    clauses = tuple(_evidence_clauses(report, plan, arm))
    return Weighed(verdict=verdict, reason=reason, arm=arm, clauses=clauses)


def _ended(oec: Comparison, guardrails: Sequence[Comparison]) -> tuple[Verdict, str] | None:
    """A challenger that can no longer be promoted."""
    if is_worse(oec):
        return Verdict.ROLLBACK, "oec_worse"
    if oec.verdict is MetricVerdict.NO_DIFFERENCE:
        return Verdict.NO_DIFFERENCE, oec.reason or "no_difference"
    if any(found.verdict is MetricVerdict.NO_DIFFERENCE for found in guardrails):
        return Verdict.NO_DIFFERENCE, "guardrail_not_shown"
    return None


def _open(plan: Plan, oec: Comparison, guardrails: Sequence[Comparison]) -> tuple[Verdict, str]:
    """A challenger that may yet be promoted, or may be now."""
    unknown = [
        found.reason for found in (oec, *guardrails) if found.verdict is MetricVerdict.UNKNOWN
    ]
    if unknown:
        return Verdict.UNKNOWN, unknown[0]
    if not _is_shown(plan, oec.verdict):
        return Verdict.KEEP_GOING, oec.reason
    if not all(_is_safe(found) for found in guardrails):
        return Verdict.KEEP_GOING, "guardrail_pending"
    lead = lead_of(plan, oec)
    if lead is None or lead <= least_lead(plan):
        return Verdict.KEEP_GOING, "claim_broken"
    return Verdict.PROMOTE, "oec_shown"


def _evidence_clauses(report: LookReport, plan: Plan, arm: str) -> Iterator[Clause]:
    for metric in report.metrics:
        for comparison in metric.comparisons:
            if comparison.arm == arm and not is_alarm_alone(comparison):
                yield _evidence_clause(plan, metric, comparison)


def _evidence_clause(plan: Plan, metric: MetricReport, comparison: Comparison) -> Clause:
    deciding = metric.role == "oec"
    shown = _is_shown(plan, comparison.verdict) if deciding else _is_safe(comparison)
    over = comparison.verdict in _OVER
    planned = next((test for test in comparison.tests if test.claim != "harm"), None)
    interval = comparison.interval
    bound = planned.bound if planned else None
    return Clause(
        id=f"{metric.role}.{metric.key}{suffix(plan, comparison.arm)}",
        result=Result.PASS if shown else Result.FAIL if over else Result.UNKNOWN,
        observed={
            "verdict": comparison.verdict.value,
            "reason": comparison.reason,
            "estimate": comparison.estimate,
            "interval": [interval.low, interval.high] if interval else None,
            "z": planned.z if planned else None,
            "t": planned.t if planned else None,
        },
        threshold={"bound": bound, "margin": comparison.margin},
        flip_if=_flip(shown=shown, over=over, observed=planned.z if planned else None, bound=bound),
    )


def _flip(*, shown: bool, over: bool, observed: float | None, bound: float | None) -> str:
    if shown:
        return "never: the boundary was crossed and is latched"
    if over:
        return "never: the test is over"
    if observed is not None and bound is not None:
        return f"the standardised score reaches {bound:.2f} (now {observed:.2f})"
    return "more units are complete"


# ---------------------------------------------------------------- reading a report


def of_arms(report: LookReport, arms: Collection[str]) -> LookReport:
    """The report with the comparisons of these challengers alone."""
    return replace(
        report,
        metrics=tuple(
            replace(
                metric,
                comparisons=tuple(found for found in metric.comparisons if found.arm in arms),
                held={arm: why for arm, why in metric.held.items() if arm in arms},
            )
            for metric in report.metrics
        ),
    )


def oec_key(plan: Plan) -> str:
    """Key of the metric that decides; empty where none does."""
    return plan.slot.oec.metric if plan.slot.oec else ""


def oec_by_arm(report: LookReport, plan: Plan) -> dict[str, Comparison]:
    """The OEC's comparison of each challenger."""
    metric = report.metric(oec_key(plan))
    return {found.arm: found for found in metric.comparisons} if metric else {}


def harmed_metrics(report: LookReport) -> Sequence[tuple[MetricReport, Comparison]]:
    """Every guardrail on which harm is established, and where."""
    return [
        (metric, found)
        for metric in report.metrics
        if metric.role == "guardrail"
        for found in metric.comparisons
        if is_harm(found)
    ]


def is_alarm_alone(comparison: Comparison) -> bool:
    """Whether its claim may not move for good, and nothing but its harm alarm guards.

    What is silent, stale or missing is not meant: that is unknown, and unknown never advances.
    """
    return (
        comparison.verdict is MetricVerdict.UNKNOWN
        and comparison.reason == "after_decision"
        and any(test.claim == "harm" for test in comparison.tests)
    )


def is_harm(comparison: Comparison) -> bool:
    """Harm is latched, so it stands whatever the comparison says since."""
    return comparison.verdict is MetricVerdict.HARM or any(
        test.claim == "harm" and test.crossed is not None for test in comparison.tests
    )


def is_worse(comparison: Comparison) -> bool:
    """A loss that was shown is latched too."""
    return comparison.verdict is MetricVerdict.WORSE or any(
        test.crossed is not None and test.crossed.direction == "worse" for test in comparison.tests
    )


def _is_shown(plan: Plan, verdict: MetricVerdict) -> bool:
    """Whether the OEC's claim is established; better than champion is also not worse."""
    goal = plan.slot.oec.goal if plan.slot.oec else Goal.SUPERIOR
    if goal is Goal.NOT_WORSE:
        return verdict in (MetricVerdict.NOT_WORSE, MetricVerdict.BETTER)
    return verdict is MetricVerdict.BETTER


def _is_safe(comparison: Comparison) -> bool:
    return comparison.verdict in (MetricVerdict.NOT_WORSE, MetricVerdict.BETTER)


def lead_of(plan: Plan, comparison: Comparison) -> float | None:
    """Present estimate of the OEC, positive where the challenger is better."""
    metric = plan.metrics[oec_key(plan)]
    return None if comparison.estimate is None else comparison.estimate * metric.better


def least_lead(plan: Plan) -> float:
    """What the present estimate must exceed for a promotion's claim to hold."""
    oec = plan.slot.oec
    return -oec.margin if oec and oec.goal is Goal.NOT_WORSE and oec.margin else 0.0


def suffix(plan: Plan, arm: str) -> str:
    """Tells the clauses of several challengers apart; empty for one."""
    return f".{arm}" if len(plan.challengers) > 1 else ""
