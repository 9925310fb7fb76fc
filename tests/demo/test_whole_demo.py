"""`controller demo` from its start to its own end, with its processes killed on the way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from controller.demo.progress import lost_events
from controller.flow.aggregate import drain
from controller.storage.sql.database import Database
from controller.storage.sql.ingest import SqlIngest
from tests.processes import alive, descendants, wait_until
from tests.running import Running, start

pytestmark = pytest.mark.timeout(600)

SECONDS = 180


def _kill(up: Running, victim: str) -> None:
    os.kill(up.children()[victim], signal.SIGKILL)
    wait_until(lambda: victim in up.children(), f"{victim} is started again")


def _drain(data_dir: Path) -> None:
    """Aggregate what the stop left in the inbox."""
    opened = Database(f"sqlite:///{data_dir / 'main.db'}")
    try:
        store = SqlIngest(opened)
        while drain(store).requests:
            pass
    finally:
        opened.dispose()


def _count(path: Path, query: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (number,) = connection.execute(query).fetchone()
        return int(number)
    finally:
        connection.close()


def test_the_demo_ends_by_itself_with_its_verdicts_through_kills(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    began = time.monotonic()
    up = start(
        tmp_path / "data",
        *("--headless", "--auto-approve"),
        *("--report", str(report), "--max-seconds", str(SECONDS)),
        command="demo",
    )
    try:
        processes = descendants(up.process.pid)
        time.sleep(35)
        for victim in ("worker", "web", "valkey"):
            _kill(up, victim)
            time.sleep(4)
        code = up.process.wait(SECONDS + 60 - (time.monotonic() - began))
    finally:
        if up.process.poll() is None:
            up.stop()
    told: dict[str, Any] = json.loads(report.read_text())
    assert code == 0, up.log.read_text()
    assert told["seconds"] <= SECONDS
    ended = {one["slot"]: (one["state"], one["verdict"], one["reason"]) for one in told["rollouts"]}
    weather_state, weather_verdict, _ = ended.pop("late-flight-alert")
    assert (weather_state, weather_verdict) in {("Baking", "PROMOTE"), ("Promoted", "PROMOTE")}
    assert ended == {
        "gate-screen-alert": ("RolledBack", "ROLLBACK", "guardrail_harm"),
        "recommendation": ("RolledBack", "NO_DIFFERENCE", "horizon_not_reached"),
    }
    assert not [pid for pid in processes if alive(pid)]

    _drain(up.data_dir)
    ledger = _count(up.data_dir / "main.db", "select count(*) from ledger")
    events = told["events"]
    assert lost_events(events) == 0, events
    said = up.log.read_text()
    assert "none lost; report in" in said.splitlines()[-1]
    assert "child_killed" not in said
    assert ledger >= events["events_delivered"] > 100_000
    assert ledger <= events["events_delivered"] + events.get("events_waiting", 0) + 500
    votes = _count(up.data_dir / "main.db", "select count(distinct voter) from votes")
    assert votes == 2
