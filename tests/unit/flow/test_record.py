"""Accepting a batch: what is told is on disk, and what is not on disk is not told."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from controller.errors import BatchReuse, InvalidInput, Unavailable
from controller.flow.record import Receipt, accept
from controller.storage.sql.base import InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.schema.inbox import InboxRow

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def outcome(number: int) -> dict[str, object]:
    return {
        "type": "outcome",
        "event_id": f"o{number}",
        "occurred_at": "2026-01-31T11:00:00Z",
        "unit": "u",
        "name": "cost",
        "value": number,
    }


def body(*events: object, **more: object) -> bytes:
    return json.dumps({"events": events, **more}).encode()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'main.db'}")
    InboxBase.metadata.create_all(opened.inbox)
    yield opened
    opened.dispose()


def send(database: Database, raw: bytes, batch_id: str | None = None) -> Receipt:
    return accept(SqlInbox(database), "default", "key", batch_id, raw, NOW)


def rows(database: Database) -> int:
    with database.begin_inbox() as connection:
        return connection.scalar(select(func.count()).select_from(InboxRow)) or 0


def test_the_header_names_the_batch_before_the_body_does(database: Database) -> None:
    raw = body(outcome(1), batch_id="inner")
    assert send(database, raw, "outer").accepted == 1
    assert send(database, raw, "outer").duplicates == 1
    assert send(database, raw).accepted == 1
    with pytest.raises(BatchReuse):
        send(database, body(outcome(2), batch_id="inner"))
    assert rows(database) == 2


def test_a_repeat_answers_what_was_answered(database: Database) -> None:
    raw = body(outcome(1), outcome(1), {"type": "x"}, batch_id="b")
    first = send(database, raw)
    assert first.document() == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": [
            {
                "index": 2,
                "code": "unknown_type",
                "detail": "type is exposure, outcome or prediction.",
            }
        ],
    }
    again = send(database, raw)
    assert (again.accepted, again.duplicates, again.rejected) == (0, 2, first.rejected)


def test_a_batch_without_a_good_event_takes_no_room(database: Database) -> None:
    receipt = send(database, body({"type": "x"}, 7))
    assert (receipt.accepted, len(receipt.rejected)) == (0, 2)
    assert rows(database) == 0


@pytest.mark.parametrize("batch_id", ["b" * 129, "a\nb", "\x00"])
def test_an_unusable_batch_id_is_refused(database: Database, batch_id: str) -> None:
    with pytest.raises(InvalidInput):
        send(database, body(outcome(1)), batch_id)
    assert rows(database) == 0


def test_a_full_disk_accepts_nothing(database: Database) -> None:
    @event.listens_for(database.inbox, "connect")
    def fill(connection: object, _record: object) -> None:
        connection.execute("pragma max_page_count = 40")  # type: ignore[attr-defined]

    database.inbox.dispose()
    told = 0

    def until_full() -> None:
        nonlocal told
        for number in range(1000):
            told += send(database, body(*(outcome(number * 100 + n) for n in range(100)))).accepted

    with pytest.raises(Unavailable):
        until_full()
    assert told > 0
    assert rows(database) * 100 == told


def test_threads_share_commits_and_are_told_after_them(database: Database) -> None:
    commits = 0

    @event.listens_for(database.inbox, "commit")
    def slowly(_connection: object) -> None:
        nonlocal commits
        commits += 1
        time.sleep(0.05)

    inbox = SqlInbox(database)

    def one(number: int) -> int:
        name = f"b{number % 30}"  # two of them share a batch id
        receipt = accept(inbox, "default", "key", name, body(outcome(number % 30)), NOW)
        with database.begin_inbox() as connection:
            told = select(func.count()).where(InboxRow.batch_id == name)
            assert connection.scalar(told) == 1
        return receipt.accepted

    with ThreadPoolExecutor(16) as pool:
        accepted = list(pool.map(one, range(32)))
    assert sum(accepted) == 30 == rows(database)
    assert commits - 32 - 1 < 32  # the checks commit too; the requests took fewer than one each


def test_a_commit_that_fails_fails_for_nobody_else(database: Database) -> None:
    failed = False

    @event.listens_for(database.inbox, "commit")
    def once(_connection: object) -> None:
        nonlocal failed
        time.sleep(0.05)
        if not failed:
            failed = True
            raise OperationalError("commit", {}, sqlite3.OperationalError("disk I/O error"))

    inbox = SqlInbox(database)

    def one(number: int) -> bool:
        try:
            return accept(inbox, "default", "key", None, body(outcome(number)), NOW).accepted == 1
        except Unavailable:
            return False

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(one, range(8)))
    assert sum(told) == 7 == rows(database)


def test_two_projects_may_use_the_same_batch_id(database: Database) -> None:
    inbox = SqlInbox(database)
    for project in ("one", "two"):
        assert accept(inbox, project, "key", "b", body(outcome(1)), NOW).accepted == 1
    assert rows(database) == 2
