"""A relative margin where the champion may stand below zero: a part of its size, never turned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments
from controller.analysis import analyze
from controller.analysis import report as reports_room
from controller.analysis.alarms import Alarm, raise_alarms
from controller.analysis.look import take_look
from controller.analysis.memory import AnytimeMemory
from controller.analysis.planned import Moment
from controller.analysis.report import Comparison, LookInput, MetricVerdict
from controller.analysis.rules import guardrail_rules, harm_nulls
from controller.analysis.sights import see
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.experiments.plans import Plan
from controller.experiments.slots import Guardrail
from controller.stats.score import Null
from tests.worlds import binary, metric, moments, plan, ratio_moments, statistics

MARGIN = 0.05
PROFIT = metric("profit", type=MetricType.MEAN)
COST = metric("profit", type=MetricType.MEAN, direction=Direction.DECREASE)

Draws = NDArray[np.float64]


def watching(key: Metric, margin: float = MARGIN) -> Plan:
    guard = Guardrail(metric=key.key, margin_relative=margin)
    return plan(guardrails={key.key: (key, guard)}, horizon=20_000)


def look(chosen: Plan, champion: Moments, challenger: Moments) -> Comparison:
    (guard,) = chosen.slot.guardrails
    arms = {"champion": champion, "challenger": challenger}
    cells = {(guard.metric, 0, arm): cell for arm, cell in arms.items()}
    cells |= {("conversion", 0, arm): binary(cell.n, cell.n // 10) for arm, cell in arms.items()}
    report = take_look(LookInput(plan=chosen, statistics=statistics(cells), number=1))
    found = report.metric(guard.metric)
    assert found is not None
    return found.comparisons[0]


def alarm(found: Comparison) -> reports_room.Test:
    return found.tests[1]


def fired(key: Metric, champion: Draws, challenger: Draws, *, step: int) -> bool:
    """Whether the alarm of one rollout ever fires, looked at after every `step` units an arm."""
    chosen = watching(key)
    rules = guardrail_rules(chosen, chosen.slot.guardrails[0], key)
    memory = AnytimeMemory()
    for n in range(step, champion.size + 1, step):
        seen = statistics(
            {
                (key.key, 0, "champion"): moments(champion[:n]),
                (key.key, 0, "challenger"): moments(challenger[:n]),
            }
        )
        heard = Alarm(
            rules=rules,
            sight=see(seen, key, "challenger", rules),
            alpha=0.01,
            readable=True,
            memory=memory,
        )
        memory = raise_alarms({"": heard}, Moment(look=n, taken_at=""))[""].memory
    return memory.crossed is not None


@pytest.mark.parametrize("key", [PROFIT, COST], ids=["profit", "cost"])
def test_equal_arms_below_zero_are_no_harm(key: Metric) -> None:
    rng = np.random.default_rng(62)
    for _ in range(20):
        champion, challenger = rng.normal(-10.0, 5.0, (2, 4000))
        assert not fired(key, champion, challenger, step=500)


@pytest.mark.parametrize("key", [PROFIT, COST], ids=["profit", "cost"])
@pytest.mark.parametrize("level", [-10.0, 0.1, 10.0])
def test_at_the_margin_the_alarm_keeps_its_level_whatever_the_sign(
    key: Metric, level: float
) -> None:
    """200 rollouts of 16 looks, each challenger worse by .05 of the champion's size; level .01."""
    rng = np.random.default_rng(620)
    runs = 200
    worse = level - key.better * MARGIN * abs(level)
    found = sum(
        fired(key, rng.normal(level, 2.0, 1600), rng.normal(worse, 2.0, 1600), step=100)
        for _ in range(runs)
    )
    assert found / runs <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / runs)


@pytest.mark.parametrize("key", [PROFIT, COST], ids=["profit", "cost"])
@pytest.mark.parametrize("level", [-10.0, 10.0])
def test_twice_the_margin_and_more_is_found_on_either_side(key: Metric, level: float) -> None:
    rng = np.random.default_rng(621)
    champion, challenger = rng.normal(level, 2.0, (2, 4000))
    assert fired(key, champion, challenger - key.better * 1.5, step=500)


def test_above_zero_the_alarm_is_that_of_the_one_null() -> None:
    """Revenue, whose champion nobody doubts: the other null takes nothing from its evidence."""
    rng = np.random.default_rng(622)
    for _ in range(20):
        champion, challenger = rng.lognormal(1.0, 1.5, (2, 600))
        champion *= rng.random(600) < 0.2
        challenger *= rng.random(600) < 0.1
        for n in range(40, 601, 40):
            mean, count = (
                look(watching(metric("spend", type=kind)), moments(champion[:n]), arm)
                for kind, arm in (
                    (MetricType.MEAN, moments(challenger[:n])),
                    (MetricType.COUNT, moments(challenger[:n])),
                )
            )
            assert alarm(mean).e_value == alarm(count).e_value
            assert alarm(mean).z == alarm(count).z


