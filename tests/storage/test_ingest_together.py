"""Several aggregators, a maturing worker and many requests at once, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event as Signal

import pytest

from controller.errors import Unavailable
from controller.experiments.metrics import MetricType
from controller.flow.aggregate import drain
from controller.flow.mature import mature
from controller.flow.recount import recount
from controller.storage.sql.database import Database
from controller.storage.sql.ingest import SqlIngest
from tests import worlds
from tests.traffic import Event, World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)
UNITS = 300


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [COST])


def shuffled(world: World, seed: int) -> list[list[Event]]:
    """Every producer sends the same events in its own order: all but one copy are repeats."""
    at = ago(100)
    arms = {unit: world.arm(unit) for unit in world.units(UNITS)}
    events = [world.exposure(unit, at, arm=arm) for unit, arm in arms.items()]
    events += [world.outcome(unit, at, value=0.1 * place) for place, unit in enumerate(arms)]
    events += [world.outcome(unit, at, value=0.7, event_id=f"late-{unit}") for unit in arms]
    Random(seed).shuffle(events)
    return [events[start : start + 25] for start in range(0, len(events), 25)]


@pytest.mark.timeout(240)
def test_many_workers_count_every_event_once(world: World) -> None:
    started = [shuffled(world, seed) for seed in range(1)]
    producers = [started[0], [list(reversed(batch)) for batch in reversed(started[0])]]
    finished = Signal()

    def produce(number: int) -> None:
        for place, batch in enumerate(producers[number]):
            world.send(batch, batch_id=f"{number}-{place}")

    def aggregate() -> None:
        mine = SqlIngest(world.database)
        while True:
            ending = finished.is_set()
            try:
                idle = not drain(mine, budget=60).requests
            except Unavailable:  # a lock was waited for too long: the worker's loop comes back
                continue
            if idle and ending:
                return

    def ripen() -> None:
        mine = SqlIngest(world.database)
        while not finished.is_set():
            try:
                mature(mine, budget=40)
            except Unavailable:
                continue

    with ThreadPoolExecutor(6) as pool:
        sending = [pool.submit(produce, number) for number in range(2)]
        working = [pool.submit(aggregate) for _ in range(3)] + [pool.submit(ripen)]
        try:
            for task in sending:
                task.result()
        finally:
            finished.set()
        for task in working:
            task.result()
    world.mature()
    seen = world.snapshot()
    assert sum(seen.exposed.values()) == UNITS
    assert sum(part.n for part in seen.moments.values()) == UNITS
    assert set(seen.excluded) == set()
    assert recount(world.ingest, "default", "r1") == []
    total = sum(part.mean * part.n for part in seen.moments.values())
    assert total == pytest.approx(sum(0.1 * place + 0.7 for place in range(UNITS)))
