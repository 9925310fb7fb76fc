"""A ratio's covariates from event to snapshot: what arrives late or is corrected moves its unit."""

from __future__ import annotations

import numpy as np
import pytest

from controller.aggregation.statistics import Moments
from controller.events.times import format_time
from controller.experiments.metrics import MetricType
from controller.flow.recount import recount
from controller.storage.sql.database import Database
from tests import worlds
from tests.traffic import Event, World, ago

PRICE = worlds.metric(
    "price",
    type=MetricType.RATIO,
    outcome="spend",
    denominator="orders",
    window_seconds=10.0,
    lookback_seconds=3600.0,
)
UNITS = 30


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [PRICE])


def story(world: World, units: list[str]) -> list[Event]:
    """Each unit's spend and orders, after exposure and (two of three units) before it."""
    events = [world.exposure(unit, ago(100)) for unit in units]
    for i, unit in enumerate(units):
        told = {"spend": 0.1 * i, "orders": 1.0 + i % 3}
        before = {"spend": 19.99 * (i % 5), "orders": 2.0 + i % 4} if i % 3 else {}
        events += [world.outcome(unit, ago(99), name, value=v) for name, v in told.items()]
        events += [
            world.outcome(unit, ago(500), name, value=v, event_id=f"before-{name}-{unit}")
            for name, v in before.items()
        ]
    return events


def of_champion(world: World) -> Moments:
    return world.snapshot().moments["price", 1, "champion"]


def test_the_sums_are_those_of_the_units(world: World) -> None:
    units = world.units(UNITS)
    world.run(story(world, units))
    champions = set(world.units(UNITS, arm="champion"))
    mine = [i for i, unit in enumerate(units) if unit in champions]
    assert 5 < len(mine) < UNITS
    table = np.array(
        [
            (0.1 * i, 1.0 + i % 3, *((19.99 * (i % 5), 2.0 + i % 4) if i % 3 else (0.0, 0.0)))
            for i in mine
        ]
    )
    scatter = np.cov(table.T) * (len(mine) - 1)
    found = of_champion(world)
    assert found.n == len(mine)
    assert found.covariate_n == sum(i % 3 > 0 for i in mine)
    assert (found.covariate_mean, found.second_mean) == pytest.approx(table.mean(axis=0)[2:])
    told = (
        (found.covariate_cross_m2, found.second_cross_m2),
        (found.denominator_covariate_m2, found.denominator_second_m2),
        (found.covariate_m2, found.covariate_second_m2),
    )
    assert np.array(told) == pytest.approx(scatter[:3, 2:])
    assert recount(world.ingest, "default", "r1") == []


def test_a_past_that_is_told_late_or_corrected_counts_as_if_it_had_come_in_time(
    world: World,
) -> None:
    units = world.units(UNITS)
    events = story(world, units)
    late = [event for event in events if event["event_id"].startswith("before-")]
    world.run([event for event in events if event not in late])
    without = of_champion(world)
    assert (without.covariate_n, without.second_m2) == (0, 0.0)
    wrong = [{**event, "value": 7.25, "event_id": f"wrong-{event['event_id']}"} for event in late]
    world.run(wrong)
    assert of_champion(world).covariate_n > 0
    world.run([{**event, "corrects": f"wrong-{event['event_id']}"} for event in late])
    corrected = world.snapshot().moments
    assert recount(world.ingest, "default", "r1") == []
    long_ago = format_time(ago(9000))
    world.run(
        [
            {
                **event,
                "event_id": f"gone-{event['event_id']}",
                "corrects": event["event_id"],
                "occurred_at": long_ago,
            }
            for event in late
        ]
    )
    assert of_champion(world) == without, "or the exact sums do not cancel"
    assert corrected["price", 1, "champion"] != without
