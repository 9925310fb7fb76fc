"""The recomputation from the ledger finds whatever was changed behind the service's back."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from controller.errors import NotFound
from controller.experiments.metrics import MetricType
from controller.flow.recount import recount
from controller.storage.sql.accumulators import ACCUMULATORS
from controller.storage.sql.database import Database
from controller.storage.sql.ledger import LEDGER
from controller.storage.sql.units import COUNTS, UNITS
from tests import worlds
from tests.traffic import World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)


@pytest.fixture
def world(database: Database) -> World:
    world = World(database, [COST])
    units = world.units(20)
    events = [world.exposure(unit, ago(100)) for unit in units]
    world.run([*events, *(world.outcome(unit, ago(99), value=0.3) for unit in units)])
    assert recount(world.ingest, "default", "r1") == []
    return world


def found(world: World) -> str:
    return "; ".join(recount(world.ingest, "default", "r1"))


def test_a_changed_outcome_is_found(world: World) -> None:
    with world.database.begin() as connection:
        connection.execute(
            update(LEDGER).where(LEDGER.c.event_id.like("o-%0")).values(value=0.30000000000000004)
        )
    assert "the sums differ from the ledger" in found(world)


def test_a_sum_that_was_touched_is_found(world: World) -> None:
    with world.database.begin() as connection:
        connection.execute(update(ACCUMULATORS).values(nonzero=ACCUMULATORS.c.nonzero + 1))
    assert found(world).count("the sums differ") == 2


def test_a_unit_that_vanished_is_found(world: World) -> None:
    unit = world.units(1)[0]
    with world.database.begin() as connection:
        connection.execute(delete(UNITS).where(UNITS.c.unit == unit))
    assert f"unit '{unit}' of series 1 is not stored" in found(world)
    assert "exposures counted" in found(world)


def test_an_exposure_that_vanished_is_found(world: World) -> None:
    unit = world.units(1)[0]
    with world.database.begin() as connection:
        connection.execute(delete(LEDGER).where(LEDGER.c.event_id == f"e-{unit}"))
    assert f"unit '{unit}' of series 1 has no exposure" in found(world)


def test_a_unit_moved_to_the_other_arm_is_found(world: World) -> None:
    unit = world.units(1, arm="champion")[0]
    with world.database.begin() as connection:
        connection.execute(update(UNITS).where(UNITS.c.unit == unit).values(arm="challenger"))
    assert f"unit '{unit}' of series 1 stands elsewhere" in found(world)


def test_a_count_that_was_touched_is_found(world: World) -> None:
    with world.database.begin() as connection:
        connection.execute(update(COUNTS).where(COUNTS.c.arm == "champion").values(n=10_000))
    assert "10000 exposures counted" in found(world)


def test_a_rollout_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        recount(world.ingest, "default", "r404")
