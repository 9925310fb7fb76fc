"""The judge: a plan, one look and the operational facts in; a verdict with every clause out.

Pure: it acts on nothing and remembers nothing. Clauses are weighed in one fixed order (kill,
integrity, harm, freshness, OEC with guardrails) and the first that does not pass decides; all of
them are evaluated and reported, each with what was observed, what it was held against and what
would turn it over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.analysis.integrity import most_double_exposed
from controller.analysis.report import LookReport, MetricReport
from controller.experiments.plans import CHAMPION, Plan
from controller.experiments.policies import HarmAction
from controller.rollout.judgement import (
    Clause,
    Facts,
    Hold,
    Judgement,
    Recommendation,
    Result,
)
from controller.rollout.losers import losers
from controller.rollout.states import State, Verdict
from controller.rollout.weigh import (
    NOTHING_WEIGHED,
    harmed_metrics,
    is_harm,
    is_worse,
    lead_of,
    oec_by_arm,
    oec_key,
    of_arms,
    suffix,
    weigh_evidence,
)

MOST_MISMATCHED = 0.005
"""Share of exposures whose reported arm may differ from the recomputed one."""
FEWEST_MISMATCHED = 10
DROPS_IN = frozenset({State.RAMPING, State.DECIDING})
"""States in which one of several challengers can be given up alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ruling:
    """A clause, and the verdict it forces unless it passes."""

    clause: Clause
    verdict: Verdict | None = None
    reason: str = ""
    arm: str | None = None

    @property
    def decides(self) -> bool:
        return self.verdict is not None and self.clause.result is not Result.PASS


def judge(plan: Plan, report: LookReport, facts: Facts, *, evidence_sha256: str) -> Judgement:
    """Weigh one look.

    Parameters
    ----------
    plan : Plan
        What the rollout is judged by; while it bakes, the plan of the bake.
    report : LookReport
        The newest look.
    facts : Facts
        State, kill switch and champion as they are now.
    evidence_sha256 : str
        Names the stored look.
    """
    judged_on_outcomes = facts.state is not State.AA_CHECK
    rulings = [*_operational(facts), *_integrity(report, plan)]
    arms = tuple(arm for arm in plan.challengers if arm not in facts.dropped)
    report = of_arms(report, arms)
    trusted = not any(ruling.decides for ruling in rulings)
    drop = losers(report, plan, arms) if trusted and facts.state in DROPS_IN else ()
    lost = frozenset(loser.arm for loser in drop)
    others = of_arms(report, [arm for arm in arms if arm not in lost])
    if judged_on_outcomes:
        rulings += [*_harm(report, plan, lost), *_worse(others, plan), *_freshness(report, plan)]
    first = next((ruling for ruling in rulings if ruling.decides), None)
    evidence = (
        weigh_evidence(report, plan, arms, lost=lost) if judged_on_outcomes else NOTHING_WEIGHED
    )
    verdict, reason, arm = (
        (first.verdict or Verdict.UNKNOWN, first.reason, first.arm)
        if first
        else (evidence.verdict, evidence.reason, evidence.arm)
    )
    clauses = [ruling.clause for ruling in rulings] + list(evidence.clauses)
    missing = _missing_seconds(report, plan, facts.exposed_seconds) if judged_on_outcomes else 0.0
    return Judgement(
        verdict=verdict,
        reason=reason,
        recommendation=_recommend(verdict, reason, facts),
        arm=arm,
        clauses=tuple(clauses),
        blockers=tuple(ruling.clause.id for ruling in rulings if ruling.decides),
        as_of=report.statistics.taken_at,
        look=report.number,
        evidence_sha256=evidence_sha256,
        epoch=facts.epoch,
        exposed=_exposed(report, facts.epoch),
        matured=_matured(report, plan, facts.epoch),
        harm=tuple(sorted({metric.key for metric, _ in harmed_metrics(others)})),
        srm=report.srm.alarm,
        lead={
            arm: lead_of(plan, comparison) for arm, comparison in oec_by_arm(report, plan).items()
        },
        missing_seconds=missing,
        drop=drop,
        held=tuple(hold for metric in report.metrics for hold in _held(metric))
        if judged_on_outcomes
        else (),
    )


# ---------------------------------------------------------------- what comes before the evidence


