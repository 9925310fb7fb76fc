"""Units that are one: a small world in which ids are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.assignment.choice import Pin
from controller.assignment.ruleset import Ruleset
from controller.experiments.metrics import MetricType
from controller.flow.aliases import Statement, apply_aliases, state_alias
from controller.flow.arm_keeping import keep_arms, order_keeping
from controller.flow.ports_pins import PinKey
from controller.flow.side_documents import SidePublisher
from controller.flow.side_text import plain
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql import bulk
from controller.storage.sql.identities import EXCEPTIONS
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


def except_units(store: SqlStore, units: Sequence[str]) -> None:
    """Except units as if each had been merged with another."""
    rows = [("default", "r1", unit, f"of-{unit}", "merged", 0, None) for unit in sorted(units)]
    with store.writing() as work:
        bulk.insert(work.connection, EXCEPTIONS, rows)


def publish_exceptions(store: SqlStore) -> bool:
    """Build and publish the side documents that are due; whether a new ruleset names one."""
    publisher = SidePublisher(store, holder="worker")
    before = _newest(store)
    while publisher.step():
        continue
    return _newest(store) != before


def side_document(store: SqlStore, name: str) -> bytes:
    """The whole text of a side document."""
    with store.reading() as work:
        seal = work.side_documents.find("default", name)
        assert seal is not None
        assert not isinstance(seal, bytes)
        parts = work.side_documents.part("default", seal, None, packed=False, most=10_000)
    return b"".join(plain(seal.head, [hashes for _, hashes in parts]))


def keep_met_arms(store: SqlStore, *, before_epoch: int = 2) -> int:
    """What an edit of eligibility that opens this epoch asks for, carried out; how many are new."""
    before = _kept(store)
    with store.writing() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        assert order_keeping(work, replace(rollout, epoch=before_epoch))
    while keep_arms(store):
        continue
    return _kept(store) - before


def _kept(store: SqlStore) -> int:
    with store.reading() as work:
        return work.tallies.read("default", "r1").get(("r1", "excepted_eligibility"), 0)


def _newest(store: SqlStore) -> int:
    with store.reading() as work:
        return work.rulesets.newest_version("default")
