"""Exposures of units that the rules in force kept out: counted by name, analysed never."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from controller.assignment.choice import Pin
from controller.assignment.document import write_gates
from controller.assignment.hashing import keyed_hash
from controller.assignment.ruleset import Gates, Overrides, Share
from controller.experiments.metrics import MetricType
from controller.flow.ports.ingest import Problem
from controller.flow.ports_pins import PinKey
from controller.flow.recount import recount
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.database import Database
from controller.storage.sql.schema.events import ObservedUnitRow
from controller.storage.sql.traffic import SqlTraffic
from tests import worlds
from tests.traffic import FIRST_RULESET, World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)
NOBODY = Gates()


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [COST])


def keep_out(world: World, gates: Gates, *, ruleset: int) -> None:
    """As a publication does: these gates hold from a ruleset version on."""
    with world.database.begin() as connection:
        SqlTraffic(connection).add_gates(
            world.project, world.plan.slot.key, write_gates(gates), ruleset=ruleset
        )


def by_hand(world: World, unit: str, arm: str) -> Gates:
    name = keyed_hash("key", world.plan.slot.unit, unit)
    return Gates(overrides=Overrides(key="key", arms={name: arm}))


def exposed(world: World) -> int:
    return sum(world.snapshot().exposed.values())


def analysed(world: World, unit: str) -> bool:
    with world.database.read() as connection:
        return SqlTraffic(connection).is_analysed(world.project, world.rollout_id, unit)


def problems(world: World) -> Sequence[Problem]:
    with world.ingest.reading() as work:
        return work.problems.list(world.project)


def whole(world: World) -> bool:
    return recount(world.ingest, world.project, world.rollout_id) == []


def test_a_unit_set_by_hand_is_counted_and_not_analysed(world: World) -> None:
    mine, other = world.units(2)
    keep_out(world, by_hand(world, mine, world.arm(mine)), ruleset=FIRST_RULESET)
    pins = MemoryPins()
    key = PinKey(project="default", unit_type="customer", unit=mine)
    pins.claim(key, "r1", Pin(allocation=1, arm=world.arm(mine), bucket=0), ttl_seconds=60)
    world.send([world.exposure(unit, ago(100)) for unit in (mine, other)])
    world.drain(pins=pins)
    seen = world.snapshot()
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"overridden": 1})
    assert [(problem.code, problem.count) for problem in problems(world)] == [("overridden", 1)]
    world.run([world.outcome(mine, ago(95), value=50.0), world.outcome(other, ago(95), value=1.0)])
    moments = world.snapshot().moments.values()
    assert sum(part.mean * part.n for part in moments) == 1.0
    assert whole(world)


def test_a_held_out_unit_is_reported_as_a_mismatch(world: World) -> None:
    unit = world.units(1)[0]
    keep_out(
        world, Gates(holdouts=(Share(name="all", salt="s", ppm=1_000_000),)), ruleset=FIRST_RULESET
    )
    seen = world.run([world.exposure(unit, ago(100))])
    assert (sum(seen.exposed.values()), seen.excluded) == (0, {"arm_mismatch": 1})
    (problem,) = problems(world)
    assert "could not take part: HOLDOUT" in str(problem.examples)
    assert whole(world)


UNFIT = (
    "JUNK", "KILLED", "HOLDOUT", "LAYER", "RETIRED", "OVERRIDE", "NOT_ELIGIBLE", "NOT_ENROLLED",
    "NO_ROLLOUT", "STALE", "split",
)  # fmt: skip


@pytest.mark.parametrize("reason", UNFIT)
def test_an_exposure_by_another_reason_is_kept_and_counted_and_not_analysed(
    reason: str, world: World
) -> None:
    mine, other = world.units(2)
    pins = MemoryPins()
    key = PinKey(project="default", unit_type="customer", unit=mine)
    pins.claim(key, "r1", Pin(allocation=1, arm=world.arm(mine), bucket=0), ttl_seconds=60)
    receipt = world.send(
        [world.exposure(mine, ago(100), reason=reason), world.exposure(other, ago(100))]
    )
    assert receipt.accepted == 2
    world.drain(pins=pins)
    seen = world.snapshot()
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"unfit_reason": 1})
    (problem,) = problems(world)
    assert (problem.code, problem.count) == ("unfit_reason", 1)
    assert reason in str(problem.examples)
    assert not analysed(world, mine)
    assert whole(world)


@pytest.mark.parametrize("reason", ["SPLIT", "PINNED", "PIN_UNKNOWN"])
def test_the_reasons_of_enrolled_units_are_analysed(reason: str, world: World) -> None:
    unit = world.units(1)[0]
    seen = world.run([world.exposure(unit, ago(100), reason=reason)])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {})
    assert problems(world) == []
    assert whole(world)


def test_a_unit_is_not_lost_by_an_exposure_that_does_not_count(world: World) -> None:
    unit = world.units(1)[0]
    world.run([world.exposure(unit, ago(100), event_id="by-hand", reason="OVERRIDE")])
    seen = world.run([world.exposure(unit, ago(50))])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"unfit_reason": 1})
    assert whole(world)


def test_at_rest_a_unit_is_observed_by_one_reason_alone(world: World) -> None:
    at_rest = {"rollout": None, "allocation": None, "arm": "champion"}
    first, second = world.units(2)
    world.run(
        [
            world.exposure(first, ago(100), reason="KILLED", **at_rest),
            world.exposure(second, ago(100), reason="NO_ROLLOUT", **at_rest),
        ]
    )
    (problem,) = problems(world)
    assert (problem.code, problem.count) == ("unfit_reason", 1)
    with world.database.read() as connection:
        observed = connection.execute(select(ObservedUnitRow.unit)).scalars().all()
    assert observed == [second]


def test_gates_count_from_the_ruleset_that_brought_them(world: World) -> None:
    unit = world.units(1)[0]
    assert exposed(world) == 0
    keep_out(world, by_hand(world, unit, "challenger"), ruleset=FIRST_RULESET + 5)
    assert not analysed(world, unit)
    seen = world.run([world.exposure(unit, ago(100))])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {}), "it was drawn before"
    assert analysed(world, unit)
    later = world.exposure(unit, ago(50), event_id="later", ruleset=FIRST_RULESET + 5)
    seen = world.run([later])
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"overridden": 1})
    assert whole(world)


def test_a_change_of_gates_reaches_a_target_that_is_kept(world: World) -> None:
    first, second = world.units(2)
    seen = world.run([world.exposure(first, ago(100))])
    assert sum(seen.exposed.values()) == 1
    keep_out(world, by_hand(world, second, "challenger"), ruleset=FIRST_RULESET + 5)
    keep_out(world, NOBODY, ruleset=FIRST_RULESET + 9)
    seen = world.run(
        [
            world.exposure(second, ago(90), event_id=f"at-{at}", ruleset=FIRST_RULESET + at)
            for at in (5, 9)
        ]
    )
    assert (sum(seen.exposed.values()), seen.excluded) == (1, {"overridden": 2})
    assert whole(world)


def test_an_override_that_ended_before_the_rollout_keeps_nobody_out(world: World) -> None:
    ended, standing, changed = world.units(3)
    before = {unit: by_hand(world, unit, "challenger").overrides for unit in world.units(3)}
    arms = {name: arm for one in before.values() if one for name, arm in one.arms.items()}
    keep_out(world, Gates(overrides=Overrides(key="key", arms=arms)), ruleset=FIRST_RULESET - 9)
    kept = {
        name: arm
        for unit, arm in ((standing, "challenger"), (changed, "champion"))
        for name in by_hand(world, unit, arm).overrides.arms  # type: ignore[union-attr]
    }
    keep_out(world, Gates(overrides=Overrides(key="key", arms=kept)), ruleset=FIRST_RULESET - 5)
    keep_out(world, NOBODY, ruleset=FIRST_RULESET + 5)
    seen = world.run(
        [
            world.exposure(unit, ago(100), event_id=f"{unit}-{at}", ruleset=FIRST_RULESET + at)
            for unit in (ended, standing, changed)
            for at in (0, 6)
        ]
    )
    assert sum(seen.exposed.values()) == 1
    assert seen.excluded == {"overridden": 4, "repeat_exposure": 1}
    assert whole(world)
