"""How a change reaches a client: by note, by poll, by file; and what it does without news."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.assignment.choice import Reason
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Kill, Ruleset
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import Service, wait_for
from tests.unit.assignment.rulesets import CHAMPION, rollout, ruleset, slot

A_WEEK = 7 * 86_400.0
UNITS = [f"flight-{number}" for number in range(200)]


def test_a_kill_reaches_the_client_by_note_long_before_the_next_poll(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=A_WEEK)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: len(service.streams) == 1)
    killed = slot(rollout(enrolled_ppm=PPM), kill=Kill(to="champion", model=CHAMPION))
    service.publish(ruleset(killed, version=8))
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.KILLED)


def test_the_note_may_be_ahead_of_the_process_that_answers(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=A_WEEK)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: len(service.streams) == 1)
    service.streams[0].send_note(b'{"version": 8}')
    time.sleep(0.3)
    service.publish(replace(live, version=8), note=False)
    assert wait_for(lambda: client.ruleset_version == 8)


def test_without_notes_the_poll_is_the_net(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8)
    assert ("GET", "/v1/ruleset/stream") not in service.requests


def test_an_unchanged_ruleset_costs_a_304(service: Service, make_client: MakeClient) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    table = client._engine.table
    assert wait_for(lambda: service.requests.count(("GET", "/v1/ruleset")) > 5)
    assert client._engine.table is table


def test_the_override_file_wins_within_a_second(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "override"
    client = make_client(service, override_file=path)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    unit = next(u for u in UNITS if client.peek("alert", unit=u).arm == "challenger")
    took = []

    def until(condition: Callable[[], bool]) -> None:
        started = time.monotonic()
        assert wait_for(condition)
        took.append(time.monotonic() - started)

    path.write_text("other  # not this one\nalert\n")
    until(lambda: client.peek("alert", unit=unit).reason is Reason.KILLED)
    assert client.assign("alert", unit=unit).model == CHAMPION
    path.write_text("*")
    until(lambda: client.peek("quiet", unit=unit).reason is Reason.KILLED)
    path.unlink()
    until(lambda: client.peek("alert", unit=unit).arm == "challenger")
    assert min(took) < 2.0, "a busy machine may hold up one of them, not each"


def test_an_override_that_is_there_at_the_start_holds_from_the_first_answer(
    service: Service, make_client: MakeClient, tmp_path: Path, live: Ruleset
) -> None:
    path = tmp_path / "override"
    path.write_text("*")
    client = make_client(bootstrap=live.document(), override_file=path)
    assert client.assign("alert", unit="1").reason is Reason.KILLED


def test_an_override_that_cannot_be_read_counts_as_all(
    make_client: MakeClient, tmp_path: Path, live: Ruleset
) -> None:
    client = make_client(bootstrap=live.document(), override_file=tmp_path)
    assert client.assign("alert", unit="1").reason is Reason.KILLED


def test_a_stale_ruleset_answers_champion_until_it_is_confirmed_again(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, max_staleness_seconds=0.5, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    service.fault = lambda handler: handler.answer(503, b"")
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.STALE)
    service.fault = lambda _: False
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.SPLIT)


def test_a_kill_does_not_age(make_client: MakeClient, live: Ruleset) -> None:
    document = live.document()
    model = {"name": "rule", "version": "1", "payload": None}
    document["slots"]["killed"] = {
        **document["slots"]["alert"],
        "kill": {"to": "fallback", "model": model},
    }
    client = make_client(bootstrap=document, max_staleness_seconds=0.2)
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.STALE)
    choice = client.assign("killed", unit="1")
    assert choice.reason is Reason.KILLED
    assert choice.model is not None
    assert choice.model.name == "rule"
    told = client.explain("alert", unit="1")
    assert told["steps"][0] == {"step": "machine", "reason": "STALE"}
    assert told["steps"][-1]["reason"] == told["reason"] == "STALE"


def test_one_log_line_per_change_of_state(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "controller.sdk")
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert caplog.messages == []
    service.fault = lambda handler: handler.answer(500, b"broken")
    before = len(service.requests)
    assert wait_for(lambda: len(service.requests) > before + 6)
    service.fault = lambda _: False
    assert wait_for(lambda: client.states()["refresh"] == "ok")
    lines = [line for line in caplog.messages if "topic=refresh" in line]
    assert [line.split()[2] for line in lines] == ["state=status_500", "state=ok"]
