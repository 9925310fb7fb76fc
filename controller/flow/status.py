"""The rollout status document: one snapshot that pages, API and CLI all show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.errors import NotFound
from controller.experiments.plans import CHAMPION
from controller.flow.act import back_to, champion_changed, judgement_of, slot_of
from controller.flow.edit import allocation_document
from controller.flow.lint import warnings_of
from controller.flow.outlook import Next, allowed_actions, approval_document, deadlines, outlook
from controller.flow.pin_health import events_lost, pin_health
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.rollouts import Decision
from controller.flow.ports.work import Work
from controller.flow.sentence import sentence, why_ended
from controller.flow.traffic_rules import Reach, reach_of
from controller.rollout.edits import retired_share
from controller.rollout.gates import earliest_next
from controller.rollout.judgement import Judgement, Result
from controller.rollout.record import Allocation, Rollout
from controller.rollout.shares import shares_of
from controller.rollout.states import State, Verdict

MOST_APPROVALS = 20


def status_document(work: Work, project: str, rollout_id: str) -> dict[str, Any]:
    """Everything about one rollout, read in one transaction.

    Raises
    ------
    NotFound
        If there is no such rollout.
    """
    rollout = work.rollouts.get(project, rollout_id)
    if rollout is None:
        raise NotFound(f"There is no rollout {rollout_id!r:.80} in project {project!r}.")
    slot = slot_of(work, rollout)
    return {
        "schema": 1,
        "metadata": _metadata(rollout),
        "spec": _spec(rollout, slot),
        "status": _status(work, rollout, slot),
    }


def _metadata(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "uid": rollout.id,
        "name": f"{rollout.slot} #{rollout.attempt}",
        "project": rollout.project,
        "slot": rollout.slot,
        "generation": rollout.generation,
        "resource_version": str(rollout.generation),
        "attempt": rollout.attempt,
        "retry_of": rollout.retry_of,
        "owner": rollout.draft.owner,
        "created_by": rollout.draft.requested_by,
        "created_at": rollout.created_at.isoformat(),
        "ended_at": rollout.ended_at.isoformat() if rollout.ended_at else None,
        "hypothesis": rollout.draft.hypothesis,
    }


def _spec(rollout: Rollout, slot: StoredSlot) -> dict[str, Any]:
    """The frozen plan, or what the draft would freeze now."""
    plan = rollout.plan
    champion = slot.slot.champion if plan is None else plan.arms[CHAMPION]
    models = list(rollout.draft.challengers)
    names = ["challenger"] if plan is None and len(models) == 1 else []
    names = names or ([] if plan is None else list(plan.challengers))
    names = names or [f"challenger-{number}" for number in range(1, len(models) + 1)]
    return {
        "slot": rollout.slot,
        "unit": slot.slot.unit,
        "policy": {
            "name": rollout.draft.policy,
            "version": plan.policy.version if plan else None,
            "sha256": plan.policy.sha256 if plan else None,
        },
        "plan_sha256": plan.sha256 if plan else None,
        "champion": {**champion.document(), "identity": champion.identity},
        "challengers": [
            {"arm": name, **model.document(), "identity": model.identity}
            for name, model in zip(names, models, strict=True)
        ],
        "weights": dict(plan.weights) if plan else rollout.draft.weights,
        "eligible": plan.eligible if plan else rollout.draft.eligible or slot.slot.eligible,
        "horizon": plan.horizon if plan else None,
        "warnings": warnings_of(plan.slot, plan.policy, plan.metrics) if plan else [],
        "oec": slot.slot.oec.document() if slot.slot.oec else None,
        "guardrails": [guardrail.document() for guardrail in slot.slot.guardrails],
    }


def _status(work: Work, rollout: Rollout, slot: StoredSlot) -> dict[str, Any]:
    allocations = work.rollouts.allocations(rollout.project, rollout.id)
    current = next((one for one in allocations if one.number == rollout.allocation), None)
    killed = slot.kill is not None
    shares = shares_of(rollout, current, killed=killed)
    reach = Reach() if rollout.state.terminal else reach_of(work, rollout.project, slot.slot)
    judgement = judgement_of(rollout)
    retired = 0.0 if current is None else retired_share(current)
    proposal = work.approvals.open_for(rollout.project, rollout.id)
    ahead = outlook(work, rollout, proposal)
    evidence = _evidence(work, rollout)
    metrics = {metric["key"]: metric for metric in evidence.get("metrics", [])}
    lost = events_lost(work, rollout)
    newest = work.decisions.last(rollout.project, rollout.id)
    return {
        "observed_generation": rollout.generation,
        "state": rollout.state.value,
        "sentence": sentence(
            rollout,
            shares,
            ahead,
            metrics,
            killed=killed,
            reach=reach,
            dropped=_dropped(rollout, current),
            retired=retired,
        ),
        "enrolled": shares.enrolled,
        "challenger_share": shares.challenger,
        "reach": reach.document(),
        "enrolled_traffic": shares.enrolled * (1.0 - retired) * reach.share,
        "challenger_traffic": shares.challenger * reach.share,
        "allocation": None if current is None else allocation_document(current),
        "dropped": _dropped(rollout, current),
        "killed": killed,
        "unreviewed": _unreviewed(rollout),
        "entered_at": rollout.entered_at.isoformat(),
        "step": _step(work, rollout),
        "paused": [reason.value for reason in rollout.paused],
        "autonomy": _autonomy(rollout),
        "verdict": _verdict(rollout, judgement),
        "conditions": [
            *_conditions(rollout, judgement, ahead, killed=killed),
            _complete(lost),
        ],
        "metrics": list(metrics.values()),
        "integrity": _integrity(evidence),
        "pins": pin_health(work, rollout),
        "events_lost": lost,
        "drift": [],
        "segments": {"worst": [], "hidden_for_small_n": 0},
        "approvals": _approvals(work, rollout),
        "next": ahead.document(),
        "rollback_target": _rollback_target(rollout, slot),
        "deadlines": deadlines(rollout),
        "last_decision": _last(newest) if newest else None,
        "allowed_actions": allowed_actions(work, rollout, proposal),
    }


def _dropped(rollout: Rollout, current: Allocation | None) -> list[dict[str, str]]:
    """Challengers that were given up while the others went on, in words."""
    if rollout.plan is None or current is None:
        return []
    return [
        {
            "arm": arm,
            "label": rollout.plan.arms[arm].label,
            "reason": reason,
            "why": why_ended(reason),
        }
        for arm, reason in current.dropped.items()
    ]


def _evidence(work: Work, rollout: Rollout) -> Mapping[str, Any]:
    if rollout.look_sha256 is None:
        return {}
    return work.evidence.get(rollout.project, rollout.look_sha256) or {}


def _unreviewed(rollout: Rollout) -> bool:
    """The policy lets the requester approve: four eyes never looked at this."""
    gate = rollout.plan.policy.promote_gate if rollout.plan else None
    return gate is not None and gate.requester_may_approve


def _step(work: Work, rollout: Rollout) -> dict[str, Any] | None:
    if rollout.plan is None:
        return None
    ramp = rollout.plan.policy.ramp
    ramping = rollout.state is State.RAMPING
    ends = earliest_next(rollout, work.now) if ramping else None
    return {
        "index": rollout.stage,
        "total": len(ramp),
        "stages": [stage.document() for stage in ramp],
        "enrolled_desired": ramp[rollout.stage].enrolled,
        "enrolled_actual": rollout.enrolled,
        "entered_at": rollout.stage_entered_at.isoformat(),
        "min_ends_at": ends.isoformat() if ends else None,
    }


def _autonomy(rollout: Rollout) -> dict[str, Any] | None:
    if rollout.plan is None:
        return None
    level = rollout.plan.policy.autonomy.value
    return {"configured": level, "effective": level, "why": "as the policy says"}


def _verdict(rollout: Rollout, judgement: Judgement | None) -> dict[str, Any]:
    judged = judgement.document() if judgement else {}
    return {
        "value": rollout.verdict.value,
        "reason": rollout.reason,
        "recommendation": judged.get("recommendation"),
        "arm": judged.get("arm"),
        "as_of": judged.get("as_of"),
        "look": rollout.look_number,
        "evidence_sha256": rollout.look_sha256,
        "held": judged.get("held", []),
        "blockers": judged.get("blockers", []),
        "clauses": judged.get("clauses", []),
    }


def _conditions(
    rollout: Rollout, judgement: Judgement | None, ahead: Next, *, killed: bool
) -> list[dict[str, Any]]:
    missing = {clause.id for clause in ahead.waiting_on}
    states = {
        "Ready": (rollout.plan is not None, "plan_frozen"),
        "Progressing": (rollout.state.live and not rollout.paused and not killed, "not_held"),
        "ApprovalSatisfied": ("approved" not in missing, "gate"),
        "WindowOpen": (True, "no_windows"),
        "Promoted": (rollout.state is State.PROMOTED, "state"),
        "Degraded": (bool(rollout.paused) or killed, "held"),
    }
    known = [
        {"type": name, "status": str(holds), "reason": reason}
        for name, (holds, reason) in states.items()
    ]
    judged = [
        ("DataFresh", "fresh."),
        ("IntegrityOK", "integrity."),
        ("GuardrailsOK", "harm."),
        ("OutcomesMature", "oec."),
    ]
    unmeasured = [
        {"type": name, "status": "Unknown", "reason": "not_measured"}
        for name in ("DriftOK", "TargetHealthy", "RegistryInSync")
    ]
    return (
        known
        + [
            {"type": name, "status": _all_pass(judgement, prefix), "reason": f"{prefix}*"}
            for name, prefix in judged
        ]
        + unmeasured
    )


def _complete(lost: Mapping[str, Any]) -> dict[str, Any]:
    """Whether every event that SDKs were given has reached the service."""
    holds, reason = (False, "events_lost") if lost["during"] else (True, "none_reported")
    return {"type": "EventsComplete", "status": str(holds), "reason": reason}


def _all_pass(judgement: Judgement | None, prefix: str) -> str:
    """True, False or Unknown over the clauses of one kind, the worst of them deciding."""
    results = (
        [clause.result for clause in judgement.clauses if clause.id.startswith(prefix)]
        if judgement
        else []
    )
    if Result.FAIL in results:
        return "False"
    return "True" if results and set(results) == {Result.PASS} else "Unknown"


def _integrity(evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    if not evidence:
        return None
    srm = evidence["srm"]
    return {
        "srm_p": srm["p"],
        "srm_alarm": srm["alarm"],
        "exposed": srm["exposed"],
        "expected": srm["expected"],
        "excluded": evidence["statistics"]["excluded"],
    }


def _approvals(work: Work, rollout: Rollout) -> list[dict[str, Any]]:
    proposals = work.approvals.list(rollout.project, rollout=rollout.id)[:MOST_APPROVALS]
    return [approval_document(work, rollout, proposal) for proposal in proposals]


def _rollback_target(rollout: Rollout, slot: StoredSlot) -> dict[str, Any]:
    champion = back_to(rollout, slot)
    return {
        "label": champion.label,
        "identity": champion.identity,
        "is_champion": not champion_changed(rollout, slot),
    }


def _last(decision: Decision) -> dict[str, Any]:
    return {
        "seq": decision.seq,
        "at": decision.at.isoformat(),
        "actor": decision.actor,
        "action": decision.action,
        "from_state": decision.from_state,
        "to_state": decision.to_state,
        "reason": decision.document.get("reason"),
        "verdict": decision.document.get("verdict", Verdict.UNKNOWN.value),
    }
