"""Operators, links, tokens and keys: who may make them, and when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from controller.assignment.signature import split_key
from controller.errors import (
    Conflict,
    ControllerError,
    InvalidInput,
    NotFound,
    NotPermitted,
    Unauthenticated,
)
from controller.flow import people
from controller.flow.actors import MACHINE, Actor, Bundle, Role, Scope
from controller.flow.passwords import secret_hash
from controller.storage.sql.base import Base
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.storage.sql.unit_of_work import SqlStore

GOOD = "long enough to be a password"


def person(name: str, *roles: Role) -> Actor:
    return Actor(name=name, kind="operator", roles=frozenset(roles))


ADMIN = person("root", Role.ADMIN)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    database = Database("sqlite://")
    Base.metadata.create_all(database.main)
    made = SqlStore(database)
    people.add_operator(made, "root", [Role.ADMIN], actor=MACHINE, password=GOOD)
    yield made
    database.dispose()


def test_an_operator_with_a_password_can_come_in(store: SqlStore) -> None:
    people.add_operator(store, "mary", [Role.APPROVER], actor=ADMIN, password=GOOD)
    assert people.verify_password(store, "mary", GOOD).roles == {Role.APPROVER}


@pytest.mark.parametrize("name", ["mary", "nobody", "linkless"])
def test_every_wrong_sign_in_says_the_same(store: SqlStore, name: str) -> None:
    people.add_operator(store, "mary", [], actor=ADMIN, password=GOOD)
    people.add_operator(store, "linkless", [], actor=ADMIN)
    with pytest.raises(Unauthenticated, match=people.WRONG):
        people.verify_password(store, name, "not the password")


def test_names_are_unique(store: SqlStore) -> None:
    with pytest.raises(Conflict):
        people.add_operator(store, "root", [], actor=ADMIN)


@pytest.mark.parametrize(
    "act",
    [
        lambda store, key: people.add_operator(store, "evil", [Role.APPROVER], actor=key),
        lambda store, key: people.change_operator(store, "root", actor=key, active=False),
        lambda store, key: people.make_link(store, "root", actor=key),
        lambda store, key: people.set_password(store, "root", GOOD, actor=key),
        lambda store, key: people.revoke_tokens(store, "root", actor=key),
    ],
)
def test_no_key_makes_or_becomes_a_person(
    store: SqlStore, act: Callable[[SqlStore, Actor], Any]
) -> None:
    """Keys cannot vote and end at their project; people do both, in every project."""
    key = Actor(name="key:k", kind="key", scopes=frozenset({Scope.ADMIN}), method="key")
    with pytest.raises(NotPermitted, match="Only a person"):
        act(store, key)


def test_nobody_is_called_like_the_service(store: SqlStore) -> None:
    with pytest.raises(InvalidInput, match="the service itself"):
        people.add_operator(store, MACHINE.name, [Role.VIEWER], actor=ADMIN)


def test_a_link_is_used_once(store: SqlStore) -> None:
    people.add_operator(store, "mary", [Role.VIEWER], actor=ADMIN)
    secret, _ = people.make_link(store, "mary", actor=ADMIN)
    assert people.use_link(store, secret, GOOD).name == "mary"
    assert people.verify_password(store, "mary", GOOD).name == "mary"
    with pytest.raises(Unauthenticated, match="used or expired"):
        people.use_link(store, secret, GOOD + "!")


@pytest.mark.parametrize("by", ["the operator", "an administrator", "a link"])
def test_a_new_password_ends_what_was_given_out_under_the_old_one(store: SqlStore, by: str) -> None:
    """Who knew it may have signed in, or made a token that works without it."""
    mary = people.add_operator(store, "mary", [Role.VIEWER], actor=ADMIN, password=GOOD)
    own = Actor(name="mary", kind="operator", roles=mary.roles)
    token = people.make_token(store, "mary", actor=own)
    others = people.make_token(store, "root", actor=MACHINE)
    if by == "a link":
        people.use_link(store, people.make_link(store, "mary", actor=ADMIN)[0], GOOD + "!")
    else:
        actor = own if by == "the operator" else ADMIN
        people.set_password(store, "mary", GOOD + "!", actor=actor)
    with store.reading() as work:
        assert work.people.by_token(secret_hash(token)) is None
        assert work.people.by_token(secret_hash(others)) is not None, "nobody else's"
    again = people.make_token(store, "mary", actor=own)
    with store.reading() as work:
        assert work.people.by_token(secret_hash(again)) is not None


def test_a_refused_password_does_not_use_the_link_up(store: SqlStore) -> None:
    people.add_operator(store, "mary", [], actor=ADMIN)
    secret, _ = people.make_link(store, "mary", actor=ADMIN)
    with pytest.raises(InvalidInput):
        people.use_link(store, secret, "short")
    assert people.use_link(store, secret, GOOD).name == "mary"


def test_a_link_ends(store: SqlStore) -> None:
    people.add_operator(store, "mary", [], actor=ADMIN)
    secret, _ = people.make_link(store, "mary", actor=ADMIN, life=timedelta(seconds=-1))
    with pytest.raises(Unauthenticated):
        people.use_link(store, secret, GOOD)


def test_a_token_is_made_by_its_person_and_ends_with_them(store: SqlStore) -> None:
    people.add_operator(store, "mary", [Role.VIEWER], actor=ADMIN)
    with pytest.raises(NotPermitted, match="only they"):
        people.make_token(store, "mary", actor=ADMIN)
    token = people.make_token(store, "mary", actor=person("mary", Role.VIEWER))
    assert token.startswith(people.TOKEN_PREFIX)
    people.change_operator(store, "mary", actor=ADMIN, active=False)
    with store.reading() as work:
        assert work.people.by_token(secret_hash(token)) is None
    people.change_operator(store, "mary", actor=ADMIN, active=True)
    with store.reading() as work:
        assert work.people.by_token(secret_hash(token)) is None, "revoked for good"


def test_the_last_administrator_stays(store: SqlStore) -> None:
    for change in ({"active": False}, {"roles": [Role.VIEWER]}):
        with pytest.raises(Conflict, match="At least one"):
            people.change_operator(store, "root", actor=ADMIN, **change)
    people.add_operator(store, "second", [Role.ADMIN], actor=ADMIN)
    assert not people.change_operator(store, "root", actor=ADMIN, active=False).active


def test_a_key_is_shown_once_and_only_half_a_hash_is_kept(store: SqlStore) -> None:
    key, text = people.create_key(store, "default", "app", [Scope.INGEST], actor=ADMIN)
    key_id, authentication, signing = split_key(text)
    assert key.key_id == key_id
    assert key.signing_key == signing.hex()
    with store.reading() as work:
        stored = work.people.key(key_id)
    assert stored == key
    assert text not in repr(stored)
    assert authentication.hex() not in repr(stored)


def test_rotation_lets_the_old_key_live_for_the_overlap(store: SqlStore) -> None:
    old, _ = people.create_key(store, "default", "app", [Scope.READ, Scope.STOP], actor=ADMIN)
    new, _ = people.rotate_key(
        store, "default", old.key_id, actor=ADMIN, overlap=timedelta(hours=1)
    )
    assert (new.name, new.scopes) == (old.name, old.scopes)
    with store.reading() as work:
        kept = work.people.key(old.key_id)
        assert kept is not None
        assert not people.ended(kept, work.now)
        assert people.ended(kept, work.now + timedelta(hours=2))
    people.revoke_key(store, "default", old.key_id, actor=ADMIN)
    with store.reading() as work:
        kept = work.people.key(old.key_id)
        assert kept is not None
        assert people.ended(kept, work.now)
    with pytest.raises(Conflict):
        people.rotate_key(store, "default", old.key_id, actor=ADMIN)


def test_a_revocation_is_never_postponed(store: SqlStore) -> None:
    key, _ = people.create_key(store, "default", "app", [Scope.READ], actor=ADMIN)
    people.revoke_key(store, "default", key.key_id, actor=ADMIN)
    with store.reading() as work:
        first = work.people.key(key.key_id)
    people.revoke_key(store, "default", key.key_id, actor=ADMIN)
    with store.reading() as work:
        assert work.people.key(key.key_id) == first


def test_a_key_of_another_project_is_not_found(store: SqlStore) -> None:
    key, _ = people.create_key(store, "one", "app", [Scope.READ], actor=ADMIN)
    with pytest.raises(NotFound):
        people.revoke_key(store, "two", key.key_id, actor=ADMIN)


@pytest.mark.parametrize(
    "options",
    [
        {"scopes": []},
        {"scopes": [Scope.ADMIN], "origins": ["https://shop.example"]},
        {"scopes": [Scope.EVALUATE], "origins": ["shop.example"]},
        {"scopes": [Bundle.CLIENT, Scope.EVALUATE]},
        {"scopes": [Bundle.SDK], "origins": ["https://shop.example"]},
        {"scopes": [Scope.READ], "name": " "},
        {"scopes": [Scope.READ], "name": "x" * 129},
    ],
)
def test_a_key_that_would_be_dangerous_or_useless_is_refused(
    store: SqlStore, options: dict[str, Any]
) -> None:
    name, scopes = options.pop("name", "app"), options.pop("scopes")
    with pytest.raises(InvalidInput):
        people.create_key(store, "default", name, scopes, actor=ADMIN, **options)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_only_administrators_change_who_may_come_in(store: SqlStore, role: Role) -> None:
    somebody = person("somebody", role)
    attempts: list[Callable[[], object]] = [
        lambda: people.add_operator(store, "x", [], actor=somebody),
        lambda: people.change_operator(store, "root", actor=somebody, active=False),
        lambda: people.make_link(store, "root", actor=somebody),
        lambda: people.set_password(store, "root", GOOD, actor=somebody),
        lambda: people.revoke_tokens(store, "root", actor=somebody),
        lambda: people.create_key(store, "p", "x", [Scope.READ], actor=somebody),
        lambda: people.revoke_key(store, "p", "x", actor=somebody),
    ]
    for attempt in attempts:
        with pytest.raises(NotPermitted):
            attempt()


def test_everything_that_happens_to_people_and_keys_is_audited(store: SqlStore) -> None:
    people.add_operator(store, "mary", [Role.VIEWER], actor=ADMIN)
    people.make_link(store, "mary", actor=ADMIN)
    people.set_password(store, "mary", GOOD, actor=ADMIN)
    people.change_operator(store, "mary", actor=ADMIN, roles=[Role.AUDITOR])
    key, text = people.create_key(store, "default", "app", [Scope.READ], actor=ADMIN)
    people.revoke_key(store, "default", key.key_id, actor=ADMIN)
    with store.reading() as work:
        entries = work.audit.entries("default")
    assert [entry.action for entry in entries] == [
        "operator_added",
        "operator_added",
        "link_made",
        "password_set",
        "operator_changed",
        "key_created",
        "key_revoked",
    ]
    assert all(GOOD not in entry.record and text not in entry.record for entry in entries)


@pytest.mark.parametrize("name", ["", "Mary", "m/y", "x" * 65, "../root"])
def test_a_name_that_is_no_key_is_refused(store: SqlStore, name: str) -> None:
    with pytest.raises(ControllerError):
        people.add_operator(store, name, [], actor=ADMIN)
