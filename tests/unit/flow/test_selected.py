"""Metrics that are seen only after the model said yes: they may not decide, their alarm may."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.metrics import Metric
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb, Verdict
from tests.unit.flow.desk import METRICS, PROJECT, SLOT, Desk


def selected(desk: Desk, key: str) -> Metric:
    document = {**METRICS[key], "observed": "after_decision"}
    return define.put_metric(desk.store, PROJECT, document, key=key, actor=MACHINE)


def guarded(policy: dict[str, Any] | None = None) -> Desk:
    """A desk whose guardrail is seen only after a yes."""
    desk = Desk(policy)
    selected(desk, "complaints")
    return desk


def seen(desk: Desk, *, harmed: float) -> Rollout:
    """A rollout whose OEC is clearly better, with this share of complaints."""
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(4000, 0.50), challenger=(4000, 0.60))
    desk.see("complaints", epoch=1, champion=(4000, 0.05), challenger=(4000, harmed))
    desk.ticks(2)
    return desk.get(rollout)


def clauses(desk: Desk, rollout: Rollout) -> dict[str, str]:
    told = desk.status(rollout)["status"]["verdict"]["clauses"]
    return {clause["id"]: clause["result"] for clause in told}


def test_a_guardrail_that_is_only_an_alarm_may_be_submitted_and_blocks_nothing() -> None:
    desk = guarded()
    rollout = seen(desk, harmed=0.05)
    assert rollout.verdict is Verdict.PROMOTE
    assert rollout.state is State.DECIDING
    told = clauses(desk, rollout)
    assert told["harm.complaints"] == "pass"
    assert "guardrail.complaints" not in told
    metrics = {one["key"]: one for one in desk.status(rollout)["status"]["metrics"]}
    claim = metrics["complaints"]["comparisons"][0]
    assert (claim["verdict"], claim["reason"]) == ("unknown", "after_decision")
    assert claim["tests"][0]["look"] == 0, "its claim does not move"
    assert claim["tests"][1]["look"] > 0, "its alarm does"


def test_its_alarm_takes_the_challenger_back() -> None:
    rollout = seen(guarded(), harmed=0.15)
    assert rollout.verdict is Verdict.ROLLBACK
    assert rollout.reason == "guardrail_harm"


def test_silence_of_it_still_holds_the_promotion() -> None:
    desk = guarded()
    desk.silent.add("complaints")
    rollout = seen(desk, harmed=0.05)
    assert rollout.verdict is Verdict.UNKNOWN
    assert rollout.state is State.RAMPING


def test_a_policy_that_allows_it_asks_for_its_claim() -> None:
    desk = guarded({"allow_selected": True})
    rollout = seen(desk, harmed=0.05)
    assert clauses(desk, rollout)["guardrail.complaints"] == "pass"
    metrics = {one["key"]: one for one in desk.status(rollout)["status"]["metrics"]}
    assert metrics["complaints"]["comparisons"][0]["verdict"] == "not_worse"


def test_it_cannot_decide_unless_the_policy_says_so() -> None:
    desk = Desk()
    rollout = desk.create()
    selected(desk, "on-time")
    with pytest.raises(InvalidInput, match="allow_selected") as refusal:
        desk.do(rollout, Verb.SUBMIT)
    assert refusal.value.field == "slot.oec"
    assert desk.state(rollout) is State.DRAFT
    desk.policy({"allow_selected": True})
    assert desk.do(rollout, Verb.SUBMIT).state is State.VALIDATING


def test_a_slot_lets_it_decide_only_under_a_policy_that_does() -> None:
    desk = Desk()
    selected(desk, "on-time")
    slot = {
        "unit": "departure",
        "oec": {"metric": "on-time"},
        "guardrails": [{"metric": "complaints", "margin": 0.01}],
        "policy": "house",
    }
    with pytest.raises(InvalidInput, match="allow_selected"):
        define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))
    desk.policy({"allow_selected": True})
    put = define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))
    assert put.slot.oec is not None


def test_nothing_is_planned_for_a_claim_that_does_not_move() -> None:
    """A margin that the horizon could never show is no reason to refuse an alarm."""
    desk = Desk({"oec": {"horizon": 4000}})
    desk.baseline = None
    for key, sd in (("on-time", 0.5), ("complaints", 0.5)):
        document = {**METRICS[key], "baseline": {"mean": 0.5, "sd": sd}}
        if key == "complaints":
            document["observed"] = "after_decision"
        define.put_metric(desk.store, PROJECT, document, key=key, actor=MACHINE)
    slot = {
        "unit": "departure",
        "oec": {"metric": "on-time", "mde": 0.1},
        "guardrails": [{"metric": "complaints", "margin": 0.001}],
        "policy": "house",
    }
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))
    assert desk.do(desk.create(), Verb.SUBMIT).state is State.VALIDATING
