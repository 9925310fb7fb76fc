"""A client lives through a service that is dead, dying, hanging, lying or locked."""

from __future__ import annotations

import gzip
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset, digest
from controller.assignment.signature import sign_ruleset, split_key
from controller.sdk import Client
from controller.sdk.snapshot import load
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Handler, Service, sign, wait_for
from tests.sdk.test_processes import env

UNITS = [f"flight-{number}" for number in range(300)]
A_MILLISECOND = 1_000_000


def median_nanoseconds(client: Client) -> float:
    """The median time of an answer, so that a busy neighbour does not fail the test."""
    times = []
    for unit in UNITS:
        started = time.perf_counter_ns()
        client.assign("alert", unit=unit)
        times.append(time.perf_counter_ns() - started)
    return sorted(times)[len(times) // 2]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_service_that_is_dead_at_boot_and_then_comes(
    make_client: MakeClient, live: Ruleset
) -> None:
    port = closed_port()
    client = make_client(url=f"http://127.0.0.1:{port}", key=KEY)
    choice = client.assign("alert", unit="1", default="plain")
    assert (choice.arm, choice.payload, choice.reason) == ("champion", "plain", Reason.NO_RULESET)
    assert median_nanoseconds(client) < A_MILLISECOND
    client.track("cost", unit="1", value=1.0)
    assert wait_for(lambda: client.states().get("refresh") == "unreachable")
    with Service(live, port=port) as service:
        assert wait_for(lambda: client.ruleset_version == 7)
        assert client.flush(10)
        assert [event["type"] for event in service.events] == ["outcome"]


def test_a_service_that_dies_in_the_middle_loses_no_event(
    make_client: MakeClient, live: Ruleset
) -> None:
    with Service(live) as first:
        port = first.port
        client = make_client(first)
        assert client.wait_until_ready()
        for unit in UNITS[:100]:
            client.assign("alert", unit=unit)
        assert client.flush()
        before = first.events
    for unit in UNITS[100:200]:
        assert client.assign("alert", unit=unit) == evaluate(live, "alert", unit)
    assert not client.flush(0.5)
    assert median_nanoseconds(client) < A_MILLISECOND
    with Service(live, port=port) as second:
        assert client.flush(20)
        units = [event["unit"] for event in before + second.events]
        assert sorted(units) == sorted(UNITS)


def hang(handler: Handler) -> bool:
    handler.service.stopping.wait(30)
    handler.close_connection = True
    return True


