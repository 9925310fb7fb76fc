"""Units that are one: a small world in which ids are merged."""

from __future__ import annotations

from controller.assignment.choice import Pin
from controller.assignment.ruleset import Ruleset
from controller.experiments.metrics import MetricType
from controller.flow.aliases import Statement, apply_aliases, state_alias
from controller.flow.ports_pins import PinKey
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.unit_of_work import SqlStore
from tests import worlds
from tests.traffic import World

SPEND = worlds.metric("spend", type=MetricType.MEAN, window_seconds=30.0)
TYPE = "customer"


def said(alias: str, unit: str) -> Statement:
    return Statement(unit_type=TYPE, unit=unit, alias=alias)


def merge(world: World, alias: str, unit: str) -> None:
    state_alias(SqlStore(world.database), "default", said(alias, unit), actor="ada")
    apply_aliases(world.ingest)


def apart(world: World) -> tuple[str, str]:
    """Two units whose own ids give different arms."""
    return world.units(1, arm="champion")[0], world.units(1, arm="challenger")[0]


def pin(pins: MemoryPins, unit: str, allocation: int = 1) -> Pin | None:
    (found,) = pins.read([PinKey(project="default", unit_type=TYPE, unit=unit)], "r1", allocation)
    return found


def published(store: SqlStore) -> Ruleset:
    with store.reading() as work:
        newest = work.rulesets.newest("default")
    assert newest is not None
    return Ruleset.from_bytes(newest.body)
