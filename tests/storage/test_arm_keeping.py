"""Units keep their arm when a condition is narrowed: ordered at once, carried out in batches."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random
from typing import Any

import pytest

from controller.aggregation.exposures import Excluded
from controller.errors import Unavailable
from controller.flow.actors import MACHINE, Actor, Role
from controller.flow.arm_keeping import keep_arms
from controller.flow.edit import edit
from controller.flow.pin_health import pin_health
from controller.flow.recount import recount
from controller.flow.verbs import act
from controller.rollout.states import Verb
from controller.storage.sql import bulk
from controller.storage.sql.database import Database
from controller.storage.sql.exceptions import SqlExceptions
from controller.storage.sql.identities import EXCEPTIONS
from controller.storage.sql.unit_of_work import SqlStore
from controller.storage.sql.units import UNITS
from tests.merging import SPEND, merge
from tests.traffic import World, ago

NORTH = {"attribute": "region", "op": "eq", "value": "north"}
OPERATOR = Actor(name="olga", kind="person", method="password", roles=frozenset({Role.OPERATOR}))
WORKER = """
import sys
from controller.errors import ControllerError
from controller.flow.arm_keeping import keep_arms
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore

store = SqlStore(Database(sys.argv[1]))
print("ready", flush=True)
while True:
    try:
        keep_arms(store, most=400)
    except ControllerError:
        continue
