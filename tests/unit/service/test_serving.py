"""Health, the ruleset for SDKs, remote evaluation and waiting: what a caller sees."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.ruleset import Ruleset
from controller.assignment.signature import (
    DEPLOYMENT_HEADER,
    SIGNATURE_HEADER,
    VERSION_HEADER,
    split_key,
    verify_ruleset,
)
from controller.flow.actors import Role, Scope
from controller.service.http.door import client_address
from controller.service.http.refusals import Overloaded
from controller.service.http.tickets import read_ticket
from controller.service.http.waiting import WATCH_SECONDS, Seats
from tests.web import SECRET, Web, serving

# ---------------------------------------------------------------- health


def test_livez_depends_on_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        web.database.dispose()
        (tmp_path / "main.db").unlink()
        assert web.call("GET", "/livez").json == {"status": "alive"}


def test_readyz_is_honest(web: Web) -> None:
    assert web.call("GET", "/readyz").status_code == 200
    object.__setattr__(web.runtime, "ready", lambda: "run `controller migrate`.")
    answer = web.call("GET", "/readyz")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "controller migrate" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_metrics_are_prometheus_text_and_name_their_process(web: Web) -> None:
    web.call("GET", "/v1/slots", web.keys[Scope.READ])
    text = web.call("GET", "/metrics").text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    pattern = re.compile(r'controller_[a-z_]+\{process="\d+"(,[a-z]+="[^"]*")*\} [0-9.e+]+')
    assert all(pattern.fullmatch(line) for line in samples), samples
    assert any('route="list_slots"' in line for line in samples)


# ---------------------------------------------------------------- who calls, by which name


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, {"127.0.0.1", "localhost", "::1"}),
        (
            {"public_url": "https://controller.example"},
            {"127.0.0.1", "localhost", "::1", "controller.example"},
        ),
        ({"host": "10.1.2.3"}, {"127.0.0.1", "localhost", "::1", "10.1.2.3"}),
        ({"host": "0.0.0.0", "public_url": "https://controller.example"}, None),
    ],
)
def test_a_process_answers_for_its_own_names(
    tmp_path: Path, settings: dict[str, Any], hosts: set[str] | None
) -> None:
    with serving(tmp_path, **settings) as web:
        assert web.runtime.hosts == hosts


@pytest.mark.parametrize(
    ("header", "proxies", "address"),
    [
        ("203.0.113.9", 1, "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.7", 2, "203.0.113.9"),
        ("203.0.113.9", 2, "10.0.0.1"),
        ("<script>", 1, "10.0.0.1"),
        ("", 1, "10.0.0.1"),
        ("2001:db8::1", 1, "2001:db8::1"),
    ],
)
def test_only_our_own_proxies_are_believed(header: str, proxies: int, address: str) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": header}
    assert client_address(environ, proxies) == address


# ---------------------------------------------------------------- the ruleset


def test_the_ruleset_is_tagged_packed_and_signed_for_its_caller(web: Web) -> None:
    web.define()
    key = web.keys[Scope.RULESET]
    plain = web.call("GET", "/v1/ruleset", key)
    digest = hashlib.sha256(plain.data).hexdigest()
    assert plain.headers["ETag"] == f'"{digest}"'
    ruleset = Ruleset.from_bytes(plain.data)
    assert plain.headers[VERSION_HEADER] == str(ruleset.version)
    signed = {
        "deployment": plain.headers[DEPLOYMENT_HEADER],
        "version": ruleset.version,
        "digest": digest,
    }
    signature = plain.headers[SIGNATURE_HEADER]
    assert verify_ruleset(signature, split_key(key)[2], **signed)
    assert not verify_ruleset(signature, split_key(web.keys[Scope.ADMIN])[2], **signed)
    packed = web.call("GET", "/v1/ruleset", key, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"other", "{}"'])
def test_a_known_ruleset_costs_no_body(web: Web, form: str) -> None:
    key = web.keys[Scope.RULESET]
    tag = web.call("GET", "/v1/ruleset", key).headers["ETag"].strip('"')
    answer = web.call("GET", "/v1/ruleset", key, headers={"If-None-Match": form.format(tag)})
    assert (answer.status_code, answer.data) == (304, b"")
    assert SIGNATURE_HEADER in answer.headers


def test_a_change_is_served_at_once(web: Web) -> None:
    key = web.keys[Scope.RULESET]
    before = int(web.call("GET", "/v1/ruleset", key).headers[VERSION_HEADER])
    web.define()
    after = int(web.call("GET", "/v1/ruleset", key).headers[VERSION_HEADER])
    assert after > before


def test_the_way_to_the_stream_is_a_ticket_and_never_the_key(web: Web) -> None:
    key = web.keys[Scope.RULESET]
    answer = web.call("GET", "/v1/ruleset/stream", key)
    assert answer.status_code == 307
    where, _, ticket = answer.headers["Location"].partition("?ticket=")
    assert where == f"{web.runtime.settings.stream_address}/v1/ruleset/stream"
    assert read_ticket(SECRET, ticket, now=time.time()) == "default"
    assert key not in answer.headers["Location"]


def test_a_thousand_streams_of_one_key_may_come_back_at_once(web: Web) -> None:
    route = web.router.hot["GET", "/v1/ruleset/stream"]
    assert route.rate.burst >= 5 * 1_000, "each tries a few times while the stream starts again"
    key = web.keys[Scope.RULESET]
    answers = {web.call("GET", "/v1/ruleset/stream", key).status_code for _ in range(300)}
    assert answers == {307}


# ---------------------------------------------------------------- remote evaluation


def assign(web: Web, **asked: Any) -> Any:
    return web.call("POST", "/v1/assign", web.keys[Scope.EVALUATE], json=asked)


def test_an_answer_names_model_payload_reason_and_what_became_of_the_exposure(web: Web) -> None:
    web.define()
    answer = assign(web, slot="late", unit="u-1", attributes={"origin": "EWR", "delay": 3.5}).json
    assert answer["model"] == {"name": "logistic", "version": "1"}
    assert answer["payload"] == {"threshold": 0.25}
    assert (answer["arm"], answer["reason"]) == ("champion", "NO_ROLLOUT")
    assert answer["exposure"] in {"durable", "queued"}
    assert assign(web, slot="late", unit="u-2", expose=False).json["exposure"] == "none"


def test_a_batch_exposes_only_who_says_so(web: Web) -> None:
    web.define()
    asked = [
        {"slot": "late", "unit": "u-1", "expose": True},
        {"slot": "late", "unit": "u-2"},
        {"slot": "nobody", "unit": "u-3"},
        {"slot": "late", "unit": "a\u0007"},
    ]
    answer = web.call(
        "POST", "/v1/assign/batch", web.keys[Scope.EVALUATE], json={"requests": asked}
    )
    found = answer.json["assignments"]
    assert [one["reason"] for one in found] == [
        "NO_ROLLOUT",
        "NO_ROLLOUT",
        "UNKNOWN_SLOT",
        "INVALID_UNIT",
    ]
    assert found[0]["exposure"] in {"durable", "queued"}
    assert [one["exposure"] for one in found[1:]] == ["none"] * 3


LARGE = {
    "bytes": {"note": "x" * 5000},
    "entries": {f"a{number}": number for number in range(60)},
}


@pytest.mark.parametrize("attributes", LARGE.values(), ids=LARGE)
def test_large_attributes_cost_neither_their_item_nor_the_others(
    attributes: dict[str, Any], web: Web
) -> None:
    web.define()
    unit = f"large-{len(attributes)}"
    asked = [
        {"slot": "late", "unit": unit, "attributes": attributes, "expose": True},
        {"slot": "late", "unit": "x" * 257},
        {"slot": "late", "unit": f"{unit}-other", "expose": True},
    ]
    answer = web.call(
        "POST", "/v1/assign/batch", web.keys[Scope.EVALUATE], json={"requests": asked}
    )
    found = answer.json["assignments"]
    assert [one["reason"] for one in found] == ["NO_ROLLOUT", "INVALID_UNIT", "NO_ROLLOUT"]
    assert [one["exposure"] for one in found] == ["durable", "none", "durable"]
    single = assign(web, slot="late", unit=f"{unit}-alone", attributes=attributes)
    assert (single.status_code, single.json["exposure"]) == (200, "durable")


def test_a_kill_reaches_remote_evaluation_within_two_seconds(web: Web) -> None:
    web.define(fallback={"name": "rule", "version": "0"})
    assert assign(web, slot="late", unit="u").json["reason"] == "NO_ROLLOUT"
    killed = web.call("POST", "/v1/slots/late/kill", web.keys[Scope.STOP], json={"to": "fallback"})
    assert killed.status_code == 200
    until = time.monotonic() + 5
    while (answer := assign(web, slot="late", unit="u").json)["reason"] != "KILLED":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert answer["model"]["name"] == "rule"


# ---------------------------------------------------------------- waiting


def rollout(web: Web) -> str:
    web.define()
    for name in ("ann", "bob"):
        web.operator(name, Role.APPROVER)
    token = web.operator("carl", Role.AUTHOR, Role.OPERATOR)
    asked = {"slot": "late", "challengers": [{"name": "boost", "version": "2"}]}
    made = web.call("POST", "/v1/rollouts", token, json=asked)
    assert made.status_code == 201, made.data
    return str(made.json["metadata"]["uid"])


def test_a_watch_returns_as_soon_as_something_happened(web: Web) -> None:
    made = rollout(web)
    path, reader = f"/v1/rollouts/{made}?watch=1&after=1", web.keys[Scope.READ]

    def stop() -> None:
        time.sleep(0.5)
        client = web.client.application.test_client()
        headers = {"Authorization": f"Bearer {web.keys[Scope.STOP]}"}
        client.post(f"/v1/rollouts/{made}/actions/abort", headers=headers)

    other = threading.Thread(target=stop)
    other.start()
    started = time.monotonic()
    answer = web.call("GET", path, reader)
    other.join()
    assert answer.json["status"]["state"] == "Cancelled"
    assert time.monotonic() - started < WATCH_SECONDS


def test_a_watch_that_is_behind_returns_at_once(web: Web) -> None:
    made = rollout(web)
    started = time.monotonic()
    web.call("GET", f"/v1/rollouts/{made}?watch=1&after=0", web.keys[Scope.READ])
    assert time.monotonic() - started < WATCH_SECONDS


def test_an_event_stream_begins_after_the_last_event_seen_and_leaves_its_seat(web: Web) -> None:
    made = rollout(web)
    web.call("POST", f"/v1/rollouts/{made}/actions/abort", web.keys[Scope.STOP])
    free = web.runtime.seats._free._value
    answer = web.call(
        "GET",
        f"/v1/rollouts/{made}/events",
        web.keys[Scope.READ],
        headers={"Last-Event-ID": "1"},
        buffered=False,
    )
    lines = answer.iter_encoded()
    assert b"retry:" in next(lines)
    assert next(lines).startswith(b"id: 2\nevent: decision\ndata: {")
    assert web.runtime.seats._free._value == free - 1
    answer.close()
    assert web.runtime.seats._free._value == free


def test_whoever_finds_no_seat_is_told_when_to_return(web: Web) -> None:
    made = rollout(web)
    vars(web.runtime)["seats"] = seats = Seats(1)
    with seats.seat():
        for path in (f"/v1/rollouts/{made}/events", f"/v1/rollouts/{made}?watch=1&after=9"):
            answer = web.call("GET", path, web.keys[Scope.READ])
            assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
            assert answer.headers["Retry-After"] == "5"
        with pytest.raises(Overloaded):
            seats.take()
    seats.take()
    seats.leave()
