"""From a request's bytes to what a look reads, on both databases."""

from __future__ import annotations

from statistics import mean

import pytest

from controller.errors import BatchReuse
from controller.experiments.metrics import MetricType
from controller.storage.sql.database import Database
from tests import worlds
from tests.traffic import World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)
SOLD = worlds.metric("sold", window_seconds=10.0)


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [COST, SOLD])


def test_what_was_sent_is_what_a_look_reads(world: World) -> None:
    units = world.units(200)
    at = ago(100)
    events = [world.exposure(unit, at) for unit in units]
    costs = {unit: float(number % 7) / 4 for number, unit in enumerate(units)}
    events += [world.outcome(unit, at, "cost", value=costs[unit]) for unit in units[:-5]]
    events += [world.outcome(unit, at, "sold") for unit in units[::3]]
    receipt = world.send(events)
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (len(events), 0, ())
    drained = world.drain()
    assert (drained.events, drained.new, drained.problems) == (len(events), len(events), 0)
    matured = world.mature()
    assert (matured.entered, matured.missing) == (400, 0)
    seen = world.snapshot()
    for arm in ("champion", "challenger"):
        mine = [unit for unit in units if world.arm(unit) == arm]
        silent = set(units[-5:])
        values = [0.0 if unit in silent else costs[unit] for unit in mine]
        assert seen.exposed[1, arm] == len(mine)
        assert seen.moments["cost", 1, arm].n == len(mine)
        assert seen.moments["cost", 1, arm].mean == pytest.approx(mean(values), rel=1e-15)
        sold = sum(1 for unit in mine if unit in set(units[::3]))
        assert seen.moments["sold", 1, arm].nonzero == sold
        assert seen.open_units["cost", arm] == 0
    age = seen.freshness["cost"].age_seconds
    assert age is not None
    assert 0 <= age < 60


def test_units_with_an_open_window_are_shown_and_not_tested(world: World) -> None:
    closed, opened = world.units(20)[:10], world.units(20)[10:]
    events = [world.exposure(unit, ago(100)) for unit in closed]
    events += [world.exposure(unit, ago(1)) for unit in opened]
    seen = world.run(events)
    tested = sum(moments.n for (key, _, _), moments in seen.moments.items() if key == "cost")
    waiting = sum(n for (key, _), n in seen.open_units.items() if key == "cost")
    assert (tested, waiting, sum(seen.exposed.values())) == (10, 10, 20)


def test_an_accepted_batch_is_not_accepted_twice(world: World) -> None:
    events = [world.exposure(unit, ago(100)) for unit in world.units(3)]
    assert world.send(events, batch_id="b1").accepted == 3
    again = world.send(events, batch_id="b1")
    assert (again.accepted, again.duplicates) == (0, 3)
    with pytest.raises(BatchReuse):
        world.send(events[:1], batch_id="b1")
    assert world.drain().new == 3


def test_a_batch_without_id_is_named_by_its_bytes(world: World) -> None:
    events = [world.exposure(unit, ago(100)) for unit in world.units(3)]
    assert world.send(events).accepted == 3
    assert world.send(events).duplicates == 3
    assert world.drain().events == 3


def test_repeats_across_batches_are_counted_once_and_listed(world: World) -> None:
    unit = world.units(1)[0]
    first = world.exposure(unit, ago(100))
    world.send([first, world.outcome(unit, ago(99), value=2.0)])
    world.drain()
    world.send([world.outcome(unit, ago(99), value=3.0), first], batch_id="again")
    drained = world.drain()
    assert (drained.events, drained.new) == (2, 0)
    world.mature()
    assert world.snapshot().moments["cost", 1, world.arm(unit)].n == 1
    with world.ingest.reading() as work:
        listed = {problem.code: problem for problem in work.problems.list("default")}
    # The outcome's time differs from the first one's by microseconds: another event, same id.
    assert set(listed) == {"duplicate", "id_reuse"}
    assert listed["duplicate"].examples[0]["event_id"] == f"e-{unit}"
    assert listed["id_reuse"].batch_id == "again"
