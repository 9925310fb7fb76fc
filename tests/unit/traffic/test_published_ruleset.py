"""A publication is told right after its commit, and the outbox is the net below."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.errors import Unavailable
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.publish import publish
from controller.service.worker.outbox import send_due
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables
from controller.storage.sql.unit_of_work import SqlStore
from controller.traffic.published_ruleset import PublishedRulesetTraffic, at_once


@pytest.fixture
def database() -> Iterator[Database]:
    assert all_tables.__all__
    made = Database("sqlite://")
    with made.begin() as connection:
        Base.metadata.create_all(connection)
    with made.begin_inbox() as connection:
        InboxBase.metadata.create_all(connection)
    yield made
    made.dispose()


def test_it_is_told_once_it_is_committed_and_not_before(database: Database) -> None:
    told: list[PublishedRuleset] = []

    def hear(published: PublishedRuleset) -> None:
        with SqlStore(database).reading() as work:
            assert work.rulesets.newest("default") == published, "readers would not find it yet"
        told.append(published)

    store = SqlStore(database, at_once(hear))
    with store.writing() as work:
        first = publish(work, "default")
        assert told == []
    assert told == [first]
    with store.writing() as work:
        work.outbox.due(work.now)
    assert told == [first], "a transaction that publishes nothing tells nothing"


def test_what_was_rolled_back_is_never_told(database: Database) -> None:
    told: list[PublishedRuleset] = []
    store = SqlStore(database, at_once(told.append))

    def publish_and_fail() -> None:
        with store.writing() as work:
            publish(work, "default")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish_and_fail()
    assert told == []


def test_a_store_of_notes_that_is_away_costs_the_change_nothing(database: Database) -> None:
    def away(_: PublishedRuleset) -> None:
        raise Unavailable("nobody there")

    store = SqlStore(database, at_once(away))
    with store.writing() as work:
        published = publish(work, "default")
    told: list[PublishedRuleset] = []
    senders = {"ruleset": PublishedRulesetTraffic(store, told.append)}
    assert send_due(store, senders), "the message is still due"
    assert told == [published]
