"""Where a request is sent and who says so: odd addresses, headers and credentials are refused."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Role, Scope
from tests.security.knocking import raw_address, send
from tests.web import Web

# ---------------------------------------------------------------- where it is sent

ADDRESSES = [
    ("GET", "/v1//slots", 404, "route_not_found"),
    ("GET", "//v1/slots", 404, "route_not_found"),
    ("GET", "/v1/x/../slots", 400, "bad_path"),
    ("GET", "/v1/./slots", 400, "bad_path"),
    ("GET", "/v1/%2e%2e/slots", 400, "bad_path"),
    ("GET", "/v1/slots/a%2fb", 404, "route_not_found"),
    ("GET", "/v1/slots/a%5cb", 404, "route_not_found"),
    ("GET", "/v1/slots/a\\b", 404, "route_not_found"),
    ("GET", "/v1/slots/%00", 400, "bad_path"),
    ("GET", "/v1/slots/%0d%0aX:1", 400, "bad_path"),
    ("GET", "/v1/slots;a=1", 400, "bad_path"),
    ("GET", "/V1/Slots", 404, "route_not_found"),
    ("GET", "/v1/slots.", 404, "route_not_found"),
    ("GET", "/v1/slots%20", 404, "route_not_found"),
    ("GET", "/v1/slots/", 404, "route_not_found"),
    ("GET", "/v1/slots/%c0%ae", 400, "bad_path"),
    ("GET", "/v1/slots/%zz", 400, "bad_path"),
    ("GET", "/v1/slots/" + "x" * 5000, 414, "uri_too_long"),
    ("GET", "/v1/slots/" + "x" * 600, 422, "too_long"),
    ("GET", "/v1/audit?" + "&".join(f"p{n}=1" for n in range(51)), 400, "too_many_parameters"),
    ("GET", "/v1/audit?limit=1&limit=9", 422, "repeated_parameter"),
    ("GET", "/v1/audit?limit=x", 422, "wrong_type"),
    ("GET", "/v1/audit?limit=0", 422, "invalid_input"),
    ("GET", "/v1/audit?limit=1e9", 422, "invalid_input"),
    ("GET", "/v1/audit?sort=name;select", 422, "unknown_field"),
    ("GET", "/v1/audit?after=-1", 422, "invalid_input"),
    ("GET", "/v1/audit?object=%00", 422, "bad_unicode"),
    ("GET", "/v1/slots?x=1", 422, "unknown_field"),
    ("TRACE", "/v1/slots", 405, "method_not_allowed"),
    ("PATCH", "/v1/slots/late", 405, "method_not_allowed"),
    ("OPTIONS", "/v1/slots", 405, "method_not_allowed"),
    ("GET", "/v1/rollouts/none", 404, "not_found"),
    ("GET", "/v1/rollouts/none/events", 404, "not_found"),
    ("GET", "/v1/rollouts?state=Sleeping", 422, "invalid_input"),
    ("GET", "/v1/evidence/" + "0" * 64, 404, "not_found"),
    ("GET", "/v1/approvals/none", 404, "not_found"),
    ("GET", "/static/..%5cCON", 404, "route_not_found"),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    ADDRESSES,
    ids=[f"{row[0]} {row[1][:50]}" for row in ADDRESSES],
)
def test_addresses(web: Web, method: str, path: str, status: int, code: str) -> None:
    # The raw address goes through as a server would hand it on.
    got = send(web, method, "/", Scope.ADMIN, environ_overrides=raw_address(path))
    assert got == (status, code)


def test_headers_that_would_change_the_request_are_ignored(web: Web) -> None:
    plain = web.call("GET", "/v1/slots", web.keys[Scope.READ])
    for name, value in (
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/v1/keys"),
        ("X-Rewrite-URL", "/v1/keys"),
        ("X-Forwarded-Prefix", "//evil.test"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
    ):
        answer = web.call("GET", "/v1/slots", web.keys[Scope.READ], headers={name: value})
        assert (answer.status_code, answer.data) == (200, plain.data)
        assert "evil" not in str(answer.headers)


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "", "localhost@evil.test"])
def test_a_foreign_host_is_refused(web: Web, host: str) -> None:
    assert send(web, "GET", "/v1/slots", Scope.READ, headers={"Host": host}) == (400, "bad_host")


def test_a_preflight_gets_no_grant(web: Web) -> None:
    headers = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    answer = web.call("OPTIONS", "/v1/assign", headers=headers)
    assert answer.status_code == 405
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


# ---------------------------------------------------------------- who says so

CREDENTIALS = [
    (None, 401, "unauthenticated"),
    ("", 401, "unauthenticated"),
    ("Bearer", 401, "unauthenticated"),
    ("Bearer ", 401, "unauthenticated"),
    ("Basic YTpi", 401, "unauthenticated"),
    ("bearer {key}", 401, "unauthenticated"),
    ("Bearer  {key}", 401, "unauthenticated"),
    ("Bearer {key} x", 401, "unauthenticated"),
    ("Bearer {key}x", 401, "unauthenticated"),
    ("Bearer {key},Bearer {key}", 400, "bad_request"),
    ("Bearer rc_abcdef012345_" + "A" * 43, 401, "unauthenticated"),
    ("Bearer rc_x", 401, "unauthenticated"),
    ("Bearer op_nobody", 401, "unauthenticated"),
    ("Bearer " + "x" * 5000, 401, "unauthenticated"),
    ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", 401, "unauthenticated"),
]


@pytest.mark.parametrize(
    ("header", "status", "code"), CREDENTIALS, ids=[str(row[0])[:40] for row in CREDENTIALS]
)
def test_credentials(web: Web, header: str | None, status: int, code: str) -> None:
    headers = {}
    if header is not None:
        headers["Authorization"] = header.replace("{key}", web.keys[Scope.READ])
    answer = web.call("GET", "/v1/slots", headers=headers)
    got = "" if answer.status_code < 400 else answer.json["code"]
    assert (answer.status_code, got) == (status, code)


def test_a_key_in_the_address_is_no_key(web: Web) -> None:
    answer = web.call("GET", f"/v1/slots?key={web.keys[Scope.READ]}")
    assert answer.status_code == 401


def test_one_changed_character_is_another_key(web: Web) -> None:
    key = web.keys[Scope.READ]
    for place in range(len("rc_"), len(key), 7):
        changed = key[:place] + ("A" if key[place] != "A" else "B") + key[place + 1 :]
        assert web.call("GET", "/v1/slots", changed).status_code == 401


def test_a_key_of_another_project_sees_nothing_here(web: Web) -> None:
    other = web.key(Scope.ADMIN, project="other")
    assert web.call("GET", "/v1/slots", other).json == {"slots": []}
    assert web.call("GET", "/v1/slots/late", other).status_code == 404
    assert web.call("GET", "/v1/keys", other).json["keys"][0]["name"] == "test"
    mine = web.call("GET", "/v1/keys", web.keys[Scope.ADMIN]).json["keys"][0]["key_id"]
    assert web.call("DELETE", f"/v1/keys/{mine}", other).status_code == 404
    header = {"Controller-Project": "default"}
    assert web.call("GET", "/v1/slots", other, headers=header).json == {"slots": []}


def test_a_project_is_chosen_by_header_and_checked(web: Web) -> None:
    token = web.tokens[Role.VIEWER]
    for project, status in (("other", 200), ("../default", 422), ("", 422), ("A" * 99, 422)):
        answer = web.call("GET", "/v1/slots", token, headers={"Controller-Project": project})
        assert answer.status_code == status


def test_a_key_with_a_website_works_from_there_alone(web: Web) -> None:
    web.define("open-to-browsers", clients=True)
    key = web.key(Scope.EVALUATE, origins=("https://shop.example",))
    asked = {"json": {"slot": "open-to-browsers", "unit": "u"}}
    home = {"Origin": "https://shop.example"}
    assert web.call("POST", "/v1/assign", key, headers=home, **asked).status_code == 200
    away = {"Origin": "https://evil.test"}
    answer = web.call("POST", "/v1/assign", key, headers=away, **asked)
    assert (answer.status_code, answer.json["code"]) == (403, "origin_refused")
    closed = {"json": {"slot": "late", "unit": "u"}}
    assert web.call("POST", "/v1/assign", key, headers=home, **closed).status_code == 404
    backend = web.keys[Scope.EVALUATE]
    assert web.call("POST", "/v1/assign", backend, headers=home, **asked).status_code == 403


@pytest.mark.parametrize("password", [None, [], 7, "short", "aaaaaaaaaaaaaaaa", "x" * 300])
def test_a_bad_password_is_refused(web: Web, password: Any) -> None:
    answer = web.call(
        "PUT",
        "/v1/operators/mallory/password",
        web.tokens[Role.ADMIN],
        json={"password": password},
    )
    assert answer.status_code == 422