def _operational(facts: Facts) -> Iterator[_Ruling]:
    yield _Ruling(
        clause=Clause(
            id="kill",
            result=Result.FAIL if facts.killed else Result.PASS,
            observed=facts.killed,
            threshold=False,
            flip_if="somebody lifts the kill switch" if facts.killed else "the slot is killed",
        ),
        verdict=Verdict.UNKNOWN,
        reason="killed",
    )
    yield _Ruling(
        clause=Clause(
            id="integrity.champion",
            result=Result.FAIL if facts.champion_changed else Result.PASS,
            observed="changed" if facts.champion_changed else "unchanged",
            threshold="unchanged",
            flip_if="never: this attempt compared another champion; retry against the new one"
            if facts.champion_changed
            else "another model becomes the slot's champion",
        ),
        verdict=Verdict.ROLLBACK,
        reason="champion_changed",
    )


def _integrity(report: LookReport, plan: Plan) -> Iterator[_Ruling]:
    srm = report.srm
    yield _Ruling(
        clause=Clause(
            id="integrity.srm",
            result=Result.FAIL if srm.alarm else Result.PASS,
            observed=srm.p,
            threshold=plan.policy.srm_alpha,
            flip_if="never: the split is broken; abort, find the cause, retry"
            if srm.alarm
            else f"the always-valid p-value of the split falls below {plan.policy.srm_alpha:g}",
        ),
        verdict=Verdict.UNKNOWN,
        reason="srm",
    )
    wrong = report.statistics.excluded.get("arm_mismatch", 0)
    most = max(FEWEST_MISMATCHED, int(MOST_MISMATCHED * sum(report.statistics.exposed.values())))
    yield _Ruling(
        clause=Clause(
            id="integrity.arm_mismatch",
            result=Result.FAIL if wrong > most else Result.PASS,
            observed=wrong,
            threshold=most,
            flip_if=f"the exposures that report another arm than the plan's exceed {most}"
            if wrong <= most
            else "clients report the arm that was assigned",
        ),
        verdict=Verdict.UNKNOWN,
        reason="arm_mismatch",
    )
    yield _met_two_arms(report)


def _met_two_arms(report: LookReport) -> _Ruling:
    """Units that met two arms are left out; many of them mean that the split is not kept."""
    double = report.statistics.excluded.get("double_exposure", 0)
    exposed = double + sum(report.statistics.exposed.values())
    most = most_double_exposed(exposed)
    return _Ruling(
        clause=Clause(
            id="integrity.double_exposure",
            result=Result.FAIL if double > most else Result.PASS,
            observed=double,
            threshold=most,
            flip_if=f"the units that met two arms exceed {most}"
            if double <= most
            else f"no more than {most} of so many met two arms: find out who serves them twice",
        ),
        verdict=Verdict.UNKNOWN,
        reason="double_exposure",
    )


def _harm(report: LookReport, plan: Plan, lost: frozenset[str]) -> Iterator[_Ruling]:
    """Established harm; of a challenger that is given up for it, it does not end the others."""
    for metric in report.metrics:
        if metric.role != "guardrail":
            continue
        for comparison in metric.comparisons:
            harmed = is_harm(comparison)
            action = plan.policy.guardrail_rules(metric.key).action
            yield _Ruling(
                clause=Clause(
                    id=f"harm.{metric.key}{suffix(plan, comparison.arm)}",
                    result=Result.FAIL if harmed else Result.PASS,
                    observed=comparison.estimate,
                    threshold=comparison.margin,
                    flip_if="never: harm beyond the margin is established"
                    if harmed
                    else "the harm alarm establishes a loss beyond the margin",
                ),
                verdict=_harm_verdict(action) if comparison.arm not in lost else None,
                reason="guardrail_harm",
                arm=comparison.arm,
            )


def _harm_verdict(action: HarmAction) -> Verdict:
    return Verdict.ROLLBACK if action is HarmAction.ROLLBACK else Verdict.UNKNOWN


def _worse(report: LookReport, plan: Plan) -> Iterator[_Ruling]:
    """The OEC shown worse protects as harm does: it does not wait for fresh data."""
    by_arm = oec_by_arm(report, plan)
    if not by_arm:
        return
    worse = [arm for arm, comparison in by_arm.items() if is_worse(comparison)]
    yield _Ruling(
        clause=Clause(
            id=f"worse.{oec_key(plan)}",
            result=Result.FAIL if len(worse) == len(by_arm) else Result.PASS,
            observed=worse,
            threshold="not every challenger shown worse",
            flip_if="never: the loss is established and its test is over"
            if len(worse) == len(by_arm)
            else "the lower bound of the test is crossed",
        ),
        verdict=Verdict.ROLLBACK,
        reason="oec_worse",
        arm=worse[0] if worse else None,
    )


