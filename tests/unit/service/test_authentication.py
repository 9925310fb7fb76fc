"""Revoked within seconds everywhere; an outage of the database locks nobody out for long."""

from __future__ import annotations

import pytest

from controller.errors import Unauthenticated, Unavailable
from controller.flow.actors import MACHINE, Role, Scope
from controller.flow.passwords import secret_hash
from controller.flow.people import change_operator, revoke_key
from controller.service.http.authentication import (
    FRESH_SECONDS,
    OUTAGE_SECONDS,
    PAUSE_SECONDS,
    Authenticator,
)
from tests.web import Web


class Asking:
    """An authenticator on a clock of its own, asked with one credential."""

    def __init__(self, web: Web, credential: str) -> None:
        self.web = web
        self.now = 0.0
        self.authenticator = Authenticator(web.store, clock=lambda: self.now)
        self.request = web.client.application.test_request_context(
            headers={"Authorization": f"Bearer {credential}"}
        ).request

    def name(self, *, after: float = 0.0) -> str:
        self.now += after
        return self.authenticator.bearer(self.request).actor.name


def lose_the_database(web: Web) -> None:
    with web.database.begin() as connection:
        for table in ("service_keys", "operator_tokens", "operators"):
            connection.exec_driver_sql(f"alter table {table} rename to lost_{table}")


def test_a_revoked_key_is_refused_within_the_fresh_time(web: Web) -> None:
    text = web.key(Scope.READ)
    asking = Asking(web, text)
    key_id = asking.name().removeprefix("key:")
    revoke_key(web.store, "default", key_id, actor=MACHINE)
    with pytest.raises(Unauthenticated):
        asking.name(after=FRESH_SECONDS + 0.01)
    assert FRESH_SECONDS <= 5.0


def test_a_removed_operators_token_is_refused_within_the_fresh_time(web: Web) -> None:
    asking = Asking(web, web.operator("mary", Role.VIEWER))
    assert asking.name() == "mary"
    change_operator(web.store, "mary", actor=MACHINE, active=False)
    with pytest.raises(Unauthenticated):
        asking.name(after=FRESH_SECONDS + 0.01)


def test_an_outage_keeps_known_callers_in_for_a_while(web: Web) -> None:
    asking = Asking(web, web.key(Scope.EVALUATE))
    name = asking.name()
    lose_the_database(web)
    assert asking.name(after=FRESH_SECONDS + 1) == name
    assert asking.name(after=OUTAGE_SECONDS / 2) == name
    with pytest.raises(Unavailable):
        asking.name(after=OUTAGE_SECONDS)


def test_a_broken_database_is_not_asked_again_at_once(web: Web) -> None:
    asking = Asking(web, web.key(Scope.EVALUATE))
    name = asking.name()
    lose_the_database(web)
    assert asking.name(after=FRESH_SECONDS + 1) == name
    failed_at = asking.authenticator._failed_at
    assert asking.name(after=PAUSE_SECONDS / 2) == name
    assert asking.authenticator._failed_at == failed_at, "nobody asked"
    assert asking.name(after=PAUSE_SECONDS) == name
    assert asking.authenticator._failed_at > failed_at


def test_while_one_thread_asks_the_others_go_on(web: Web) -> None:
    asking = Asking(web, web.key(Scope.EVALUATE))
    name = asking.name()
    asking.authenticator._asking.add(secret_hash(asking.request.headers["Authorization"][7:]))
    lose_the_database(web)
    assert asking.name(after=FRESH_SECONDS + 1) == name
    assert asking.authenticator._failed_at < 0, "nobody asked"


def test_an_outage_lets_no_stranger_in(web: Web) -> None:
    asking = Asking(web, web.key(Scope.EVALUATE))
    lose_the_database(web)
    with pytest.raises(Unavailable):
        asking.name()


def test_memory_of_callers_is_bounded(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.service.http.authentication.MOST_REMEMBERED", 3)
    authenticator = Authenticator(web.store)
    for _ in range(5):
        request = web.client.application.test_request_context(
            headers={"Authorization": f"Bearer {web.key(Scope.READ)}"}
        ).request
        authenticator.bearer(request)
    assert len(authenticator._known) == 3
