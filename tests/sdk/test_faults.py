"""A client lives through a service that is dead, dying, hanging or lying."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from tests.processes import PATIENCE_SECONDS, free_port
from tests.sdk.conftest import MakeClient
from tests.sdk.pace import A_MILLISECOND, UNITS, median_nanoseconds
from tests.sdk.service import KEY, Handler, Service, hang, wait_for


def test_a_service_that_is_dead_at_boot_and_then_comes(
    make_client: MakeClient, live: Ruleset
) -> None:
    port = free_port()
    client = make_client(url=f"http://127.0.0.1:{port}", key=KEY)
    choice = client.assign("alert", unit="1", default="plain")
    assert (choice.arm, choice.payload, choice.reason) == ("champion", "plain", Reason.NO_RULESET)
    assert median_nanoseconds(client) < A_MILLISECOND
    client.track("cost", unit="1", value=1.0)
    assert wait_for(lambda: client.states().get("refresh") == "unreachable")
    with Service(live, port=port) as service:
        assert wait_for(lambda: client.ruleset_version == 7)
        assert client.flush(PATIENCE_SECONDS)
        assert [event["type"] for event in service.events] == ["outcome"]


def test_a_service_that_dies_in_the_middle_loses_no_event(
    make_client: MakeClient, live: Ruleset
) -> None:
    with Service(live) as first:
        port = first.port
        client = make_client(first)
        assert client.wait_until_ready(PATIENCE_SECONDS)
        for unit in UNITS[:100]:
            client.assign("alert", unit=unit)
        assert client.flush(PATIENCE_SECONDS)
        before = first.events
    for unit in UNITS[100:200]:
        assert client.assign("alert", unit=unit) == evaluate(live, "alert", unit)
    assert not client.flush(0.5)
    assert median_nanoseconds(client) < A_MILLISECOND
    with Service(live, port=port) as second:
        assert client.flush(PATIENCE_SECONDS)
        units = [event["unit"] for event in before + second.events]
        assert sorted(units) == sorted(UNITS)


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
        assert client.wait_until_ready(PATIENCE_SECONDS)
        service.fault = fault
        expected = Reason.SPLIT
    assert client.assign("alert", unit="1").reason is expected
    assert median_nanoseconds(client) < A_MILLISECOND
    assert wait_for(lambda: client.states().get("refresh", "ok") != "ok")
    client.track("cost", unit="1", event_id="kept")
    time.sleep(0.2)
    service.fault = lambda _: False
    assert wait_for(lambda: client.states().get("refresh") == "ok")
    assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
    assert client.flush(PATIENCE_SECONDS)
    assert "kept" in {event["event_id"] for event in service.events}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_blip_is_waited_out_and_nothing_is_lost(
    status: int, service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=0.1, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.fault = lambda handler: handler.answer(status, b"{}")
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("delivery") == f"status_{status}")
    assert client.assign("alert", unit="2").reason is Reason.SPLIT
    service.fault = lambda _: False
    assert client.flush(PATIENCE_SECONDS)
    assert sorted(event["unit"] for event in service.events) == ["1", "2"]


def test_retry_after_is_respected(service: Service, make_client: MakeClient) -> None:
    client = make_client(service, stream=False, poll_seconds=60)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    posts: list[float] = []

    def busy(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        posts.append(time.monotonic())
        return len(posts) == 1 and handler.answer(429, b"{}", Retry_After="2")

    service.fault = busy
    client.assign("alert", unit="1")
    assert wait_for(lambda: len(service.events) == 1)
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
    assert wait_for(lambda: len(seen) >= 4)
    assert client.flush(PATIENCE_SECONDS)
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
    assert client.flush(PATIENCE_SECONDS)
    assert client.counts()[f"events_refused_{status}"] == 1
    service.fault = lambda _: False
    client.track("cost", unit="2")
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == ["2"]
    assert service.headers[-1]["Controller-Events-Lost"] == "1"
    client.track("cost", unit="3")
    assert client.flush(PATIENCE_SECONDS)
    assert "Controller-Events-Lost" not in service.headers[-1]
