"""Take a look when it is due: a snapshot, the analysis, evidence and verdict, committed as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from controller.aggregation.statistics import Statistics
from controller.analysis.history import kept
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.errors import StaleVersion
from controller.experiments.canonical import sha256_of
from controller.experiments.plans import Plan
from controller.flow.actors import MACHINE
from controller.flow.fencing import Fence
from controller.flow.ports.rollouts import LookEntry
from controller.flow.ports.work import Store, Work
from controller.flow.recommend import LOOKED_AT, compared_in, plan_in_force, recommend
from controller.rollout.judgement import Judgement
from controller.rollout.record import Allocation, Rollout
from controller.rollout.states import State, Verdict


def take_due_look(
    store: Store, project: str, rollout_id: str, *, fence: Fence | None = None
) -> LookReport | None:
    """Look at a rollout if its time has come.

    The snapshot is read and analysed without holding a lock: the first bounds of a plan may take a
    second. The result is written only if the rollout is still where it was read, so no look is
    taken twice and none is judged against another state.

    Where nothing has come in since the last look, that look stands: it is judged again with today's
    clock, and nothing is added to the evidence.

    Parameters
    ----------
    fence : Fence, optional
        The reconciler's lease, checked in the transaction that writes.

    Returns
    -------
    LookReport or None
        None where no look was due, or the rollout moved while it was being analysed.
    """
    sight = _read(store, project, rollout_id)
    if sight is None:
        return None
    report = take_look(sight.look)
    try:
        with store.writing() as work:
            work.take_turn(project)
            if fence is not None:
                fence.check(work)
            stored = work.rollouts.get(project, rollout_id)
            if stored is None or _moved_on(sight.rollout, stored):
                return None
            if _stands(sight, report):
                _affirm(work, stored, sight, report)
            else:
                _write(work, stored, sight, report)
    except StaleVersion:
        return None
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """What was read for a look: the rollout as it was, and the input of the analysis."""

    rollout: Rollout
    allocations: list[Allocation]
    look: LookInput
    inputs: str

    @property
    def plan(self) -> Plan:
        return self.look.plan


def _read(store: Store, project: str, rollout_id: str) -> _Sight | None:
    with store.reading() as work:
        rollout = work.rollouts.get(project, rollout_id)
        if rollout is None or rollout.state not in LOOKED_AT:
            return None
        if rollout.next_look_at is not None and rollout.next_look_at > work.now:
            return None
        allocations = list(work.rollouts.allocations(project, rollout_id))
        compared = {one.number for one in compared_in(rollout, allocations)}
        epochs = [
            epoch
            for epoch in work.rollouts.epochs(project, rollout_id)
            if epoch.allocation in compared
        ]
        statistics = work.measurements.snapshot(rollout, epochs=epochs)
    plan = plan_in_force(rollout, allocations)
    return _Sight(
        rollout=rollout,
        allocations=allocations,
        inputs=_inputs(rollout, statistics, plan),
        look=LookInput(
            plan=plan,
            statistics=statistics,
            number=rollout.look_number + 1,
            previous=rollout.look_memory,
        ),
    )


_CLOCK = ("watermark", "taken_at", "freshness")
_INPUTS = "inputs"
"""Where the rollout's memory of its last look keeps the digest of what that look saw."""


def _inputs(rollout: Rollout, statistics: Statistics, plan: Plan) -> str:
    """Digest of everything a look depends on but the clock.

    Of the clock it has what the analysis reads: whether each metric's data are fresh enough.
    """
    seen = statistics.document()
    most = plan.policy.data.max_age_seconds
    ages = {key: freshness.age_seconds for key, freshness in statistics.freshness.items()}
    return sha256_of(
        {
            "place": [rollout.state.value, rollout.allocation, rollout.epoch],
            "fresh": {key: age is not None and age <= most for key, age in ages.items()},
            "seen": {name: part for name, part in seen.items() if name not in _CLOCK},
        }
    )


def _stands(sight: _Sight, report: LookReport) -> bool:
    """Whether the last look says all that this one does: nothing came in, nothing has moved.

    An always-valid test counts looks; of those that found nothing new, one is enough.
    """
    last = sight.rollout.look_memory
    if last is None or last.get(_INPUTS) != sight.inputs:
        return False
    return bool(_findings(report.memory) == _findings(last))


def _findings(memory: Mapping[str, Any]) -> Any:
    always = {
        key: {name: part for name, part in test.items() if name != "looks"}
        for key, test in memory["anytime"].items()
    }
    return memory["planned"], always


