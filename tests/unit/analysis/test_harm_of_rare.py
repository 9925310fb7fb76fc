"""Harm while events are few: the exact part of a guardrail's alarm, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from controller.aggregation.statistics import Moments
from controller.analysis import report as reports_room
from controller.analysis.alarms import EXACT_WEIGHT, Alarm, raise_alarms
from controller.analysis.look import take_look
from controller.analysis.memory import AnytimeMemory
from controller.analysis.planned import Moment
from controller.analysis.report import LookInput, LookReport
from controller.analysis.rules import guardrail_rules
from controller.analysis.sights import see
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.experiments.plans import Plan
from controller.experiments.slots import Guardrail
from controller.stats.share_bets import EpochHits, share_log_e
from tests.worlds import EVEN, binary, metric, plan, statistics

UNEVEN = {"champion": 0.9, "challenger": 0.1}


def watching(
    key: Metric, weights: Mapping[str, float] = EVEN, *, horizon: int = 100_000, **margin: float
) -> Plan:
    guardrails = {key.key: (key, Guardrail(metric=key.key, **margin))}
    return plan(guardrails=guardrails, weights=weights, horizon=horizon)


def errors(kind: MetricType = MetricType.BINARY) -> Metric:
    return metric("errors", type=kind, direction=Direction.DECREASE)


def look(
    chosen: Plan,
    champion: Moments,
    challenger: Moments,
    *,
    previous: Mapping[str, Any] | None = None,
) -> LookReport:
    (key,) = (each.metric for each in chosen.slot.guardrails)
    cells = {
        ("conversion", 0, "champion"): binary(champion.n, champion.n // 10),
        ("conversion", 0, "challenger"): binary(challenger.n, challenger.n // 10),
        (key, 0, "champion"): champion,
        (key, 0, "challenger"): challenger,
    }
    seen = statistics(cells, weights=(dict(chosen.weights),))
    return take_look(LookInput(plan=chosen, statistics=seen, number=1, previous=previous))


def alarm(report: LookReport) -> reports_room.Test:
    found = report.metric("errors") or report.metric("orders")
    assert found is not None
    return found.comparisons[0].tests[1]


def count(n: int, values: Sequence[int]) -> Moments:
    """A count metric: n units, of which these have events."""
    total, squares = sum(values), sum(value * value for value in values)
    return Moments(n=n, nonzero=len(values), mean=total / n, m2=squares - total * total / n)


@pytest.mark.parametrize(
    ("weights", "units", "hits"),
    [(EVEN, (1000, 1000), 12), (UNEVEN, (9000, 1000), 8)],
    ids=["50/50", "90/10"],
)
@pytest.mark.parametrize("margin", [{"margin_relative": 0.2}, {"margin": 0.001}])
def test_a_dozen_errors_against_none_are_harm_before_the_burn_in(
    weights: Mapping[str, float], units: tuple[int, int], hits: int, margin: dict[str, float]
) -> None:
    chosen = watching(errors(), weights, horizon=100_000, **margin)
    report = look(chosen, binary(units[0], 0), binary(units[1], hits))
    crossed = alarm(report).crossed
    assert crossed is not None
    assert crossed.direction == "harm"
    same = look(chosen, binary(units[0], hits * units[0] // units[1]), binary(units[1], hits))
    assert alarm(same).crossed is None


def test_before_the_burn_in_the_alarm_is_the_exact_part_alone_at_its_weight() -> None:
    chosen = watching(errors(), UNEVEN, margin_relative=0.2)
    found = alarm(look(chosen, binary(9000, 2), binary(1000, 5)))
    seen = EpochHits(
        control=9000, control_hits=2, treatment=1000, treatment_hits=5, share=UNEVEN["challenger"]
    )
    wanted = EXACT_WEIGHT * math.exp(share_log_e([seen], alternative="larger", scale=1.2))
    assert found.z is None
    assert found.e_value == pytest.approx(wanted, rel=1e-9)


def test_with_both_parts_the_alarm_is_their_mixture() -> None:
    """The asymptotic part is what a mean of the same numbers gets: no hit-or-miss there."""
    pair = (binary(2000, 60), binary(2000, 110))
    mixed = alarm(look(watching(errors(), margin=0.005), *pair))
    other = alarm(look(watching(errors(MetricType.MEAN), margin=0.005), *pair))
    seen = EpochHits(control=2000, control_hits=60, treatment=2000, treatment_hits=110, share=0.5)
    exact = math.exp(share_log_e([seen], alternative="larger", shift=0.005))
    assert other.e_value is not None
    wanted = EXACT_WEIGHT * exact + (1.0 - EXACT_WEIGHT) * other.e_value
    assert mixed.e_value == pytest.approx(wanted, rel=1e-8)


def test_lost_conversions_are_harm_too() -> None:
    """An increase is better: none of the challenger's units converts, a margin of a tenth."""
    orders = metric("orders")
    chosen = watching(orders, UNEVEN, margin_relative=0.1)
    report = look(chosen, binary(9000, 700), binary(1000, 0))
    assert alarm(report).z is None
    assert alarm(report).crossed is not None


