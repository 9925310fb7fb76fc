"""Exposures are written in groups; an answer says honestly whether its own is on disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Choice, Reason
from controller.errors import Unavailable
from controller.flow.exposures import ExposureLog
from controller.flow.ports.ingest import Answered, Received
from controller.storage.sql.base import InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.telemetry import Telemetry
from tests.processes import PATIENCE_SECONDS, wait_until

ENROLLED = Choice(
    slot="late",
    arm="challenger",
    model=None,
    payload=None,
    reason=Reason.SPLIT,
    rollout="r-1",
    allocation=1,
    ruleset=7,
    exposed=True,
)
OUTSIDE = Choice(
    slot="late",
    arm="champion",
    model=None,
    payload=None,
    reason=Reason.NOT_ENROLLED,
    rollout=None,
    allocation=None,
    ruleset=7,
)


@dataclass
class Gate:
    """A real inbox behind a gate that can be shut, like a database that is away or slow."""

    inbox: SqlInbox
    away: bool = False
    open: threading.Event = field(default_factory=threading.Event)
    stored: list[Received] = field(default_factory=list)
    before_it: int = 0

    def put(self, received: Received) -> Answered | None:
        self.before_it = len(json.loads(received.body)["events"])
        self.open.wait(PATIENCE_SECONDS)
        if self.away:
            raise Unavailable("The database is away.")
        answered = self.inbox.put(received)
        self.stored.append(received)
        return answered

    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.stored for event in json.loads(batch.body)["events"]]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    database = Database(f"sqlite:///{tmp_path / 'main.db'}")
    InboxBase.metadata.create_all(database.inbox)
    made = Gate(SqlInbox(database))
    made.open.set()
    yield made
    database.dispose()


@pytest.fixture
def log(gate: Gate) -> Iterator[ExposureLog]:
    made = ExposureLog(gate, wait_seconds=PATIENCE_SECONDS)
    yield made
    gate.away = False
    gate.open.set()
    made.close()


def expose(log: ExposureLog, unit: str = "u-1", choice: Choice = ENROLLED) -> str:
    return log.expose("default", "key-1", [(choice, unit)], [{"origin": "EWR"}])


def test_durable_means_in_the_inbox(log: ExposureLog, gate: Gate) -> None:
    assert expose(log) == "durable"
    (event,) = gate.events()
    assert (event["unit"], event["arm"], event["rollout"]) == ("u-1", "challenger", "r-1")
    assert event["attributes"] == {"origin": "EWR"}
    assert gate.stored[0].key_id == "key-1"


def test_who_is_not_exposed_leaves_no_trace(log: ExposureLog, gate: Gate) -> None:
    assert expose(log, choice=OUTSIDE) == "none"
    assert gate.stored == []


def test_a_repeat_within_the_hour_is_not_written_again(log: ExposureLog, gate: Gate) -> None:
    assert [expose(log) for _ in range(5)] == ["durable"] * 5
    assert len(gate.events()) == 1
    assert expose(log, "u-2") == "durable"
    assert len(gate.events()) == 2


def test_many_callers_share_a_commit(log: ExposureLog, gate: Gate) -> None:
    gate.open.clear()
    with ThreadPoolExecutor(40) as callers:
        waiting = [callers.submit(expose, log, f"u-{number}") for number in range(40)]
        wait_until(lambda: gate.before_it + log._events_waiting == 40, "all of them wait")
        gate.open.set()
        assert {future.result() for future in waiting} == {"durable"}
    assert len(gate.events()) == 40
    assert len(gate.stored) <= 3


def test_a_slow_database_makes_it_queued_and_it_is_written_later(gate: Gate) -> None:
    log = ExposureLog(gate, wait_seconds=0.05)
    gate.open.clear()
    assert expose(log) == "queued"
    gate.open.set()
    log.close()
    assert len(gate.events()) == 1


def test_an_away_database_is_tried_again_until_it_is_back(gate: Gate) -> None:
    log = ExposureLog(gate, wait_seconds=0.05)
    gate.away = True
    assert [expose(log, f"u-{number}") for number in range(3)] == ["queued"] * 3
    gate.away = False
    wait_until(lambda: len(gate.events()) == 3, "all are written")
    assert sorted(event["unit"] for event in gate.events()) == ["u-0", "u-1", "u-2"]
    log.close()


def test_while_the_database_is_away_nobody_waits_for_it(gate: Gate) -> None:
    log = ExposureLog(gate, wait_seconds=3.0)
    gate.away = True
    expose(log)
    started = time.monotonic()
    assert [expose(log, f"u-{number}") for number in range(20)] == ["queued"] * 20
    assert time.monotonic() - started < 3.0, "not even one of them"
    gate.away = False
    log.close()
    assert len(gate.events()) == 21


def test_a_full_queue_says_none_and_counts(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.flow.exposures.MOST_WAITING", 3)
    log = ExposureLog(gate, wait_seconds=0.02)
    gate.away = True
    answers = [expose(log, f"u-{number}") for number in range(8)]
    assert answers[0] == "queued"
    assert answers[-1] == "none"
    assert log.dropped == answers.count("none")
    gate.away = False
    log.close()
    assert len(gate.events()) == answers.count("queued"), "what was queued is written"


def test_projects_and_keys_are_never_mixed_in_a_batch(log: ExposureLog, gate: Gate) -> None:
    gate.open.clear()
    with ThreadPoolExecutor(12) as callers:
        waiting = [
            callers.submit(
                log.expose, f"project-{number % 3}", "k", [(ENROLLED, f"u-{number}")], [None]
            )
            for number in range(12)
        ]
        wait_until(lambda: gate.before_it + log._events_waiting == 12, "all of them wait")
        gate.open.set()
        assert {future.result() for future in waiting} == {"durable"}
    for batch in gate.stored:
        units = {int(event["unit"][2:]) % 3 for event in json.loads(batch.body)["events"]}
        assert units == {int(batch.project[-1])}


UNFIT: dict[str, dict[str, Any]] = {
    "many bytes": {f"a{number}": "x" * 400 for number in range(50)},
    "one of many bytes": {"a": "\u00e9" * 15_000},
    "too many": {f"a{number}": number for number in range(51)},
    "a wide name": {"\u00e9" * 200: "x"},
    "a control character": {"a\u0085": "x"},
    "a line separator": {"a\u2028": "x"},
    "no text": {"a": "\ud800"},
    "a huge number": {"a": 1e300},
    "a list": {"a": [1]},
}


@pytest.mark.parametrize("attributes", UNFIT.values(), ids=UNFIT)
def test_attributes_never_cost_the_exposure(
    attributes: dict[str, Any], log: ExposureLog, gate: Gate
) -> None:
    met = [(ENROLLED, "u-1")]
    assert log.expose("default", "key-1", met, [{"origin": "EWR", **attributes}]) == "durable"
    (event,) = gate.events()
    assert event["attributes"]["origin"] == "EWR"
    assert event["attributes"] != {"origin": "EWR", **attributes}
    assert gate.stored[0].verdict["rejected"] == []


def test_attributes_that_were_left_out_are_counted(gate: Gate) -> None:
    telemetry = Telemetry()
    log = ExposureLog(gate, wait_seconds=PATIENCE_SECONDS, telemetry=telemetry)
    log.expose("default", "key-1", [(ENROLLED, "u-1")], [{"a": [1], "b": "\ud800", "c": 1}])
    assert "controller_exposure_attributes_left_out_total 2" in telemetry.exposition()
    log.close()


def test_what_the_inbox_refuses_is_neither_durable_nor_remembered(gate: Gate) -> None:
    telemetry = Telemetry()
    log = ExposureLog(gate, wait_seconds=PATIENCE_SECONDS, telemetry=telemetry)
    unfit = replace(ENROLLED, slot="late\u0085")
    assert expose(log, choice=unfit) == "none"
    assert expose(log, choice=unfit) == "none"
    assert gate.events() == []
    assert log.dropped == 2
    assert "controller_exposures_dropped_total 2" in telemetry.exposition()
    gate.open.clear()
    with ThreadPoolExecutor(8) as callers:
        waiting = [
            callers.submit(expose, log, f"u-{number}", unfit if number % 2 else ENROLLED)
            for number in range(8)
        ]
        wait_until(lambda: gate.before_it + log._events_waiting >= 4, "they wait")
        gate.open.set()
        assert [one.result() for one in waiting] == ["durable", "none"] * 4
    assert sorted(event["unit"] for event in gate.events() if event["slot"] == "late") == [
        "u-0", "u-2", "u-4", "u-6",
    ]  # fmt: skip
    log.close()


def test_a_clock_that_jumps_neither_hides_an_exposure_nor_repeats_it(gate: Gate) -> None:
    clock, elapsed = [1_700_000_000.0], [50.0]
    log = ExposureLog(
        gate,
        clock=lambda: clock[0],
        elapsed=lambda: elapsed[0],
        wait_seconds=PATIENCE_SECONDS,
    )
    clock[0] += 30 * 86_400
    assert expose(log) == "durable"
    clock[0] -= 30 * 86_400
    elapsed[0] += 7200
    assert expose(log) == "durable"
    assert len(gate.events()) == 2, "two hours later it is told again"
    clock[0] += 30 * 86_400
    assert expose(log) == "durable"
    assert len(gate.events()) == 2, "in the same second it is not"
    log.close()
