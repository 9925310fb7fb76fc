"""Side documents are built a piece at a time, and one more exception rewrites one block."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random
from time import monotonic

import pytest
from sqlalchemy import text

from controller.assignment.hashing import keyed_hash
from controller.flow import side_documents
from controller.flow.ports.identities import ToPin
from controller.flow.side_documents import LEASE, MOST_IN_BLOCK, SidePublisher
from controller.flow.side_text import HASH_BYTES, key_of
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore
from tests.merging import SPEND, TYPE, except_units, publish_exceptions, published, side_document
from tests.traffic import SALT, World

MANY = 20_000


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(World(database, [SPEND]).database)


def names(units: list[str]) -> list[str]:
    return sorted(keyed_hash(key_of(SALT), TYPE, unit) for unit in units)


def in_force(store: SqlStore) -> list[str]:
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    assert rules.exceptions is not None
    listed: list[str] = json.loads(side_document(store, rules.exceptions))["units"]
    return listed


def age(store: SqlStore, seconds: int = 3600) -> None:
    with store.writing() as work:
        statement = f"update side_documents set created_at = created_at - {seconds * 1_000_000}"
        work.connection.execute(text(statement))


def lows(store: SqlStore) -> dict[bytes, int]:
    with store.reading() as work:
        return {one.low: one.since for one in work.side_documents.blocks("default", "r1")}


def test_many_exceptions_stand_in_order_in_blocks_of_bounded_size(store: SqlStore) -> None:
    units = [f"unit-{number}" for number in range(MANY)]
    except_units(store, units)
    assert publish_exceptions(store)
    assert in_force(store) == names(units)
    with store.reading() as work:
        blocks = work.side_documents.blocks("default", "r1")
    assert len(blocks) > 2
    assert all(0 < block.units <= MOST_IN_BLOCK for block in blocks)
    assert all(one.low < other.low for one, other in pairwise(blocks))


def test_one_more_exception_hashes_one_unit_and_writes_one_block(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = [f"unit-{number}" for number in range(MANY)]
    except_units(store, units)
    assert publish_exceptions(store)
    before = lows(store)
    hashed: list[str] = []

    def counted(key: str, unit_type: str, unit: str) -> str:
        hashed.append(unit)
        return keyed_hash(key, unit_type, unit)

    monkeypatch.setattr(side_documents, "keyed_hash", counted)
    age(store)
    except_units(store, ["one-more"])
    assert publish_exceptions(store)
    assert hashed == ["one-more"]
    assert in_force(store) == names([*units, "one-more"])
    after = lows(store)
    assert len(after.items() - before.items()) in {1, 2}  # two where the block was full


def test_a_document_out_of_force_is_served_as_it_was_for_minutes_and_then_goes(
    store: SqlStore,
) -> None:
    first = [f"unit-{number}" for number in range(100)]
    except_units(store, first)
    assert publish_exceptions(store)
    (rules,) = [published(store).slots["slot"].rollout]
    assert rules is not None
    old = rules.exceptions
    assert old is not None
    for number in range(2):
        age(store, 30)
        except_units(store, [f"later-{number}"])
        assert publish_exceptions(store)
    assert json.loads(side_document(store, old))["units"] == names(first)
    for number in range(2, 4):
        age(store)
        except_units(store, [f"later-{number}"])
        assert publish_exceptions(store)
    with store.reading() as work:
        assert work.side_documents.find("default", old) is None
        blocks = work.connection.execute(text("select count(*) from side_blocks")).scalar_one()
        seals = work.connection.execute(text("select count(*) from side_seals")).scalar_one()
    assert (blocks, seals) == (2, 2)
    assert len(in_force(store)) == 104


def test_a_document_that_was_long_in_force_is_served_for_minutes_after_it_too(
    store: SqlStore,
) -> None:
    """An SDK may just have read the ruleset that names it, however old it is by then."""
    except_units(store, ["a"])
    assert publish_exceptions(store)
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    old = rules.exceptions
    assert old is not None
    age(store)  # an hour in force
    for number in range(3):
        except_units(store, [f"later-{number}"])
        assert publish_exceptions(store)
        age(store, 30)
    assert json.loads(side_document(store, old))["units"] == names(["a"])
    age(store, 31)
    except_units(store, ["last"])
    assert publish_exceptions(store)
    with store.reading() as work:
        assert work.side_documents.find("default", old) is None


def test_an_exception_that_is_taken_back_leaves_the_document(store: SqlStore) -> None:
    except_units(store, ["a", "b", "c"])
    assert publish_exceptions(store)
    with store.writing() as work:
        work.connection.execute(text("delete from exceptions where unit = 'b'"))
        work.connection.execute(text("update side_blocks set stale = true"))
    age(store)
    assert publish_exceptions(store)
    assert in_force(store) == names(["a", "c"])
    age(store)
    except_units(store, ["b"])
    assert publish_exceptions(store)  # the same text as the first
    assert in_force(store) == names(["a", "b", "c"])
    age(store)
    assert not publish_exceptions(store)


def test_a_clock_that_was_set_back_does_not_keep_exceptions_from_being_published(
    store: SqlStore,
) -> None:
    except_units(store, ["a"])
    assert publish_exceptions(store)
    age(store, -3600)
    except_units(store, ["b"])
    assert publish_exceptions(store)
    assert in_force(store) == names(["a", "b"])


@pytest.mark.parametrize(
    ("units", "blocks"),
    [
        (1, [1]),
        (MOST_IN_BLOCK, [8_192]),
        (MOST_IN_BLOCK + 1, [4_097, 4_096]),
        (12_288, [6_144, 6_144]),
        (12_289, [6_144, 6_144, 1]),
    ],
)
def test_at_the_bounds_of_blocks_nobody_is_lost(
    store: SqlStore, units: int, blocks: list[int]
) -> None:
    every = [f"unit-{number}" for number in range(units)]
    except_units(store, every)
    assert publish_exceptions(store)
    assert in_force(store) == names(every)
    with store.reading() as work:
        made = work.side_documents.blocks("default", "r1")
    assert [block.units for block in made] == blocks
    age(store)
    except_units(store, ["one-more"])
    assert publish_exceptions(store)
    assert in_force(store) == names([*every, "one-more"])


def test_units_with_the_same_hash_are_listed_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colliding(key: str, unit_type: str, unit: str) -> str:
        return keyed_hash(key, unit_type, unit[0])

    monkeypatch.setattr(side_documents, "keyed_hash", colliding)
    except_units(store, ["a-1", "a-2", "b-1"])
    assert publish_exceptions(store)
    assert in_force(store) == names(["a", "b"])
    age(store)
    except_units(store, ["b-2"])
    assert not publish_exceptions(store)


def test_pins_are_marked_while_hashes_are_stored_and_nobody_deadlocks(store: SqlStore) -> None:
    """Two workers at the same exceptions, in orders of their own."""
    units = [f"unit-{number}" for number in range(3_000)]
    except_units(store, units)
    until = monotonic() + 4.0

    def mark() -> int:
        rounds = 0
        while monotonic() < until:
            rounds += 1
            shuffled = Random(rounds).sample(units, len(units))
            rows = [ToPin(unit, f"of-{unit}", 0) for unit in shuffled]
            with store.writing() as work:
                work.exceptions.mark_pinned("default", "r1", rounds, rows)
        return rounds

    def name() -> int:
        rounds = 0
        while monotonic() < until:
            rounds += 1
            chance = Random(-rounds)
            hashes = {unit: chance.randbytes(HASH_BYTES) for unit in units}
            with store.writing() as work:
                work.side_documents.name("default", "r1", hashes, number=1)
        return rounds

    with ThreadPoolExecutor(2) as pool:
        marked, named = pool.submit(mark), pool.submit(name)
    assert marked.result() > 1
    assert named.result() > 1


def test_blocks_that_say_the_same_publish_nothing(store: SqlStore) -> None:
    except_units(store, ["a", "b"])
    assert publish_exceptions(store)
    age(store)
    with store.writing() as work:
        work.connection.execute(text("update side_blocks set stale = true"))
    assert not publish_exceptions(store)
    assert lows(store) == {bytes(8): 1}


def test_a_publisher_that_dies_between_two_turns_is_taken_over(store: SqlStore) -> None:
    units = [f"unit-{number}" for number in range(MANY)]
    except_units(store, units)
    turns = 0
    dying = SidePublisher(store, holder="worker")
    while dying.step():
        turns += 1
        if turns in {2, 12, 15}:  # while hashes are made, while blocks are, while it is summed up
            dying = SidePublisher(store, holder="worker")
    assert turns > 15
    assert in_force(store) == names(units)


def test_one_process_builds_at_a_time(store: SqlStore) -> None:
    except_units(store, ["a", "b"])
    one, other = SidePublisher(store, holder="one"), SidePublisher(store, holder="other")
    assert one.step()
    assert not other.step()
    while one.step():
        continue
    assert in_force(store) == names(["a", "b"])


def test_every_turn_renews_the_lease_so_that_nobody_begins_the_same_document(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy worker may take long between two turns, and a long document takes many."""
    monkeypatch.setattr(side_documents, "SUMMED_A_TURN", 1)
    except_units(store, [f"unit-{number}" for number in range(MANY)])
    one, other = SidePublisher(store, holder="one"), SidePublisher(store, holder="other")
    turns = 0
    while one.step():
        turns += 1
        assert not other.step()
        with store.writing() as work:  # the time until the next turn
            statement = "update leases set expires_at = expires_at - 14000000 where name = :name"
            work.connection.execute(text(statement), {"name": LEASE})
    assert turns > 15


