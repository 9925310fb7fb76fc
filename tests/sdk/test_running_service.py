"""The SDK against the whole service, started as a person starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.assignment.choice import Reason
from controller.assignment.ruleset import Ruleset
from controller.sdk import Client
from tests.running import Running, running
from tests.sdk.service import wait_for

UNITS = [f"flight-{number}" for number in range(400)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up")) as started:
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

    assert wait_for(done, 20)


@pytest.fixture
def client(service: Running, tmp_path: Path) -> Iterator[Client]:
    url = f"http://127.0.0.1:{service.port}"
    with Client(url, service.sdk_key, state_dir=tmp_path, flush_seconds=0.1) as made:
        yield made


def test_the_ruleset_is_believed_and_every_event_is_accepted(
    service: Running, client: Client
) -> None:
    assert client.wait_until_ready(20)
    for unit in UNITS:
        choice = client.assign("alerts", unit=unit, attributes={"origin": "EWR"})
        assert (choice.reason, choice.payload) == (Reason.NO_ROLLOUT, {"slot": "alerts"})
        client.track("cost", unit=unit, value=1.5, slot="alerts")
    assert client.flush(20)
    counts = client.counts()
    assert counts["events_delivered"] == 2 * len(UNITS)
    assert "events_rejected" not in counts
    assert client.states()["refresh"] == "ok"


def test_server_and_sdk_give_every_unit_the_same_answer(service: Running, client: Client) -> None:
    assert client.wait_until_ready(20)
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


def test_a_kill_arrives_by_note_and_is_lifted_again(service: Running, client: Client) -> None:
    assert client.wait_until_ready(20)
    assert wait_for(lambda: client.states().get("notes") == "ok", 20)
    took = []
    for _ in range(5):
        started = time.monotonic()
        killed = service.call(
            "POST", "/v1/slots/alerts/kill", service.admin_key, json_body={"to": "fallback"}
        )
        assert killed.status in {200, 204}, killed.body
        assert wait_for(lambda: client.peek("alerts", unit="1").reason is Reason.KILLED, 20)
        took.append(time.monotonic() - started)
        choice = client.peek("alerts", unit="1")
        assert choice.model is not None
        assert choice.model.version == "0"
        assert client.peek("offers", unit="1").reason is Reason.NO_ROLLOUT
        service.call("DELETE", "/v1/slots/alerts/kill", service.admin_token)
        assert wait_for(lambda: client.peek("alerts", unit="1").reason is Reason.NO_ROLLOUT, 20)
    assert sorted(took)[2] < 3.0, took


def test_a_saved_snapshot_of_one_key_is_not_believed_under_another(
    service: Running, client: Client, tmp_path: Path
) -> None:
    assert client.wait_until_ready(20)
    assert wait_for(lambda: any(tmp_path.rglob("ruleset.snapshot")), 5)
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    body = saved.read_bytes().partition(b"\n")[2]
    assert Ruleset.from_bytes(body).version == client.ruleset_version
    other = Client(f"http://127.0.0.1:{service.port}", "rc_other1_0123456789abcdefghijklmn",
                   state_dir=tmp_path)  # fmt: skip
    with other:
        (tmp_path / saved.parent.name).rename(other._engine.options.directory or tmp_path)
        other._engine._load()
        assert other.states()["snapshot"] == "refused"
        assert wait_for(lambda: not other.wait_until_ready(0.1) and "refresh" in other.states(), 10)
        assert other.states()["refresh"] == "status_401"


def children(pid: int) -> dict[str, int]:
    found = {}
    listing = subprocess.run(
        ["ps", "-ww", "--ppid", str(pid), "-o", "pid=,args="],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in listing.stdout.splitlines():
        child, _, words = line.strip().partition(" ")
        for name in ("valkey-server", "stream", "worker", "web"):
            if name in words:
                found[name] = int(child)
                break
    return found


@pytest.mark.parametrize("victim", ["valkey-server", "stream", "web", "worker"])
def test_kill_9_of_any_part_changes_no_answer_and_loses_no_event(
    victim: str, service: Running, client: Client
) -> None:
    assert client.wait_until_ready(20)
    before = Counter(client.peek("alerts", unit=unit).payload["slot"] for unit in UNITS)
    assert wait_for(lambda: victim in children(service.process.pid), 20)
    os.kill(children(service.process.pid)[victim], signal.SIGKILL)
    for number in range(200):
        client.track("cost", unit=f"{victim}-{number}", slot="alerts", value=1.0)
        client.assign("alerts", unit=f"{victim}-{number}")
        time.sleep(0.005)
    assert Counter(client.peek("alerts", unit=unit).payload["slot"] for unit in UNITS) == before
    assert client.flush(30)
    counts = client.counts()
    assert counts["events_delivered"] == 400
    assert not [name for name in counts if "lost" in name or "rejected" in name]
    put(service, f"after-{victim}")
    assert wait_for(
        lambda: client.peek(f"after-{victim}", unit="1").reason is Reason.NO_ROLLOUT, 30
    )
