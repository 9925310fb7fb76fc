"""One suite over the pins in memory, in Valkey and in Redis 7, alone and as a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from controller.assignment.choice import Pin, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM
from controller.flow.ports_pins import PinKey, Pins
from controller.storage.memory.pins import MemoryPins
from controller.storage.redis.connection import connect
from controller.storage.redis.pins import RedisPins
from tests.pinned import assign_pinned
from tests.storage.valkey import PROGRAMS, Program, Valkey, cluster_of_three
from tests.unit.assignment.rulesets import rollout, ruleset, slot

MINE = Pin(allocation=1, arm="challenger", bucket=4711)
THEIRS = Pin(allocation=1, arm="champion", bucket=999_999)
HOUR = 3600


def key(unit: str = "u-1", project: str = "default", unit_type: str = "customer") -> PinKey:
    return PinKey(project=project, unit_type=unit_type, unit=unit)


class Servers:
    """The servers of this module, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._alone: dict[str, Valkey] = {}
        self._clusters: dict[str, str] = {}

    def alone(self, program: Program) -> Valkey:
        if program not in self._alone:
            self._alone[program] = self._stack.enter_context(Valkey(program=program))
        return self._alone[program]

    def cluster(self, program: Program) -> str:
        if program not in self._clusters:
            self._clusters[program] = self._stack.enter_context(cluster_of_three(program))
        return self._clusters[program]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=PROGRAMS)
def valkey(request: pytest.FixtureRequest, servers: Servers) -> Valkey:
    return servers.alone(request.param)


@pytest.fixture(
    params=[
        "memory",
        "valkey",
        "valkey-cluster",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("redis-cluster", marks=pytest.mark.redis),
    ]
)
def pins(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Pins]:
    if request.param == "memory":
        yield MemoryPins()
        return
    program, _, cluster = request.param.partition("-")
    url = servers.cluster(program) if cluster else servers.alone(program).url
    # A patient client: this suite is about meaning, `test_pins_faults` about time.
    client = connect(url, connect_seconds=5, answer_seconds=5)
    client.flushall()
    with client:
        yield RedisPins(client, namespace="n")


def test_the_first_writer_wins(pins: Pins) -> None:
    assert pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR) == MINE
    assert pins.claim(key(), "r-1", THEIRS, ttl_seconds=HOUR) == MINE
    assert pins.read([key()], "r-1", 1) == [MINE]


def test_a_pin_is_known_in_its_project_type_rollout_and_allocation_only(pins: Pins) -> None:
    pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR)
    assert pins.read([key(project="other")], "r-1", 1) == [None]
    assert pins.read([key(unit_type="device")], "r-1", 1) == [None]
    assert pins.read([key(unit="u-2")], "r-1", 1) == [None]
    assert pins.read([key()], "r-2", 1) == [None]
    assert pins.read([key()], "r-1", 2) == [None]


def test_a_new_allocation_starts_without_pins(pins: Pins) -> None:
    pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR)
    second = Pin(allocation=2, arm="champion", bucket=4711)
    assert pins.claim(key(), "r-1", second, ttl_seconds=HOUR) == second
    assert pins.read([key()], "r-1", 1) == [MINE]


def test_an_earlier_allocations_pin_is_found_where_there_is_no_newer_one(pins: Pins) -> None:
    third = Pin(allocation=3, arm="champion", bucket=4711)
    pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR)
    pins.claim(key("u-2"), "r-1", MINE, ttl_seconds=HOUR)
    pins.claim(key("u-2"), "r-1", third, ttl_seconds=HOUR)
    units = [key(), key("u-2"), key("stranger")]
    assert pins.read(units, "r-1", 3, earlier=(2, 1)) == [MINE, third, None]
    assert pins.read(units, "r-1", 4, earlier=(2,)) == [None, None, None]


def test_many_units_in_one_call_keep_their_order(pins: Pins) -> None:
    units = [key(f"u-{number}") for number in range(300)]
    pins.claim(units[7], "r-1", THEIRS, ttl_seconds=HOUR)
    wanted = [(unit, Pin(allocation=1, arm="challenger", bucket=n)) for n, unit in enumerate(units)]
    holds = pins.claim_many(wanted, "r-1", ttl_seconds=HOUR)
    expected = [pin for _, pin in wanted]
    expected[7] = THEIRS
    assert holds == expected
    assert pins.read([*units, key("stranger")], "r-1", 1) == [*expected, None]
    assert pins.read([], "r-1", 1) == []
    assert pins.claim_many([], "r-1", ttl_seconds=HOUR) == []


