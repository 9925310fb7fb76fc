"""A client lives on a machine that is locked, full, out of time, out of threads or in a hurry."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from controller.assignment.choice import Reason
from controller.assignment.ruleset import Ruleset
from tests.processes import PATIENCE_SECONDS, free_port
from tests.sdk.conftest import MakeClient
from tests.sdk.pace import A_MILLISECOND, UNITS, median_nanoseconds
from tests.sdk.service import KEY, Service, hang, wait_for
from tests.sdk.test_processes import env


def test_a_read_only_state_directory_leaves_memory(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(service, state_dir="/proc/nowhere")
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("spool") == "memory_only")
    service.fault = lambda _: False
    assert client.flush(PATIENCE_SECONDS)
    assert len(service.events) == 1
    assert sum("topic=spool" in line for line in caplog.messages) == 1
    assert sum("topic=snapshot" in line for line in caplog.messages) == 1


def test_a_full_disk_leaves_memory_and_loses_nothing(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
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
    assert client.flush(PATIENCE_SECONDS)
    assert {event["unit"] for event in service.events} == {"1", *UNITS}


@pytest.mark.parametrize("jump", [-10 * 86_400.0, 10 * 86_400.0])
def test_a_clock_jump_changes_no_schedule(
    jump: float, service: Service, live: Ruleset, make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client = make_client(service, max_staleness_seconds=30.0)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    client.assign("alert", unit="1")
    assert client.flush(PATIENCE_SECONDS)
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8)
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.assign("alert", unit="2").reason is Reason.SPLIT
    assert client.flush(PATIENCE_SECONDS)
    assert len({event["event_id"] for event in service.events}) == 2


def test_a_full_queue_drops_its_oldest_and_says_how_many(
    service: Service, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.sdk.delivery.QUEUE_EVENTS", 50)
    client = make_client(service, flush_seconds=60, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for number in range(80):
        client.track("cost", unit=str(number))
    assert client.counts()["events_queue_full"] == 30
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == [str(n) for n in range(30, 80)]
    assert service.headers[0]["Controller-Events-Lost"] == "30"


def test_closing_while_the_service_hangs_is_quick_and_keeps_the_events(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, timeout_seconds=30.0)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.fault = hang
    client.assign("alert", unit="1")
    time.sleep(0.2)
    started = time.monotonic()
    client.close(0.5)
    assert time.monotonic() - started < 15.0, "half of what one answer may take"
    assert not [t for t in threading.enumerate() if t.name.startswith("controller-")]
    service.fault = lambda _: False
    other = make_client(service)
    other.track("cost", unit="2")
    assert wait_for(lambda: {event["unit"] for event in service.events} == {"1", "2"})


def test_log_lines_do_not_grow_with_calls(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "controller.sdk")
    client = make_client(url=f"http://127.0.0.1:{free_port()}", key=KEY, stream=False)
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
    assert client.wait_until_ready(PATIENCE_SECONDS)
    client.track("cost", unit="first")
    assert client.flush(PATIENCE_SECONDS)
    assert caplog.messages == []
    for turn in range(2):
        service.fault = lambda handler: handler.answer(503, b"busy")
        answered = len(service.requests)
        for number in range(200):
            client.track("cost", unit=f"{turn}-{number}")
            client.assign("alert", unit=f"{turn}-{number}")
        assert wait_for(lambda: len(service.requests) > answered + 10)  # noqa: B023
        service.fault = lambda _: False
        assert client.flush(PATIENCE_SECONDS)
        assert wait_for(lambda: client.states()["refresh"] == "ok")
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
            assert client.flush(60)
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