"""


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [SPEND])


@pytest.fixture
def store(world: World) -> SqlStore:
    return SqlStore(world.database)


def narrow(store: SqlStore, eligible: dict[str, Any] = NORTH) -> None:
    with store.writing() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        edit(work, rollout, {"eligible": eligible}, actor=MACHINE)


def kept(world: World) -> dict[str, str]:
    with world.database.read() as connection:
        rows = connection.execute(EXCEPTIONS.select()).all()
    return {row.unit: row.reason for row in rows}


def finish(store: SqlStore, most: int = 3) -> int:
    batches = 0
    while keep_arms(store, most=most):
        batches += 1
    return batches


def numbers(world: World) -> tuple[Any, ...]:
    """Everything that a look reads, without the times at which it is read."""
    seen = world.snapshot()
    return seen.exposed, seen.moments, seen.open_units, seen.excluded


def health(store: SqlStore) -> dict[str, Any]:
    with store.reading() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        return pin_health(work, rollout)


def test_the_edit_writes_one_order_and_the_worker_the_units(world: World, store: SqlStore) -> None:
    met = world.units(10)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    assert kept(world) == {}
    assert health(store)["keeping"]
    assert finish(store) == 4
    assert kept(world) == dict.fromkeys(met, "eligibility")
    after = health(store)
    assert (after["keeping"], after["kept_ineligible"]) == (False, 10)


def test_who_came_after_the_edit_or_is_not_analysed_has_no_exception(
    world: World, store: SqlStore
) -> None:
    before, gone, merged, after = world.units(4, arm="champion")
    world.send([world.exposure(unit, ago(300)) for unit in (before, gone)])
    world.send([world.exposure(merged, ago(200))])
    world.drain()
    with world.database.begin() as connection:
        reason = Excluded.DOUBLE_EXPOSURE.value
        connection.execute(UNITS.update().where(UNITS.c.unit == gone).values(left_for=reason))
    merge(world, merged, before)
    narrow(store)
    with store.reading() as work:
        newest = work.rulesets.newest_version("default")
    world.send([world.exposure(after, ago(0), allocation=2, ruleset=newest)])
    world.drain()
    finish(store)
    assert kept(world) == {before: "eligibility", merged: "merged"}


def test_a_crash_between_or_within_batches_costs_nothing(
    world: World, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = world.units(10)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    carry_out = SqlExceptions.keep_some
    calls = [0]

    def dying(self: SqlExceptions, order: Any, *, most: int) -> int | None:
        calls[0] += 1
        new = carry_out(self, order, most=most)
        if calls[0] % 2 == 0:
            raise Unavailable("The machine went away before the commit.")
        return new

    monkeypatch.setattr(SqlExceptions, "keep_some", dying)
    crashes = 0
    for _ in range(20):
        try:
            if not keep_arms(SqlStore(world.database), most=3):
                break
        except Unavailable:
            crashes += 1
    assert crashes >= 3
    assert kept(world) == dict.fromkeys(met, "eligibility")
    assert health(store)["kept_ineligible"] == 10


def test_evidence_is_the_same_whenever_the_order_is_carried_out(
    world: World, store: SqlStore
) -> None:
    """Merges, late exposures and outcomes on both sides of an edit: before, amid and after it."""
    met = world.units(12)
    first, later = world.units(2, prefix="m", arm="champion")[0], met[3]
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    with store.reading() as work:
        newest = work.rulesets.newest_version("default")
    assert keep_arms(store, most=4)
    half = set(kept(world))
    assert 0 < len(half) < len(met)
    events = [world.outcome(unit, ago(290), value=2.0) for unit in met]
    events += [world.exposure(unit, ago(5), allocation=2, ruleset=newest) for unit in met]
    events += [world.exposure(first, ago(400))]
    world.run(events)
    merge(world, later, first)
    half_kept = numbers(world)
    assert recount(world.ingest, "default", "r1") == []
    finish(store)
    assert numbers(world) == half_kept
    assert recount(world.ingest, "default", "r1") == []
    assert kept(world) == dict.fromkeys({*met, first}, "eligibility") | {later: "merged"}


def test_a_wider_order_takes_the_place_of_one_that_waits(world: World, store: SqlStore) -> None:
    met = world.units(5)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    assert keep_arms(store, most=2)
    narrow(store, {"and": [NORTH, {"attribute": "plan", "op": "eq", "value": "free"}]})
    with store.reading() as work:
        (order,) = work.exceptions.keepings()
    assert (order.allocation, order.before_epoch, order.after_unit) == (3, 3, "")
    finish(store)
    assert kept(world) == dict.fromkeys(met, "eligibility")


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.ABORT])
def test_an_order_ends_with_its_rollout(verb: Verb, world: World, store: SqlStore) -> None:
    met = world.units(6)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    assert keep_arms(store, most=2)
    act(store, "default", "r1", verb, actor=OPERATOR)
    assert finish(store) == 1, "it is struck, not carried out"
    assert len(kept(world)) == 2
    assert not health(store)["keeping"]


def test_units_that_are_merged_amid_are_excepted_once(world: World, store: SqlStore) -> None:
    """Kept with not yet kept, the other way round, and two that were not kept yet."""
    met = world.units(9)
    world.send([world.exposure(unit, ago(300 - place)) for place, unit in enumerate(met)])
    world.drain()
    narrow(store)
    assert keep_arms(store, most=3)
    done = sorted(kept(world))
    left = sorted(set(met) - set(done))
    merge(world, done[0], left[0])
    merge(world, left[1], done[1])
    merge(world, left[2], left[3])
    half_kept = numbers(world)
    finish(store)
    assert numbers(world) == half_kept
    assert recount(world.ingest, "default", "r1") == []
    assert set(kept(world)) == set(met)
    assert sorted(kept(world).values()) == ["eligibility"] * 6 + ["merged"] * 3


def test_a_condition_that_is_lifted_and_set_again_keeps_everybody(
    world: World, store: SqlStore
) -> None:
    met = world.units(6)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    narrow(store)
    assert keep_arms(store, most=2)
    with store.writing() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        edit(work, rollout, {"eligible": None}, actor=MACHINE)
        newest = work.rulesets.newest_version("default")
    later = world.units(8)[-2:]
    at = {"allocation": 3, "ruleset": newest}
    world.send([world.exposure(unit, ago(0), **at) for unit in later])
    world.drain()
    narrow(store)
    finish(store)
    assert kept(world) == dict.fromkeys([*met, *later], "eligibility")


def test_workers_that_are_killed_miss_no_unit_and_take_none_twice(
    world: World, store: SqlStore
) -> None:
    """Two at once, four times, killed wherever they are; a fifth finishes."""
    units = [f"u-{number:05d}" for number in range(12_000)]
    rows = [("default", "r1", 1, unit, 1, "champion", 1, None) for unit in units]
    with world.database.begin() as connection:
        bulk.insert(connection, UNITS, rows)
    narrow(store)
    url = world.database.main.url.render_as_string(hide_password=False)
    chance = Random(7)
    for _ in range(4):
        with start_worker(url) as one, start_worker(url) as other:
            time.sleep(chance.uniform(0.01, 0.4))
            one.kill()
            other.kill()
    finish(store, most=2_000)
    assert set(kept(world)) == set(units)
    assert health(store)["kept_ineligible"] == len(units)


def start_worker(url: str) -> subprocess.Popen[bytes]:
    """A process that carries orders out, from its first sign of life on."""
    started = subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    return started


def test_two_workers_share_an_order_without_counting_twice(world: World, store: SqlStore) -> None:
    rows = [("default", "r1", 1, f"u-{n:05d}", 1, "champion", 1, None) for n in range(5_000)]
    with world.database.begin() as connection:
        bulk.insert(connection, UNITS, rows)
    narrow(store)
    with store.reading() as work:
        (order,) = work.exceptions.keepings()
    with store.writing() as work:
        assert work.exceptions.keep_some(order, most=2_000) == 2_000
    with store.writing() as work:  # from a copy of the order that is out of date
        assert work.exceptions.keep_some(order, most=2_000) == 2_000
    with store.writing() as work:
        assert work.exceptions.keep_some(order, most=2_000) == 1_000
        assert work.exceptions.keep_some(order, most=2_000) is None
    assert len(kept(world)) == 5_000
