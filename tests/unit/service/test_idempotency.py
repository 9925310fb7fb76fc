"""One Idempotency-Key, one effect, however often and from however many sides the request comes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.flow.actors import Role, Scope
from controller.storage.sql.replays import LAPSE
from tests.web import Web

ASKED = {"slot": "late", "challengers": [{"name": "boost", "version": "2"}], "policy": "cautious"}


def prepared(web: Web) -> str:
    """Enough people for a quorum; the token of the one who asks."""
    web.define()
    for name in ("ann", "bob"):
        web.operator(name, Role.APPROVER)
    return web.operator("carl", Role.AUTHOR, Role.OPERATOR)


def create(web: Web, token: str, key: str, **changes: Any) -> Any:
    return web.call(
        "POST",
        "/v1/rollouts",
        token,
        json={**ASKED, **changes},
        headers={"Idempotency-Key": key},
    )


def rollouts(web: Web) -> int:
    return len(web.call("GET", "/v1/rollouts", web.keys[Scope.READ]).json["rollouts"])


def test_the_same_request_gets_the_same_answer_and_acts_once(web: Web) -> None:
    token = prepared(web)
    first, second = create(web, token, "k"), create(web, token, "k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.data == second.data
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Location", "Content-Type"):
        assert second.headers[name] == first.headers[name], "who retries goes on as if it had heard"
    assert rollouts(web) == 1


def test_another_key_acts_again(web: Web) -> None:
    token = prepared(web)
    create(web, token, "k1")
    create(web, token, "k2")
    assert rollouts(web) == 2, "a draft does not occupy its slot"


def test_the_same_key_for_another_request_is_refused(web: Web) -> None:
    token = prepared(web)
    create(web, token, "k")
    answer = create(web, token, "k", hypothesis="another")
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_mismatch")


def test_keys_belong_to_their_caller(web: Web) -> None:
    token = prepared(web)
    other = web.operator("dora", Role.AUTHOR)
    create(web, token, "k")
    assert create(web, other, "k").status_code == 201
    assert rollouts(web) == 2


def test_a_refused_request_may_be_tried_again_with_its_key(web: Web) -> None:
    web.define()
    token = web.operator("carl", Role.AUTHOR)
    assert create(web, token, "k").json["code"] == "quorum_impossible"
    for name in ("ann", "bob"):
        web.operator(name, Role.APPROVER)
    assert create(web, token, "k").status_code == 201


def test_of_many_at_once_one_acts(web: Web) -> None:
    token = prepared(web)
    app = web.client.application

    def send() -> int:
        client = app.test_client()
        headers = {"Idempotency-Key": "k", "Authorization": f"Bearer {token}"}
        return client.post("/v1/rollouts", json=ASKED, headers=headers).status_code

    with ThreadPoolExecutor(8) as callers:
        statuses = [future.result() for future in [callers.submit(send) for _ in range(8)]]
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert rollouts(web) == 1


def test_a_reservation_of_a_process_that_died_lapses(web: Web) -> None:
    prepared(web)
    now = datetime.now(UTC)
    with web.store.writing() as work:
        assert work.replays.reserve("default", "k", "x", at=now) is None
        held = work.replays.reserve("default", "k", "x", at=now + LAPSE / 2)
        assert held is not None
        assert held.status == 0
        late = now + LAPSE + timedelta(seconds=1)
        assert work.replays.reserve("default", "k", "x", at=late) is None
        work.replays.finish("default", "k", status=200, body=b"{}", headers={})
        kept = work.replays.reserve("default", "k", "x", at=late + LAPSE * 2)
        assert kept is not None
        assert (kept.status, json.loads(kept.body)) == (200, {})


def test_a_key_must_be_short_text(web: Web) -> None:
    token = prepared(web)
    for key in ("", "x" * 201):
        assert create(web, token, key).status_code == 422
