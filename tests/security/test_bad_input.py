"""Hostile and careless input: each has one status and one problem type, and none is a 5xx.

Groups: what JSON is, how a body is sent, where it is sent, what it defines, what happened, what is
smuggled inside, and who says so. A row is (what, method, path, request, status, code).
"""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from controller.flow.actors import Role, Scope
from tests.web import METRIC, SLOT, Web

JSON = {"Content-Type": "application/json"}
EVENT = {
    "type": "outcome",
    "event_id": "e-1",
    "occurred_at": "2026-11-23T08:00:00Z",
    "unit": "u-1",
    "name": "cost",
    "value": 1.0,
    "slot": "late",
}


@pytest.fixture(autouse=True)
def _now(web: Web) -> None:
    """Events here happened at a fixed time; the clock of the service stands just after it."""
    object.__setattr__(web.runtime, "clock", lambda: 1795424400.0)


def send(web: Web, method: str, path: str, scope: Scope, **options: Any) -> tuple[int, str]:
    answer = web.call(method, path, web.keys[scope], **options)
    code = answer.json["code"] if answer.status_code >= 400 else ""
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert len(answer.data) < 2500
    return answer.status_code, code


# ---------------------------------------------------------------- 1 what JSON is

JSON_TEXTS = [
    (b"", 400, "malformed_json"),
    (b"   ", 400, "malformed_json"),
    (b"{", 400, "malformed_json"),
    (b'{"slot":"late",}', 400, "malformed_json"),
    (b"{} {}", 400, "malformed_json"),
    (b"{'slot':'late'}", 400, "malformed_json"),
    (b'{"slot":"late"/* x */}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"u","attributes":{"a":NaN}}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"u","attributes":{"a":Infinity}}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"u","attributes":{"a":-Infinity}}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"u","attributes":{"a":1e999}}', 422, "non_finite"),
    (b'{"slot":"late","slot":"late","unit":"u"}', 400, "duplicate_key"),
    (b'{"slot":"late","sl\\u006ft":"late","unit":"u"}', 400, "duplicate_key"),
    (b"[" * 100_000, 400, "too_deep"),
    (b'{"slot":' + b"[" * 32 + b"]" * 32 + b"}", 400, "too_deep"),
    (b'{"slot":"late","unit":"u","attributes":{"a":' + b"1" * 5000 + b"}}", 422, "out_of_range"),
    (b'{"slot":"late","unit":"\xff"}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"\\ud800"}', 422, "bad_unicode"),
    ('{"slot":"late","unit":"u"}'.encode("utf-16"), 400, "malformed_json"),
    (b'\xef\xbb\xbf{"slot":"late","unit":"u"}', 400, "malformed_json"),
    (b"null", 422, "wrong_type"),
    (b"7", 422, "wrong_type"),
    (b"[]", 422, "wrong_type"),
    (b'{"slot":"late","unit":"a\x01"}', 400, "malformed_json"),
    (b'{"slot":"late","unit":"a\\u0000"}', 422, "bad_unicode"),
    (b'{"slot":"late","unit":"a\\u0007"}', 422, "invalid_input"),
    (json.dumps({str(n): 1 for n in range(1001)}).encode(), 400, "too_many_keys"),
    (b'{"slot":"late","unit":"' + b"x" * 70_000 + b'"}', 422, "too_long"),
    (b'{"slot":"late","unit":"' + b"x" * 257 + b'"}', 422, "invalid_input"),
    (b'{"slot":"late","unit":""}', 422, "invalid_input"),
    (b'{"slot":"late","unit":1}', 422, "wrong_type"),
    (b'{"slot":"late","unit":true}', 422, "wrong_type"),
    (b'{"slot":"late"}', 422, "missing_field"),
    (b'{"slot":"late","unit":"u","arm":"challenger"}', 422, "unknown_field"),
    (b'{"slot":"late","unit":"u","expose":"no"}', 422, "wrong_type"),
    (b'{"slot":"late","unit":"u","attributes":{"a":[1]}}', 422, "wrong_type"),
    (b'{"slot":"late","unit":"u","attributes":{"a":1e300}}', 422, "invalid_input"),
    (b'{"slot":"nobody","unit":"u"}', 404, "not_found"),
    (b'{"slot":"../late","unit":"u"}', 404, "not_found"),
]


@pytest.mark.parametrize(
    ("raw", "status", "code"), JSON_TEXTS, ids=[repr(row[0][:40]) for row in JSON_TEXTS]
)
def test_json_texts(web: Web, raw: bytes, status: int, code: str) -> None:
    got = send(web, "POST", "/v1/assign", Scope.EVALUATE, data=raw, headers=JSON)
    assert got == (status, code)


# ---------------------------------------------------------------- 2 how a body is sent

