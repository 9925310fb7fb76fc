"""A frozen plan in words: what is compared, what decides, what may not get worse, which steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from controller.experiments.metrics import Direction
from controller.experiments.plans import Plan
from controller.experiments.policies import Bake, Gate, Stage
from controller.flow import numbers
from controller.flow.lint import warnings_of
from controller.service.ui import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A plan as its page shows it: facts, its stages in order, and what it leaves unguarded."""

    slot: str
    facts: tuple[tuple[str, str], ...]
    stages: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


def terms_of(plan: Plan) -> Terms:
    """Everything that people ask about a plan; the exact document has the rest."""
    units = words.many(plan.slot.unit)
    return Terms(
        slot=plan.slot.key,
        facts=(
            *_arms(plan),
            ("Decides", _oec(plan)),
            ("Tested", _test(plan)),
            *_guardrails(plan),
            ("Who may take part", _eligible(plan, units)),
            *_gates(plan.policy.approvals),
            ("After a promotion", _watch(plan.policy.bake, units)),
            ("Policy", f"{plan.policy.name} version {plan.policy.version}"),
        ),
        stages=tuple((numbers.share(stage.enrolled), _stage(stage)) for stage in plan.policy.ramp),
        warnings=tuple(warnings_of(plan.slot, plan.policy, plan.metrics)),
    )


def _watch(bake: Bake, units: str) -> str:
    return (
        f"watched for {numbers.duration(bake.duration_seconds)} with "
        f"{numbers.share(bake.holdback)} of {units} kept on the champion of before"
    )


def _arms(plan: Plan) -> list[tuple[str, str]]:
    return [
        (arm.capitalize(), f"{model.label}, {numbers.share(plan.weights[arm])} of the test")
        for arm, model in plan.arms.items()
    ]


def _oec(plan: Plan) -> str:
    oec = plan.slot.oec
    if oec is None:
        return "nothing"
    metric = plan.metrics[oec.metric]
    lower = metric.direction is Direction.DECREASE
    size = _size(oec.mde, oec.mde_relative)
    worth = f"; the smallest difference worth finding is {size}" if size else ""
    return f"{oec.metric} ({'lower' if lower else 'higher'} is better){worth}"


def _test(plan: Plan) -> str:
    oec = plan.policy.oec
    return (
        f"{oec.mode.value}, alpha {oec.alpha:g}, until "
        f"{numbers.plural(plan.horizon, 'complete unit')}"
    )


def _guardrails(plan: Plan) -> list[tuple[str, str]]:
    return [
        (
            f"Guardrail {one.metric}",
            f"may not get worse by more than {_size(one.margin, one.margin_relative) or 'nothing'}",
        )
        for one in plan.slot.guardrails
    ]


def _size(absolute: float | None, relative: float | None) -> str:
    if absolute is not None:
        return f"{absolute:g}"
    return "" if relative is None else f"{relative:.4g} of the champion's level"


def _eligible(plan: Plan, units: str) -> str:
    if plan.eligible is None:
        return f"all {units}"
    return f"{units} that meet {json.dumps(plan.eligible, ensure_ascii=False)}"


def _gates(gates: Mapping[str, Gate]) -> list[tuple[str, str]]:
    return [
        (
            f"To {words.TRANSITIONS.get(name, name)}",
            f"{numbers.plural(gate.quorum, 'person', 'people')} must approve"
            + ("" if gate.requester_may_approve else ", not whoever asked"),
        )
        for name, gate in gates.items()
    ]


def _stage(stage: Stage) -> str:
    asked = [
        f"at least {numbers.duration(stage.dwell_seconds)}" if stage.dwell_seconds else "",
        f"{numbers.count(stage.min_units)} units" if stage.min_units else "",
        f"{numbers.count(stage.min_matured)} complete units" if stage.min_matured else "",
        f"approval {stage.approval}" if stage.approval else "",
    ]
    return ", ".join(filter(None, asked)) or "nothing more is asked"
