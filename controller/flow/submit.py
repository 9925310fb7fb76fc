"""Submit a draft: freeze slot, policy, metrics and models into the plan it will be judged by."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import InvalidInput, PlanInfeasible
from controller.experiments.metric_rules import check_margin, check_metric, why_undecided
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION, Plan, challenger_names
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot
from controller.flow.act import slot_of, transition
from controller.flow.actors import Actor
from controller.flow.create import check_free, check_models, usable_policy
from controller.flow.feasible import infeasible
from controller.flow.horizon import horizon
from controller.flow.lint import warnings_of
from controller.flow.ports.work import Work
from controller.flow.proposals import check_quorum
from controller.rollout.record import Rollout
from controller.rollout.states import State


def submit(
    work: Work, rollout: Rollout, *, actor: Actor, accept_infeasible: bool = False
) -> Rollout:
    """Freeze the plan and move Draft to Validating, inside the caller's transaction.

    Everything that could be checked at creation is checked again: definitions may have changed.
    What the plan leaves unguarded is written into the log as `warnings`.

    Raises
    ------
    BaselineUnknown
        If the policy states no horizon and the smallest effect cannot be turned into one.
    PlanInfeasible
        If the plan is known to be unable to decide, unless that is accepted: the log then says so.
    Conflict, InvalidInput, NotFound, PolicyNotAllowed, QuorumImpossible
        As for `create_rollout`.
    """
    slot = slot_of(work, rollout).slot
    if rollout.state is State.DRAFT:
        check_free(work, rollout.project, rollout.slot)
    check_models(slot, rollout.draft.challengers)
    policy = usable_policy(work, rollout.project, slot, rollout.draft.policy)
    check_quorum(work, rollout.project, policy, rollout.draft)
    plan = freeze(work, rollout, slot, policy)
    advice = infeasible(work, plan)
    if advice and not accept_infeasible:
        raise PlanInfeasible(
            f"This plan cannot be relied on to decide: {' '.join(advice)} To submit it all the "
            "same, say accept_infeasible.",
            advice=advice,
        )
    told = {
        "accepted_infeasible": advice,
        "warnings": warnings_of(plan.slot, plan.policy, plan.metrics),
    }
    return transition(
        work,
        replace(rollout, plan=plan),
        State.VALIDATING,
        actor=actor,
        reason="submitted",
        details={name: lines for name, lines in told.items() if lines} or None,
    )


def freeze(work: Work, rollout: Rollout, slot: Slot, policy: Policy) -> Plan:
    """The plan of a draft as the definitions stand now."""
    assert slot.oec is not None
    metrics = {key: _metric(work, rollout.project, key) for key in slot.metrics}
    _check_metrics(slot, policy, metrics)
    models = rollout.draft.challengers
    names = challenger_names(len(models))
    weights = rollout.draft.weights or dict.fromkeys((CHAMPION, *names), 1.0 / (len(models) + 1))
    units = horizon(
        work,
        rollout.project,
        slot=slot,
        oec=slot.oec,
        metric=metrics[slot.oec.metric],
        policy=policy,
        weights=weights,
    )
    return Plan(
        project=rollout.project,
        slot=slot,
        policy=policy,
        metrics=metrics,
        arms={CHAMPION: slot.champion, **dict(zip(names, models, strict=True))},
        weights=weights,
        horizon=units,
        guardrail_horizons={
            guardrail.metric: policy.guardrail_rules(guardrail.metric).horizon or units
            for guardrail in slot.guardrails
        },
        eligible=slot.eligible if rollout.draft.eligible is None else rollout.draft.eligible,
    )


def _metric(work: Work, project: str, key: str) -> Metric:
    metric = work.definitions.metric(project, key)
    if metric is None:
        raise InvalidInput(
            f"slot: metric {key!r} does not exist; define it with PUT /v1/metrics/{key}.",
            field="slot",
        )
    return metric


def _check_metrics(slot: Slot, policy: Policy, metrics: dict[str, Metric]) -> None:
    """Each metric means what it says, and the one that decides may do so under this policy.

    What is seen only after the model said yes may stand as a guardrail: without `allow_selected`
    its claim does not move and clears nothing, and its harm alarm guards all the same.
    """
    assert slot.oec is not None
    for metric in metrics.values():
        check_metric(metric, where=f"metrics.{metric.key}")
    for guardrail in slot.guardrails:
        check_margin(guardrail, metrics[guardrail.metric], where="slot.guardrails")
    why = why_undecided(metrics[slot.oec.metric], policy)
    if why:
        raise InvalidInput(f"slot.oec: {why}", field="slot.oec")
