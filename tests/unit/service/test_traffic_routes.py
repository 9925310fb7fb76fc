"""Holdouts, layers and overrides over HTTP: what is answered, and what is refused how."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from controller.assignment.hashing import keyed_hash
from controller.flow.actors import Role, Scope
from tests.security.knocking import raw_address
from tests.web import Web

HOLDOUT = {"unit": "departure", "share": "5%"}


@pytest.fixture
def admin(web: Web) -> str:
    web.define("late")
    web.define("early")
    return web.keys[Scope.ADMIN]


def test_a_holdout_is_put_read_listed_and_deleted(web: Web, admin: str) -> None:
    put = web.call("PUT", "/v1/holdouts/all", admin, json={**HOLDOUT, "description": "a year"})
    assert put.status_code == 200, put.json
    assert put.json["share"] == 0.05
    assert put.json["status"]["slots"] == ["early", "late"]
    assert "salt" not in put.text
    reader = web.keys[Scope.READ]
    assert web.call("GET", "/v1/holdouts/all", reader).json == put.json
    assert web.call("GET", "/v1/holdouts", reader).json == {"holdouts": [put.json]}
    shown = web.call("GET", "/v1/slots/late", reader).json["status"]["reach"]
    assert (shown["share"], shown["held_out"]) == (0.95, pytest.approx(0.05))
    assert web.call("GET", "/v1/slots", reader).json["slots"][1]["status"]["reach"] == shown
    rules = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET]).json["slots"]["late"]
    assert [(one["name"], one["ppm"]) for one in rules["holdouts"]] == [("all", 50_000)]
    assert web.call("DELETE", "/v1/holdouts/all", admin).status_code == 204
    assert web.call("DELETE", "/v1/holdouts/all", admin).status_code == 404


def test_a_layer_is_put_read_listed_and_deleted(web: Web, admin: str) -> None:
    body = {"unit": "departure", "slots": {"late": 0.25, "early": 0.5}}
    put = web.call("PUT", "/v1/layers/alerts", admin, json=body)
    assert put.status_code == 200, put.json
    assert put.json["status"]["ranges"] == {"early": [[0, 5000]], "late": [[5000, 7500]]}
    assert put.json["status"]["free"] == 0.25
    reader = web.keys[Scope.READ]
    read = web.call("GET", "/v1/layers/alerts", reader).json
    assert (read["slots"], read["status"]) == (body["slots"], put.json["status"])
    assert web.call("GET", "/v1/layers", reader).json == {"layers": [read]}
    other = web.call("PUT", "/v1/layers/second", admin, json={**body, "slots": {"late": 0.1}})
    assert (other.status_code, other.json["code"]) == (409, "conflict")
    assert web.call("DELETE", "/v1/layers/alerts", admin).status_code == 204
    assert web.call("GET", "/v1/layers/alerts", reader).status_code == 404


def test_an_override_is_answered_as_a_hash(web: Web, admin: str) -> None:
    where = "/v1/slots/late/overrides"
    put = web.call("PUT", f"{where}/mary%40example.org", admin, json={"arm": "challenger"})
    assert put.status_code == 200, put.json
    made = put.json
    assert sorted(made) == ["analysed", "arm", "meets", "set_at", "set_by", "unit_hash"]
    assert made.pop("analysed") is False
    assert (made["arm"], made["meets"]) == ("challenger", None)
    listed = web.call("GET", where, web.keys[Scope.READ])
    assert listed.json == {"overrides": [made]}
    ruleset = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET])
    assert ruleset.json["slots"]["late"]["overrides"]["arms"] == {made["unit_hash"]: "challenger"}
    audit = web.call("GET", "/v1/audit", web.keys[Scope.READ])
    assert made["unit_hash"] in audit.text
    for answer in (put, listed, ruleset, audit):
        assert "mary" not in answer.text
    by_hash = f"{where}/{made['unit_hash']}?by=hash"
    assert web.call("DELETE", by_hash, admin).status_code == 204
    assert web.call("DELETE", f"{where}/mary%40example.org", admin).status_code == 404


@pytest.mark.parametrize(
    ("unit", "safe"),
    [
        *((unit, "") for unit in ["a/b", "/a", "a/", "//", "/", "a//b", "a\\b", "a b/ü", "%2F"]),
        *((unit, "") for unit in ["a%2Fb", "a?b/c#d", "a;b", "...", "hash"]),
        *((unit, "/") for unit in ["a/b", "a/b/c", "a/"]),
    ],
)
def test_one_unit_is_set_and_taken_back_whatever_its_id_holds(
    web: Web, admin: str, unit: str, safe: str
) -> None:
    where, reader = "/v1/slots/late/overrides", web.keys[Scope.READ]
    address = f"{where}/{quote(unit, safe=safe)}"
    put = web.call("PUT", address, admin, json={"arm": "challenger"})
    assert put.status_code == 200, put.json
    rules = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET]).json["slots"]["late"]
    key = rules["overrides"]["key"]
    assert put.json["unit_hash"] == keyed_hash(key, rules["unit"], unit)
    again = web.call("POST", where, admin, json={"units": [unit], "arm": "challenger"})
    assert again.json["overrides"][0]["unit_hash"] == put.json["unit_hash"]
    assert len(web.call("GET", where, reader).json["overrides"]) == 1
    assert web.call("DELETE", address, admin).status_code == 204
    assert web.call("DELETE", address, admin).status_code == 404
    assert web.call("GET", where, reader).json == {"overrides": []}


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("overrides//a", 404),
        ("overrides/a//b", 404),
        ("overrides/..", 400),
        ("overrides/..%2F..%2F..%2Fkeys", 400),
        ("overrides/a%2F%2e%2E%2Fb", 400),
        ("overrides%2Fa", 404),
        ("overrides/", 404),
        ("overrides/a;b", 400),
        ("overrides/%00", 400),
        ("overrides/%2", 400),
        ("overrides/%c0%af", 400),
        ("a%2Fb/overrides/u", 404),
    ],
)
def test_an_address_that_could_be_read_in_two_ways_stays_refused(
    web: Web, admin: str, rest: str, status: int
) -> None:
    slot = "/v1/slots/" if rest.startswith("a%") else "/v1/slots/late/"
    answer = web.call(
        "PUT",
        "/",
        admin,
        json={"arm": "challenger"},
        environ_overrides=raw_address(f"{slot}{rest}"),
    )
    assert answer.status_code == status
    listed = web.call("GET", "/v1/slots/late/overrides", web.keys[Scope.READ])
    assert listed.json == {"overrides": []}


def test_several_units_are_set_at_once_whatever_their_ids_hold(web: Web, admin: str) -> None:
    where, reader = "/v1/slots/late/overrides", web.keys[Scope.READ]
    units = ["a/b", "..", "//", "two words", "a/b"]
    answer = web.call("POST", where, admin, json={"units": units, "arm": "challenger"})
    assert answer.status_code == 200, answer.json
    made = answer.json["overrides"]
    assert len({one["unit_hash"] for one in made}) == len(made) == 4, "each unit once"
    assert {(one["arm"], one["analysed"]) for one in made} == {("challenger", False)}
    rules = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET]).json
    arms = rules["slots"]["late"]["overrides"]["arms"]
    assert arms == {one["unit_hash"]: "challenger" for one in made}
    missing = web.call("POST", where, admin, json={"units": ["..", "nobody"], "arm": None})
    assert missing.status_code == 404
    assert len(web.call("GET", where, reader).json["overrides"]) == 4, "all of them or none"
    gone = web.call("POST", where, admin, json={"units": ["..", "a/b"], "arm": None})
    assert (gone.status_code, gone.json) == (200, {"overrides": []})
    assert len(web.call("GET", where, reader).json["overrides"]) == 2
    after = web.call("GET", "/v1/ruleset", web.keys[Scope.RULESET]).json
    assert len(after["slots"]["late"]["overrides"]["arms"]) == 2


def test_a_slot_takes_a_thousand_overrides_in_one_request_and_no_more(web: Web, admin: str) -> None:
    where = "/v1/slots/late/overrides"
    units = [f"u{number}" for number in range(1000)]
    answer = web.call("POST", where, admin, json={"units": units, "arm": "champion"})
    assert (answer.status_code, len(answer.json["overrides"])) == (200, 1000)
    more = web.call("POST", where, admin, json={"units": ["one-more"], "arm": "champion"})
    assert (more.status_code, more.json["code"]) == (409, "conflict")
    again = web.call("POST", where, admin, json={"units": units[:3], "arm": "challenger"})
    assert again.status_code == 200


def test_yaml_is_read_like_json(web: Web, admin: str) -> None:
    answer = web.call(
        "PUT",
        "/v1/layers/alerts",
        admin,
        data=b"unit: departure\nslots:\n  late: 40%\n",
        headers={"Content-Type": "application/yaml"},
    )
    assert answer.json["slots"] == {"late": 0.4}


BAD: list[tuple[str, str, Any, int]] = [
    ("PUT", "/v1/holdouts/all", [], 422),
    ("PUT", "/v1/holdouts/all", {}, 422),
    ("PUT", "/v1/holdouts/all", {**HOLDOUT, "share": 5}, 422),
    ("PUT", "/v1/holdouts/all", {**HOLDOUT, "share": None}, 422),
    ("PUT", "/v1/holdouts/all", {**HOLDOUT, "salt": "x"}, 422),
    ("PUT", "/v1/holdouts/all", {**HOLDOUT, "name": "none"}, 422),
    ("PUT", "/v1/holdouts/all", {**HOLDOUT, "tag": ["a"]}, 422),
    ("PUT", "/v1/holdouts/All", HOLDOUT, 422),
    ("PUT", "/v1/holdouts/" + "x" * 65, HOLDOUT, 422),
    ("PUT", "/v1/holdouts/all", b"{", 400),
    ("GET", "/v1/holdouts/none", None, 404),
    ("DELETE", "/v1/holdouts/none", None, 404),
    ("PUT", "/v1/layers/l", [], 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "slots": {"late": 0.6, "early": 0.5}}, 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "slots": {"none": 0.5}}, 422),
    ("PUT", "/v1/layers/l", {"unit": "customer", "slots": {"late": 0.5}}, 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "slots": {"late": 0}}, 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "slots": {"late": [0.5]}}, 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "slots": "late"}, 422),
    ("PUT", "/v1/layers/l", {"unit": "departure", "ranges": {"late": [[0, 1]]}}, 422),
    ("GET", "/v1/layers/none", None, 404),
    ("DELETE", "/v1/layers/none", None, 404),
    ("PUT", "/v1/slots/late/overrides/u", {}, 422),
    ("PUT", "/v1/slots/late/overrides/u", {"arm": "baseline"}, 422),
    ("PUT", "/v1/slots/late/overrides/u", {"arm": 1}, 422),
    ("PUT", "/v1/slots/late/overrides/u", {"arm": "champion", "unit": "u"}, 422),
    ("PUT", "/v1/slots/late/overrides/u", ["champion"], 422),
    ("PUT", "/v1/slots/none/overrides/u", {"arm": "champion"}, 404),
    ("PUT", "/v1/slots/late/overrides/" + "x" * 257, {"arm": "champion"}, 422),
    ("PUT", "/v1/slots/late/overrides/a%07b", {"arm": "champion"}, 400),
    ("DELETE", "/v1/slots/late/overrides/u", None, 404),
    ("DELETE", "/v1/slots/none/overrides/u", None, 404),
    ("DELETE", "/v1/slots/late/overrides/u?by=hash", None, 422),
    ("DELETE", "/v1/slots/late/overrides/u?by=name", None, 422),
    ("GET", "/v1/slots/none/overrides", None, 404),
    ("POST", "/v1/slots/none/overrides", {"units": ["u"], "arm": "champion"}, 404),
    ("POST", "/v1/slots/late/overrides", {"units": [], "arm": "champion"}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": ["u"]}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": ["u"], "arm": "baseline"}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": [1], "arm": "champion"}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": ["a\tb"], "arm": "champion"}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": ["u"] * 1001, "arm": "champion"}, 422),
    ("POST", "/v1/slots/late/overrides", {"units": ["u"], "arm": None}, 404),
    ("PUT", "/v1/slots/late", {"tags": ["a", "a"]}, 422),
    ("PUT", "/v1/slots/late", {"tags": "a"}, 422),
]


@pytest.mark.parametrize(
    "row",
    BAD,
    ids=[f"{row[0]} {row[1][:45]} {row[2]!r:.50}" for row in BAD],
)
def test_bad_input_is_a_problem(web: Web, admin: str, row: tuple[str, str, Any, int]) -> None:
    method, path, body, status = row
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {} if body is None else {"data": raw, "headers": {"Content-Type": "application/json"}}
    if path == "/v1/slots/late":
        stored = web.call("GET", path, admin).json
        del stored["status"]
        sent["data"] = json.dumps({**stored, **body}).encode()
    answer = web.call(method, path, admin, **sent)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == f"/problems/{answer.json['code']}"


@pytest.mark.parametrize("role", list(Role))
def test_who_may_change_what(web: Web, admin: str, role: Role) -> None:
    token = web.tokens[role]
    layer = {"unit": "departure", "slots": {"late": 0.5}}
    rules_are_theirs = role in {Role.POLICY_ADMIN, Role.ADMIN}
    overrides_are_theirs = rules_are_theirs or role is Role.OPERATOR
    asked = [
        ("PUT", "/v1/holdouts/all", HOLDOUT, rules_are_theirs),
        ("DELETE", "/v1/holdouts/all", None, rules_are_theirs),
        ("PUT", "/v1/layers/alerts", layer, rules_are_theirs),
        ("DELETE", "/v1/layers/alerts", None, rules_are_theirs),
        ("PUT", "/v1/slots/late/overrides/u", {"arm": "champion"}, overrides_are_theirs),
        ("DELETE", "/v1/slots/late/overrides/u", None, overrides_are_theirs),
    ]
    for method, path, body, allowed in asked:
        options = {} if body is None else {"json": body}
        answer = web.call(method, path, token, **options)
        assert (answer.status_code == 403) is not allowed, (method, path, answer.status_code)
    for path in ("/v1/holdouts", "/v1/layers", "/v1/slots/late/overrides"):
        assert web.call("GET", path, token).status_code == 200
