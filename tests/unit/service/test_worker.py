"""The loop, its health door and the outbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from controller.errors import Unavailable
from controller.flow.ports.control import Message
from controller.service.worker.health import Health, serve_health
from controller.service.worker.loops import Step, WorkerRuntime, run
from controller.service.worker.outbox import send_due
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables
from controller.storage.sql.unit_of_work import SqlStore
from controller.telemetry import Telemetry


@pytest.fixture
def store() -> Iterator[SqlStore]:
    assert all_tables.__all__
    database = Database("sqlite://")
    with database.begin() as connection:
        Base.metadata.create_all(connection)
    with database.begin_inbox() as connection:
        InboxBase.metadata.create_all(connection)
    yield SqlStore(database)
    database.dispose()


class Recorder:
    def __init__(self, failures: int = 0) -> None:
        self.sent: list[str] = []
        self.failures = failures

    def send(self, message: Message) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("not now")
        self.sent.append(message.id)


def queue(store: SqlStore, kind: str = "ruleset") -> str:
    with store.writing() as work:
        return work.outbox.add("default", kind, {"version": 1}, at=work.now)


def test_a_message_is_sent_once(store: SqlStore) -> None:
    name, recorder = queue(store), Recorder()
    assert send_due(store, {"ruleset": recorder})
    assert not send_due(store, {"ruleset": recorder})
    assert recorder.sent == [name]


def test_a_message_that_cannot_be_sent_stays_due_later(store: SqlStore) -> None:
    name, recorder = queue(store), Recorder(failures=1)
    send_due(store, {"ruleset": recorder})
    with store.reading() as work:
        assert work.outbox.due(work.now) == []
        (waiting,) = work.outbox.due(work.now + timedelta(seconds=2))
    assert (waiting.id, waiting.attempts) == (name, 1)


def test_a_message_of_an_unknown_kind_is_kept_and_holds_nobody_up(store: SqlStore) -> None:
    queue(store, kind="from-the-future")
    known, recorder = queue(store), Recorder()
    send_due(store, {"ruleset": recorder})
    assert recorder.sent == [known]
    with store.reading() as work:
        assert len(work.outbox.due(work.now + timedelta(hours=1))) == 1


def runtime(*steps: Step, telemetry: Telemetry) -> WorkerRuntime:
    return WorkerRuntime(
        steps=steps,
        telemetry=telemetry,
        health_host="127.0.0.1",
        health_port=0,
        close=lambda: None,
        ready=lambda: None,
    )


def test_a_failing_step_backs_off_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[threading.Event] = []
    monkeypatch.setattr("controller.service.worker.loops._install_signals", stops.append)
    rounds, attempts = [0], [0]

    def fail() -> bool:
        attempts[0] += 1
        raise ZeroDivisionError("a bug")

    def count() -> bool:
        rounds[0] += 1
        if rounds[0] == 50:
            stops[0].set()
        return True

    telemetry = Telemetry()
    run(runtime(Step("broken", fail), Step("counting", count), telemetry=telemetry))
    assert rounds[0] == 50
    assert attempts[0] == 1
    assert 'controller_worker_failures_total{step="broken"} 1' in telemetry.exposition()


def test_a_step_that_hurries_is_due_again_while_it_has_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stops: list[threading.Event] = []
    monkeypatch.setattr("controller.service.worker.loops._install_signals", stops.append)
    calls = {"hurrying": 0, "patient": 0, "rounds": 0}

    def work(name: str) -> bool:
        calls[name] += 1
        return calls[name] < 4

    def count() -> bool:
        calls["rounds"] += 1
        if calls["rounds"] == 20:
            stops[0].set()
        return True

    hurrying = Step("pin", lambda: work("hurrying"), every_seconds=3600, hurries=True)
    patient = Step("mature", lambda: work("patient"), every_seconds=3600)
    run(runtime(hurrying, patient, Step("counting", count), telemetry=Telemetry()))
    assert calls == {"hurrying": 4, "patient": 1, "rounds": 20}


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def test_the_health_door_is_honest() -> None:
    telemetry = Telemetry()
    telemetry.count("looks", 3, project="default")
    why: list[str | None] = [None]
    health = Health(ready=lambda: why[0], telemetry=telemetry)
    with serve_health(health, "127.0.0.1", 0) as port:
        assert ask(port, "/livez")[0] == 200
        assert ask(port, "/readyz") == (200, "ready\n")
        why[0] = "The database does not answer."
        assert ask(port, "/readyz") == (503, "The database does not answer.\n")
        assert ask(port, "/livez")[0] == 200
        assert 'controller_looks_total{project="default"} 3' in ask(port, "/metrics")[1]
        assert ask(port, "/v1/slots")[0] == 404
        health._beat = time.monotonic() - 3600
        assert ask(port, "/livez")[0] == 503


def test_metrics_escape_what_labels_say() -> None:
    telemetry = Telemetry()
    telemetry.gauge("inbox_waiting", 2.5, project='a"b\\c\nd')
    said = telemetry.exposition().splitlines()
    assert said[0] == "# TYPE controller_inbox_waiting gauge"
    assert said[1] == 'controller_inbox_waiting{project="a\\"b\\\\c\\nd"} 2.5'
