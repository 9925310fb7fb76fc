"""A test with a reserve of alpha, past its horizon: live, in the judge, and over recorded data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.aggregation.statistics import Statistics
from controller.analysis import report as reports_room
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport, MetricVerdict
from controller.analysis.verification import verify_evidence
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, OecRules, OnNoDifference
from controller.experiments.slots import Goal
from controller.rollout.bake import bake_plan
from controller.rollout.judge import judge
from controller.rollout.states import Verdict
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.mixture import critical_z, regression_critical_z, regression_log_e, tuned_rho
from controller.stats.score import planned_size
from controller.stats.spending import Spending
from tests.unit.analysis_offline.tables import BINARY, comparison, spec
from tests.unit.rollout.reports import facts
from tests.worlds import binary, plan, shelve, statistics

RESERVE = 0.005
KEEPS_ON = OecRules(
    futility=Futility.NONE, reserve=RESERVE, on_no_difference=OnNoDifference.KEEP_TESTING
)
HORIZON = 10_000


def seen(n: int, share: float) -> Statistics:
    """n units an arm, challenger's share of conversions; champion's is .1."""
    cells = {
        ("conversion", 0, "champion"): binary(n, round(0.1 * n)),
        ("conversion", 0, "challenger"): binary(n, round(share * n)),
    }
    return statistics(cells)


def walk(the_plan: Plan, *snapshots: tuple[int, float]) -> list[LookReport]:
    """A look at each of these."""
    reports: list[LookReport] = []
    previous: Mapping[str, Any] | None = None
    for number, (n, share) in enumerate(snapshots, start=1):
        look = LookInput(plan=the_plan, statistics=seen(n, share), number=number, previous=previous)
        reports.append(take_look(look))
        previous = json.loads(json.dumps(reports[-1].memory))
    return reports


def first(report: LookReport) -> tuple[reports_room.Comparison, reports_room.Test]:
    found = report.metrics[0].comparisons[0]
    return found, found.tests[0]


def z_of(n: int, share: float) -> float:
    pooled = (0.1 + share) / 2
    return (share - 0.1) * math.sqrt(n / 2 / (pooled * (1 - pooled) * 2 * n / (2 * n - 1)))


SLIGHT = [(2500, 0.101), (5000, 0.104), (7500, 0.104), (20_000, 0.1035), (40_000, 0.112)]


def test_the_plan_spends_alpha_without_the_reserve() -> None:
    reports = walk(plan(horizon=HORIZON, rules=KEEPS_ON), *SLIGHT[:1])
    wanted = boundaries(
        SequentialPlan(alpha=0.05 - RESERVE, spending=Spending(parameter=-3.0)), [0.5]
    )
    _, test = first(reports[0])
    assert test.bound == pytest.approx(wanted[0].critical_value, abs=1e-9)
    assert test.alpha == 0.05
    assert (test.reserve, test.part) == (RESERVE, "planned")


def test_past_the_horizon_the_test_goes_on_and_says_so() -> None:
    reports = walk(plan(horizon=HORIZON, rules=KEEPS_ON), *SLIGHT)
    found, test = first(reports[2])
    assert (found.verdict, found.reason) == (MetricVerdict.INCONCLUSIVE, "horizon_passed")
    assert (test.part, test.crossed, test.look) == ("reserve", None, 2)
    rho = tuned_rho(1.5 * HORIZON / 4, alpha=RESERVE)
    size = 7500 / 2
    of = {"units": 15_000, "freedom": 14_998}
    assert test.bound == pytest.approx(
        regression_critical_z(size / rho, alpha=RESERVE, **of), rel=1e-9
    )
    assert test.e_value == pytest.approx(
        math.exp(regression_log_e(z_of(7500, 0.104), size / rho, **of)), rel=1e-8
    )
    assert test.z == pytest.approx(z_of(7500, 0.104), rel=1e-9)
    assert test.t == pytest.approx(1.5)


def test_without_a_reserve_the_horizon_is_the_end() -> None:
    found, _ = first(
        walk(plan(horizon=HORIZON, rules=OecRules(futility=Futility.NONE)), *SLIGHT)[-1]
    )
    assert (found.verdict, found.reason) == (MetricVerdict.NO_DIFFERENCE, "horizon_reached")


def test_a_crossing_of_the_reserve_is_latched_and_names_its_part() -> None:
    reports = walk(plan(horizon=HORIZON, rules=KEEPS_ON), *SLIGHT, (50_000, 0.101))
    _, before = first(reports[3])
    assert before.crossed is None
    found, test = first(reports[4])
    assert found.verdict is MetricVerdict.BETTER
    assert test.crossed is not None
    assert (test.crossed.part, test.crossed.look, test.crossed.direction) == (
        "reserve",
        5,
        "better",
    )
    assert test.p is not None
    assert test.e_value is not None
    assert test.p == pytest.approx(0.05 / RESERVE / test.e_value, rel=1e-8)
    assert test.p <= 0.05
    assert found.interval is not None
    assert found.interval.low is not None
    assert found.interval.low > 0.0
    later, kept = first(reports[5])
    assert later.verdict is MetricVerdict.BETTER
    assert kept.crossed == test.crossed
    assert kept.part == "reserve"
    assert later.interval == found.interval


def test_both_parts_weigh_their_p_by_their_part_of_alpha() -> None:
    """Else up to .0275 of true nulls had p <= .025, at which a family of two tests."""
    found, test = first(walk(plan(horizon=HORIZON, rules=KEEPS_ON), (5000, 0.12))[0])
    plain = 2.0 * NormalDist().cdf(-z_of(5000, 0.12))
    assert test.p == pytest.approx(0.05 / (0.05 - RESERVE) * plain, rel=1e-6)
    assert found.verdict is MetricVerdict.BETTER
    _, alone = first(
        walk(plan(horizon=HORIZON, rules=OecRules(futility=Futility.NONE)), (5000, 0.12))[0]
    )
    assert alone.p == pytest.approx(plain, rel=1e-6)


def test_the_reserve_crosses_where_its_e_value_reaches_its_level_and_not_before() -> None:
    """One look beyond the horizon, at every lift: e >= 1 / .005 and "crossed" are one thing."""
    for share in np.arange(0.105, 0.116, 0.0005):
        report = walk(plan(horizon=HORIZON, rules=KEEPS_ON), *SLIGHT[:2], (20_000, share))[-1]
        found, test = first(report)
        assert test.e_value is not None
        assert (test.crossed is not None) == (test.e_value >= 1.0 / RESERVE)
        assert found.interval is not None
        assert found.interval.low is not None
        assert (found.interval.low > 0.0) == (test.crossed is not None)


def test_a_loss_and_a_claim_of_not_worse_may_come_from_the_reserve_too() -> None:
    down = [(n, 0.2 - share) for n, share in SLIGHT]
    worse, _ = first(walk(plan(horizon=HORIZON, rules=KEEPS_ON), *down)[-1])
    assert worse.verdict is MetricVerdict.WORSE
    chosen = plan(horizon=HORIZON, rules=KEEPS_ON, goal=Goal.NOT_WORSE, margin=0.005)
    found, test = first(walk(chosen, (2500, 0.1), (5000, 0.1), (150_000, 0.1))[-1])
    assert test.reserve == RESERVE / 2
    assert test.crossed is not None
    assert (found.verdict, test.crossed.part) == (MetricVerdict.NOT_WORSE, "reserve")


def test_challengers_share_the_reserve_evenly() -> None:
    weights = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
    chosen = plan(horizon=HORIZON, rules=KEEPS_ON, weights=weights)
    cells = {("conversion", 0, arm): binary(5000, 500) for arm in weights}
    both = statistics(cells, weights=(weights,))
    memory = take_look(LookInput(plan=chosen, statistics=both, number=1)).memory
    report = take_look(LookInput(plan=chosen, statistics=both, number=2, previous=memory))
    tests = [found.tests[0] for found in report.metrics[0].comparisons]
    assert [test.reserve for test in tests] == [RESERVE / 2] * 2
    rho = tuned_rho(1.5 * planned_size(HORIZON, 0.3, 0.4), alpha=RESERVE / 2)
    assert tests[0].bound == pytest.approx(critical_z(2500 / rho, alpha=RESERVE / 2), rel=1e-9)


def test_looks_beyond_the_horizon_are_taken_again_to_the_byte() -> None:
    chosen = Plan.from_document(plan(horizon=HORIZON, rules=KEEPS_ON).document())
    shelf: dict[str, Any] = {}
    previous = None
    for number, (n, share) in enumerate(SLIGHT, start=1):
        look = LookInput(plan=chosen, statistics=seen(n, share), number=number, previous=previous)
        previous = shelve(shelf, take_look(look))
    assert len(shelf) == len(SLIGHT)
    for document in shelf.values():
        assert verify_evidence(document, chosen.document(), shelf.get).intact


def test_the_judge_keeps_going_past_the_horizon_and_believes_the_reserve() -> None:
    chosen = plan(horizon=HORIZON, rules=KEEPS_ON)
    verdicts = [
        judge(chosen, report, facts(), evidence_sha256="e" * 64) for report in walk(chosen, *SLIGHT)
    ]
    assert (verdicts[2].verdict, verdicts[2].reason) == (Verdict.KEEP_GOING, "horizon_passed")
    assert verdicts[4].verdict is Verdict.PROMOTE


def test_the_bake_keeps_no_reserve() -> None:
    """It has no horizon; its plan is read back from the evidence, so it must be a legal one."""
    baked = bake_plan(plan(horizon=HORIZON, rules=KEEPS_ON), "challenger")
    assert baked.policy.oec.reserve == 0.0
    assert Plan.from_document(baked.document()).policy.oec == baked.policy.oec


def rows(n: int, lift: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.5, "treatment", "control")
    hit = rng.random(n) < np.where(arm == "treatment", 0.2 + lift, 0.2)
    return pd.DataFrame({"arm": arm, "t": np.arange(n), "converted": hit.astype(int)})


def test_recorded_data_go_on_past_the_horizon_with_a_reserve() -> None:
    planned = BINARY | {"mode": "planned", "horizon": 2000}
    described = {"looks": 20, "time": "t", "unit": None}
    short = comparison(rows(20_000, 0.03, 5), spec(planned, **described), "conversion")
    long = comparison(
        rows(20_000, 0.03, 5), spec(planned | {"reserve": 0.005}, **described), "conversion"
    )
    assert (short["verdict"], short["reason"]) == ("no_difference", "horizon_reached")
    assert long["verdict"] == "better"
    assert long["sequential"]["p"] <= 0.05
    assert long["sequential"]["first_look"] > 2
    nothing = comparison(
        rows(20_000, 0.0, 6), spec(planned | {"reserve": 0.005}, **described), "conversion"
    )
    assert (nothing["verdict"], nothing["reason"]) == ("inconclusive", "horizon_passed")
    assert nothing["sequential"]["p"] is None
    assert nothing["sequential"]["e_value"] < 1.0
