"""Old rulesets lose their bodies, and nothing that anybody refers to, on both databases."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

import pytest

from controller.aggregation.statistics import Epoch
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.publish import publish
from controller.flow.retention import drop_old_rulesets, forget_replays
from controller.storage.sql.database import Database
from controller.storage.sql.schema.rollouts import RulesetRow
from controller.storage.sql.unit_of_work import SqlStore
from tests.merging import SPEND
from tests.traffic import World, ago

PROJECT = "default"
EVEN = {"champion": 0.5, "challenger": 0.5}
WEEK = timedelta(days=7)


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database)


def published(store: SqlStore, *versions: int, days_ago: float, project: str = PROJECT) -> None:
    with store.writing() as work:
        for version in versions:
            body = b"ruleset %d" % version
            work.rulesets.add(
                PublishedRuleset(
                    project=project,
                    version=version,
                    sha256=sha256(body).hexdigest(),
                    body=body,
                    created_at=work.now - timedelta(days=days_ago),
                )
            )


def kept(store: SqlStore, project: str = PROJECT) -> dict[int, bool]:
    """By version: whether the body is there; a digest always is."""
    rows = RulesetRow.__table__
    with store.reading() as work:
        found = work.connection.execute(rows.select().where(rows.c.project == project)).all()
    assert all(len(row.sha256) == 64 for row in found)
    return {row.version: row.body != b"" for row in found}


def drop_everything_due(store: SqlStore) -> int:
    rounds = 1
    while drop_old_rulesets(store, keep=WEEK, most=2):
        rounds += 1
    return rounds


def test_replaced_bodies_go_in_bounded_batches_and_versions_stay(store: SqlStore) -> None:
    published(store, 1, 2, 3, 4, 5, days_ago=8)
    published(store, 6, 7, days_ago=6)
    assert drop_everything_due(store) == 3, "two, two and one"
    assert kept(store) == {1: False, 2: False, 3: False, 4: False, 5: False, 6: True, 7: True}
    assert drop_everything_due(store) == 1, "once is enough"


def test_the_ruleset_in_force_stays_whole_whatever_its_age(store: SqlStore) -> None:
    published(store, 1, 2, days_ago=400)
    published(store, 9, days_ago=400, project="other")
    drop_everything_due(store)
    assert kept(store) == {1: False, 2: True}
    assert kept(store, "other") == {9: True}
    with store.reading() as work:
        newest = work.rulesets.newest(PROJECT)
    assert newest is not None
    assert newest.body == b"ruleset 2"


def test_a_ruleset_that_opened_an_epoch_keeps_its_body(store: SqlStore) -> None:
    published(store, 1, 2, 3, days_ago=8)
    published(store, 2, 3, days_ago=8, project="other")
    with store.writing() as work:
        epoch = Epoch(number=1, allocation=1, enrolled=0.1, weights=EVEN)
        work.rollouts.add_epoch(PROJECT, "r-1", epoch, ruleset=2, at=work.now)
    drop_everything_due(store)
    assert kept(store) == {1: False, 2: True, 3: True}
    assert kept(store, "other") == {2: False, 3: True}, "another project's epoch keeps nothing"


def test_versions_go_on_rising_from_one_whose_body_is_gone(store: SqlStore) -> None:
    ahead = 9_000_000_000_000  # far past milliseconds now: as after a clock that ran fast
    published(store, ahead - 1, ahead, days_ago=8)
    drop_everything_due(store)
    with store.writing() as work:
        assert publish(work, PROJECT).version == ahead + 1
    drop_everything_due(store)
    assert kept(store) == {ahead - 1: False, ahead: False, ahead + 1: True}


def test_late_exposures_are_placed_by_epochs_whose_rulesets_have_no_body(
    database: Database, store: SqlStore
) -> None:
    """An SDK that was offline for a week names a ruleset between two that opened epochs."""
    world = World(database, [SPEND])
    world.ramp(1.0)
    first, between, second, newest = 1000, 1005, 1010, 1020
    published(store, first, between, second, newest, days_ago=8)
    drop_everything_due(store)
    assert kept(store) == {first: True, between: False, second: True, newest: True}
    units = world.units(5, arm="challenger")
    late = [
        world.exposure(units[0], ago(300), ruleset=first),
        world.exposure(units[1], ago(300), ruleset=between),
        world.exposure(units[2], ago(300), ruleset=second),
        world.exposure(units[3], ago(300), ruleset=between, arm="champion"),
        world.exposure(units[4], ago(300), ruleset=first - 1),
    ]
    seen = world.run(late)
    assert seen.exposed == {(1, "challenger"): 2, (2, "challenger"): 1}
    assert seen.excluded["arm_mismatch"] == 2


def test_answers_to_repeated_requests_are_kept_for_a_day(store: SqlStore) -> None:
    with store.writing() as work:
        for key, hours in (("old", 25), ("young", 23)):
            at = work.now - timedelta(hours=hours)
            assert work.replays.reserve(PROJECT, key, "r" * 64, at=at) is None
            work.replays.finish(PROJECT, key, status=200, body=b"{}", headers={"ETag": '"1"'})
    forget_replays(store)
    with store.reading() as work:
        assert work.replays.get(PROJECT, "old") is None
        kept = work.replays.get(PROJECT, "young")
    assert kept is not None
    assert kept.headers == {"ETag": '"1"'}
