"""kill -9 of web, worker and Valkey under load: nothing accepted is lost or doubled (I1)."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.cli.client import ProblemAnswer, ServiceClient
from controller.errors import SetupFailed
from tests.processes import wait_until
from tests.running import ONE_WORKER, Running, running

BATCH = 50
SECONDS = 14.0
PRODUCERS = 2
ENOUGH = 20 * BATCH


class Producer(threading.Thread):
    """Sends batches like an SDK: the same bytes again until it is told what became of them."""

    def __init__(self, client: ServiceClient, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.client, self.stop = client, stop
        self.sent: set[str] = set()
        self.accepted: set[str] = set()
        self.retries = 0

    def run(self) -> None:
        for number in itertools.count():
            if self.stop.is_set():
                return
            self._deliver(batch(f"{self.name}-{number}"))

    def _deliver(self, body: dict[str, Any]) -> None:
        ids = {event["event_id"] for event in body["events"]}
        self.sent |= ids
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                answer, _ = self.client.call("POST", "/v1/events", body=body)
            except (SetupFailed, ProblemAnswer):
                self.retries += 1
                time.sleep(0.1)
            else:
                assert answer["rejected"] == []
                self.accepted |= ids
                return


def batch(name: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "batch_id": secrets.token_hex(12),
        "events": [
            {
                "type": "outcome",
                "event_id": f"{name}-{index}",
                "occurred_at": now,
                "unit": f"unit-{index}",
                "unit_type": "customer",
                "name": "margin",
                "value": 1.5,
            }
            for index in range(BATCH)
        ],
    }


def kills(up: Running) -> Iterator[str]:
    for victim in itertools.cycle(("worker", "web", "valkey", "stream")):
        pid = up.children().get(victim)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            yield victim


def ledger(up: Running) -> list[tuple[str, float]]:
    connection = sqlite3.connect(f"file:{up.data_dir / 'main.db'}?mode=ro", uri=True)
    try:
        return connection.execute("select event_id, value from ledger").fetchall()
    finally:
        connection.close()


def read(path: Path, query: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute(query).fetchone()[0] or 0)
    finally:
        connection.close()


def waiting(up: Running) -> int:
    """Requests that are on disk and not yet aggregated."""
    newest = read(up.data_dir / "inbox.db", "select max(seq) from inbox")
    return newest - read(up.data_dir / "main.db", "select max(seq) from consumed")


def test_what_was_accepted_is_counted_exactly_once_through_kills(tmp_path: Path) -> None:
    with running(tmp_path / "data", *ONE_WORKER) as up:
        stop = threading.Event()
        producers = [Producer(up.with_key("sdk"), stop) for _ in range(PRODUCERS)]
        for producer in producers:
            producer.start()
        killed, until = [], time.monotonic() + SECONDS
        for victim in kills(up):
            killed.append(victim)
            time.sleep(1.5)
            if time.monotonic() > until:
                break
        wait_until(up.ready, "ready after the kills")
        wait_until(lambda: sum(len(one.accepted) for one in producers) > ENOUGH, "enough accepted")
        stop.set()
        for producer in producers:
            producer.join(150)
            assert not producer.is_alive()
        wait_until(lambda: waiting(up) == 0, "the inbox is drained")
        counted = ledger(up)
        sent = set().union(*(producer.sent for producer in producers))
        accepted = set().union(*(producer.accepted for producer in producers))
        ids = [event_id for event_id, _ in counted]
        assert {"worker", "web", "valkey"} <= set(killed)
        assert sum(producer.retries for producer in producers) > 0, "no kill was ever felt"
        assert accepted <= set(ids), "an accepted event is missing"
        assert len(ids) == len(set(ids)), "an event stands twice"
        assert set(ids) <= sent, "an event was invented"
        assert up.as_operator().get("/v1/audit/verify")["intact"] is True