def _affirm(work: Work, rollout: Rollout, sight: _Sight, report: LookReport) -> None:
    """Judge the last look again, by its own evidence and today's clock."""
    assert rollout.look_sha256 is not None
    judgement = recommend(
        work,
        rollout,
        replace(report, number=rollout.look_number),
        allocations=sight.allocations,
        evidence_sha256=rollout.look_sha256,
    )
    looked = replace(
        rollout,
        judgement=judgement.document(),
        next_look_at=work.now + timedelta(seconds=sight.plan.policy.look_every_seconds),
        **_concluded(rollout, judgement),
    )
    news = (looked.verdict, looked.reason) != (rollout.verdict, rollout.reason)
    saved = work.rollouts.save_look(looked, news=news, taken=False)
    if news:
        _tell(work, saved, judgement)


def _moved_on(read: Rollout, stored: Rollout) -> bool:
    """Whether the look would be judged against something it did not see."""
    keys = ("state", "allocation", "epoch", "look_number")
    return any(getattr(read, key) != getattr(stored, key) for key in keys)


def _write(work: Work, rollout: Rollout, sight: _Sight, report: LookReport) -> None:
    document = report.document()
    if sight.rollout.look_memory is None:
        work.evidence.put(rollout.project, rollout.id, sight.plan.document(), at=work.now)
    sha256 = work.evidence.put(rollout.project, rollout.id, document, at=work.now)
    judgement = recommend(
        work, rollout, report, allocations=sight.allocations, evidence_sha256=sha256
    )
    looked = replace(
        rollout,
        judgement=judgement.document(),
        look_number=report.number,
        look_sha256=sha256,
        look_memory=kept(report.memory, report.previous, sha256=sha256) | {_INPUTS: sight.inputs},
        next_look_at=work.now + timedelta(seconds=sight.plan.policy.look_every_seconds),
        **_concluded(rollout, judgement),
    )
    news = (looked.verdict, looked.reason) != (rollout.verdict, rollout.reason)
    # First the row that two looks would fight over: whoever comes second writes nothing.
    saved = work.rollouts.save_look(looked, news=news)
    work.evidence.add_look(
        rollout.project,
        rollout.id,
        LookEntry(
            number=report.number,
            evidence_sha256=sha256,
            taken_at=datetime.fromisoformat(report.statistics.taken_at),
            summary=look_summary(rollout, report, judgement),
        ),
    )
    if news:
        _tell(work, saved, judgement)


def _tell(work: Work, saved: Rollout, judgement: Judgement) -> None:
    """A changed verdict is a line of the rollout's log."""
    work.decisions.add(
        saved.project,
        saved.id,
        at=work.now,
        actor=MACHINE.name,
        action="verdict",
        from_state=saved.state.value,
        to_state=saved.state.value,
        document={
            "verdict": saved.verdict.value,
            "reason": saved.reason,
            "look": judgement.look,
            "evidence": judgement.evidence_sha256,
            "recommendation": judgement.recommendation.value,
            "blockers": list(judgement.blockers),
        },
    )


def _concluded(rollout: Rollout, judgement: Judgement) -> dict[str, Any]:
    """What the rollout's own verdict becomes; once promoted, only a loss takes PROMOTE back."""
    promoted = rollout.state in (State.PROMOTING, State.BAKING)
    if promoted and judgement.verdict is not Verdict.ROLLBACK:
        return {}
    return {"verdict": judgement.verdict, "reason": judgement.reason}


def look_summary(rollout: Rollout, report: LookReport, judgement: Judgement) -> Mapping[str, Any]:
    """The short form of a look that charts and tables are drawn from."""
    return {
        "state": rollout.state.value,
        "stage": rollout.stage,
        "enrolled": rollout.enrolled,
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "exposed": dict(report.srm.exposed),
        "srm_p": report.srm.p,
        "metrics": {
            metric.key: {
                "role": metric.role,
                "fresh": metric.fresh,
                "n": sum(arm.n for arm in metric.arms.values()),
                "comparisons": [
                    {
                        "arm": found.arm,
                        "verdict": found.verdict.value,
                        "reason": found.reason,
                        "estimate": found.estimate,
                        "low": found.interval.low if found.interval else None,
                        "high": found.interval.high if found.interval else None,
                        "relative": found.relative,
                        "margin": found.margin,
                        "tests": [
                            {
                                "claim": test.claim.value,
                                "mode": test.mode,
                                "look": test.look,
                                "t": test.t,
                                "z": test.z,
                                "bound": test.bound,
                                "futility_bound": test.futility_bound,
                                "p": test.p,
                                "e_value": test.e_value,
                                "crossed": test.crossed.direction if test.crossed else None,
                            }
                            for test in found.tests
                        ],
                    }
                    for found in metric.comparisons
                ],
            }
            for metric in report.metrics
        },
    }