def test_a_count_has_no_exact_part() -> None:
    """The null is about its mean, which few units with bursts may carry: it is heard as a mean."""
    counts, means = errors(MetricType.COUNT), errors(MetricType.MEAN)
    arms = (count(1000, [2] * 10), count(1000, [3] * 30))
    assert alarm(look(watching(counts, margin_relative=0.2), *arms)) == alarm(
        look(watching(means, margin_relative=0.2), *arms)
    )
    early = watching(counts, UNEVEN, margin_relative=0.2)
    assert alarm(look(early, count(9000, []), count(1000, [1] * 12))).e_value is None
    heard = alarm(look(early, count(9000, [1] * 25), count(1000, [1] * 60)))
    assert heard.crossed is not None


def alarms_at_one_mean(weights: Mapping[str, float], *, runs: int) -> float:
    """Ten errors in a hundredth of champion's units, one in a tenth of the challenger's: .1 each.

    Share of rollouts of 40 looks, 1,000 units each, whose alarm ever fires; level .01.
    """
    rng, fired = np.random.default_rng(63), 0
    chosen = watching(errors(MetricType.COUNT), weights, horizon=40_000, margin_relative=0.05)
    rules = guardrail_rules(chosen, chosen.slot.guardrails[0], chosen.metrics["errors"])
    units = {arm: round(1000 * share) for arm, share in weights.items()}
    for _ in range(runs):
        memory, bursts, single = AnytimeMemory(), 0, 0
        for k in range(1, 41):
            bursts += int(rng.binomial(units["champion"], 0.01))
            single += int(rng.binomial(units["challenger"], 0.1))
            cells = {
                ("errors", 0, "champion"): count(k * units["champion"], [10] * bursts),
                ("errors", 0, "challenger"): count(k * units["challenger"], [1] * single),
            }
            seen = statistics(cells, weights=(weights,))
            sight = see(seen, chosen.metrics["errors"], "challenger", rules)
            heard = Alarm(rules=rules, sight=sight, alpha=0.01, readable=True, memory=memory)
            memory = raise_alarms({"": heard}, Moment(look=k, taken_at=""))[""].memory
        fired += memory.crossed is not None
    return fired / runs


@pytest.mark.parametrize(
    ("weights", "level"), [(UNEVEN, 0.01), (EVEN, 0.04)], ids=["90/10", "50/50"]
)
def test_more_units_hit_with_one_mean_are_no_harm_at_any_look(
    weights: Mapping[str, float], level: float
) -> None:
    """A bet on the units hit calls most of these harm; at 50/50 few bursts are misread (0063)."""
    error = math.sqrt(level * (1.0 - level) / 80)
    assert alarms_at_one_mean(weights, runs=80) <= level + 2 * error


