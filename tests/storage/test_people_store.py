"""Operators, secrets, keys and replayed answers, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.flow.actors import Role, Scope
from controller.flow.bootstrap import first_credentials, seed_policies
from controller.flow.passwords import secret_hash
from controller.flow.ports.people import Key, Operator, Session
from controller.flow.ports.work import Work
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore

NOW = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
MARY = Operator(
    name="mary",
    roles=frozenset({Role.APPROVER, Role.VIEWER}),
    password_hash="$argon2id$…",
    active=True,
    created_at=NOW,
)
KEY = Key(
    project="default",
    key_id="abcdef012345",
    name="app",
    auth_hash="a" * 64,
    signing_key="b" * 64,
    scopes=frozenset({Scope.INGEST, Scope.EVALUATE}),
    origins=("https://shop.example",),
    client=True,
    created_by="mary",
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
)
SESSION = Session(
    id_hash="c" * 64,
    operator="mary",
    csrf="token",
    created_at=NOW,
    seen_at=NOW,
    authenticated_at=NOW,
)


@pytest.fixture
def store(database: Database) -> SqlStore:
    made = SqlStore(database)
    with made.writing() as work:
        work.people.put_operator(MARY)
    return made


@pytest.fixture
def work(store: SqlStore) -> Iterator[Work]:
    with store.writing() as opened:
        yield opened


def test_an_operator_comes_back_as_it_was_and_can_be_changed(work: Work) -> None:
    assert work.people.operator("mary") == MARY
    assert work.people.operator("nobody") is None
    changed = replace(MARY, roles=frozenset({Role.ADMIN}), active=False, password_hash=None)
    work.people.put_operator(changed)
    assert work.people.operators() == [changed]


def test_a_token_leads_to_an_active_operator_until_it_ends(work: Work) -> None:
    work.people.add_token("t" * 64, "mary", at=NOW)
    assert work.people.by_token("t" * 64) == MARY
    assert work.people.by_token("u" * 64) is None
    work.people.put_operator(replace(MARY, active=False))
    assert work.people.by_token("t" * 64) is None
    work.people.put_operator(MARY)
    work.people.end_tokens("mary")
    assert work.people.by_token("t" * 64) is None


def test_a_link_is_used_once_and_in_time(work: Work) -> None:
    work.people.add_link("l" * 64, "mary", expires_at=NOW + timedelta(hours=1))
    assert work.people.use_link("l" * 64, at=NOW + timedelta(hours=2)) is None
    assert work.people.use_link("l" * 64, at=NOW) == "mary"
    assert work.people.use_link("l" * 64, at=NOW) is None


def test_sessions_are_found_touched_and_ended(work: Work) -> None:
    work.people.add_session(SESSION)
    work.people.add_session(replace(SESSION, id_hash="d" * 64))
    later = NOW + timedelta(minutes=5)
    work.people.touch_session(SESSION.id_hash, at=later)
    assert work.people.session(SESSION.id_hash) == replace(SESSION, seen_at=later)
    work.people.confirm_session(SESSION.id_hash, at=later)
    assert work.people.session(SESSION.id_hash) == replace(
        SESSION, seen_at=later, authenticated_at=later
    )
    assert work.people.session("d" * 64) == replace(SESSION, id_hash="d" * 64)
    work.people.forget_sessions(seen_before=later)
    assert work.people.session("d" * 64) is None
    work.people.end_session(SESSION.id_hash)
    assert work.people.session(SESSION.id_hash) is None
    work.people.add_session(SESSION)
    work.people.end_sessions("mary")
    assert work.people.session(SESSION.id_hash) is None


def test_a_key_comes_back_as_it_was_and_its_first_revocation_stands(work: Work) -> None:
    work.people.add_key(KEY)
    assert work.people.key(KEY.key_id) == KEY
    assert work.people.keys("default") == [KEY]
    assert work.people.keys("other") == []
    assert work.people.origins() == {"https://shop.example"}
    work.people.revoke_key("other", KEY.key_id, at=NOW)
    assert work.people.key(KEY.key_id) == KEY
    late, early = NOW + timedelta(hours=2), NOW + timedelta(hours=1)
    work.people.revoke_key("default", KEY.key_id, at=late)
    work.people.revoke_key("default", KEY.key_id, at=early)
    work.people.revoke_key("default", KEY.key_id, at=late)
    assert work.people.key(KEY.key_id) == replace(KEY, revoked_at=early)
    assert work.people.origins() == frozenset()


def test_an_answer_is_kept_for_its_key(work: Work) -> None:
    assert work.replays.reserve("default", "k", "r" * 64, at=NOW) is None
    held = work.replays.get("default", "k")
    assert held is not None
    assert (held.request_sha256, held.status) == ("r" * 64, 0)
    told = {"ETag": '"1"', "Location": "/v1/rollouts/r-1"}
    work.replays.finish("default", "k", status=201, body=b'{"a":1}', headers=told)
    kept = work.replays.reserve("default", "k", "r" * 64, at=NOW)
    assert kept is not None
    assert (kept.status, kept.body) == (201, b'{"a":1}')
    assert work.replays.reserve("other", "k", "r" * 64, at=NOW) is None
    work.replays.drop("default", "k")
    assert work.replays.get("default", "k") == kept, "only a reservation is dropped"
    work.replays.drop("other", "k")
    assert work.replays.get("other", "k") is None
    work.replays.forget(before=NOW + timedelta(seconds=1))
    assert work.replays.get("default", "k") is None


def test_of_many_reservations_at_once_one_holds(store: SqlStore) -> None:
    def reserve(_: int) -> bool:
        with store.writing() as work:
            return work.replays.reserve("default", "k", "r" * 64, at=NOW) is None

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(reserve, range(24))) == 1


def test_of_many_uses_of_a_link_at_once_one_succeeds(store: SqlStore) -> None:
    with store.writing() as work:
        work.people.add_link("l" * 64, "mary", expires_at=NOW + timedelta(hours=1))

    def use(_: int) -> bool:
        with store.writing() as work:
            return work.people.use_link("l" * 64, at=NOW) is not None

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(use, range(24))) == 1


def test_a_second_machine_on_one_database_leaves_the_administrator_alone(
    database: Database, tmp_path: Path
) -> None:
    store = SqlStore(database)
    seed_policies(store)
    first = first_credentials(store, tmp_path / "one.json", url="http://one", shared=True)
    token = first.document["operators"]["admin"]["token"]
    second = first_credentials(store, tmp_path / "two.json", url="http://two", shared=True)
    assert second.new_password is None
    assert second.document == {"url": "http://two", "operators": {}, "keys": {}}
    with store.reading() as work:
        assert work.people.by_token(secret_hash(token)) is not None
        assert len(work.people.keys("default")) == 2
    assert first.new_password is not None
    broken_off = first_credentials(store, tmp_path / "three.json", url="http://one")
    assert broken_off.new_password not in (None, first.new_password)