GOOD = json.dumps({"slot": "late", "unit": "u"}).encode()
BATCH = json.dumps({"events": [EVENT]}).encode()

FRAMES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("no type", GOOD, {}, 415, "unsupported_media_type"),
    ("text", GOOD, {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (
        "form",
        GOOD,
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media_type",
    ),
    ("multipart", GOOD, {"Content-Type": "multipart/form-data"}, 415, "unsupported_media_type"),
    ("problem", GOOD, {"Content-Type": "application/problem+json"}, 415, "unsupported_media_type"),
    (
        "utf-7",
        GOOD,
        {"Content-Type": "application/json; charset=utf-7"},
        415,
        "unsupported_media_type",
    ),
    (
        "gzip",
        gzip.compress(GOOD),
        JSON | {"Content-Encoding": "gzip"},
        415,
        "unsupported_media_type",
    ),
    ("brotli", GOOD, JSON | {"Content-Encoding": "br, gzip"}, 415, "unsupported_media_type"),
    ("xml", b"<a/>", {"Content-Type": "application/xml"}, 415, "unsupported_media_type"),
    ("too large", b" " * (1024 * 1024 + 1), JSON, 413, "body_too_large"),
]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [row[1:] for row in FRAMES],
    ids=[row[0] for row in FRAMES],
)
def test_frames(web: Web, raw: bytes, headers: dict[str, str], status: int, code: str) -> None:
    got = send(web, "POST", "/v1/assign", Scope.EVALUATE, data=raw, headers=headers)
    assert got == (status, code)


def test_utf8_said_aloud_is_fine(web: Web) -> None:
    headers = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert send(web, "POST", "/v1/assign", Scope.EVALUATE, data=GOOD, headers=headers) == (200, "")


BATCHES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("gzip", gzip.compress(BATCH), {"Content-Encoding": "gzip"}, 202, ""),
    (
        "bomb",
        gzip.compress(b"\0" * 50_000_000),
        {"Content-Encoding": "gzip"},
        413,
        "inflated_too_large",
    ),
    (
        "gzip twice",
        gzip.compress(gzip.compress(BATCH)),
        {"Content-Encoding": "gzip"},
        400,
        "malformed_json",
    ),
    ("cut off", gzip.compress(BATCH)[:-9], {"Content-Encoding": "gzip"}, 400, "bad_encoding"),
    ("not gzip", BATCH, {"Content-Encoding": "gzip"}, 400, "bad_encoding"),
    ("deflate", BATCH, {"Content-Encoding": "deflate"}, 415, "unsupported_media_type"),
    ("empty", b'{"events":[]}', {}, 422, "invalid_input"),
    (
        "501 events",
        json.dumps({"events": [EVENT | {"event_id": str(n)} for n in range(501)]}).encode(),
        {},
        422,
        "invalid_input",
    ),
    (
        "newer schema",
        json.dumps({"schema": 2, "events": [EVENT]}).encode(),
        {},
        422,
        "invalid_input",
    ),
    ("unknown key", json.dumps({"events": [EVENT], "x": 1}).encode(), {}, 422, "invalid_input"),
    ("no object", b"[]", {}, 422, "invalid_input"),
    (
        "a value twice",
        BATCH.replace(b'"value": 1.0', b'"value": 1.0, "value": 2.0'),
        {},
        400,
        "duplicate_key",
    ),
    (
        "an id twice",
        BATCH.replace(b'"event_id": "e-1"', b'"event_id": "e-1", "event_id": "e-2"'),
        {},
        400,
        "duplicate_key",
    ),
]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [row[1:] for row in BATCHES],
    ids=[row[0] for row in BATCHES],
)
def test_batches(web: Web, raw: bytes, headers: dict[str, str], status: int, code: str) -> None:
    got = send(web, "POST", "/v1/events", Scope.INGEST, data=raw, headers=JSON | headers)
    assert got == (status, code)


# ---------------------------------------------------------------- 3 where it is sent

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


def raw_address(path: str) -> dict[str, str]:
    where, _, query = path.partition("?")
    return {
        "RAW_URI": path,
        "REQUEST_URI": path,
        "PATH_INFO": unquote_to_bytes(where).decode("latin-1"),
        "QUERY_STRING": query,
    }


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


# ---------------------------------------------------------------- 4 what it defines

METRICS: list[dict[str, Any]] = [
    {"type": "magic"},
    {"direction": "up"},
    {"window_seconds": -1},
    {"window_seconds": "60"},
    {"window_seconds": 10**400},
    {"unknown": 1},
    {"status": "promoted"},
    {"outcome": ""},
    {"outcome": None},
    {"outcome": 7},
    {"baseline": {"mean": "x", "sd": 1}},
    {"winsorize": 2.0},
    {"key": "another"},
    {"type": "ratio"},
    {"type": "quantile", "q": 1.5},
]