def test_the_pin_of_an_exception_wins_whoever_was_first(pins: Pins) -> None:
    units = [key(f"u-{number}") for number in range(300)]
    pins.claim_many([(unit, MINE) for unit in units[:150]], "r-1", ttl_seconds=HOUR)
    pins.impose([(unit, THEIRS) for unit in units], "r-1", ttl_seconds=HOUR)
    assert pins.read(units, "r-1", 1) == [THEIRS] * 300
    assert pins.claim(units[0], "r-1", MINE, ttl_seconds=HOUR) == THEIRS
    pins.impose([], "r-1", ttl_seconds=HOUR)


def test_erasure_forgets_every_pin_of_a_unit(pins: Pins) -> None:
    pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR)
    pins.claim(key(), "r-2", MINE, ttl_seconds=HOUR)
    pins.claim(key("u-2"), "r-1", MINE, ttl_seconds=HOUR)
    pins.forget([key(), key("never seen")])
    assert pins.read([key()], "r-1", 1) == pins.read([key()], "r-2", 1) == [None]
    assert pins.read([key("u-2")], "r-1", 1) == [MINE]


def test_sixteen_threads_agree_on_one_arm(pins: Pins) -> None:
    for unit in range(20):
        arms: list[str] = []
        gate = threading.Barrier(16)

        def claim(number: int, mine: PinKey, arms: list[str], gate: threading.Barrier) -> None:
            gate.wait()
            pin = Pin(allocation=1, arm=f"challenger-{number}", bucket=number)
            arms.append(pins.claim(mine, "r-1", pin, ttl_seconds=HOUR).arm)

        threads = [
            threading.Thread(target=claim, args=(number, key(f"race-{unit}"), arms, gate))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(arms) == 16
        assert len(set(arms)) == 1


def test_counts_tell_what_happened(pins: Pins) -> None:
    pins.claim(key(), "r-1", MINE, ttl_seconds=HOUR)
    pins.read([key(), key("u-2")], "r-1", 1)
    counts = pins.counts()
    assert (counts.reads, counts.claims, counts.skipped, counts.waiting) == (2, 1, 0, 0)
    assert counts.available
    assert pins.drain() == 0


def test_memory_forgets_when_the_time_is_over() -> None:
    now = [0.0]
    pins = MemoryPins(clock=lambda: now[0])
    pins.claim(key(), "r-1", MINE, ttl_seconds=10)
    pins.claim(key(), "r-2", MINE, ttl_seconds=5)
    now[0] = 9.9
    assert pins.read([key()], "r-1", 1) == [MINE]
    now[0] = 10.0
    assert pins.read([key()], "r-1", 1) == [None]
    assert pins.claim(key(), "r-1", THEIRS, ttl_seconds=10) == THEIRS


def test_valkey_lengthens_a_units_life_and_never_shortens_it(valkey: Valkey) -> None:
    valkey.ask("FLUSHALL")
    with connect(valkey.url, answer_seconds=5) as client:
        pins = RedisPins(client, namespace="n")
        lives = []
        for rollout_id, ttl in (("r-1", 1000), ("r-2", 500), ("r-3", 2000)):
            pins.claim(key(), rollout_id, MINE, ttl_seconds=ttl)
            (name,) = client.scan_iter("pin:n:default:*")
            lives.append(client.ttl(name))
    assert lives == [1000, 1000, 2000]


def test_no_raw_unit_id_reaches_valkey(valkey: Valkey) -> None:
    valkey.ask("FLUSHALL")
    with connect(valkey.url, answer_seconds=5) as client:
        RedisPins(client, namespace="n").claim(key("customer-31337"), "r-1", MINE, ttl_seconds=HOUR)
        (name,) = client.scan_iter("*")
        assert b"31337" not in name
        assert client.hgetall(name) == {b"r-1.1": b"4711.challenger"}


def test_a_unit_takes_at_most_200_bytes(valkey: Valkey) -> None:
    """Measured on the server over 5,000 units with UUID-like ids, one live rollout each."""
    valkey.ask("FLUSHALL")
    with connect(valkey.url, answer_seconds=5) as client:
        pins = RedisPins(client, namespace="abcd")  # as long as a derived one
        before = client.info("memory")["used_memory"]
        for start in range(0, 5000, 500):
            units = [key(f"{number:032x}") for number in range(start, start + 500)]
            claims = [(unit, Pin(allocation=1, arm="challenger", bucket=345_678)) for unit in units]
            pins.claim_many(claims, "r_01j9zq4w", ttl_seconds=HOUR)
        used = client.info("memory")["used_memory"] - before
    assert used / 5000 <= 200


# ---------------------------------------------------------------- the use case over both


def test_a_pinned_unit_keeps_its_arm_when_it_is_no_longer_eligible(pins: Pins) -> None:
    tree = {"attribute": "plan", "op": "eq", "value": "free"}
    rules = ruleset(slot(rollout(enrolled_ppm=PPM, eligible=tree)))
    first = assign_pinned(rules, "alert", "u-1", {"plan": "free"}, pins=pins, now=0)
    assert first.reason is Reason.SPLIT
    later = assign_pinned(rules, "alert", "u-1", {"plan": "paid"}, pins=pins, now=0)
    assert (later.arm, later.reason) == (first.arm, Reason.PINNED)
    stranger = assign_pinned(rules, "alert", "u-2", {"plan": "paid"}, pins=pins, now=0)
    assert stranger.reason is Reason.NOT_ELIGIBLE


def test_rollback_reaches_a_pinned_unit_at_once_and_a_ramp_brings_it_back(pins: Pins) -> None:
    full = ruleset(slot(rollout(enrolled_ppm=PPM)))
    mine = assign_pinned(full, "alert", "u-1", pins=pins, now=0)
    gone = assign_pinned(ruleset(slot(rollout(enrolled_ppm=0))), "alert", "u-1", pins=pins, now=0)
    assert (gone.arm, gone.reason) == ("champion", Reason.NOT_ENROLLED)
    assert assign_pinned(full, "alert", "u-1", pins=pins, now=0).arm == mine.arm


def test_a_merged_identity_keeps_its_first_arm(pins: Pins) -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=PPM)))
    units = [f"u-{number}" for number in range(100)]
    unit = next(u for u in units if evaluate(rules, "alert", u).arm == "champion")
    merged = PinKey(project="default", unit_type="departure", unit=unit)
    pins.claim(merged, "r-1", Pin(allocation=1, arm="challenger", bucket=0), ttl_seconds=HOUR)
    mine = assign_pinned(rules, "alert", unit, pins=pins, now=0)
    assert (mine.arm, mine.reason) == ("challenger", Reason.PINNED)


def test_a_peek_writes_no_pin(pins: Pins) -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=PPM)))
    assign_pinned(rules, "alert", "u-1", pins=pins, now=0, expose=False)
    unit = PinKey(project="default", unit_type="departure", unit="u-1")
    assert pins.read([unit], "r-1", 1) == [None]


@pytest.mark.parametrize("sticky", ["none", "exceptions", "all"])
def test_only_mode_all_writes_pins(sticky: str, pins: Pins) -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=PPM, sticky=sticky)))
    mine = assign_pinned(rules, "alert", "u-1", pins=pins, now=0)
    assert mine == evaluate(rules, "alert", "u-1")
    unit = PinKey(project="default", unit_type="departure", unit="u-1")
    (found,) = pins.read([unit], "r-1", 1)
    assert (found is not None) == (sticky == "all")


def test_slots_at_rest_ask_no_store(pins: Pins) -> None:
    assign_pinned(ruleset(slot()), "alert", "u-1", pins=pins, now=0)
    assign_pinned(ruleset(slot()), "nowhere", "u-1", pins=pins, now=0)
    assign_pinned(ruleset(slot(rollout())), "alert", "", pins=pins, now=0)
    counts = pins.counts()
    assert (counts.reads, counts.claims) == (0, 0)
