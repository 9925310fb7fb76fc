"""What each kind of event does to the sums, in order and out of it, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controller.assignment.choice import Pin
from controller.errors import Conflict, InvalidInput
from controller.events.times import format_time
from controller.experiments.metrics import (
    Complete,
    Metric,
    MetricType,
    Winsorize,
    ZeroMeans,
)
from controller.flow.complete import declare_complete
from controller.flow.ports.ingest import Problem
from controller.flow.ports_pins import PinKey
from controller.flow.recount import recount
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.database import Database
from controller.storage.sql.definitions import SqlDefinitions
from controller.storage.sql.measurements import SqlMeasurements
from tests import worlds
from tests.traffic import World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [COST])


def total(world: World, key: str = "cost") -> float:
    """Sum of the metric over every arm and epoch."""
    moments = world.snapshot().moments
    return sum(part.mean * part.n for (metric, _, _), part in moments.items() if metric == key)


def entered(world: World, key: str = "cost") -> int:
    return sum(part.n for (metric, _, _), part in world.snapshot().moments.items() if metric == key)


def problems(world: World) -> Sequence[Problem]:
    with world.ingest.reading() as work:
        return work.problems.list(world.project)


def whole(world: World) -> bool:
    return recount(world.ingest, world.project, world.rollout_id) == []


def test_an_outcome_before_its_exposure_waits_for_it(world: World) -> None:
    (unit,) = world.units(1)
    world.run([world.outcome(unit, ago(99), value=3.0)])
    assert entered(world) == 0
    world.run([world.exposure(unit, ago(100))])
    assert (entered(world), total(world)) == (1, 3.0)


def test_a_late_outcome_changes_one_contribution(world: World) -> None:
    units = world.units(10)
    world.run([world.exposure(unit, ago(100)) for unit in units])
    assert (entered(world), total(world)) == (10, 0.0)
    world.run([world.outcome(units[0], ago(95), value=4.0)])
    assert (entered(world), total(world)) == (10, 4.0)
    world.run([world.outcome(units[0], ago(50), value=9.0, event_id="too late")])
    assert total(world) == 4.0
    assert whole(world)


def test_a_correction_replaces_what_was_counted(world: World) -> None:
    units = world.units(10)
    events = [world.exposure(unit, ago(100)) for unit in units]
    world.run([*events, world.outcome(units[0], ago(99), value=100.0)])
    right = world.outcome(
        units[0], ago(99), value=1.0, event_id="right", corrects=f"o-cost-{units[0]}"
    )
    world.run([right])
    assert total(world) == pytest.approx(1.0)
    assert whole(world)


def test_a_correction_that_moves_the_event_away_is_heard_however_new(world: World) -> None:
    (unit,) = world.units(1)
    world.run([world.exposure(unit, ago(100)), world.outcome(unit, ago(99), value=7.0)])
    assert total(world) == 7.0
    away = world.outcome(unit, ago(-5), value=7.0, event_id="away", corrects=f"o-cost-{unit}")
    world.run([away])
    assert total(world) == 0.0
    assert whole(world)


def test_a_repeated_exposure_is_counted_and_not_analysed(world: World) -> None:
    (unit,) = world.units(1)
    first = world.exposure(unit, ago(100))
    seen = world.run([first, world.exposure(unit, ago(90), event_id="again")])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"repeat_exposure": 1})
    seen = world.run([world.exposure(unit, ago(80), event_id="and again")])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"repeat_exposure": 2})


def test_the_earliest_exposure_counts_until_the_unit_has_entered(world: World) -> None:
    (unit,) = world.units(1)
    world.ramp(1.0)
    old, new = world.epochs[0][1], world.epochs[1][1]
    world.send([world.exposure(unit, ago(5), ruleset=new)])
    world.drain()
    arm = world.arm(unit)
    assert world.snapshot().exposed == {(2, arm): 1}
    seen = world.run([world.exposure(unit, ago(100), ruleset=old, event_id="earlier")])
    assert seen.exposed == {(1, arm): 1}
    assert seen.moments["cost", 1, arm].n == 1
    seen = world.run([world.exposure(unit, ago(200), ruleset=new, event_id="too late to move")])
    assert seen.exposed == {(1, arm): 1}
    assert whole(world)


def test_a_wrong_arm_is_stored_excluded_and_counted(world: World) -> None:
    unit = world.units(1, arm="champion")[0]
    seen = world.run([world.exposure(unit, ago(100), arm="challenger")])
    assert seen.exposed == {}
    assert seen.excluded == {"arm_mismatch": 1}
    (problem,) = problems(world)
    assert (problem.code, problem.count, problem.key_id) == ("arm_mismatch", 1, "key")
    assert whole(world)


def test_a_pin_explains_another_arm(world: World) -> None:
    unit = world.units(1, arm="champion")[0]
    pins = MemoryPins()
    key = PinKey(project="default", unit_type="customer", unit=unit)
    pins.claim(key, "r1", Pin(allocation=1, arm="challenger", bucket=5), ttl_seconds=60)
    world.send([world.exposure(unit, ago(100), arm="challenger", reason="PINNED")])
    world.drain(pins=pins)
    world.mature()
    seen = world.snapshot()
    assert seen.exposed == {(1, "challenger"): 1}
    assert seen.moments["cost", 1, "challenger"].n == 1
    assert whole(world)


def test_a_unit_that_met_both_arms_leaves_with_what_it_brought(world: World) -> None:
    units = world.units(5, arm="champion")
    events = [world.exposure(unit, ago(100)) for unit in units]
    world.run([*events, world.outcome(units[0], ago(99), value=0.1)])
    assert entered(world) == 5
    pins = MemoryPins()
    key = PinKey(project="default", unit_type="customer", unit=units[0])
    pins.claim(key, "r1", Pin(allocation=1, arm="challenger", bucket=5), ttl_seconds=60)
    world.send([world.exposure(units[0], ago(50), arm="challenger", event_id="other")])
    world.drain(pins=pins)
    seen = world.snapshot()
    assert seen.exposed == {(1, "champion"): 4}
    assert seen.excluded["double_exposure"] == 1
    assert (entered(world), total(world)) == (4, 0.0)
    assert whole(world)


def test_an_exposure_of_nobodys_rollout_is_kept_and_listed(world: World) -> None:
    (unit,) = world.units(1)
    events = [
        world.exposure(unit, ago(9), rollout="r404", event_id="a"),
        world.exposure(unit, ago(9), slot="elsewhere", event_id="b"),
    ]
    assert world.run(events).exposed == {}
    codes = {problem.code: problem.count for problem in problems(world)}
    assert codes == {"unknown_rollout": 2, "unknown_slot": 1}


def test_the_check_of_the_plumbing_is_counted_and_not_analysed(database: Database) -> None:
    world = World(database, [COST], analysed=False)
    (unit,) = world.units(1)
    seen = world.run([world.exposure(unit, ago(100))])
    assert sum(seen.exposed.values()) == 1
    assert (seen.moments, seen.open_units) == ({}, {})
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0)
    seen = world.run([world.exposure(unit, ago(50), event_id="for real")])
    assert seen.moments["cost", 2, world.arm(unit)].n == 1
    assert whole(world)


def test_the_watch_after_promotion_has_evidence_of_its_own(world: World) -> None:
    unit = world.units(1, arm="champion")[0]
    world.run([world.exposure(unit, ago(100))])
    world.open_allocation({"champion": 0.02, "challenger": 0.98}, enrolled=1.0)
    arm = world.arm(unit)
    seen = world.run([world.exposure(unit, ago(50), event_id="baking")])
    assert seen.exposed == {(1, "champion"): 1, (2, arm): 1}
    assert seen.moments["cost", 2, arm].n == 1
    assert whole(world)


def test_an_outcome_counts_for_its_slot_or_for_every_slot(database: Database) -> None:
    one = World(database, [COST], slot="one", rollout="r1")
    two = World(database, [COST], slot="two", rollout="r2")
    unit = one.units(1)[0]
    one.send([one.exposure(unit, ago(100)), two.exposure(unit, ago(100), event_id="e2")])
    one.send([one.outcome(unit, ago(99), value=1.0, slot="one")], batch_id="b1")
    one.send([one.outcome(unit, ago(99), value=10.0, event_id="every")], batch_id="b2")
    one.drain()
    one.mature()
    assert (total(one), total(two)) == (11.0, 10.0)


def test_silence_that_is_unknown_is_missing(database: Database) -> None:
    label = worlds.metric("label", window_seconds=10.0, zero_means=ZeroMeans.UNKNOWN)
    world = World(database, [label])
    units = world.units(4, arm="champion")
    events = [world.exposure(unit, ago(100)) for unit in units]
    seen = world.run([*events, world.outcome(units[0], ago(99))])
    cell = seen.moments["label", 1, "champion"]
    assert (cell.n, cell.missing, seen.open_units["label", "champion"]) == (1, 3, 0)
    world.run([world.outcome(units[1], ago(98))])
    cell = world.snapshot().moments["label", 1, "champion"]
    assert (cell.n, cell.missing) == (2, 2)
    assert whole(world)


def test_under_declared_a_unit_is_complete_when_the_producer_says_so(database: Database) -> None:
    label = worlds.metric("label", window_seconds=10.0, complete=Complete.DECLARED)
    world = World(database, [label])
    units = world.units(2)
    world.run([world.exposure(units[0], ago(100)), world.exposure(units[1], ago(50))])
    assert entered(world, "label") == 0
    assert world.snapshot().freshness["label"].age_seconds is None
    declare_complete(world.ingest, "default", "label", through=ago(80), actor="key")
    world.watermark_rises()
    world.mature()
    assert entered(world, "label") == 1
    with pytest.raises(Conflict):
        declare_complete(world.ingest, "default", "label", through=ago(90), actor="key")
    with pytest.raises(InvalidInput):
        declare_complete(world.ingest, "default", "label", through=ago(-60), actor="key")
    for source in ("default", "second"):
        declare_complete(
            world.ingest, "default", "label", through=ago(30), source=source, actor="key"
        )
    world.watermark_rises()
    world.mature()
    assert entered(world, "label") == 2
    age = world.snapshot().freshness["label"].age_seconds
    assert age is not None
    assert age < 60


def test_a_cap_by_value_and_one_by_quantile(database: Database) -> None:
    fixed = worlds.metric(
        "fixed", type=MetricType.MEAN, outcome="spend", winsorize=Winsorize(value=5.0)
    )
    found = worlds.metric(
        "found", type=MetricType.MEAN, outcome="spend", winsorize=Winsorize(quantile=0.9)
    )
    world = World(database, [fixed, found])
    units = world.units(1200)
    events = [world.exposure(unit, ago(300)) for unit in units]
    events += [
        world.outcome(unit, ago(299), "spend", value=float(number % 100))
        for number, unit in enumerate(units)
    ]
    for start in range(0, 1800, 450):
        world.send(events[start : start + 450])
    world.drain()
    world.mature()
    assert entered(world, "fixed") == 1200
    for start in range(1800, 2400, 300):
        world.send(events[start : start + 300])
    world.drain()
    world.mature()
    assert entered(world, "found") == 1200
    with world.ingest.reading() as work:
        cap = work.maturations.cap(world.target, "found")
    assert cap is not None
    assert 80 <= cap <= 95
    expected = sum(min(float(number % 100), cap) for number in range(1200))
    assert total(world, "found") == pytest.approx(expected)
    assert total(world, "fixed") == pytest.approx(
        sum(min(float(number % 100), 5.0) for number in range(1200))
    )
    assert whole(world)


def test_units_of_a_slot_at_rest_give_the_baseline(world: World) -> None:
    units = [f"rest{number}" for number in range(150)]
    events = [
        world.exposure(
            unit, ago(100), rollout=None, allocation=None, arm="champion", reason="NO_ROLLOUT"
        )
        for unit in units
    ]
    events += [world.outcome(unit, ago(99), value=float(n % 2)) for n, unit in enumerate(units)]
    world.run(events)
    again = {"rollout": None, "allocation": None, "arm": "champion", "reason": "NO_ROLLOUT"}
    world.run(
        [
            world.exposure(units[0], ago(40), event_id="later", **again),
            world.exposure(units[1], ago(105), event_id="earlier", **again),
        ]
    )
    world.watermark_rises()
    observed = baseline(world, COST)
    assert observed is not None
    assert (observed[0], observed[1]) == (150, 0.5)
    assert observed[2] == pytest.approx(0.5 * (150 / 149) ** 0.5)
    assert baseline(world, worlds.metric("cost", window_seconds=1000.0)) is None


def baseline(world: World, metric: Metric) -> tuple[int, float, float] | None:
    with world.database.read() as connection:
        found = SqlMeasurements(connection).observed(world.project, "slot", metric)
    return None if found is None else (found.units, found.mean, found.sd)


def test_what_cannot_be_attributed_is_listed(world: World) -> None:
    with world.database.begin() as connection:
        other = worlds.plan().slot
        SqlDefinitions(connection).put_slot(
            "default",
            replace(other, key="flights", unit="flight"),
            observe_salt="x",
            actor="ada",
            at=datetime.now(UTC),
        )
    events = [
        world.outcome("u", ago(9), event_id="a"),
        world.outcome("u", ago(9), event_id="b", unit_type="customer"),
        world.outcome("u", ago(9), event_id="c", slot="nowhere"),
        {
            "type": "outcome",
            "event_id": "d",
            "occurred_at": format_time(ago(9)),
            "ref": "application-1",
            "slot": "flights",
            "name": "cost",
        },
        {"type": "outcome", "event_id": "e", "name": "cost"},
    ]
    receipt = world.send(events)
    assert [item["index"] for item in receipt.rejected] == [4]
    world.drain()
    codes = {problem.code: problem.count for problem in problems(world)}
    assert codes == {"ambiguous_unit": 1, "unknown_slot": 1, "unresolved_ref": 1, "missing": 1}


def test_a_quantile_reaches_the_look_as_a_grid(database: Database) -> None:
    wait = worlds.metric(
        "wait", type=MetricType.QUANTILE, q=0.5, window_seconds=10.0, zero_means=ZeroMeans.UNKNOWN
    )
    world = World(database, [wait])
    units = world.units(3, arm="champion")
    events = [world.exposure(unit, ago(100)) for unit in units]
    events += [
        world.outcome(units[0], ago(99), value=float(value), event_id=f"w{value}")
        for value in (5, 10, 20)
    ]
    events.append(world.outcome(units[1], ago(99), value=7.0))
    grid = world.run(events).grids["wait", 1, "champion"]
    assert (grid.units, grid.outcomes, grid.outcomes_squared) == (2, 4, 10)
    assert grid.below[-1] == 4
    assert [below for cut, below in zip(grid.cuts, grid.below, strict=True) if cut < 12][-1] == 3
    right = world.outcome(units[0], ago(99), value=1.0, event_id="right", corrects="w20")
    world.run([right])
    grid = world.snapshot().grids["wait", 1, "champion"]
    assert [below for cut, below in zip(grid.cuts, grid.below, strict=True) if cut < 12][-1] == 4
    assert whole(world)


def test_a_cap_comes_from_the_slot_at_rest_where_it_was_observed(database: Database) -> None:
    cost = worlds.metric(
        "cost", type=MetricType.MEAN, window_seconds=10.0, winsorize=Winsorize(quantile=0.5)
    )
    world = World(database, [cost])
    rest = [
        world.exposure(
            f"rest{number}",
            ago(900),
            rollout=None,
            allocation=None,
            arm="champion",
            reason="NO_ROLLOUT",
        )
        for number in range(1000)
    ]
    rest += [world.outcome(f"rest{n}", ago(899), value=float(n % 10)) for n in range(1000)]
    for start in range(0, len(rest), 500):
        world.send(rest[start : start + 500])
    (unit,) = world.units(1)
    seen = world.run([world.exposure(unit, ago(100)), world.outcome(unit, ago(99), value=50.0)])
    assert seen.moments["cost", 1, world.arm(unit)].mean == 4.0
    assert whole(world)