def trickle(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.service.stopping.wait(0.05):
        handler.wfile.write(b"x")
    return True


def garbage(handler: Handler) -> bool:
    handler.wfile.write(os.urandom(2000))
    handler.close_connection = True
    return True


def page(handler: Handler) -> bool:
    return handler.answer(200, b"<html>Sign in to the hotel's network</html>")


def truncated(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"schema":1,')
    handler.close_connection = True
    return True


def bomb(handler: Handler) -> bool:
    """64 kB that unpack to 64 MiB and more."""
    packed = gzip.compress(b"x" * (64 * 1024 * 1024 + 1), 9)
    return handler.answer(200, packed, Content_Encoding="gzip")


def not_gzip(handler: Handler) -> bool:
    return handler.answer(200, b"plain text", Content_Encoding="gzip")


def closing(handler: Handler) -> bool:
    handler.close_connection = True
    return True


def redirect(handler: Handler) -> bool:
    return handler.answer(302, b"", Location="http://127.0.0.1:1/elsewhere")


@pytest.mark.parametrize(
    "fault", [hang, trickle, garbage, page, truncated, bomb, not_gzip, closing, redirect]
)
@pytest.mark.parametrize("from_the_start", [True, False])
def test_no_fault_delays_or_changes_an_answer(
    fault: Callable[[Handler], bool],
    from_the_start: bool,
    service: Service,
    live: Ruleset,
    make_client: MakeClient,
) -> None:
    client = make_client(service, timeout_seconds=0.4, poll_seconds=0.1)
    if from_the_start:
        service.fault = fault
        expected = Reason.NO_RULESET
    else:
        assert client.wait_until_ready()
        service.fault = fault
        expected = Reason.SPLIT
    assert client.assign("alert", unit="1").reason is expected
    assert median_nanoseconds(client) < A_MILLISECOND
    assert wait_for(lambda: client.states().get("refresh", "ok") != "ok", 5)
    client.track("cost", unit="1", event_id="kept")
    time.sleep(0.2)
    service.fault = lambda _: False
    assert wait_for(lambda: client.states().get("refresh") == "ok", 10)
    assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
    assert client.flush(10)
    assert "kept" in {event["event_id"] for event in service.events}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_blip_is_waited_out_and_nothing_is_lost(
    status: int, service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.1, stream=False)
    assert client.wait_until_ready()
    service.fault = lambda handler: handler.answer(status, b"{}")
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("delivery") == f"status_{status}")
    assert client.assign("alert", unit="2").reason is Reason.SPLIT
    service.fault = lambda _: False
    assert client.flush(10)
    assert sorted(event["unit"] for event in service.events) == ["1", "2"]


def test_retry_after_is_respected(service: Service, make_client: MakeClient) -> None:
    client = make_client(service, stream=False, poll_seconds=60)
    assert client.wait_until_ready()
    posts: list[float] = []

    def busy(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        posts.append(time.monotonic())
        return len(posts) == 1 and handler.answer(429, b"{}", Retry_After="2")

    service.fault = busy
    client.assign("alert", unit="1")
    assert wait_for(lambda: len(service.events) == 1, 10)
    assert posts[1] - posts[0] >= 2.0


def test_a_repeat_has_the_same_bytes_and_id(service: Service, make_client: MakeClient) -> None:
    client = make_client(service, stream=False)
    seen: list[bytes] = []

    def lose_the_answer(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        seen.append(handler.body)
        if len(seen) < 4:
            service.batches.append(handler.body)
            handler.close_connection = True
            return True
        return False

    service.fault = lose_the_answer
    for number in range(50):
        client.track("cost", unit=str(number))
    assert wait_for(lambda: len(seen) >= 4, 20)
    assert client.flush(10)
    first = [
        body for body in seen if json.loads(body)["batch_id"] == json.loads(seen[0])["batch_id"]
    ]
    assert len(first) == 4
    assert len(set(first)) == 1
    assert len(service.events) == 50


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_a_batch_that_no_repeat_can_mend_is_given_up_and_counted(
    status: int, service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    service.fault = lambda handler: handler.command == "POST" and handler.answer(status, b"no")
    client.track("cost", unit="1")
    assert client.flush(10)
    assert client.counts()[f"events_refused_{status}"] == 1
    service.fault = lambda _: False
    client.track("cost", unit="2")
    assert client.flush(10)
    assert [event["unit"] for event in service.events] == ["2"]
    assert service.headers[-1]["Controller-Events-Lost"] == "1"
    client.track("cost", unit="3")
    assert client.flush(10)
    assert "Controller-Events-Lost" not in service.headers[-1]


# ---------------------------------------------------------------- rulesets that are refused


def lie(body: bytes, etag: str | None = None, signature: str = "") -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        if handler.path != "/v1/ruleset":
            return False
        handler.answer_ruleset(body, etag or digest(body), signature)
        return True

    return answer


def honest(ruleset: Ruleset, key: str = KEY) -> Callable[[Handler], bool]:
    return lie(ruleset.encode(), signature=sign(ruleset, key))


def lies(live: Ruleset) -> dict[str, Callable[[Handler], bool]]:
    newer = replace(live, version=8)
    body = newer.encode()
    emptied = {**newer.document(), "slots": {}}
    empty_body = json.dumps(emptied).encode()
    signing, etag = split_key(KEY)[2], digest(empty_body)
    empty_signature = sign_ruleset(signing, deployment="d-1", version=8, digest=etag)
    return {
        "older": honest(replace(live, version=6)),
        "foreign deployment": honest(replace(newer, deployment="d-2")),
        "foreign project": honest(replace(newer, project="other")),
        "another key": honest(newer, "rc_test02_zzzzzzzzzzzzzzzzzzzzzzzz"),
        "unsigned": lie(body),
        "signature of another version": lie(body, signature=sign(live)),
        "flipped bit": lie(body[:-5] + b"x" + body[-4:], etag=digest(body), signature=sign(newer)),
        "truncated": lie(body[:-1], etag=digest(body), signature=sign(newer)),
        "implausibly empty": lie(empty_body, signature=empty_signature),
        "newer schema": lie(body.replace(b'"schema":1,', b'"schema":2,'), signature=sign(newer)),
        "not json": lie(b"%PDF-1.4"),
        "nothing": lie(b""),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["older", "foreign deployment", "foreign project", "another key", "unsigned",
     "signature of another version", "flipped bit", "truncated", "implausibly empty",
     "newer schema", "not json", "nothing"],
)  # fmt: skip
def test_a_ruleset_that_may_not_be_believed_is_refused(
    name: str, service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready()
    service.fault = lies(live)[name]
    assert wait_for(lambda: client.states().get("refresh") == "refused", 5), name
    assert client.counts()["rulesets_refused"] >= 1
    assert client.ruleset_version == 7
    assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
    service.fault = honest(replace(live, version=9))
    assert wait_for(lambda: client.ruleset_version == 9, 10)


def test_an_explicit_empty_is_honoured(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready()
    service.publish(replace(live, version=8, slots={}))
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.UNKNOWN_SLOT)


def test_a_rule_of_the_future_answers_champion_and_is_counted(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    document = replace(live, version=8).document()
    document["slots"]["alert"]["rollout"]["algo"] = 3
    body = json.dumps(document).encode()
    signature = sign(live)

    class AsSent(Ruleset):
        """Signed as it was sent, unknown rule included."""

        def encode(self) -> bytes:
            return body

    made = AsSent(project="default", deployment="d-1", version=8, slots={})
    signature = sign(made)
    service.fault = lie(body, signature=signature)
    assert client.wait_until_ready()
    choice = client.assign("alert", unit="1")
    assert (choice.arm, choice.reason, choice.ruleset) == ("champion", Reason.ERROR, 8)
    assert client.counts()["rules_unreadable"] == 1
    assert client.assign("quiet", unit="1").reason is Reason.NO_ROLLOUT


# ---------------------------------------------------------------- the saved snapshot


def test_the_next_process_starts_from_the_saved_snapshot(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    first = make_client(service)
    assert first.wait_until_ready()
    first.close()
    service.fault = hang
    second = make_client(service)
    assert second.assign("alert", unit="1") == evaluate(live, "alert", "1")
    assert second.explain("alert", unit="1")["source"] == "snapshot"


def test_an_older_ruleset_is_refused_across_a_restart(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    service.publish(replace(live, version=9))
    first = make_client(service)
    assert first.wait_until_ready()
    first.close()
    service.publish(live)
    second = make_client(service)
    second.assign("alert", unit="1")
    assert wait_for(lambda: second.states().get("refresh") == "refused")
    assert second.ruleset_version == 9


@pytest.mark.parametrize("damage", [b"", b"x", b"{}\n", b'{"etag":1}\n{}', os.urandom(500)])
def test_a_damaged_snapshot_is_refused_and_replaced(
    damage: bytes, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    first = make_client(service)
    assert first.wait_until_ready()
    first.close()
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    saved.write_bytes(damage)
    second = make_client(service)
    assert second.states()["snapshot"] == "refused"
    assert second.wait_until_ready()
    assert wait_for(lambda: saved.read_bytes() != damage)
    assert load(saved.parent, KEY) is not None


def test_one_bit_flipped_anywhere_in_the_snapshot_is_noticed(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    first = make_client(service)
    assert first.wait_until_ready()
    first.close()
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    whole = saved.read_bytes()
    refused = 0
    for place in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        saved.write_bytes(bytes(damaged))
        client = make_client(service)
        refused += client.states().get("snapshot") == "refused"
        client.close()
    assert refused == len(range(0, len(whole), 37))


def test_the_saved_files_belong_to_their_owner_alone(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    client.assign("alert", unit="1")
    assert wait_for(lambda: any(tmp_path.rglob("*.seg")))
    modes = {path.name[-8:]: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")
             if path.suffix in {".seg", ".snapshot"} or path.name == "spool"}  # fmt: skip
    assert modes
    assert not any(modes.values())


# ---------------------------------------------------------------- the machine


def test_a_read_only_state_directory_leaves_memory(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(service, state_dir="/proc/nowhere")
    assert client.wait_until_ready()
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("spool") == "memory_only")
    service.fault = lambda _: False
    assert client.flush(10)
    assert len(service.events) == 1
    assert sum("topic=spool" in line for line in caplog.messages) == 1
    assert sum("topic=snapshot" in line for line in caplog.messages) == 1


def test_a_full_disk_leaves_memory_and_loses_nothing(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    assert client.wait_until_ready()
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # The nearest real thing to a full disk: a write beyond 64 bytes fails with EFBIG.
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        client.assign("alert", unit="1")
        assert wait_for(lambda: client.states().get("spool") == "memory_only")
        assert median_nanoseconds(client) < A_MILLISECOND
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    service.fault = lambda _: False
    assert client.flush(20)
    assert {event["unit"] for event in service.events} == {"1", *UNITS}


@pytest.mark.parametrize("jump", [-10 * 86_400.0, 10 * 86_400.0])
def test_a_clock_jump_changes_no_schedule(
    jump: float, service: Service, live: Ruleset, make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client = make_client(service, max_staleness_seconds=30.0)
    assert client.wait_until_ready()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    client.assign("alert", unit="1")
    assert client.flush(5)
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8, 3)
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.assign("alert", unit="2").reason is Reason.SPLIT
    assert client.flush(5)
    assert len({event["event_id"] for event in service.events}) == 2


def test_a_full_queue_drops_its_oldest_and_says_how_many(
    service: Service, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.sdk.delivery.QUEUE_EVENTS", 50)
    client = make_client(service, flush_seconds=60, stream=False)
    assert client.wait_until_ready()
    for number in range(80):
        client.track("cost", unit=str(number))
    assert client.counts()["events_queue_full"] == 30
    assert client.flush(10)
    assert [event["unit"] for event in service.events] == [str(n) for n in range(30, 80)]
    assert service.headers[0]["Controller-Events-Lost"] == "30"


def test_closing_while_the_service_hangs_is_quick_and_keeps_the_events(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, timeout_seconds=30.0)
    assert client.wait_until_ready()
    service.fault = hang
    client.assign("alert", unit="1")
    time.sleep(0.2)
    started = time.monotonic()
    client.close(0.5)
    assert time.monotonic() - started < 3.0
    assert not [t for t in threading.enumerate() if t.name.startswith("controller-")]
    service.fault = lambda _: False
    other = make_client(service)
    other.track("cost", unit="2")
    assert wait_for(lambda: {event["unit"] for event in service.events} == {"1", "2"})


def test_log_lines_do_not_grow_with_calls(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "controller.sdk")
    client = make_client(url=f"http://127.0.0.1:{closed_port()}", key=KEY, stream=False)
    for number in range(2000):
        client.assign("alert", unit=str(number))
        client.track("cost", unit=str(number))
    time.sleep(0.5)
    assert len(caplog.messages) <= 4, caplog.messages


def test_each_change_of_state_is_one_line(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "controller.sdk")
    client = make_client(
        service, poll_seconds=0.03, flush_seconds=0.03, timeout_seconds=20.0, stream=False
    )
    assert client.wait_until_ready()
    client.track("cost", unit="first")
    assert client.flush()
    assert caplog.messages == []
    for turn in range(2):
        service.fault = lambda handler: handler.answer(503, b"busy")
        answered = len(service.requests)
        for number in range(200):
            client.track("cost", unit=f"{turn}-{number}")
            client.assign("alert", unit=f"{turn}-{number}")
        assert wait_for(lambda: len(service.requests) > answered + 10, 20)  # noqa: B023
        service.fault = lambda _: False
        assert client.flush(20)
        assert wait_for(lambda: client.states()["refresh"] == "ok", 20)
    lines = Counter(line.partition(" (")[0] for line in caplog.messages)
    assert lines == {
        f"sdk_state topic={topic} state={state}": 2
        for topic in ("refresh", "delivery")
        for state in ("status_503", "ok")
    }


def test_a_process_that_can_have_no_more_threads_still_answers(
    service: Service, live: Ruleset, tmp_path: Path
) -> None:
    bootstrap = tmp_path / "ruleset.json"
    bootstrap.write_bytes(live.encode())
    script = tmp_path / "application.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, threading
            from controller.sdk import Client

            client = Client.from_env(bootstrap=sys.argv[1])
            threading.stack_size(1 << 46)  # no machine has room for such a thread
            choices = [client.assign("alert", unit=f"{n}") for n in range(100)]
            assert {choice.reason for choice in choices} == {"SPLIT"}, choices[0]
            states, counts = client.states(), client.counts()
            assert states["threads"] == "refused", states
            assert states["delivery"] == "no_thread", states
            assert counts["events_waiting"] == 100, counts
            threading.stack_size(0)
            client.track("cost", unit="later")
            assert client.flush(20)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script, bootstrap], capture_output=True, text=True, timeout=60,
        check=False, env=env(service, tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(service.events) == 101
    assert len([line for line in done.stderr.splitlines() if "sdk_state" in line]) == 2


def test_hundreds_of_strange_calls_never_raise(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    strange: list[Any] = [
        None,
        0,
        -1,
        1.5,
        "",
        "\x00",
        "\ud800",
        b"x",
        [],
        {},
        object(),
        "x" * 9999,
    ]
    for one in strange:
        for two in strange:
            client.assign(one, unit=two, attributes=one)
            client.peek(one, unit=two, default=one)
            client.track(one, unit=two, value=one, slot=two)
            client.record(client.peek(one, two), unit=one, ref=two, score=two)
    assert client.assign("alert", unit="1").arm in {"champion", "challenger"}
