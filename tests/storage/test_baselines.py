"""The planner's baseline of a slot at rest is read as a rollout would read its units."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from controller.experiments.metrics import Metric, MetricType, Winsorize, ZeroMeans
from controller.flow.ports.statistics import Observed
from controller.storage.sql.database import Database
from controller.storage.sql.measurements import SqlMeasurements
from tests import worlds
from tests.traffic import World, ago

UNITS = 400


def resting(database: Database, metric: Metric, **outcomes: Any) -> Observed:
    """What is observed of a slot at rest; `before` are values before exposure.

    Those named `orders_after` and `orders_before` are outcomes called orders.
    """
    world = World(database, [metric])
    events = [
        world.exposure(
            f"rest{number}",
            ago(900),
            rollout=None,
            allocation=None,
            arm="champion",
            reason="NO_ROLLOUT",
        )
        for number in range(UNITS)
    ]
    instants: dict[str, datetime] = {"before": ago(1400), "orders_before": ago(1400)}
    for when, values in outcomes.items():
        events += [
            world.outcome(
                f"rest{n}",
                instants.get(when, ago(899)),
                name="orders" if when.startswith("orders") else metric.outcome,
                value=value,
                event_id=f"{when}{n}",
            )
            for n, value in enumerate(values)
        ]
    for start in range(0, len(events), 400):
        world.send(events[start : start + 400])
    world.drain()
    world.watermark_rises()
    with database.read() as connection:
        found = SqlMeasurements(connection).observed(world.project, "slot", metric)
    assert found is not None
    assert found.units == UNITS
    return found


def cost(**changes: Any) -> Metric:
    return worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0, **changes)


@pytest.mark.parametrize(
    ("cap", "most"), [(Winsorize(value=30.0), 30.0), (Winsorize(quantile=0.9), None)]
)
def test_values_are_capped(database: Database, cap: Winsorize, most: float | None) -> None:
    drawn = np.random.default_rng(1).lognormal(2.0, 1.5, UNITS)
    if most is None:
        most = float(np.sort(drawn)[int(np.ceil(0.9 * UNITS)) - 1])
    found = resting(database, cost(winsorize=cap), after=drawn.tolist())
    capped = np.minimum(drawn, most)
    assert found.mean == pytest.approx(capped.mean())
    assert found.sd == pytest.approx(capped.std(ddof=1))
    assert found.sd < 0.5 * drawn.std(ddof=1), "or the test could not fail"


def test_what_the_look_back_explains_is_no_part_of_the_spread(database: Database) -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(50.0, 10.0, UNITS)
    after = 2.0 * before + rng.normal(0.0, 5.0, UNITS)
    found = resting(
        database, cost(lookback_seconds=800.0), after=after.tolist(), before=before.tolist()
    )
    left = np.polyval(np.polyfit(before, after, 1), before) - after
    assert found.mean == pytest.approx(after.mean())
    assert found.sd == pytest.approx(np.sqrt((left**2).sum() / (UNITS - 1)))
    assert found.sd < 0.4 * after.std(ddof=1)


def test_of_a_ratio_both_look_backs_are_taken_out(database: Database) -> None:
    rng = np.random.default_rng(6)
    own, often = rng.gamma(16.0, 0.5, UNITS), 1.0 + rng.poisson(4.0, UNITS)
    orders, before = 1.0 + rng.poisson(often), 1.0 + rng.poisson(often)
    spend, past = orders * own, before * own
    price = worlds.metric(
        "cost",
        type=MetricType.RATIO,
        denominator="orders",
        window_seconds=10.0,
        lookback_seconds=800.0,
    )
    found = resting(
        database,
        price,
        after=spend.tolist(),
        before=past.tolist(),
        orders_after=orders.tolist(),
        orders_before=before.tolist(),
    )
    ratio = spend.sum() / orders.sum()
    line = (spend - ratio * orders) / orders.mean()
    x = np.column_stack([np.ones(UNITS), past, before])
    left = line - x @ np.linalg.lstsq(x, line, rcond=None)[0]
    assert found.mean == pytest.approx(ratio)
    assert found.sd == pytest.approx(np.sqrt((left**2).sum() / (UNITS - 1)), rel=1e-9)
    assert found.sd < 0.9 * line.std(ddof=1)


def test_a_look_back_that_finds_nothing_explains_nothing(database: Database) -> None:
    drawn = np.random.default_rng(3).normal(50.0, 10.0, UNITS)
    found = resting(database, cost(lookback_seconds=800.0), after=drawn.tolist())
    assert found.sd == pytest.approx(drawn.std(ddof=1))


def test_what_is_explained_to_the_last_digit_has_no_spread(database: Database) -> None:
    drawn = np.random.default_rng(4).normal(50.0, 10.0, UNITS)
    found = resting(
        database,
        cost(lookback_seconds=800.0),
        after=(1.1 * drawn).tolist(),
        before=drawn.tolist(),
    )
    assert found.sd == 0.0


@pytest.mark.parametrize("repeated", [1, 3])
def test_a_quantile_has_the_spread_of_its_own_difference(database: Database, repeated: int) -> None:
    """sqrt(q (1 - q)) / density a unit, however often each unit repeats its one value."""
    drawn = np.random.default_rng(5).exponential(10.0, UNITS)
    wait = worlds.metric(
        "wait", type=MetricType.QUANTILE, q=0.5, window_seconds=10.0, zero_means=ZeroMeans.UNKNOWN
    )
    names = ["after", *[f"again{n}" for n in range(repeated - 1)]]
    found = resting(database, wait, **dict.fromkeys(names, drawn.tolist()))
    assert found.mean == pytest.approx(np.sort(drawn)[UNITS // 2 - 1])
    assert found.sd == pytest.approx(0.5 / (0.1 * 0.5), rel=0.2)