@pytest.mark.parametrize("change", METRICS, ids=str)
def test_a_wrong_metric_is_refused(web: Web, change: dict[str, Any]) -> None:
    status, code = send(web, "PUT", "/v1/metrics/other", Scope.ADMIN, json={**METRIC, **change})
    assert status in {409, 422}, code


SLOTS: list[dict[str, Any]] = [
    {"unit": ""},
    {"unit": "Ünit"},
    {"champion": None},
    {"champion": {"name": "x"}},
    {"champion": {"name": "x", "version": 1}},
    {"champion": {"name": "x", "version": "1", "payload": "x" * 70_000}},
    {"oec": {"metric": "nobody", "mde": 1}},
    {"oec": {"metric": "cost", "mde": 0}},
    {"oec": {"metric": "cost", "mde": -1}},
    {"oec": {"metric": "cost", "mde": True}},
    {"oec": {"metric": "cost", "mde": "0.5"}},
    {"guardrails": [{"metric": "cost", "margin": 1}]},
    {"guardrails": "cost"},
    {"observe": 50},
    {"observe": -0.1},
    {"observe": "abc%"},
    {"policy": "nobody"},
    {"policy": 7},
    {"other_policies": ["cautious", 1]},
    {"status": {"version": 9}},
    {"project": "other"},
    {"kill": None, "approved_by": "me"},
]


@pytest.mark.parametrize("change", SLOTS, ids=lambda change: str(change)[:60])
def test_a_wrong_slot_is_refused(web: Web, change: dict[str, Any]) -> None:
    status, code = send(web, "PUT", "/v1/slots/other", Scope.ADMIN, json={**SLOT, **change})
    assert status == 422, code
    assert send(web, "GET", "/v1/slots/other", Scope.READ) == (404, "not_found")


POLICIES: list[Any] = [
    {},
    [],
    None,
    {"ramp": []},
    {"ramp": [{"enrolled": 2.0, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 10, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}, {"enrolled": 0.1, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "soon"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": -1}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1e12s"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": 0}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": 1}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": -0.05}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"mode": "magic"}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"horizon": 0}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "approvals": {"promote": {"quorum": 0}}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "approvals": {"promote": {"quorum": -1}}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "unknown": True},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h", "unknown": True}]},
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy)[:70])
def test_a_wrong_policy_is_refused(web: Web, policy: Any) -> None:
    raw = json.dumps(policy).encode()
    status, code = send(web, "PUT", "/v1/policies/other", Scope.ADMIN, data=raw, headers=JSON)
    assert status == 422, code


@pytest.mark.parametrize(
    "key", ["Late", "a b", "x" * 65, "__proto__", "-a", "%2b", "é", "a%0a", "con*", "{tag}"]
)
def test_a_wrong_key_is_refused(web: Web, key: str) -> None:
    status, _ = send(web, "PUT", f"/v1/slots/{key}", Scope.ADMIN, json=SLOT)
    assert status in {400, 422}


@pytest.mark.parametrize(
    "raw",
    [
        b"unit: !!python/object/apply:os.system ['true']",
        b"a: &a [*a]",
        b"a: &a [1,2]\nb: [*a,*a]",
        b"unit: [",
        b"unit: x\nunit: y",
        b"\xff\xfe",
    ],
)
def test_yaml_tricks_are_refused(web: Web, raw: bytes) -> None:
    headers = {"Content-Type": "application/yaml"}
    status, _ = send(web, "PUT", "/v1/slots/other", Scope.ADMIN, data=raw, headers=headers)
    assert status == 400


ROLLOUTS: list[tuple[dict[str, Any], int]] = [
    ({}, 422),
    ({"slot": "late"}, 422),
    ({"slot": "late", "challengers": []}, 422),
    ({"slot": "nobody", "challengers": [{"name": "m", "version": "2"}]}, 404),
    ({"slot": "late", "challengers": [{"name": "m"}]}, 422),
    ({"slot": "late", "challengers": [SLOT["champion"]]}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}] * 2}, 422),
    (
        {"slot": "late", "challengers": [{"name": "m", "version": str(n)} for n in range(9)]},
        422,
    ),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "policy": "solo"}, 403),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "id": "mine"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "state": "Promoted"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "project_id": "x"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2", "x": 1}]}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "requested_by": "no"}, 422),
]


@pytest.mark.parametrize(("asked", "status"), ROLLOUTS, ids=lambda row: str(row)[:80])
def test_a_wrong_rollout_is_refused(web: Web, asked: dict[str, Any], status: int) -> None:
    got, code = send(web, "POST", "/v1/rollouts", Scope.ADMIN, json=asked)
    assert got == status, code


