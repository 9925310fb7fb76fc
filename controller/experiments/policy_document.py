"""Reading a policy: every key checked, every default written out, every impossibility refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, check_key
from controller.experiments.policies import (
    DAY,
    AaRules,
    Autonomy,
    Bake,
    DataRules,
    Deadlines,
    Futility,
    Gate,
    GuardrailRules,
    HarmAction,
    Mode,
    OecRules,
    OnNoDifference,
    Policy,
    ShadowRules,
    Stage,
    Sticky,
)
from controller.experiments.spending_choice import read_spending

USUAL_GAMMA = {Futility.NON_BINDING: -3.0, Futility.NONE: -2.0}
_LEAST_PART, _MOST_PART = 0.01, 0.9
"""Of alpha that a reserve may be: the rest, and the reserve, can still show something."""


def read_policy(document: Any, *, name: str | None = None, where: str = "policy") -> Policy:
    """A policy from its JSON or YAML form; see `Policy.from_document`."""
    fields = Fields(document, where)
    named = fields.raw("name", name)
    if name is not None and named != name:
        raise InvalidInput(
            f"{where}.name: is {named!r:.60} but the address says {name!r}.", field="name"
        )
    guardrails = fields.child("guardrails")
    overrides = guardrails.child("metrics")
    defaults = _guardrail_rules(guardrails, GuardrailRules())
    srm = fields.child("srm")
    policy = Policy(
        name=check_key(named, f"{where}.name"),
        version=fields.integer("version", 0, least=0),
        description=fields.text("description", "", most=2000),
        autonomy=fields.choice("autonomy", Autonomy, Autonomy.L2),
        ramp=_ramp(fields),
        oec=_oec(fields.child("oec")),
        guardrails=defaults,
        guardrail_overrides={
            check_key(key, overrides.where): _override(overrides.child(key), defaults)
            for key in (fields.raw("guardrails", {}).get("metrics") or {})
        },
        srm_alpha=srm.number("alpha", 0.001, above=0, most=0.05),
        approvals=_approvals(fields),
        shadow=_shadow(fields),
        aa=_aa(fields),
        deadlines=_deadlines(fields.child("deadlines")),
        bake=_bake(fields.child("bake")),
        data=_data(fields.child("data")),
        sticky=fields.choice("sticky", Sticky, Sticky.ALL),
        allow_selected=fields.flag("allow_selected", default=False),
        look_every_seconds=fields.duration("look_every", 5.0),
    )
    for child in (guardrails, overrides, srm, fields):
        child.done()
    _lint(policy, where)
    return policy


def _ramp(fields: Fields) -> tuple[Stage, ...]:
    stages = []
    for index, item in enumerate(fields.items("ramp", most=50)):
        stage = Fields(item, f"{fields.at('ramp')}[{index}]")
        stages.append(
            Stage(
                enrolled=stage.share("enrolled"),
                dwell_seconds=stage.duration("dwell", 0.0),
                min_units=stage.integer("min_units", 0, least=0),
                min_matured=stage.integer("min_matured", 0, least=0),
                approval=check_key(stage.raw("approval"), stage.at("approval"))
                if stage.has("approval")
                else None,
            )
        )
        stage.done()
    return tuple(stages)


def _oec(fields: Fields) -> OecRules:
    futility = fields.choice("futility", Futility, Futility.NON_BINDING)
    shape = read_spending(fields, usual_gamma=USUAL_GAMMA[futility])
    rules = OecRules(
        mode=fields.choice("mode", Mode, Mode.PLANNED),
        alpha=fields.number("alpha", 0.05, above=0, most=0.5),
        power=fields.number("power", 0.9, least=0.5, most=0.999),
        horizon=fields.integer("horizon", least=100) if fields.has("horizon") else None,
        first_look=fields.share("first_look", 0.05),
        futility=futility,
        spending=shape.spending,
        gamma=shape.gamma,
        rho=shape.rho,
        spending_table=shape.table,
        on_no_difference=fields.choice(
            "on_no_difference", OnNoDifference, OnNoDifference.KEEP_CHAMPION
        ),
        reserve=fields.number("reserve", 0.0, least=0, most=0.5),
    )
    fields.done()
    _check_reserve(fields, rules)
    return rules


def _check_reserve(fields: Fields, rules: OecRules) -> None:
    """A reserve is for going on after the horizon, and going on needs one."""
    where, goes_on = fields.at("reserve"), rules.on_no_difference is OnNoDifference.KEEP_TESTING
    broken = (
        (rules.reserve >= rules.alpha, "must lie below alpha."),
        (
            rules.reserve > 0.0
            and not _LEAST_PART * rules.alpha <= rules.reserve <= _MOST_PART * rules.alpha,
            f"has to be {_LEAST_PART:.0%} to {_MOST_PART:.0%} of alpha, or one part shows nothing.",
        ),
        (rules.reserve > 0.0 and rules.mode is Mode.ANYTIME, "belongs to mode: planned."),
        (
            rules.reserve > 0.0 and rules.futility is not Futility.NONE,
            "needs futility: none; giving up and going on contradict each other.",
        ),
        (rules.reserve > 0.0 and not goes_on, "needs on_no_difference: keep_testing."),
        (goes_on and not rules.reserve, "keep_testing needs a part of alpha, such as .005."),
    )
    for wrong, rule in broken:
        if wrong:
            raise InvalidInput(f"{where}: {rule}", field=where)


def _guardrail_rules(fields: Fields, defaults: GuardrailRules) -> GuardrailRules:
    return GuardrailRules(
        mode=fields.choice("mode", Mode, defaults.mode),
        alpha=fields.number("alpha", defaults.alpha, above=0, most=0.5),
        harm_alpha=fields.number("harm_alpha", defaults.harm_alpha, above=0, most=0.5),
        action=fields.choice("action", HarmAction, defaults.action),
        horizon=fields.integer("horizon", least=100) if fields.has("horizon") else defaults.horizon,
    )


def _override(fields: Fields, defaults: GuardrailRules) -> GuardrailRules:
    rules = _guardrail_rules(fields, defaults)
    fields.done()
    return rules


def _approvals(fields: Fields) -> dict[str, Gate]:
    inner = fields.child("approvals")
    gates = {}
    for name in sorted(fields.raw("approvals", {})):
        gate = inner.child(name)
        raw_groups = gate.raw("groups", {})
        groups = gate.child("groups")
        gates[check_key(name, inner.where)] = Gate(
            quorum=gate.integer("quorum", 2, least=1, most=20),
            groups={key: groups.integer(key, least=1, most=20) for key in sorted(raw_groups)},
            requester_may_approve=gate.flag("requester_may_approve", default=False),
            author_may_approve=gate.flag("author_may_approve", default=False),
            expires_seconds=gate.duration("expires", 3 * DAY),
            min_review_seconds=gate.number("min_review_seconds", 0.0, least=0, most=DAY),
        )
        groups.done()
        gate.done()
    if not fields.choice("autonomy", Autonomy, Autonomy.L2).promotes:
        gates.setdefault("promote", Gate())
    inner.done()
    return gates


def _shadow(fields: Fields) -> ShadowRules | None:
    if not fields.has("shadow"):
        return None
    inner = fields.child("shadow")
    rules = ShadowRules(
        min_predictions=inner.integer("min_predictions", 1000, least=1),
        min_duration_seconds=inner.duration("min_duration", DAY),
    )
    inner.done()
    return rules


def _aa(fields: Fields) -> AaRules | None:
    if not fields.has("aa"):
        return None
    inner = fields.child("aa")
    rules = AaRules(min_units=inner.integer("min_units", 1000, least=1))
    inner.done()
    return rules


def _deadlines(fields: Fields) -> Deadlines:
    usual = Deadlines()
    deadlines = Deadlines(
        **{name: fields.duration(name, getattr(usual, name)) for name in Deadlines.__slots__}
    )
    fields.done()
    return deadlines


def _bake(fields: Fields) -> Bake:
    usual = Bake()
    bake = Bake(
        duration_seconds=fields.duration("duration", usual.duration_seconds),
        holdback=fields.share("holdback", usual.holdback),
        undo_window_seconds=fields.duration("undo_window", usual.undo_window_seconds),
    )
    fields.done()
    return bake


def _data(fields: Fields) -> DataRules:
    usual = DataRules()
    rules = DataRules(
        max_age_seconds=fields.duration("max_age", usual.max_age_seconds),
        missing_deadline_seconds=fields.duration(
            "missing_deadline", usual.missing_deadline_seconds
        ),
    )
    fields.done()
    return rules


def _lint(policy: Policy, where: str) -> None:
    """What no policy may say, whatever the slot."""
    if not policy.ramp:
        raise InvalidInput(f"{where}.ramp: needs at least one stage.", field=f"{where}.ramp")
    shares = [stage.enrolled for stage in policy.ramp]
    if shares[0] <= 0 or any(later <= earlier for earlier, later in pairwise(shares)):
        raise InvalidInput(
            f"{where}.ramp: the enrolled shares must rise from above 0.", field=f"{where}.ramp"
        )
    for index, stage in enumerate(policy.ramp):
        if stage.approval is not None and stage.approval not in policy.approvals:
            raise InvalidInput(
                f"{where}.ramp[{index}].approval: no gate {stage.approval!r} under approvals.",
                field=f"{where}.ramp[{index}].approval",
            )
    for name, gate in policy.approvals.items():
        if sum(gate.groups.values()) > gate.quorum:
            raise InvalidInput(
                f"{where}.approvals.{name}: the groups ask for more people than the quorum.",
                field=f"{where}.approvals.{name}.quorum",
            )
    if policy.bake.holdback >= 0.5:
        raise InvalidInput(
            f"{where}.bake.holdback: must lie below 0.5.", field=f"{where}.bake.holdback"
        )
