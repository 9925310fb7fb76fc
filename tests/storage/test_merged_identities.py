"""Merged identities from the statement to the pin, the side document and the numbers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import IntegrityError

from controller.assignment.choice import Pin, Reason
from controller.assignment.document import write_gates
from controller.assignment.hashing import PPM, bucket, hash_unit, keyed_hash
from controller.assignment.ruleset import Gates, Overrides
from controller.errors import AliasConflict, InvalidInput, Unavailable
from controller.flow.aggregate import drain
from controller.flow.aliases import (
    MOST_IDS,
    apply_aliases,
    state_alias,
    state_aliases,
)
from controller.flow.exceptions import (
    NOBODY,
    Rebuilder,
    pin_exceptions,
    pin_of,
)
from controller.flow.mature import mature
from controller.flow.pin_health import pin_health
from controller.flow.ports_pins import PinKey
from controller.flow.recount import recount
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.database import Database
from controller.storage.sql.ingest import SqlIngest
from controller.storage.sql.rollouts import SqlRollouts
from controller.storage.sql.schema.rollouts import AllocationRow
from controller.storage.sql.traffic import SqlTraffic
from controller.storage.sql.unit_of_work import SqlStore
from controller.storage.sql.units import UNITS
from tests.merging import (
    SPEND,
    TYPE,
    apart,
    keep_met_arms,
    merge,
    pin,
    publish_exceptions,
    published,
    said,
    side_document,
)
from tests.pinned import assign_pinned
from tests.traffic import FIRST_RULESET, SALT, World, ago


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [SPEND])


@pytest.fixture
def store(world: World) -> SqlStore:
    return SqlStore(world.database)


@pytest.fixture
def pins() -> MemoryPins:
    return MemoryPins()


# ---------------------------------------------------------------- what may be stated


def test_saying_it_again_changes_nothing(store: SqlStore) -> None:
    first = state_alias(store, "default", said("anon", "account"), actor="ada")
    again = state_alias(store, "default", said("anon", "account"), actor="ada")
    assert (first.accepted, first.duplicates) == (1, 0)
    assert (again.accepted, again.duplicates) == (0, 1)


def test_an_alias_of_an_alias_ends_at_the_same_unit(store: SqlStore, world: World) -> None:
    for alias, unit in (("c", "b"), ("b", "a"), ("d", "c")):
        merge(world, alias, unit)
    assert state_alias(store, "default", said("d", "a"), actor="ada").duplicates == 1
    with world.ingest.maturing() as work:
        groups = work.identities.groups("default", TYPE, ["c"])
    assert groups == dict.fromkeys("abcd", ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("alias", "unit", "rule"), [("b", "z", "moved"), ("c", "z", "moved"), ("a", "c", "circle")]
)
def test_what_contradicts_is_refused(store: SqlStore, alias: str, unit: str, rule: str) -> None:
    for known in (("b", "a"), ("c", "b")):
        state_alias(store, "default", said(*known), actor="ada")
    with pytest.raises(AliasConflict) as refused:
        state_alias(store, "default", said(alias, unit), actor="ada")
    assert refused.value.details == {"rule": rule}


def test_an_id_that_everybody_shares_is_stopped(store: SqlStore) -> None:
    many = [said(f"anon-{number}", "undefined") for number in range(MOST_IDS + 5)]
    stated = state_aliases(store, "default", many, actor="ada")
    assert stated.accepted == MOST_IDS - 1
    assert sorted(stated.rejected) == list(range(MOST_IDS - 1, MOST_IDS + 5))


def test_one_bad_statement_holds_no_other_up(store: SqlStore) -> None:
    many = [said("x", "x"), said("anon", "account"), said("\x00", "account"), said("anon", "other")]
    stated = state_aliases(store, "default", many, actor="ada")
    codes = {place: problem.code for place, problem in stated.rejected.items()}
    assert stated.accepted == 1
    assert codes == {0: "invalid_input", 2: "invalid_input", 3: "alias_conflict"}
    with pytest.raises(InvalidInput):
        state_alias(store, "default", said("x", "x"), actor="ada")


def test_types_and_projects_are_worlds_of_their_own(store: SqlStore) -> None:
    state_alias(store, "default", said("anon", "one"), actor="ada")
    state_alias(store, "other", said("anon", "two"), actor="ada")
    device = replace(said("anon", "three"), unit_type="device")
    assert state_alias(store, "default", device, actor="ada").accepted == 1


# ---------------------------------------------------------------- what it does to the numbers


def test_the_later_of_two_arms_leaves_and_all_outcomes_are_the_units(world: World) -> None:
    first, later = apart(world)
    world.send(
        [
            world.exposure(first, ago(300)),
            world.exposure(later, ago(200)),
            world.outcome(first, ago(290), value=2.0),
            world.outcome(later, ago(280), value=3.0),
            world.outcome(later, ago(190), value=50.0),
        ]
    )
    world.drain()
    world.mature()
    assert world.snapshot().excluded == {}
    merge(world, later, first)
    seen = world.snapshot()
    assert seen.excluded == {"merged": 1}
    assert seen.exposed == {(1, "champion"): 1}
    (mine,) = seen.moments.values()
    assert (mine.n, mine.mean) == (1, 5.0)
    assert recount(world.ingest, "default", "r1") == []


def test_the_same_arm_twice_is_one_unit_that_came_back(world: World) -> None:
    one, other = world.units(2, arm="champion")
    world.run([world.exposure(one, ago(300)), world.exposure(other, ago(200))])
    merge(world, other, one)
    seen = world.snapshot()
    assert (seen.exposed, seen.excluded) == ({(1, "champion"): 1}, {"repeat_exposure": 1})


def test_an_outcome_under_the_other_id_corrects_a_unit_that_has_entered(world: World) -> None:
    first, later = apart(world)
    merge(world, later, first)
    world.run([world.exposure(first, ago(300)), world.outcome(first, ago(290), value=2.0)])
    world.run([world.outcome(later, ago(280), value=3.0)])
    (mine,) = world.snapshot().moments.values()
    assert mine.mean == 5.0
    assert recount(world.ingest, "default", "r1") == []


def test_an_exposure_that_follows_the_merge_is_explained_without_a_pin(world: World) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    seen = world.run([world.exposure(later, ago(200), arm="champion", reason="PINNED")])
    assert (seen.exposed, seen.excluded) == ({(1, "champion"): 1}, {"repeat_exposure": 1})
    assert recount(world.ingest, "default", "r1") == []


def test_answers_given_before_the_pin_was_known_are_counted(world: World) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    event = world.exposure(later, ago(200), reason="PIN_UNKNOWN")
    seen = world.run([event, event])
    assert seen.excluded == {"merged": 1}
    with SqlStore(world.database).reading() as work:
        assert work.tallies.read("default", "r1")["r1", "pin_unknown"] == 1


# ---------------------------------------------------------------- what it does to answers


def test_a_merged_id_is_answered_as_the_one_that_was_exposed_first(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    own = Pin(allocation=1, arm="challenger", bucket=0)
    key = PinKey(project="default", unit_type=TYPE, unit=later)
    pins.claim(key, "r1", own, ttl_seconds=60)
    merge(world, later, first)
    assert not pin_exceptions(store, pins)
    assert publish_exceptions(store)
    choice = assign_pinned(published(store), "slot", later, pins=pins, now=0)
    assert (choice.arm, choice.reason) == ("champion", Reason.PINNED)
    mine = pin(pins, later)
    assert mine is not None
    assert mine.bucket == bucket(hash_unit(SALT, TYPE, first)[0], PPM)
    again = assign_pinned(published(store), "slot", first, pins=pins, now=0, expose=False)
    assert (again.arm, again.reason) == ("champion", Reason.SPLIT)


def test_nobody_is_excepted_before_one_of_the_ids_is_exposed(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    merge(world, later, first)
    assert not pin_exceptions(store, pins)
    assert not publish_exceptions(store)
    world.run([world.exposure(later, ago(300))])
    pin_exceptions(store, pins)
    assert pin(pins, later) is None
    mine = pin(pins, first)
    assert mine is not None
    assert mine.arm == "challenger"


def test_an_earlier_exposure_that_arrives_late_turns_the_pins_round(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    merge(world, later, first)
    world.send([world.exposure(later, ago(10))])
    world.drain()
    pin_exceptions(store, pins)
    world.send([world.exposure(first, ago(20))])
    world.drain()
    pin_exceptions(store, pins)
    mine, theirs = pin(pins, first), pin(pins, later)
    assert mine is not None
    assert theirs is not None
    assert (mine.arm, theirs.arm) == ("champion", "champion")
    assert world.snapshot().exposed == {(1, "champion"): 1}


def test_a_wiped_store_gets_its_pins_back(world: World, store: SqlStore, pins: MemoryPins) -> None:
    members = [apart(world), tuple(world.units(4, prefix="v")[2:])]
    for first, later in members:
        world.run([world.exposure(first, ago(300))])
        merge(world, later, first)
    pin_exceptions(store, pins)
    before = {later: pin(pins, later) for _, later in members}
    assert None not in before.values()
    rebuilder = Rebuilder(store, pins)
    assert not rebuilder.step()
    pins.forget([PinKey(project="default", unit_type=TYPE, unit=later) for _, later in members])
    steps = [rebuilder.step(most=1) for _ in range(6)]
    assert {later: pin(pins, later) for _, later in members} == before
    assert steps.count(True) == 2
    with store.reading() as work:
        assert work.tallies.read("default", "r1")["r1", "pins_rebuilt"] == 2


def test_from_the_first_lost_pin_on_the_whole_round_is_hurried(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    others = ["anon-1", "anon-2"]  # before `later`, which starts with a "u"
    for name in (*others, later):
        merge(world, name, first)
    pin_exceptions(store, pins)
    rebuilder = Rebuilder(store, pins)
    pins.forget([PinKey(project="default", unit_type=TYPE, unit=others[0])])
    steps = [rebuilder.step(most=1) for _ in range(8)]
    assert steps == [True, True, True, False, False, False, False, False]


def test_what_waits_for_its_pin_is_not_counted_as_lost(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    rebuilder = Rebuilder(store, pins)
    assert not rebuilder.step()
    pin_exceptions(store, pins)
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0)
    assert not any(rebuilder.step() for _ in range(3))
    with store.reading() as work:
        assert ("r1", "pins_rebuilt") not in work.tallies.read("default", "r1")


def test_a_unit_that_was_counted_twice_does_not_publish_its_document_twice(
    world: World, store: SqlStore
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    assert publish_exceptions(store)
    with store.writing() as work:
        work.tallies.add("default", {("r1", "excepted_merged"): 1})
    age(store, 3600)
    assert not publish_exceptions(store)
    assert units_in_force(store) == 1


def test_without_identities_no_exception_is_looked_through(
    world: World, store: SqlStore, database: Database
) -> None:
    """A rollout may hold a million units that keep their arm and none that is merged."""
    first, _ = apart(world)
    world.run([world.exposure(first, ago(300))])
    assert keep_met_arms(store) == 1
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(database.main, "before_cursor_execute", note)
    try:
        with world.ingest.reading() as ingest:
            assert ingest.ledger.outcomes(world.target, [first], ["spend"]) == {}
    finally:
        event.remove(database.main, "before_cursor_execute", note)
    assert not [statement for statement in seen if "exceptions" in statement]


def test_errors_of_the_database_name_no_unit(store: SqlStore) -> None:
    state_alias(store, "default", said("anon-secret", "account"), actor="ada")
    with store.reading() as work:
        (alias,) = work.aliases.known("default", TYPE, ["anon-secret"]).values()
    with pytest.raises(IntegrityError) as caught, store.writing() as work:
        work.connection.execute(
            text("insert into aliases select * from aliases where alias = :alias"),
            {"alias": alias.alias},
        )
    said_by_us = str(caught.value).replace(str(caught.value.orig), "")
    assert "anon-secret" not in said_by_us


def test_a_new_allocation_has_its_pins_written_again(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    pin_exceptions(store, pins)
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0)
    assert pin(pins, later, allocation=2) is None
    pin_exceptions(store, pins)
    mine = pin(pins, later, allocation=2)
    assert mine is not None
    assert (mine.arm, mine.allocation) == ("champion", 2)


def test_who_stands_for_a_retired_bucket_sees_the_champion_and_is_not_analysed(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    whole = ((0, 5000),) if world.target.bucket_arm(first, 1) == "champion" else ((5000, 10_000),)
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0, retired=whole)
    pin_exceptions(store, pins)
    mine = pin(pins, later, allocation=2)
    assert mine is not None
    assert mine.arm == NOBODY
    with store.reading() as work:
        assert work.tallies.read("default", "r1")["r1", "merged_retired.2"] == 1
    assert publish_exceptions(store)
    choice = assign_pinned(published(store), "slot", later, pins=pins, now=0)
    assert (choice.arm, choice.exposed) == ("champion", False)


def test_an_override_is_for_the_id_it_names_and_the_identity_that_it_splits_is_counted(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    first, later = apart(world)
    others = world.units(2, prefix="v")
    hand = Overrides(key="key", arms={keyed_hash("key", TYPE, later): "challenger"})
    with world.database.begin() as connection:
        gates = write_gates(Gates(overrides=hand))
        SqlTraffic(connection).add_gates("default", "slot", gates, ruleset=FIRST_RULESET)
    world.run([world.exposure(first, ago(300))])
    for unit in (later, *others):
        merge(world, unit, first)
    with store.reading() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        seen = pin_health(work, rollout)
    assert (seen["merged"], seen["merged_kept_out"], seen["merged_retired"]) == (3, 1, 0)
    pin_exceptions(store, pins)
    assert publish_exceptions(store)
    rules = published(store)
    slot = replace(rules.slots["slot"], overrides=hand)
    rules = replace(rules, slots={"slot": slot})
    answers = {
        unit: assign_pinned(rules, "slot", unit, pins=pins, now=0).reason
        for unit in (first, later, *others)
    }
    assert answers[later] is Reason.OVERRIDE
    assert answers[first] is Reason.SPLIT, "the id that is analysed stays in its arm"
    assert {answers[unit] for unit in others} == {Reason.PINNED}


# ---------------------------------------------------------------- what SDKs are told


def test_the_ruleset_names_a_document_of_hashes(world: World, store: SqlStore) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300))])
    merge(world, later, first)
    assert publish_exceptions(store)
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    assert rules.exceptions is not None
    body = side_document(store, rules.exceptions)
    document = json.loads(body)
    assert document["units"] == [keyed_hash(document["key"], TYPE, later)]
    assert later.encode() not in body


def test_a_thousand_merges_are_gathered_into_one_document(
    world: World, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one in force stays young, however slow this machine is.
    monkeypatch.setattr("controller.flow.side_documents.LEAST_SECONDS", 3600.0)
    units = world.units(30)
    world.send([world.exposure(unit, ago(300)) for unit in units])
    world.drain()
    versions = set()
    for number, unit in enumerate(units):
        merge(world, f"anon-{number}", unit)
        publish_exceptions(store)
        versions.add(published(store).version)
    assert len(versions) == 1
    assert units_in_force(store) == 1
    age(store, 3600 + 5)
    assert publish_exceptions(store)
    assert units_in_force(store) == 30
    assert not publish_exceptions(store)


def age(store: SqlStore, seconds: int) -> None:
    with store.writing() as work:
        statement = f"update side_documents set created_at = created_at - {seconds * 1_000_000}"
        work.connection.execute(text(statement))


def units_in_force(store: SqlStore) -> int:
    with store.reading() as work:
        held = work.side_documents.in_force("default", "r1")
    assert held is not None
    return held.units


def test_units_that_lost_their_eligibility_keep_their_arm(
    world: World, store: SqlStore, pins: MemoryPins
) -> None:
    met = world.units(3)
    world.send([world.exposure(unit, ago(300)) for unit in met])
    world.drain()
    assert keep_met_arms(store) == 3
    assert keep_met_arms(store) == 0
    pin_exceptions(store, pins)
    for unit in met:
        mine = pin(pins, unit)
        assert mine is not None
        assert mine.arm == world.arm(unit)
    assert publish_exceptions(store)
    assert units_in_force(store) == 3


def test_a_pin_is_made_of_the_hash_of_the_id_it_stands_for(world: World) -> None:
    with world.database.read() as connection:
        (allocation,) = SqlRollouts(connection).allocations("default", "r1")
    for unit in world.units(50):
        mine = pin_of(world.rollout, allocation, unit)
        assert mine.arm == world.arm(unit)
        assert mine.bucket == bucket(hash_unit(SALT, TYPE, unit)[0], PPM)
    assert isinstance(allocation.opened_at, datetime)


# ---------------------------------------------------------------- together, and when it is touched


def test_aggregators_and_merges_that_run_at_once_agree_with_the_ledger(database: Database) -> None:
    """On PostgreSQL several really overlap; on SQLite they take turns."""
    world = World(database, [SPEND])
    units = world.units(120)
    for start in range(0, 120, 4):
        world.send([world.exposure(unit, ago(300 - start)) for unit in units[start : start + 4]])
        world.send([world.outcome(unit, ago(200)) for unit in units[start : start + 4]])
    pairs = [said(units[place], units[place + 60]) for place in range(60)]
    assert state_aliases(SqlStore(database), "default", pairs, actor="ada").accepted == 60
    problems: list[BaseException] = []

    def work(step: Callable[[], object]) -> None:
        try:
            for _ in range(40):
                step()
        except BaseException as problem:  # noqa: BLE001 - told by the test
            problems.append(problem)

    steps: list[Callable[[], object]] = [
        lambda: drain(SqlIngest(database), budget=8),
        lambda: drain(SqlIngest(database), budget=8),
        lambda: apply_aliases(SqlIngest(database), most=3),
        lambda: mature(SqlIngest(database), budget=10),
    ]
    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [problem for problem in problems if not isinstance(problem, Unavailable)] == []
    world.drain()
    while apply_aliases(world.ingest):
        pass
    world.mature()
    assert recount(world.ingest, "default", "r1") == []
    seen = world.snapshot()
    assert sum(seen.exposed.values()) == 60
    assert sum(seen.excluded.values()) == 60


def test_a_merged_unit_that_was_touched_is_found(world: World) -> None:
    first, later = apart(world)
    world.run([world.exposure(first, ago(300)), world.exposure(later, ago(200))])
    merge(world, later, first)
    assert recount(world.ingest, "default", "r1") == []
    for values in ({"left_for": None}, {"left_for": "merged", "exposed_us": 1}):
        with world.database.begin() as connection:
            connection.execute(update(UNITS).where(UNITS.c.unit == later).values(**values))
        assert f"unit '{later}'" in "; ".join(recount(world.ingest, "default", "r1"))


def test_a_unit_that_an_edit_retired_is_counted_once_when_it_is_merged(database: Database) -> None:
    slow = replace(SPEND, window_seconds=4.0)
    world = World(database, [slow])
    first, later = apart(world)
    world.send([world.exposure(first, ago(0.1)), world.exposure(later, ago(0.0))])
    world.drain()
    whole = ((0, 5000),) if world.target.bucket_arm(later, 1) == "champion" else ((5000, 10_000),)
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0, retired=tuple(whole))
    deadline = time.monotonic() + 30
    while world.snapshot().excluded != {"retired": 1}:
        assert time.monotonic() < deadline, world.snapshot().excluded
        time.sleep(0.2)
        world.mature()
    assert recount(world.ingest, "default", "r1") == []
    merge(world, later, first)
    assert world.snapshot().excluded == {"merged": 1}
    assert recount(world.ingest, "default", "r1") == []


def test_an_exposure_from_before_a_narrowing_is_excepted_however_late_it_comes(
    world: World, store: SqlStore
) -> None:
    early, late = world.units(2)
    before = world.exposure(early, ago(300))
    narrow(world)
    world.run([before, world.exposure(late, ago(200))])
    with world.ingest.reading() as work:
        excepted = work.identities.excepted(world.target, [early, late])
    assert {unit: one.reason for unit, one in excepted.items()} == {early: "eligibility"}
    with store.reading() as work:
        assert work.tallies.read("default", "r1")["r1", "excepted_eligibility"] == 1


def narrow(world: World) -> None:
    """Open an allocation with a condition."""
    world.open_allocation({"champion": 0.5, "challenger": 0.5}, enrolled=1.0)
    condition = {"attribute": "plan", "op": "eq", "value": "free"}
    with world.database.begin() as connection:
        connection.execute(
            update(AllocationRow).where(AllocationRow.number == 2).values(eligible=condition)
        )
    world.ingest = SqlIngest(world.database)
