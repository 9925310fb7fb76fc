"""Merged identities while the store of pins is away, wiped, read-only or full: nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.assignment.choice import Choice, Pin, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.errors import Unavailable
from controller.flow.exceptions import Rebuilder, pin_exceptions
from controller.flow.ports_pins import PinKey
from controller.flow.process_counts import ProcessCounts
from controller.storage.redis.connection import connect
from controller.storage.redis.pins import RedisPins
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.storage.sql.unit_of_work import SqlStore
from controller.telemetry import Telemetry
from tests.merging import SPEND, TYPE, apart, merge, publish_exceptions, published
from tests.pinned import assign_pinned
from tests.processes import PATIENCE_SECONDS
from tests.storage.valkey import Valkey
from tests.traffic import World, ago

A_HANG_SECONDS = 5.0
"""A hundred times what an answer may wait for the store; a hang has no end."""


class Merged:
    """A unit that was exposed as `first` and is known as `later`, in another arm, as well."""

    def __init__(self, pins: RedisPins) -> None:
        database = Database("sqlite://")
        Base.metadata.create_all(database.main)
        InboxBase.metadata.create_all(database.inbox)
        self.world = World(database, [SPEND])
        self.store, self.pins = SqlStore(database), pins
        self.first, self.later = apart(self.world)
        self.world.run([self.world.exposure(self.first, ago(300))])
        merge(self.world, self.later, self.first)
        publish_exceptions(self.store)
        self.rules: Ruleset = published(self.store)

    def ask(self) -> Choice:
        return assign_pinned(self.rules, "slot", self.later, pins=self.pins, now=0)

    @property
    def pure(self) -> str:
        return evaluate(self.rules, "slot", self.later).arm

    def keeps(self) -> bool:
        choice = self.ask()
        return (choice.arm, choice.reason) == (self.world.arm(self.first), Reason.PINNED)

    def rebuilt(self) -> None:
        """Until the worker has put the pin back and answers are as they were."""
        rebuilder = Rebuilder(self.store, self.pins)

        def done() -> bool:
            self.pins.drain()
            try:
                pin_exceptions(self.store, self.pins)
                rebuilder.step()
            except Unavailable:
                return False
            return self.keeps() and not self.pins.counts().waiting

        wait_until(done)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def merged(valkey: Valkey) -> Iterator[Merged]:
    with connect(valkey.url) as client:
        assert client.ping()
        yield Merged(RedisPins(client, namespace="n", drain_seconds=None))


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_while_the_store_is_away_the_answer_is_pure_and_counted(
    fault: str, valkey: Valkey, merged: Merged
) -> None:
    merged.rebuilt()
    before = merged.pins.counts().skipped
    if fault == "killed":
        valkey.kill()
    else:
        valkey.pause()
    for _ in range(5):
        started = time.perf_counter()
        choice = merged.ask()
        assert time.perf_counter() - started < A_HANG_SECONDS
        assert (choice.arm, choice.reason) == (merged.pure, Reason.SPLIT)
    assert merged.pins.counts().skipped == before + 5
    if fault == "killed":
        valkey.start()
    else:
        valkey.resume()
    merged.rebuilt()


def test_a_merge_while_the_store_is_away_is_pinned_when_it_is_back(
    valkey: Valkey, merged: Merged
) -> None:
    valkey.kill()
    with pytest.raises(Unavailable):
        pin_exceptions(merged.store, merged.pins)
    assert merged.ask().arm == merged.pure
    valkey.start()
    merged.rebuilt()


def test_a_wiped_store_is_filled_again_over_what_others_wrote_meanwhile(
    valkey: Valkey, merged: Merged
) -> None:
    merged.rebuilt()
    valkey.ask("FLUSHALL")
    assert merged.ask().arm == merged.pure  # and is now pinned so, by its own id
    merged.rebuilt()
    with merged.store.reading() as work:
        assert work.tallies.read("default", "r1")["r1", "pins_rebuilt"] >= 1


def out_for_a_while(valkey: Valkey, merged: Merged) -> None:
    """The store hangs until this process has stopped asking it, and comes back empty."""
    merged.rebuilt()
    valkey.pause()
    for _ in range(3):
        merged.ask()
    assert not merged.pins.counts().available
    valkey.resume()
    valkey.ask("FLUSHALL")


def test_what_an_outage_lost_is_put_back_where_nobody_else_asks(
    valkey: Valkey, merged: Merged
) -> None:
    out_for_a_while(valkey, merged)
    rebuilder = Rebuilder(merged.store, merged.pins)

    def stepped() -> bool:
        try:
            rebuilder.step()
        except Unavailable:
            return False
        return tally(merged, "pins_rebuilt") > 0

    wait_until(stepped)
    assert merged.keeps()


def test_a_step_that_finds_no_store_is_not_taken_for_a_look(valkey: Valkey, merged: Merged) -> None:
    for number in range(3):
        merge(merged.world, f"another-{number}", merged.first)
    merged.rebuilt()
    valkey.kill()
    rebuilder = Rebuilder(merged.store, merged.pins)
    for _ in range(3):
        with pytest.raises(Unavailable):
            rebuilder.step(most=1)
    valkey.start()

    def stepped() -> bool:
        try:
            return rebuilder.step(most=1)
        except Unavailable:
            return False

    wait_until(stepped)
    while rebuilder.step(most=1):
        """Round once."""
    assert tally(merged, "pins_rebuilt") == 4


def test_a_process_without_traffic_says_when_the_store_is_back(
    valkey: Valkey, merged: Merged
) -> None:
    out_for_a_while(valkey, merged)
    counting = ProcessCounts(merged.store, merged.pins, Telemetry(), answers=False)

    def said() -> bool:
        counting.flush()
        with merged.store.reading() as work:
            return all(one.pins_available for one in work.processes.running())

    assert not said()
    wait_until(said)


def test_a_read_only_store_still_answers_for_exceptions(valkey: Valkey, merged: Merged) -> None:
    merged.rebuilt()
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    wait_until(merged.keeps)
    merge(merged.world, "another", merged.first)
    with pytest.raises(Unavailable):
        pin_exceptions(merged.store, merged.pins)
    valkey.ask("REPLICAOF", "NO", "ONE")
    merged.rebuilt()
    with merged.store.reading() as work:
        assert not work.exceptions.unpinned("default", "r1", 1, most=10)


def test_a_full_store_keeps_what_it_has(valkey: Valkey, merged: Merged) -> None:
    merged.rebuilt()
    valkey.ask("CONFIG", "SET", "maxmemory", "1mb")
    wait_until(merged.keeps)
    merge(merged.world, "another", merged.first)
    with pytest.raises(Unavailable):
        pin_exceptions(merged.store, merged.pins)
    valkey.ask("CONFIG", "SET", "maxmemory", "0")
    merged.rebuilt()


def occupy(valkey: Valkey, merged: Merged, unit: str) -> str:
    """Let something that is no pin stand where the pin of a unit belongs."""
    key = PinKey(project="default", unit_type=TYPE, unit=unit)
    name = merged.pins._key(key)
    valkey.ask("SET", name, "something else")
    return name


def tally(merged: Merged, name: str) -> int:
    with merged.store.reading() as work:
        return work.tallies.read("default", "r1").get(("r1", name), 0)


def test_one_refused_pin_holds_nobody_up_and_is_put_right_when_it_can_be(
    valkey: Valkey, merged: Merged
) -> None:
    others = [f"another-{number}" for number in range(20)]
    for unit in others:
        merge(merged.world, unit, merged.first)
    name = occupy(valkey, merged, merged.later)
    assert not pin_exceptions(merged.store, merged.pins)
    keys = [PinKey(project="default", unit_type=TYPE, unit=unit) for unit in others]
    assert None not in merged.pins.read(keys, "r1", 1)
    assert tally(merged, "pins_refused") == 1
    with merged.store.reading() as work:
        assert not work.exceptions.unpinned("default", "r1", 1, most=10)
    rebuilder = Rebuilder(merged.store, merged.pins)
    assert not any(rebuilder.step() for _ in range(3)), "what cannot be put back is not hurried for"
    assert tally(merged, "pins_rebuilt") == 0
    valkey.ask("DEL", name)
    assert any(rebuilder.step() for _ in range(2))
    assert merged.keeps()
    assert tally(merged, "pins_rebuilt") == 1


def test_a_refused_pin_alone_is_no_outage(valkey: Valkey, merged: Merged) -> None:
    occupy(valkey, merged, merged.later)
    assert not pin_exceptions(merged.store, merged.pins)
    assert tally(merged, "pins_refused") == 1


def test_what_is_refused_is_asked_for_once_more_by_itself(valkey: Valkey, merged: Merged) -> None:
    """The second round trip carries what the first one did not write, and nothing else."""
    occupy(valkey, merged, "bad")
    pin = Pin(allocation=1, arm="champion", bucket=1)
    wanted = [
        (PinKey(project="default", unit_type=TYPE, unit=unit), pin)
        for unit in [*(f"good-{number}" for number in range(50)), "bad"]
    ]
    valkey.ask("CONFIG", "RESETSTAT")
    refused = merged.pins.impose(wanted, "r1", ttl_seconds=60)
    assert [key.unit for key in refused] == ["bad"]
    stats: Any = valkey.ask("INFO", "commandstats")
    assert stats["cmdstat_hset"]["calls"] == 52
