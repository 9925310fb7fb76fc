"""What JSON is and how a body is sent: each mistake has one status and one problem type.

A row is (what, request, status, code); none is a 5xx.
"""

from __future__ import annotations

import gzip
import json

import pytest

from controller.flow.actors import Scope
from tests.security.knocking import EVENT, JSON, send
from tests.web import Web

pytestmark = pytest.mark.usefixtures("fixed_clock")

# ---------------------------------------------------------------- what JSON is

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


# ---------------------------------------------------------------- how a body is sent

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