def test_exceptions_that_come_while_it_is_built_do_not_keep_it_from_being_published(
    store: SqlStore,
) -> None:
    except_units(store, ["first"])
    publisher = SidePublisher(store, holder="worker")
    number = 0
    while publisher.step():
        except_units(store, [f"more-{number}"])
        number += 1
        assert number < 50
    assert names(["first"])[0] in in_force(store)
    with store.reading() as work:
        assert work.side_documents.changed("default", "r1", 1)


def test_a_document_kept_as_a_whole_by_an_earlier_release_is_found_and_replaced(
    store: SqlStore,
) -> None:
    except_units(store, ["a"])
    assert publish_exceptions(store)
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    name = rules.exceptions
    assert name is not None
    body = side_document(store, name)
    with store.writing() as work:  # as a database looks that was just migrated
        work.connection.execute(text("delete from side_seals"))
        work.connection.execute(text("delete from side_blocks"))
        work.connection.execute(text("update exceptions set hash = null"))
        statement = text("update side_documents set body = :body")
        work.connection.execute(statement, {"body": body})
    with store.reading() as work:
        assert work.side_documents.find("default", name) == body
    age(store)
    assert not publish_exceptions(store)  # its name is the same: no ruleset is needed
    assert side_document(store, name) == body
    with store.reading() as work:
        assert not work.side_documents.changed("default", "r1", 2)
