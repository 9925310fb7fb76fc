"""What a plan leaves unguarded is said to whoever submits it, and stays readable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.experiments.metrics import Metric
from controller.experiments.metrics import Observed as Seen
from controller.experiments.policies import Policy, Stage
from controller.experiments.slots import Guardrail, Slot
from controller.flow.lint import warnings_of
from controller.flow.planning import Question, plan_rollout
from controller.flow.ports.statistics import Observed
from controller.rollout.states import Verb
from controller.service.ui.plan_terms import terms_of
from controller.stats.calendar import Traffic
from tests.unit.flow.desk import PROJECT, SLOT, STEPS, Desk
from tests.worlds import metric, plan

HOUR = 3600.0


def said(
    *guarding: Metric, dwell: float = HOUR, stages: int = 2, allow_selected: bool = False
) -> list[str]:
    made = plan()
    ramp = tuple(Stage(enrolled=(n + 1) / stages, dwell_seconds=dwell) for n in range(stages))
    policy: Policy = replace(made.policy, ramp=ramp, allow_selected=allow_selected)
    slot: Slot = replace(
        made.slot, guardrails=tuple(Guardrail(metric=one.key, margin=0.1) for one in guarding)
    )
    known: Mapping[str, Metric] = {one.key: one for one in guarding}
    return warnings_of(slot, policy, known)


@pytest.mark.parametrize(
    ("window", "lateness", "warned"),
    [(HOUR / 2, 0.0, False), (HOUR / 2, HOUR / 2, True), (HOUR - 1, 0.0, False), (HOUR, 0.0, True)],
)
def test_an_alarm_needs_a_complete_unit_before_the_share_rises(
    window: float, lateness: float, warned: bool
) -> None:
    late = metric("late", window_seconds=50 * HOUR)
    near = metric("near", window_seconds=window, lateness_seconds=lateness)
    assert bool(said(late, near)) is warned
    if warned:
        (line,) = said(late, near)
        assert "may end after 1 h" in line
        assert "first unit of near is complete after 1 h" in line


def test_a_single_stage_lasts_until_the_decision() -> None:
    late = metric("late", window_seconds=50 * HOUR)
    assert said(late, stages=1) == []
    assert len(said(late, stages=2)) == 1


def test_no_guardrail_means_no_alarm() -> None:
    (line,) = said(stages=1)
    assert "No guardrail has a harm alarm" in line


def test_a_guardrail_that_clears_nothing_is_named() -> None:
    chosen = metric("repaid", window_seconds=60.0, observed=Seen.AFTER_DECISION)
    (line,) = said(chosen)
    assert line.startswith("repaid is seen only after the model said yes")
    assert said(chosen, allow_selected=True) == []


def test_it_is_told_at_submit_in_the_log_in_the_status_and_on_the_plans_page() -> None:
    desk = Desk({"ramp": [{**STEPS[0], "dwell": "30s"}, STEPS[1]]})
    rollout = desk.create()
    assert desk.status(rollout)["spec"]["warnings"] == []
    desk.do(rollout, Verb.SUBMIT)
    (line,) = desk.status(rollout)["spec"]["warnings"]
    assert "No harm alarm can speak during the first stage: it may end after 30 s" in line
    with desk.store.reading() as work:
        log = work.decisions.since(PROJECT, rollout.id)
    (submitted,) = [one for one in log if one.action == "submit"]
    assert submitted.document["warnings"] == [line]
    frozen = desk.get(rollout).plan
    assert frozen is not None
    assert terms_of(frozen).warnings == (line,)


def test_a_plan_that_leaves_nothing_unguarded_says_nothing() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    assert desk.status(rollout)["spec"]["warnings"] == []
    with desk.store.reading() as work:
        log = work.decisions.since(PROJECT, rollout.id)
    assert all("warnings" not in one.document for one in log)


def test_it_is_told_before_a_rollout_exists() -> None:
    desk = Desk(
        {"ramp": [{**STEPS[0], "dwell": "30s"}, STEPS[1]]},
        slot={"oec": {"metric": "on-time", "mde": 0.05}},
    )
    desk.baseline = Observed(units=500, mean=0.5, sd=0.5)
    traffic = Traffic(low=1e5, expected=1e5, high=1e5)
    outlook = plan_rollout(desk.store, PROJECT, Question(slot=SLOT, traffic=traffic))
    (line,) = outlook.warnings
    assert "complaints" in line