def _freshness(report: LookReport, plan: Plan) -> Iterator[_Ruling]:
    """Outcomes that arrive, of every living arm alike; those of one alone hold the whole rollout.

    What was given up is not in the report any more, and its silence holds nobody.
    """
    most = plan.policy.data.max_age_seconds
    for key in plan.slot.metrics:
        metric = report.metric(key)
        held = _held(metric)
        fresh = metric is not None and metric.fresh
        yield _Ruling(
            clause=Clause(
                id=f"fresh.{key}",
                result=Result.PASS if fresh and not held else Result.UNKNOWN,
                observed=[hold.document() for hold in held] if held else _age(metric),
                threshold=most,
                flip_if=_flip_of_held(held, plan) if held else _flip_of_age(most, fresh=fresh),
            ),
            verdict=Verdict.UNKNOWN,
            reason=_why_not_fresh(metric, held),
        )


def _held(metric: MetricReport | None) -> tuple[Hold, ...]:
    if metric is None:
        return ()
    return tuple(
        Hold(metric=metric.key, arm=arm, reason=why.reason, cause=why.cause)
        for arm, why in sorted(metric.held.items())
    )


def _age(metric: MetricReport | None) -> float | None:
    return None if metric is None else metric.age_seconds


def _flip_of_age(most: float, *, fresh: bool) -> str:
    return f"no outcome arrives for {most:g} seconds" if fresh else "outcomes arrive again"


def _flip_of_held(held: tuple[Hold, ...], plan: Plan) -> str:
    """What would free the rollout: the outcomes, or giving up an arm that others can do without."""
    several = len(plan.challengers) > 1
    wanted = []
    for cause, reason in sorted({(hold.cause, hold.reason) for hold in held}):
        given_up = f"{cause} is given up (an edit that gives it no weight)"
        dispensable = several and cause != CHAMPION
        if reason == "arm_silent":
            wanted.append(f"an outcome of {cause} arrives" + f", or {given_up}" * dispensable)
        else:
            wanted.append(given_up if dispensable else f"never: retry once {cause} reports again")
    return "; ".join(wanted)


def _why_not_fresh(metric: MetricReport | None, held: tuple[Hold, ...]) -> str:
    if metric is None or metric.age_seconds is None:
        return "no_data"
    return held[0].reason if held else "stale"


def _exposed(report: LookReport, epoch: int) -> int:
    return sum(n for (number, _), n in report.statistics.exposed.items() if number == epoch)


def _matured(report: LookReport, plan: Plan, epoch: int) -> int:
    oec, statistics = oec_key(plan), report.statistics
    units = sum(
        moments.n + moments.missing
        for (metric, number, _), moments in statistics.moments.items()
        if (metric, number) == (oec, epoch)
    )
    return units + sum(
        grid.units
        for (metric, number, _), grid in statistics.grids.items()
        if (metric, number) == (oec, epoch)
    )


def _missing_seconds(report: LookReport, plan: Plan, exposed_seconds: float) -> float:
    """How long the stalest metric is overdue.

    Nothing is due before the first exposed unit's window and lateness have passed.
    """
    overdue = [0.0]
    for reported in report.metrics:
        metric = plan.metrics[reported.key]
        due_for = exposed_seconds - metric.window_seconds - metric.lateness_seconds
        silent_for = due_for if reported.age_seconds is None else reported.age_seconds
        if not reported.fresh:
            overdue.append(min(due_for, silent_for) - plan.policy.data.max_age_seconds)
    return max(overdue)


def _recommend(verdict: Verdict, reason: str, facts: Facts) -> Recommendation:
    if verdict is Verdict.PROMOTE and facts.state not in (State.PROMOTING, State.BAKING):
        return Recommendation.PROMOTE
    if verdict in (Verdict.ROLLBACK, Verdict.NO_DIFFERENCE):
        return Recommendation.ROLL_BACK
    if verdict is Verdict.UNKNOWN or reason == "claim_broken":
        return Recommendation.HOLD
    return Recommendation.CONTINUE
