"""Aliases, side documents and counts of the whole service over HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from controller.events.times import format_time
from controller.flow.actors import Scope
from controller.flow.pin_health import events_lost, measure_rollouts, pin_health
from controller.flow.ports_pins import PinCounts
from controller.flow.process_counts import ProcessCounts
from controller.flow.service_counts import count_excepted
from controller.storage.memory.pins import MemoryPins
from controller.telemetry import Telemetry
from tests.merging import SPEND, except_units, publish_exceptions, side_document
from tests.traffic import World
from tests.web import Web, serving

ONE = {"unit_type": "departure", "unit": "account-1", "alias": "anon-1"}
OUTCOME = {"type": "outcome", "event_id": "o-1", "occurred_at": "2026-01-01T00:00:00Z", "unit": "u",
           "name": "cost", "unit_type": "departure"}  # fmt: skip


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), limited=False) as served:
        yield served


def now() -> str:
    return format_time(datetime.now(UTC))


def state(web: Web, body: Any, path: str = "/v1/aliases", scope: Scope = Scope.INGEST) -> Any:
    return web.call("POST", path, web.keys[scope], json=body)


def test_a_statement_is_on_disk_when_it_is_accepted(web: Web) -> None:
    said = {**ONE, "alias": "anon-disk"}
    first, again = state(web, said), state(web, said)
    assert (first.status_code, first.json) == (
        202,
        {"accepted": 1, "duplicates": 0, "rejected": []},
    )
    assert again.json["duplicates"] == 1
    with web.store.reading() as work:
        known = work.aliases.known("default", "departure", ["anon-disk"])
    assert known["anon-disk"].root == "account-1"


def test_a_contradiction_is_a_typed_conflict(web: Web) -> None:
    state(web, {**ONE, "alias": "anon-c"})
    answer = state(web, {**ONE, "alias": "anon-c", "unit": "account-2"})
    assert (answer.status_code, answer.json["code"]) == (409, "alias_conflict")
    assert answer.json["rule"] == "moved"
    assert "anon-c" not in answer.text
    circle = state(web, {**ONE, "alias": "account-1", "unit": "anon-c"})
    assert (circle.status_code, circle.json["rule"]) == (409, "circle")


def test_a_batch_tells_by_place_what_was_refused(web: Web) -> None:
    many = [
        {**ONE, "alias": "anon-b"},
        {**ONE, "alias": "anon-b"},
        {**ONE, "alias": "anon-b", "unit": "somebody"},
        {**ONE, "alias": "account-1"},
    ]
    answer = state(web, {"aliases": many}, "/v1/aliases/batch").json
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [
        (2, "alias_conflict"),
        (3, "invalid_input"),
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"unit": ""}, 422),
        ({"unit": "x" * 257}, 422),
        ({"alias": "é" * 200}, 422),
        ({"alias": 5}, 422),
        ({"alias": "a\x00b"}, 422),
        ({"alias": "account-1"}, 422),
        ({"unit_type": "Not A Key"}, 422),
        ({"unit_type": ""}, 422),
        ({"more": 1}, 422),
    ],
)
def test_bad_input_is_named_and_stores_nothing(
    web: Web, change: dict[str, Any], status: int
) -> None:
    answer = state(web, {**ONE, "alias": "anon-bad", **change})
    assert answer.status_code == status
    assert answer.json["code"] != "internal_error"
    with web.store.reading() as work:
        assert not work.aliases.known("default", "departure", ["anon-bad"])


@pytest.mark.parametrize("scope", [Scope.READ, Scope.EVALUATE, Scope.RULESET, Scope.STOP])
def test_only_who_may_report_events_may_state_aliases(web: Web, scope: Scope) -> None:
    assert state(web, ONE, scope=scope).status_code == 403


def test_a_batch_has_a_limit(web: Web) -> None:
    many = [{**ONE, "alias": f"anon-{number}"} for number in range(501)]
    assert state(web, {"aliases": many}, "/v1/aliases/batch").status_code == 422
    assert state(web, {"aliases": []}, "/v1/aliases/batch").status_code == 422


# ---------------------------------------------------------------- side documents


@pytest.fixture
def document(web: Web) -> bytes:
    """A side document in force, of the default project."""
    with web.store.reading() as work:
        known = work.rollouts.get("default", "r1")
    if known is None:
        World(web.database, [SPEND])
        except_units(web.store, ["anon-1", "anon-2"])
        assert publish_exceptions(web.store)
    with web.store.reading() as work:
        present = work.side_documents.in_force("default", "r1")
    assert present is not None
    return side_document(web.store, present.sha256)


def test_a_side_document_is_immutable_packed_and_named_by_its_bytes(
    web: Web, document: bytes
) -> None:
    name, key = sha256(document).hexdigest(), web.keys[Scope.RULESET]
    answer = web.call("GET", f"/v1/ruleset/exceptions/{name}", key)
    assert (answer.status_code, answer.data) == (200, document)
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["ETag"] == f'"{name}"'
    headers = {"Accept-Encoding": "gzip"}
    packed = web.call("GET", f"/v1/ruleset/exceptions/{name}", key, headers=headers)
    assert gzip.decompress(packed.data) == document
    known = {"If-None-Match": f'"{name}"'}
    assert web.call("GET", f"/v1/ruleset/exceptions/{name}", key, headers=known).status_code == 304
    read = json.loads(document)
    assert len(read["units"]) == 2
    assert b"anon" not in document


def test_a_side_document_is_its_projects_alone(web: Web, document: bytes) -> None:
    name = sha256(document).hexdigest()
    stranger = web.key(Scope.RULESET, project="other")
    assert web.call("GET", f"/v1/ruleset/exceptions/{name}", stranger).status_code == 404
    assert (
        web.call("GET", f"/v1/ruleset/exceptions/{name}", web.keys[Scope.READ]).status_code == 403
    )
    unknown = web.call("GET", f"/v1/ruleset/exceptions/{'0' * 64}", web.keys[Scope.RULESET])
    assert (unknown.status_code, unknown.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["nothing", "A" * 64, "0" * 63, "0" * 65, "%C2%A0" * 64])
def test_a_name_that_is_no_sha256_never_reaches_the_database(web: Web, name: str) -> None:
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(web.database.main, "before_cursor_execute", note)
    try:
        answer = web.call("GET", f"/v1/ruleset/exceptions/{name}", web.keys[Scope.RULESET])
    finally:
        event.remove(web.database.main, "before_cursor_execute", note)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert not [statement for statement in seen if "side_documents" in statement]


# ---------------------------------------------------------------- counts of the whole service


def lost(web: Web) -> dict[str, Any]:
    web.runtime.counts.flush()
    with web.store.reading() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        return events_lost(work, rollout)


def test_events_that_an_sdk_lost_are_counted_once_by_key(web: Web, document: bytes) -> None:
    assert document
    before = lost(web)["total"]
    batch = {"batch_id": "lost-1", "events": [{**OUTCOME, "occurred_at": now()}]}
    for _ in range(2):  # the second one repeats the first: an answer that got lost
        answer = web.call(
            "POST",
            "/v1/events",
            web.keys[Scope.INGEST],
            json=batch,
            headers={"Controller-Events-Lost": "30"},
        )
        assert answer.status_code == 202
    after = lost(web)
    assert after["total"] - before == 30
    assert after["during"]
    assert list(after["by_key"].values()) == [after["total"]]
    assert "controller_events_lost_total" in web.call("GET", "/metrics").text


@pytest.mark.parametrize("said", ["-3", "many", "", "1e9", "9" * 40, "٣"])
def test_nonsense_in_the_header_loses_nothing(web: Web, document: bytes, said: str) -> None:
    assert document
    before = lost(web)["total"]
    event = {**OUTCOME, "event_id": f"n-{said.encode().hex()}", "occurred_at": now()}
    answer = web.call(
        "POST",
        "/v1/events",
        web.keys[Scope.INGEST],
        json={"events": [event]},
        headers={"Controller-Events-Lost": said.encode().decode("latin-1")},
    )
    assert answer.status_code == 202
    assert lost(web)["total"] == before


class Pinning(MemoryPins):
    """Pins whose counts are what a test says."""

    said = PinCounts()

    def counts(self) -> PinCounts:
        return self.said


def test_every_process_adds_what_it_saw(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        World(web.database, [SPEND])
        processes = []
        for skipped in (3, 4):
            pins = Pinning()
            telemetry = Telemetry()
            counting = ProcessCounts(web.store, pins, telemetry)
            pins.said = PinCounts(skipped=skipped, waiting=2, lost=1, available=skipped == 3)
            counting.flush()
            counting.flush()
            processes.append((pins, counting, telemetry))
        pins, counting, telemetry = processes[0]
        pins.said = replace(pins.said, skipped=10, waiting=0)
        counting.flush()
        with web.store.reading() as work:
            rollout = work.rollouts.get("default", "r1")
            assert rollout is not None
            seen = pin_health(work, rollout)
        assert (seen["skipped"], seen["lost"], seen["waiting"]) == (14, 2, 2)
        assert seen["available"] is False
        with web.store.writing() as work:
            count_excepted(work, "default", "r1", {"merged": 3})
        measure_rollouts(web.store, telemetry)
        assert 'controller_excepted_units{reason="merged",rollout="r1"} 3' in telemetry.exposition()
        assert "controller_pins_skipped_total 10" in telemetry.exposition()