def test_what_cannot_lie_below_zero_has_one_null() -> None:
    for kind in (MetricType.BINARY, MetricType.COUNT, MetricType.QUANTILE):
        assert harm_nulls(Null(scale=0.95), metric("m", type=kind)) == (Null(scale=0.95),)
    assert harm_nulls(Null(shift=-1.0), PROFIT) == (Null(shift=-1.0),)
    assert harm_nulls(Null(scale=0.75), PROFIT) == (Null(scale=0.75), Null(scale=1.25))


def test_a_ratio_below_zero_is_watched_as_a_mean_is() -> None:
    rng = np.random.default_rng(623)
    key = metric("margin", type=MetricType.RATIO, denominator="orders")
    orders = rng.poisson(2.0, (2, 5000)) + 1.0
    champion, challenger = -3.0 * orders + rng.normal(0.0, 2.0, (2, 5000))
    equal = look(watching(key), *map(ratio_moments, (champion, challenger), orders))
    assert alarm(equal).crossed is None
    assert (equal.verdict, equal.reason) == (MetricVerdict.INCONCLUSIVE, "baseline_not_positive")
    lost = look(watching(key), *map(ratio_moments, (champion, challenger - orders), orders))
    assert (lost.verdict, lost.reason) == (MetricVerdict.HARM, "harm_alarm")


def test_a_champion_below_zero_is_named_and_its_claim_asks_for_more() -> None:
    rng = np.random.default_rng(624)
    champion, challenger = rng.normal(-10.0, 5.0, (2, 2000))
    equal = look(watching(PROFIT), moments(champion), moments(challenger))
    assert (equal.verdict, equal.reason) == (MetricVerdict.INCONCLUSIVE, "baseline_not_positive")
    above = look(watching(PROFIT), moments(-champion), moments(-challenger))
    assert above.verdict is MetricVerdict.NOT_WORSE
    better = look(watching(PROFIT), moments(champion), moments(challenger + 3.0))
    assert better.verdict is MetricVerdict.NOT_WORSE


@pytest.mark.parametrize("kind", [MetricType.MEAN, MetricType.RATIO])
def test_a_relative_lift_and_its_interval_have_one_sign(kind: MetricType) -> None:
    rng = np.random.default_rng(625)
    key = metric("profit", type=kind, denominator="orders" if kind is MetricType.RATIO else None)
    ones = np.ones(2000)
    champion = ratio_moments(rng.normal(-10.0, 5.0, 2000), ones)
    challenger = ratio_moments(rng.normal(-8.0, 5.0, 2000), ones)
    cells = {("profit", 0, "champion"): champion, ("profit", 0, "challenger"): challenger}
    chosen = plan(oec=key, horizon=20_000)
    report = take_look(LookInput(plan=chosen, statistics=statistics(cells), number=1))
    found = report.metrics[0].comparisons[0]
    assert found.verdict is MetricVerdict.BETTER
    ends = found.relative_interval
    assert ends is not None
    assert ends.low is not None
    assert ends.high is not None
    assert found.relative is not None
    assert 0.0 < ends.low < found.relative < ends.high


def recorded(challenger: float, **changes: Any) -> Mapping[str, Any]:
    rng = np.random.default_rng(626)
    arm = rng.integers(0, 2, 8000)
    table = pd.DataFrame(
        {
            "arm": np.where(arm == 1, "t", "c"),
            "y": rng.normal(np.where(arm == 1, challenger, -10.0), 5.0),
        }
    )
    guard = {"key": "y", "column": "y", "type": "mean", "role": "guardrail"}
    shares = {"column": "arm", "champion": "c", "weights": {"c": 0.5, "t": 0.5}}
    asked = {"arm": shares, "metrics": [guard | {"margin_relative": MARGIN} | changes]}
    found: Mapping[str, Any] = analyze(table, asked).document["metrics"]["y"]["comparisons"]["t"]
    return found


PLANS: tuple[dict[str, Any], ...] = ({}, {"mode": "planned", "horizon": 16_000}, {"mode": "fixed"})


@pytest.mark.parametrize("mode", PLANS, ids=["anytime", "planned", "fixed"])
def test_recorded_data_are_told_the_same(mode: dict[str, Any]) -> None:
    equal = recorded(-10.0, **mode)
    assert (equal["verdict"], equal["reason"]) == ("inconclusive", "baseline_not_positive")
    assert recorded(-12.0, **mode)["verdict"] == "harm"
    better = recorded(-8.0, **mode)
    assert better["verdict"] == "not_worse"
    assert 0.0 < better["relative"]["ci"][0] < better["relative"]["estimate"]