# ---------------------------------------------------------------- 5 what happened

EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"value": "NaN"}, "wrong_type"),
    ({"value": True}, "wrong_type"),
    ({"value": 1e300}, "out_of_range"),
    ({"value": 2**63}, "out_of_range"),
    ({"unit": ""}, "empty_unit"),
    ({"unit": "x" * 257}, "too_long"),
    ({"unit": 1}, "wrong_type"),
    ({"unit": "a\u0007b"}, "control_character"),
    ({"unit": None}, "missing"),
    ({"event_id": None}, "missing"),
    ({"event_id": ""}, "empty"),
    ({"event_id": "x" * 257}, "too_long"),
    ({"occurred_at": "yesterday"}, "bad_time"),
    ({"occurred_at": "2026-11-23"}, "bad_time"),
    ({"occurred_at": "2026-11-23T08:00:00"}, "bad_time"),
    ({"occurred_at": "2026-02-30T08:00:00Z"}, "bad_time"),
    ({"occurred_at": "0000-01-01T00:00:00Z"}, "bad_time"),
    ({"occurred_at": "2090-01-01T00:00:00Z"}, "in_future"),
    ({"occurred_at": "2001-01-01T00:00:00Z"}, "too_late"),
    ({"occurred_at": 1}, "wrong_type"),
    ({"type": "magic"}, "unknown_type"),
    ({"type": None}, "unknown_type"),
    ({"surprise": 1}, "unknown_field"),
    ({"attributes": {"a": [1]}}, "wrong_type"),
    ({"attributes": {str(n): n for n in range(51)}}, "too_long"),
    ({"ref": "r-1"}, "missing"),
]


@pytest.mark.parametrize(("change", "code"), EVENTS, ids=lambda row: str(row)[:60])
def test_a_bad_event_is_named_and_the_good_one_is_kept(
    web: Web, change: dict[str, Any], code: str
) -> None:
    good = {**EVENT, "event_id": f"good-{change}"[:200]}
    answer = web.call(
        "POST", "/v1/events", web.keys[Scope.INGEST], json={"events": [{**EVENT, **change}, good]}
    )
    assert answer.status_code == 202
    (rejected,) = answer.json["rejected"]
    assert (answer.json["accepted"], rejected["index"], rejected["code"]) == (1, 0, code)


@pytest.mark.parametrize(
    "unit",
    [
        "__proto__",
        "constructor",
        "é",
        "e\u0301",
        "ﬁ",
        "fi",
        "ß",
        "SS",
        "'; drop table",
        "{{7*7}}",
        "=1+1",
    ],
)
def test_odd_but_honest_units_are_plain_text(web: Web, unit: str) -> None:
    event = {**EVENT, "event_id": f"odd-{unit}", "unit": unit}
    answer = web.call("POST", "/v1/events", web.keys[Scope.INGEST], json={"events": [event]})
    assert answer.json == {"accepted": 1, "duplicates": 0, "rejected": []}


def test_the_same_batch_again_changes_nothing_and_other_bytes_are_refused(web: Web) -> None:
    batch = {"batch_id": "b-1", "events": [{**EVENT, "event_id": "again"}]}
    key = web.keys[Scope.INGEST]
    first = web.call("POST", "/v1/events", key, json=batch)
    second = web.call("POST", "/v1/events", key, json=batch)
    assert (first.json["accepted"], second.json["duplicates"]) == (1, 1)
    other = {"batch_id": "b-1", "events": [{**EVENT, "event_id": "other"}]}
    assert send(web, "POST", "/v1/events", Scope.INGEST, json=other) == (409, "batch_reuse")


# ---------------------------------------------------------------- 6 what is smuggled inside

TRICKS = [
    "' OR 1=1--",
    '"; DROP TABLE slots; --',
    "%",
    "_",
    "*\r\nFLUSHALL\r\n",
    "{tag}",
    "]] redis.call('x')",
    "{{7*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    "{0.__class__}",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_text_stays_text(web: Web, trick: str) -> None:
    shown = trick.replace("\r\n", " ")
    slot = {**SLOT, "description": shown}
    assert send(web, "PUT", "/v1/slots/tricks", Scope.ADMIN, json=slot) == (200, "")
    stored = web.call("GET", "/v1/slots/tricks", web.keys[Scope.READ]).json
    assert stored["description"] == shown
    found = web.call(
        "GET", "/v1/audit", web.keys[Scope.READ], query_string={"object": f"slot/{shown}"}
    )
    assert found.json == {"entries": [], "next": None}


# ---------------------------------------------------------------- 7 who says so

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
    assert web.call("POST", "/v1/assign", key, headers=home, **closed).status_code == 403
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
