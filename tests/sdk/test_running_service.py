"""The SDK against the whole service, started as a person starts it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.assignment.choice import Reason
from controller.assignment.ruleset import Ruleset
from controller.sdk import Client
from tests.processes import PATIENCE_SECONDS
from tests.running import ONE_WORKER, Running, running
from tests.sdk.service import wait_for

A_WEEK = 7 * 86_400.0
UNITS = [f"flight-{number}" for number in range(400)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up") / "data", *ONE_WORKER) as started:
        for slot in ("alerts", "offers"):
            put(started, slot)
        yield started


def put(service: Running, slot: str) -> None:
    document = {
        "unit": "departure",
        "champion": {"name": slot, "version": "1", "payload": {"slot": slot}},
        "fallback": {"name": slot, "version": "0"},
        "observe": 1.0,
    }

    def done() -> bool:
        try:
            made = service.call("PUT", f"/v1/slots/{slot}", service.admin_key, json_body=document)
        except OSError:  # a web process was just killed
            return False
        return made.status == 200

    assert wait_for(done)


@pytest.fixture
def client(service: Running, tmp_path: Path) -> Iterator[Client]:
    url = service.url
    with Client(url, service.sdk_key, state_dir=tmp_path, flush_seconds=0.1) as made:
        yield made


def test_the_ruleset_is_believed_and_every_event_is_accepted(
    service: Running, client: Client
) -> None:
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for unit in UNITS:
        choice = client.assign("alerts", unit=unit, attributes={"origin": "EWR"})
        assert (choice.reason, choice.payload) == (Reason.NO_ROLLOUT, {"slot": "alerts"})
        client.track("cost", unit=unit, value=1.5, slot="alerts")
    assert client.flush(PATIENCE_SECONDS)
    counts = client.counts()
    assert counts["events_delivered"] == 2 * len(UNITS)
    assert "events_rejected" not in counts
    assert client.states()["refresh"] == "ok"


def test_server_and_sdk_give_every_unit_the_same_answer(service: Running, client: Client) -> None:
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for unit in [*UNITS[:30], "é", "\U0001f600", "a b"]:
        asked = {"slot": "alerts", "unit": unit, "expose": False}
        remote = service.call("POST", "/v1/assign", service.sdk_key, json_body=asked).json
        local = client.peek("alerts", unit=unit)
        assert (remote["arm"], remote["reason"], remote["payload"], remote["ruleset"]) == (
            local.arm,
            local.reason,
            local.payload,
            local.ruleset,
        )


def test_a_kill_arrives_by_note_and_is_lifted_again(service: Running, tmp_path: Path) -> None:
    with Client(service.url, service.sdk_key, state_dir=tmp_path, poll_seconds=A_WEEK) as client:
        assert client.wait_until_ready(PATIENCE_SECONDS)
        assert wait_for(lambda: client.states().get("notes") == "ok")
        for _ in range(5):
            killed = service.call(
                "POST", "/v1/slots/alerts/kill", service.admin_key, json_body={"to": "fallback"}
            )
            assert killed.status in {200, 204}, killed.body
            assert wait_for(lambda: client.peek("alerts", unit="1").reason is Reason.KILLED)
            choice = client.peek("alerts", unit="1")
            assert choice.model is not None
            assert choice.model.version == "0"
            assert client.peek("offers", unit="1").reason is Reason.NO_ROLLOUT
            service.call("DELETE", "/v1/slots/alerts/kill", service.admin_token)
            assert wait_for(lambda: client.peek("alerts", unit="1").reason is Reason.NO_ROLLOUT)


def test_a_saved_snapshot_of_one_key_is_not_believed_under_another(
    service: Running, client: Client, tmp_path: Path
) -> None:
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: any(tmp_path.rglob("ruleset.snapshot")))
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    body = saved.read_bytes().partition(b"\n")[2]
    assert Ruleset.from_bytes(body).version == client.ruleset_version
    other = Client(service.url, "rc_other1_0123456789abcdefghijklmn",
                   state_dir=tmp_path)  # fmt: skip
    with other:
        (tmp_path / saved.parent.name).rename(other._engine.options.directory or tmp_path)
        other._engine._load()
        assert other.states()["snapshot"] == "refused"
        assert wait_for(lambda: not other.wait_until_ready(0.1) and "refresh" in other.states())
        assert other.states()["refresh"] == "status_401"


@pytest.mark.parametrize("victim", ["valkey", "stream", "web", "worker"])
def test_kill_9_of_any_part_changes_no_answer_and_loses_no_event(
    victim: str, service: Running, client: Client
) -> None:
    assert client.wait_until_ready(PATIENCE_SECONDS)
    before = Counter(client.peek("alerts", unit=unit).payload["slot"] for unit in UNITS)
    service.until(lambda: victim in service.children(), f"{victim} runs")
    os.kill(service.children()[victim], signal.SIGKILL)
    for number in range(200):
        client.track("cost", unit=f"{victim}-{number}", slot="alerts", value=1.0)
        client.assign("alerts", unit=f"{victim}-{number}")
        time.sleep(0.005)
    assert Counter(client.peek("alerts", unit=unit).payload["slot"] for unit in UNITS) == before
    assert client.flush(PATIENCE_SECONDS)
    counts = client.counts()
    assert counts["events_delivered"] == 400
    assert not [name for name in counts if "lost" in name or "rejected" in name]
    put(service, f"after-{victim}")
    assert wait_for(
        lambda: client.peek(f"after-{victim}", unit="1").reason is Reason.NO_ROLLOUT, 30
    )
