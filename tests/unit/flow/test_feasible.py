"""A plan that is known to be unable to decide is refused when it is submitted."""

from __future__ import annotations

import pytest

from controller.errors import PlanInfeasible
from controller.flow.ports.statistics import Observed
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import Desk

OEC = {"metric": "on-time", "mde": 0.02}
BASELINE = Observed(units=500, mean=0.5, sd=0.5)


def desk(*, horizon: int = 20_000, baseline: Observed | None = BASELINE) -> Desk:
    made = Desk(
        {"oec": {"horizon": horizon}, "deadlines": {"ramping": "10d", "deciding": "10d"}},
        slot={"oec": OEC, "guardrails": [{"metric": "complaints", "margin": 0.02}]},
    )
    made.baseline = baseline
    return made


def refused(made: Desk, rollout: Rollout) -> PlanInfeasible:
    with pytest.raises(PlanInfeasible) as caught:
        made.do(rollout, Verb.SUBMIT)
    assert made.get(rollout).state is State.DRAFT
    return caught.value


def test_a_horizon_that_shows_nothing_is_refused_with_advice() -> None:
    made = desk(horizon=2_000)
    refusal = refused(made, made.create())
    assert [line.partition(":")[0] for line in refusal.advice] == ["on-time", "complaints"]
    assert "longer horizon" in refusal.advice[0]


def test_what_nobody_knows_is_not_held_against_a_plan() -> None:
    made = desk(horizon=2_000, baseline=None)
    assert made.do(made.create(), Verb.SUBMIT).state is State.VALIDATING


def test_a_horizon_out_of_reach_of_the_observed_traffic_is_refused() -> None:
    made = desk(horizon=40_000)
    # A slot at rest records 5 %: at most 2,000 new units a day, of which a tenth is enrolled.
    made.observed_days = (60, 100, 80)
    refusal = refused(made, made.create())
    assert "best observed day" in refusal.advice[0]
    made.observed_days = (6_000, 10_000)
    assert made.do(made.create(), Verb.SUBMIT).state is State.VALIDATING


def test_a_person_may_accept_it_and_the_log_says_so() -> None:
    made = desk(horizon=2_000)
    rollout = made.create()
    assert made.do(rollout, Verb.SUBMIT, accept_infeasible=True).state is State.VALIDATING
    with made.store.reading() as work:
        log = work.decisions.since("default", rollout.id)
    (submitted,) = [one for one in log if one.action == "submit"]
    assert len(submitted.document["accepted_infeasible"]) == 2
