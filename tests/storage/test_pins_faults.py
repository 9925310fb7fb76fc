"""Whatever happens to the store: the pure function's answer, soon, and nothing is forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import cycle
from typing import Any

import pytest

from controller.assignment.choice import Pin, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM
from controller.errors import Unavailable
from controller.flow.pinning import Request
from controller.flow.pinning import assign_pinned as assign_many
from controller.flow.ports_pins import PinKey
from controller.storage.redis.breaker import Breaker
from controller.storage.redis.connection import Client, connect
from controller.storage.redis.pins import MOST_WAITING, RedisPins
from tests.pinned import assign_pinned
from tests.processes import PATIENCE_SECONDS
from tests.storage.valkey import PROGRAMS, Valkey
from tests.unit.assignment.rulesets import rollout, ruleset, slot

RULES = ruleset(slot(rollout(enrolled_ppm=PPM)))
UNITS = [f"u-{number}" for number in range(200)]
BOUND_SECONDS = 0.050
ROUNDS = 10


@pytest.fixture(params=PROGRAMS)
def valkey(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    with Valkey(program=request.param) as server:
        yield server


@pytest.fixture
def hasty(valkey: Valkey) -> Iterator[Client]:
    """A connection that waits as briefly as an assignment may."""
    with connect(valkey.url) as client:
        assert client.ping()
        yield client


@pytest.fixture
def pins(valkey: Valkey) -> Iterator[RedisPins]:
    """Over a connection that waits for a busy machine: these tests do not ask how long."""
    with connect(
        valkey.url, connect_seconds=PATIENCE_SECONDS, answer_seconds=PATIENCE_SECONDS
    ) as client:
        assert client.ping()
        yield RedisPins(client, namespace="n", drain_seconds=None)


def key(unit: str) -> PinKey:
    return PinKey(project="default", unit_type="departure", unit=unit)


def answers(pins: RedisPins) -> list[float]:
    """Assign every unit, check that nobody moved; seconds of each call, sorted."""
    seconds = []
    for unit in UNITS:
        started = time.perf_counter()
        choice = assign_pinned(RULES, "alert", unit, pins=pins, now=0)
        seconds.append(time.perf_counter() - started)
        assert choice.arm == evaluate(RULES, "alert", unit).arm
    return sorted(seconds)


def brought_back(pins: RedisPins) -> None:
    """Wait until the breaker lets a trial through and everything waiting is written."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while pins.counts().waiting:
        pins.drain()
        assert time.monotonic() < deadline, pins.counts()
        time.sleep(0.05)
    counts = pins.counts()
    assert counts.available
    assert counts.written_later == counts.skipped
    assert counts.lost == 0
    for unit in UNITS:
        found = None
        while found is None:  # a read that waits too long is skipped, on a busy machine
            assert time.monotonic() < deadline + PATIENCE_SECONDS, unit
            (found,) = pins.read([key(unit)], "r-1", 1)
        assert found.arm == evaluate(RULES, "alert", unit).arm


def break_off(valkey: Valkey, fault: str) -> None:
    if fault == "killed":
        valkey.kill()
    elif fault == "hanging":
        valkey.pause()
    else:
        with valkey.admin() as client:
            client.client_pause(3_000, all=True)


def fresh(client: Client) -> RedisPins:
    """Pins whose breaker has seen nothing yet."""
    return RedisPins(client, namespace="n", drain_seconds=None)


def longest_wait(pins: RedisPins) -> float:
    """Seconds that 99 of 100 answers take, or half of what the slowest takes."""
    seconds = answers(pins)
    return max(seconds[int(0.99 * len(seconds))], seconds[-1] / 2)


@pytest.mark.parametrize("fault", ["killed", "hanging", "slow"])
def test_a_store_that_does_not_answer(fault: str, valkey: Valkey, hasty: Client) -> None:
    """The bound is on the store, and the machine is shared: it may hold up some rounds, not all."""
    break_off(valkey, fault)
    pins = fresh(hasty)
    waits = [longest_wait(pins)]
    while waits[-1] > BOUND_SECONDS and len(waits) < ROUNDS:
        break_off(valkey, fault)
        pins = fresh(hasty)
        waits.append(longest_wait(pins))
    assert waits[-1] <= BOUND_SECONDS, waits
    counts = pins.counts()
    assert counts.skipped == counts.waiting == len(UNITS)
    assert not counts.available
    if fault == "killed":
        valkey.start()
    elif fault == "hanging":
        valkey.resume()
    brought_back(pins)


