"""Events that cannot have happened, and what is smuggled inside: named, and text stays text."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Scope
from tests.security.knocking import EVENT, send
from tests.web import SLOT, Web

pytestmark = pytest.mark.usefixtures("fixed_clock")

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


# ---------------------------------------------------------------- what is smuggled inside

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
