"""Weights, eligibility and edits over HTTP: what is answered, and what is refused how."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Role, Scope
from controller.rollout.states import Verb
from controller.service.api.rollouts import STOPS
from tests.web import Web

NORTH = {"attribute": "region", "op": "eq", "value": "north"}
EDITED = {"weights": {"champion": 0.2, "challenger": "80%"}}


@pytest.fixture
def asked(web: Web) -> dict[str, Any]:
    web.define("late", policy="solo")
    return {"slot": "late", "challengers": [{"name": "trees", "version": "7"}]}


def author(web: Web) -> str:
    return web.tokens[Role.AUTHOR]


def operator(web: Web) -> str:
    return web.tokens[Role.OPERATOR]


def live(web: Web, asked: dict[str, Any]) -> tuple[str, str]:
    """Path and version of a rollout that ramps."""
    made = web.call("POST", "/v1/rollouts", operator(web), json=asked)
    assert made.status_code == 201, made.json
    path, etag = f"/v1/rollouts/{made.json['metadata']['id']}", made.headers["ETag"]
    for verb in ("submit", "start"):
        moved = web.call(
            "POST", f"{path}/actions/{verb}", operator(web), headers={"If-Match": etag}
        )
        assert moved.status_code == 200, moved.json
        etag = moved.headers["ETag"]
    return path, etag


def test_weights_and_condition_come_with_the_request(web: Web, asked: dict[str, Any]) -> None:
    wanted = asked | {"weights": {"champion": "75%", "challenger": 0.25}, "eligible": NORTH}
    path, _ = live(web, wanted)
    found = web.call("GET", path, web.keys[Scope.READ]).json
    assert found["spec"]["weights"] == {"champion": 0.75, "challenger": 0.25}
    assert found["spec"]["eligible"] == NORTH
    assert found["status"]["allocation"]["eligible"] == NORTH
    rules = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET]).json["slots"]["late"]
    assert rules["rollout"]["eligible"] == NORTH


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"weights": {"champion": 0.5, "other": 0.5}}, "rollout.weights.challenger"),
        ({"weights": {"champion": 50, "challenger": 50}}, "rollout.weights.champion"),
        (
            {"eligible": {"or": [NORTH, {"attribute": "age", "op": "matches", "value": "x"}]}},
            "rollout.eligible.or[1].op",
        ),
    ],
)
def test_a_wrong_part_is_named(
    web: Web, asked: dict[str, Any], wanted: dict[str, Any], field: str
) -> None:
    refused = web.call("POST", "/v1/rollouts", operator(web), json=asked | wanted)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_input")
    assert refused.json["field"] == field


def test_an_edit_is_rehearsed_made_and_told(web: Web, asked: dict[str, Any]) -> None:
    path, etag = live(web, asked)
    edit = f"{path}/actions/edit"
    dry = web.call(
        "POST", f"{edit}?dry_run=1", operator(web), json=EDITED, headers={"If-Match": etag}
    )
    assert dry.status_code == 200, dry.json
    assert dry.json["would"]["weights"] == pytest.approx({"champion": 2 / 7, "challenger": 5 / 7})
    assert dry.json["would"]["retired"] == 0.3
    assert dry.json["would"]["challenger_share"] == pytest.approx(0.05)
    made = web.call("POST", edit, operator(web), json=EDITED, headers={"If-Match": etag})
    assert made.status_code == 200, made.json
    assert made.json["status"]["allocation"]["number"] == 2
    assert made.headers["ETag"] != etag
    log = web.call("GET", f"{path}/decisions", web.keys[Scope.READ]).json["decisions"]
    assert log[-1]["action"] == "edit"


def test_an_edit_can_raise_exposure_so_it_names_its_version(
    web: Web, asked: dict[str, Any]
) -> None:
    path, etag = live(web, asked)
    edit = f"{path}/actions/edit"
    assert web.call("POST", edit, operator(web), json=EDITED).status_code == 428
    stale = web.call("POST", edit, operator(web), json=EDITED, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    nobody = web.call("POST", edit, author(web), json=EDITED, headers={"If-Match": etag})
    assert nobody.status_code == 403


def test_the_condition_is_set_and_lifted(web: Web, asked: dict[str, Any]) -> None:
    path, etag = live(web, asked)
    edit = f"{path}/actions/edit"
    seen = []
    for eligible in (NORTH, None):
        made = web.call(
            "POST", edit, operator(web), json={"eligible": eligible}, headers={"If-Match": etag}
        )
        assert made.status_code == 200, made.json
        etag = made.headers["ETag"]
        seen.append(made.json["status"]["allocation"]["eligible"])
    assert seen == [NORTH, None]
    nothing = web.call("POST", edit, operator(web), json={}, headers={"If-Match": etag})
    assert (nothing.status_code, nothing.json["code"]) == (422, "invalid_input")


def test_there_is_no_page_that_edits_with_a_note_alone(web: Web, asked: dict[str, Any]) -> None:
    path, _ = live(web, asked)
    page = path.removeprefix("/v1") + "/actions/edit"
    assert web.call("GET", page, operator(web)).status_code in (302, 303, 401, 404)


THIRDS = {"champion": 0.34, "challenger-1": 0.33, "challenger-2": 0.33}
DROP = {"weights": {"champion": 0.5, "challenger-1": 0.5, "challenger-2": 0}}


@pytest.fixture
def three(asked: dict[str, Any]) -> dict[str, Any]:
    other = {"name": "forest", "version": "2"}
    return asked | {"challengers": [*asked["challengers"], other], "weights": THIRDS}


def test_a_drop_needs_no_version_and_comes_once_however_often_it_is_sent(
    web: Web, three: dict[str, Any]
) -> None:
    path, _ = live(web, three)
    edit = f"{path}/actions/edit"
    for headers in ({}, {"If-Match": '"1"'}):
        dry = web.call("POST", f"{edit}?dry_run=1", author(web), json=DROP, headers=headers)
        assert dry.status_code == 200, dry.json
    once = {"Idempotency-Key": "drop-it"}
    first, again = (web.call("POST", edit, author(web), json=DROP, headers=once) for _ in range(2))
    assert first.status_code == 200, first.json
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json["status"]["allocation"]["number"] == 2
    other = web.call("POST", edit, author(web), json=EDITED, headers=once)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_mismatch")
    twice = web.call("POST", edit, author(web), json=DROP)
    assert (twice.status_code, twice.json["code"]) == (422, "invalid_input")
    entries = web.call("GET", "/v1/audit", web.keys[Scope.READ]).json["entries"]
    assert [one["action"] for one in entries].count("rollout_edit") == 1


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"weights": {"champion": 0, "challenger-1": 0.5, "challenger-2": 0.5}}, 422),
        ({"weights": {"champion": 1, "challenger-1": 0, "challenger-2": 0}}, 422),
        ({"weights": {"champion": 0.2, "challenger-1": 0.8, "challenger-2": 0}}, 428),
        ({"weights": {"champion": 0.9, "challenger-1": 0.1, "challenger-2": 0}}, 428),
        ({**DROP, "eligible": None}, 428),
        ({**DROP, "enrolled": 1.0}, 422),
        ({**DROP, "ramp": 3}, 422),
    ],
)
def test_nothing_is_smuggled_in_with_a_drop(
    web: Web, three: dict[str, Any], wanted: dict[str, Any], status: int
) -> None:
    path, etag = live(web, three)
    made = web.call("POST", f"{path}/actions/edit", operator(web), json=wanted)
    assert made.status_code == status, made.json
    found = web.call("GET", path, web.keys[Scope.READ])
    assert found.headers["ETag"] == etag


@pytest.mark.parametrize("scope", list(Scope))
def test_of_all_keys_those_that_may_stop_give_up_a_challenger(
    web: Web, three: dict[str, Any], scope: Scope
) -> None:
    path, etag = live(web, three)
    edit = f"{path}/actions/edit"
    assert web.call("POST", edit, web.tokens[Role.VIEWER], json=DROP).status_code == 403
    tried = web.call("POST", f"{edit}?dry_run=1", web.keys[scope], json=DROP)
    made = web.call("POST", edit, web.keys[scope], json=DROP)
    if scope in (Scope.STOP, Scope.ADMIN):
        assert (tried.status_code, made.status_code) == (200, 200), made.json
        assert made.json["status"]["allocation"]["dropped"] == {
            "challenger-2": "dropped_by_operator"
        }
        entries = web.call("GET", "/v1/audit", web.keys[Scope.READ]).json["entries"]
        (actor,) = (one["actor"] for one in entries if one["action"] == "rollout_edit")
        assert actor == f"key:{web.keys[scope].split('_')[1]}"
    else:
        assert (tried.status_code, made.status_code) == (403, 403)
        found = web.call("GET", path, web.keys[Scope.READ])
        assert found.headers["ETag"] == etag


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(
    "wanted",
    [
        {"weights": {"champion": 0.2, "challenger-1": 0.8, "challenger-2": 0}},
        {"weights": {"champion": 0.9, "challenger-1": 0.05, "challenger-2": 0.05}},
        {"eligible": NORTH},
        {"eligible": None},
        {**DROP, "eligible": NORTH},
        {**DROP, "eligible": None},
    ],
    ids=["drops and shrinks", "shrinks", "narrows", "widens", "drop narrows", "drop widens"],
)
def test_of_all_keys_an_administrators_alone_edits_anything_else(
    web: Web, three: dict[str, Any], scope: Scope, wanted: dict[str, Any]
) -> None:
    path, etag = live(web, three)
    made = web.call(
        "POST", f"{path}/actions/edit", web.keys[scope], json=wanted, headers={"If-Match": etag}
    )
    found = web.call("GET", path, web.keys[Scope.READ])
    if scope is Scope.ADMIN:
        nothing_new = wanted == {"eligible": None}
        assert made.status_code == (422 if nothing_new else 200), made.json
        return
    assert (made.status_code, made.json["code"]) == (403, "not_permitted")
    assert found.headers["ETag"] == etag


@pytest.mark.parametrize("verb", [one for one in Verb if one not in (*STOPS, Verb.EDIT)])
def test_a_key_that_may_stop_can_ask_for_nothing_else(
    web: Web, three: dict[str, Any], verb: Verb
) -> None:
    path, etag = live(web, three)
    made = web.call(
        "POST",
        f"{path}/actions/{verb.value}",
        web.keys[Scope.STOP],
        headers={"If-Match": etag},
    )
    assert (made.status_code, made.json["code"]) == (403, "not_permitted")