class Trips(RedisPins):
    """Pins that count their round trips."""

    made = 0

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any] | None:
        self.made += 1
        return super()._ask(commands)


BATCH = ruleset(
    slot(rollout(enrolled_ppm=PPM)),
    slot(rollout(id="r-2", salt="another", enrolled_ppm=PPM // 2), slot="alarm"),
    slot(rollout(id="r-3", salt="a third", sticky="exceptions"), slot="advice"),
    slot(slot="at rest"),
)
"""Slots with rollouts of several kinds, and one without."""


def asked() -> list[Request]:
    """Some are exposed, some look, and some are no units at all."""
    return [
        Request(slot=name, unit=unit, expose=number % 3 > 0)
        for name in (*BATCH.slots, "nowhere")
        for number, unit in enumerate([*UNITS[:98], "", "\x07"])
    ]


def test_a_batch_over_many_slots_takes_few_round_trips(valkey: Valkey, pins: RedisPins) -> None:
    for number, unit in enumerate(UNITS[:98]):
        arm = "challenger" if number % 2 else "champion"
        found = Pin(allocation=1, arm=arm, bucket=number)
        for name in ("r-1", "r-2", "r-3")[: number % 4]:
            pins.claim(key(unit), name, found, ttl_seconds=1000)
    alone = Trips(pins._client, namespace="n", drain_seconds=None)
    together = Trips(pins._client, namespace="n", drain_seconds=None)
    one_by_one = [assign_many(BATCH, [one], pins=alone, now=0)[0] for one in asked()]
    assert assign_many(BATCH, asked(), pins=together, now=0) == one_by_one
    assert together.made * 40 < alone.made > 250
    assert Reason.PINNED in {choice.reason for choice in one_by_one}
    for counts in (alone.counts(), together.counts()):
        assert (counts.skipped, counts.reads, counts.claims) == (
            0, together.counts().reads, together.counts().claims,
        )  # fmt: skip


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_a_batch_waits_for_a_sick_store_once(fault: str, valkey: Valkey, hasty: Client) -> None:
    break_off(valkey, fault)
    pins = Trips(hasty, namespace="n", drain_seconds=None)
    given = assign_many(BATCH, asked(), pins=pins, now=0)
    assert [choice.arm for choice in given] == [
        evaluate(BATCH, one.slot, one.unit).arm for one in asked()
    ]
    assert pins.made == 1
    assert pins.counts().skipped == pins.counts().reads + pins.counts().claims


def test_a_batch_that_has_waited_enough_goes_on_without_the_store(
    valkey: Valkey, pins: RedisPins
) -> None:
    hurried = Trips(pins._client, namespace="n", drain_seconds=None, budget_seconds=0.0)
    wanted = [Request(slot="alert", unit=unit) for unit in UNITS]
    given = assign_many(BATCH, wanted, pins=hurried, now=0)
    assert [choice.arm for choice in given] == [
        evaluate(BATCH, one.slot, one.unit).arm for one in wanted
    ]
    counts = hurried.counts()
    assert (hurried.made, counts.claims) == (1, len(UNITS))
    assert 0 < counts.skipped == counts.waiting < len(UNITS)
    assert hurried.drain() == counts.skipped
    assert None not in pins.read([key(unit) for unit in UNITS], "r-1", 1)


def test_a_wiped_store_gives_the_same_arms(valkey: Valkey, pins: RedisPins) -> None:
    answers(pins)
    valkey.ask("FLUSHALL")
    answers(pins)
    assert pins.counts().skipped == 0
    brought_back(pins)


def test_a_read_only_store_is_still_read(valkey: Valkey, pins: RedisPins) -> None:
    other = Pin(allocation=1, arm="challenger", bucket=0)
    unit = next(u for u in UNITS if evaluate(RULES, "alert", u).arm == "champion")
    pins.claim(key(unit), "r-1", other, ttl_seconds=1000)
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    for one in UNITS:
        choice = assign_pinned(RULES, "alert", one, pins=pins, now=0)
        expected = other.arm if one == unit else evaluate(RULES, "alert", one).arm
        assert choice.arm == expected
    counts = pins.counts()
    assert counts.available
    assert counts.skipped == len(UNITS)
    with pytest.raises(Unavailable):
        pins.forget([key(unit)])
    valkey.ask("REPLICAOF", "NO", "ONE")
    while pins.drain():
        continue
    assert pins.counts().waiting == 0


def test_a_store_out_of_memory_keeps_what_it_has(valkey: Valkey, pins: RedisPins) -> None:
    answers(pins)
    valkey.ask("CONFIG", "SET", "maxmemory", "1mb")
    answers(pins)
    strangers = [f"new-{number}" for number in range(20)]
    for unit in strangers:
        choice = assign_pinned(RULES, "alert", unit, pins=pins, now=0)
        assert choice.arm == evaluate(RULES, "alert", unit).arm
    assert pins.counts().waiting > 0
    valkey.ask("CONFIG", "SET", "maxmemory", "0")
    brought_back(pins)


def test_values_that_are_no_pins_are_ignored(valkey: Valkey, pins: RedisPins) -> None:
    answers(pins)
    with valkey.admin() as client:
        names = sorted(client.scan_iter("pin:*"))
        values = [
            *(b"", b"x", b".champion", b"12.", b"\xff\xfe", b"-1.champion"),
            *(b"\xc2\xb2.champion", b"9" * 5_000 + b".champion"),
        ]
        assert len(names) >= len(values)
        for name, value in zip(names, cycle(values), strict=False):
            client.hset(name, "r-1.1", value)
    answers(pins)


def test_a_key_of_another_type_does_not_break_an_answer(valkey: Valkey, pins: RedisPins) -> None:
    answers(pins)
    with valkey.admin() as client:
        for name in list(client.scan_iter("pin:*")):
            client.delete(name)
            client.set(name, "not a hash")
    answers(pins)
    assert pins.counts().skipped == len(UNITS)


def test_the_queue_of_skipped_claims_is_bounded_and_counts_what_it_loses(
    valkey: Valkey, pins: RedisPins
) -> None:
    valkey.kill()
    units = [(key(f"many-{n}"), Pin(allocation=1, arm="champion", bucket=n)) for n in range(500)]
    for _ in range(MOST_WAITING // 500 + 2):
        pins.claim_many(units, "r-1", ttl_seconds=100)
    counts = pins.counts()
    assert counts.waiting == MOST_WAITING
    assert counts.lost == 1000


def test_an_erased_unit_does_not_come_back_from_the_queue(valkey: Valkey, pins: RedisPins) -> None:
    valkey.kill()
    for unit in ("erased", "kept"):
        pin = Pin(allocation=1, arm="champion", bucket=1)
        pins.claim(key(unit), "r-1", pin, ttl_seconds=1000)
    with pytest.raises(Unavailable):
        pins.forget([key("erased")])
    valkey.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while pins.counts().waiting:
        pins.drain()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = pins.read([key("erased"), key("kept")], "r-1", 1)
    assert [pin is not None for pin in found] == [False, True]


def test_waiting_claims_are_written_without_being_asked(valkey: Valkey) -> None:
    with (
        connect(valkey.url) as client,
        closing(RedisPins(client, namespace="n", drain_seconds=0.05)) as pins,
    ):
        assert client.ping()
        valkey.kill()
        answers(pins)
        assert pins.counts().waiting == len(UNITS)
        valkey.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while pins.counts().waiting:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        brought_back(pins)


def test_the_breaker_opens_doubles_its_pause_and_closes_on_the_first_success() -> None:
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0], chance=lambda: 0.0)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    assert [breaker.closed] == [False]
    pauses = []
    for _ in range(6):
        started = now[0]
        while not breaker.allow():
            now[0] += 0.25
        assert not breaker.allow()
        pauses.append(now[0] - started)
        breaker.failed()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    now[0] += 15.0
    assert breaker.allow()
    breaker.succeeded()
    assert [breaker.closed] == [True]
    assert all(breaker.allow() for _ in range(10))