def test_more_units_with_fewer_errors_each_are_no_harm() -> None:
    """Twelve units hit instead of five, but the mean count has fallen."""
    chosen = watching(errors(MetricType.COUNT), margin_relative=0.2)
    report = look(chosen, count(1000, [10] * 5), count(1000, [1] * 30))
    assert (alarm(report).e_value or math.inf) < 1.0
    assert alarm(report).crossed is None


def test_a_count_of_what_is_good_has_no_exact_part() -> None:
    """Fewer buyers may buy more each: units hit do not tell a mean of purchases."""
    orders = metric("orders", type=MetricType.COUNT)
    report = look(
        watching(orders, UNEVEN, margin_relative=0.1), count(9000, [1] * 700), count(1000, [])
    )
    assert alarm(report).e_value is None


def test_no_unit_yet_is_no_evidence() -> None:
    report = look(watching(errors(), margin=0.01), binary(0, 0), binary(0, 0))
    assert alarm(report).e_value is None
    assert alarm(report).p is None


def test_epochs_bet_at_their_own_weights() -> None:
    """Ten errors in an epoch where the challenger had nine units in ten are no surprise."""
    chosen = watching(errors(), margin_relative=0.2)
    cells = {
        ("conversion", 0, "champion"): binary(1000, 100),
        ("conversion", 0, "challenger"): binary(9000, 900),
        ("errors", 0, "champion"): binary(1000, 1),
        ("errors", 0, "challenger"): binary(9000, 10),
    }

    def under(weights: Mapping[str, float]) -> float:
        seen = statistics(cells, weights=(dict(weights),))
        report = take_look(LookInput(plan=chosen, statistics=seen, number=1))
        return alarm(report).e_value or 0.0

    assert under({"champion": 0.1, "challenger": 0.9}) < 1.0 < under(UNEVEN)


@pytest.mark.parametrize(
    ("rate", "share", "margin"),
    [
        (0.002, 0.5, {"margin_relative": 0.2}),
        (0.002, 0.1, {"margin_relative": 0.2}),
        (0.01, 0.1, {"margin": 0.005}),
    ],
)
def test_alarms_at_the_margin_stay_within_their_level_at_every_look(
    rate: float, share: float, margin: dict[str, float]
) -> None:
    """600 rollouts of 40 looks, each challenger worse by exactly the margin; level .01."""
    weights = {"champion": 1.0 - share, "challenger": share}
    chosen = watching(errors(), weights, horizon=20_000, **margin)
    worse = rate * (1.0 + margin.get("margin_relative", 0.0)) + margin.get("margin", 0.0)
    key, watched = chosen.metrics["errors"], chosen.slot.guardrails[0]
    rules = guardrail_rules(chosen, watched, key)
    rng = np.random.default_rng(28)
    runs, fired = 600, 0
    treated = rng.binomial(500, share, (runs, 40)).cumsum(axis=1)
    rest = 500 * np.arange(1, 41) - treated
    hit = rng.binomial(np.diff(treated, axis=1, prepend=0), worse).cumsum(axis=1)
    missed = rng.binomial(np.diff(rest, axis=1, prepend=0), rate).cumsum(axis=1)
    for run in range(runs):
        memory = AnytimeMemory()
        for k in range(40):
            cells = {
                ("errors", 0, "champion"): binary(int(rest[run, k]), int(missed[run, k])),
                ("errors", 0, "challenger"): binary(int(treated[run, k]), int(hit[run, k])),
            }
            sight = see(statistics(cells, weights=(weights,)), key, "challenger", rules)
            heard = Alarm(rules=rules, sight=sight, alpha=0.01, readable=True, memory=memory)
            memory = raise_alarms({"": heard}, Moment(look=k, taken_at=""))[""].memory
        fired += memory.crossed is not None
    assert fired / runs <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / runs)
