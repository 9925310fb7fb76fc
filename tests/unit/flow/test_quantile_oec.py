"""A quantile may decide under a policy that tests at any time, and under no other."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import BaselineUnknown, InvalidInput
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import METRICS, PROJECT, SLOT, Desk

WAIT: dict[str, Any] = {
    "type": "quantile",
    "q": 0.95,
    "direction": "decrease",
    "outcome": "wait",
    "window_seconds": 60,
}
ANYTIME = {"mode": "anytime", "horizon": 10_000}


def waiting(policy: dict[str, Any], **changes: Any) -> Desk:
    """A desk whose slot is to be decided by a quantile."""
    desk = Desk(policy)
    define.put_metric(desk.store, PROJECT, {**WAIT, **changes}, key="wait", actor=MACHINE)
    return desk


def put(desk: Desk, **oec: Any) -> None:
    slot = {
        "unit": "departure",
        "oec": {"metric": "wait", **oec},
        "guardrails": [{"metric": "complaints", "margin": 0.02}],
        "policy": "house",
    }
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))


def test_a_planned_test_of_it_is_refused() -> None:
    desk = waiting({})
    with pytest.raises(InvalidInput, match=r"oec\.mode is anytime") as refusal:
        put(desk)
    assert refusal.value.field == "slot.oec"


def test_it_is_refused_at_submit_where_the_policy_has_changed_since() -> None:
    desk = waiting({"oec": ANYTIME})
    put(desk)
    rollout = desk.create()
    desk.policy({})
    with pytest.raises(InvalidInput, match=r"that of house is planned"):
        desk.do(rollout, Verb.SUBMIT)
    assert desk.state(rollout) is State.DRAFT


def test_it_may_decide_at_any_time() -> None:
    desk = waiting({"oec": ANYTIME})
    put(desk)
    assert desk.do(desk.create(), Verb.SUBMIT).frozen_plan.horizon == 10_000


def test_its_horizon_may_come_from_a_stated_baseline_and_from_nothing_else() -> None:
    desk = waiting({"oec": {"mode": "anytime"}})
    put(desk, mde=5.0)
    with pytest.raises(BaselineUnknown):
        desk.do(desk.create(), Verb.SUBMIT)
    stated = {**WAIT, "baseline": {"mean": 120.0, "sd": 90.0}}
    define.put_metric(desk.store, PROJECT, stated, key="wait", actor=desk.person("root"))
    rollout = desk.create()
    assert desk.do(rollout, Verb.SUBMIT).frozen_plan.horizon > 4 * (3.24 * 90 / 5) ** 2


def test_it_may_guard_under_any_policy() -> None:
    desk = waiting({})
    slot = {
        "unit": "departure",
        "oec": {"metric": "on-time"},
        "guardrails": [{"metric": "wait", "margin_relative": 0.1}],
        "policy": "house",
    }
    assert METRICS["on-time"]["type"] == "binary"
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))
    assert desk.do(desk.create(), Verb.SUBMIT).state is State.VALIDATING
