"""The calls of a client against a real service."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Choice, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Kill, Ruleset
from controller.errors import InvalidInput
from controller.events.contracts import Rejection, TimeRules, validate
from controller.events.times import parse_time
from controller.sdk import AsyncClient, Client
from tests.loops import run_apart
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Service, wait_for
from tests.unit.assignment.rulesets import CHALLENGER, CHAMPION, rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(200)]


def test_assign_gives_the_services_answer_and_reports_it(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    for unit in UNITS:
        choice = client.assign("alert", unit=unit, attributes={"origin": "EWR"})
        assert choice == evaluate(live, "alert", unit)
    assert client.flush()
    events = service.events
    assert [event["unit"] for event in events] == UNITS
    first = events[0]
    assert {key: first[key] for key in ("type", "slot", "rollout", "allocation", "ruleset")} == {
        "type": "exposure",
        "slot": "alert",
        "rollout": "r-1",
        "allocation": 1,
        "ruleset": 7,
    }
    assert first["attributes"] == {"origin": "EWR"}
    now = parse_time(first["occurred_at"])
    assert now is not None
    assert not any(
        isinstance(validate(event, 0, TimeRules(received_at=now)), Rejection) for event in events
    )


def test_a_batch_carries_schema_and_id_and_at_most_500_events(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    for number in range(1203):
        client.track("cost", unit=str(number), value=1.0, slot="alert")
    assert client.flush()
    batches = [json.loads(body) for body in service.batches]
    assert {batch["schema"] for batch in batches} == {1}
    assert len({batch["batch_id"] for batch in batches}) == len(batches)
    assert max(len(batch["events"]) for batch in batches) <= 500
    assert len(service.events) == 1203
    assert len({event["event_id"] for event in service.events}) == 1203


def test_an_exposure_is_reported_once_per_unit_and_allocation(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    for _ in range(5):
        client.assign("alert", unit="1")
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8)
    client.assign("alert", unit="1")
    edited = rollout(enrolled_ppm=PPM, allocation=2)
    service.publish(ruleset(slot(edited), version=9))
    assert wait_for(lambda: client.ruleset_version == 9)
    client.assign("alert", unit="1")
    assert client.flush()
    assert [event["allocation"] for event in service.events] == [1, 2]


def test_peek_and_assign_many_expose_only_when_told(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    peeked = client.peek("alert", unit="1")
    many = client.assign_many("alert", UNITS)
    assert [choice.unit for choice in many] == UNITS
    assert client.flush()
    assert service.events == []
    client.expose(peeked)
    client.expose(peeked)
    client.expose(many[3])
    assert client.flush()
    assert [event["unit"] for event in service.events] == ["1", UNITS[3]]
    client.assign("alert", unit=UNITS[3])
    assert client.flush()
    assert len(service.events) == 2


def test_units_outside_a_test_are_not_reported(service: Service, make_client: MakeClient) -> None:
    service.publish(ruleset(slot(rollout(enrolled_ppm=0)), slot(slot="quiet", observe=None)))
    client = make_client(service)
    assert client.wait_until_ready()
    assert client.assign("alert", unit="1").reason is Reason.NOT_ENROLLED
    assert client.assign("quiet", unit="1").reason is Reason.NO_ROLLOUT
    client.expose(client.peek("alert", unit="1"))
    assert client.flush()
    assert service.events == []


def test_track_and_record_send_what_was_said(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    mine = client.track(
        "cost", unit="1", value=5, slot="alert", event_id="order-1", occurred_at=1_800_000_000
    )
    assert mine == "order-1"
    assert client.track("cost", ref="application-4711", slot="alert", value=2.5)
    choice = client.peek("alert", unit="1")
    assert client.record(choice, unit="1", ref="application-4711", score=0.31)
    assert client.flush()
    outcome, by_ref, prediction = service.events
    assert outcome == {
        "type": "outcome",
        "event_id": "order-1",
        "unit": "1",
        "name": "cost",
        "slot": "alert",
        "value": 5.0,
        "occurred_at": "2027-01-15T08:00:00.000000Z",
    }
    assert (by_ref["ref"], by_ref["value"]) == ("application-4711", 2.5)
    assert prediction["score"] == 0.31
    assert prediction["model"].startswith("late-flight@")
    assert prediction["rollout"] == "r-1"


@pytest.mark.parametrize(
    "report",
    [
        {"name": "cost", "unit": ""},
        {"name": "cost", "unit": 7},
        {"name": "cost"},
        {"name": "cost", "unit": "1", "ref": "2", "slot": "s"},
        {"name": "", "unit": "1"},
        {"name": "cost", "unit": "1", "value": float("nan")},
        {"name": "cost", "unit": "1", "value": "much"},
        {"name": "cost", "unit": "1", "occurred_at": "yesterday"},
        {"name": "cost", "unit": "1", "occurred_at": float("inf")},
        {"name": "cost", "unit": "1", "attributes": 5},
        {"name": "cost", "unit": "\ud800"},
    ],
)
def test_what_can_never_be_accepted_is_refused_counted_and_harmless(
    report: dict[str, Any], service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    client.track(**report)
    client.track("cost", unit="1")
    assert client.flush()
    counts = client.counts()
    assert counts.get("events_invalid", 0) + counts.get("errors", 0) == 1
    assert len(service.events) == 1


def test_attributes_that_cannot_travel_never_cost_their_event(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    strange: dict[Any, Any] = {
        "object": object(), "nan": float("nan"), "list": [1], "huge": 10**400,
        "surrogate": "\ud800", 7: "number", "": "empty", "control\n": 1,
        "long": "x" * 5000, "x" * 300: 1,
        "text": "é", "number": 1.5, "yes": True, "nothing": None,
    }  # fmt: skip
    client.assign("alert", unit="1", attributes=strange)
    client.track("cost", unit="1", attributes=strange)
    client.assign("alert", unit="2", attributes={str(n): n for n in range(80)})
    assert client.flush()
    first, outcome, second = service.events
    assert first["attributes"] == {"text": "é", "number": 1.5, "yes": True, "nothing": None}
    assert outcome["attributes"] == first["attributes"]
    assert len(second["attributes"]) == 50


def test_rejected_events_are_counted_and_named(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(service)
    for unit in ("1", "2"):
        client.track("cost", unit=unit, slot="rejected")
    client.track("cost", unit="3")
    assert client.flush()
    assert client.counts()["events_rejected"] == 2
    assert client.counts()["events_delivered"] == 1
    assert "unknown_slot" in client.states()["events"]
    assert sum("unknown_slot" in line for line in caplog.messages) == 1


def test_a_kill_reaches_the_client_by_note_long_before_the_next_poll(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=60)
    assert client.wait_until_ready()
    assert wait_for(lambda: len(service.streams) == 1)
    killed = slot(rollout(enrolled_ppm=PPM), kill=Kill(to="champion", model=CHAMPION))
    started = time.monotonic()
    service.publish(ruleset(killed, version=8))
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.KILLED, 5)
    assert time.monotonic() - started < 1.0


def test_the_note_may_be_ahead_of_the_process_that_answers(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, poll_seconds=60)
    assert client.wait_until_ready()
    assert wait_for(lambda: len(service.streams) == 1)
    service.streams[0].send_note(b'{"version": 8}')
    time.sleep(0.3)
    service.publish(replace(live, version=8), note=False)
    assert wait_for(lambda: client.ruleset_version == 8, 3)


def test_without_notes_the_poll_is_the_net(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    assert client.wait_until_ready()
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8, 2)
    assert ("GET", "/v1/ruleset/stream") not in service.requests


def test_an_unchanged_ruleset_costs_a_304(service: Service, make_client: MakeClient) -> None:
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready()
    table = client._engine.table
    assert wait_for(lambda: service.requests.count(("GET", "/v1/ruleset")) > 5)
    assert client._engine.table is table


def test_the_override_file_wins_within_a_second(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "override"
    client = make_client(service, override_file=path)
    assert client.wait_until_ready()
    unit = next(u for u in UNITS if client.peek("alert", unit=u).arm == "challenger")
    path.write_text("other  # not this one\nalert\n")
    assert wait_for(lambda: client.peek("alert", unit=unit).reason is Reason.KILLED, 2.5)
    assert client.assign("alert", unit=unit).model == CHAMPION
    path.write_text("*")
    assert wait_for(lambda: client.peek("quiet", unit=unit).reason is Reason.KILLED, 2.5)
    path.unlink()
    assert wait_for(lambda: client.peek("alert", unit=unit).arm == "challenger", 2.5)


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
    assert client.wait_until_ready()
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    service.fault = lambda handler: handler.answer(503, b"")
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.STALE, 4)
    service.fault = lambda _: False
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.SPLIT, 4)


def test_a_bootstrap_answers_before_and_without_the_service(
    make_client: MakeClient, live: Ruleset, tmp_path: Path
) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_bytes(live.encode())
    for bootstrap in (path, str(path), live.document()):
        client = make_client(bootstrap=bootstrap)
        assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
        assert client.counts()["events_offline"] == 1
        assert client.flush()


def test_the_service_replaces_a_bootstrap_whatever_its_version(
    service: Service, make_client: MakeClient, live: Ruleset
) -> None:
    other = replace(live, deployment="elsewhere", version=10**12)
    client = make_client(service, bootstrap=other.document())
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.ruleset_version == 7)


@pytest.mark.parametrize("bootstrap", ["/nowhere/at/all", {"schema": 9}, {}])
def test_a_bad_bootstrap_is_said_and_survived(bootstrap: Any, make_client: MakeClient) -> None:
    client = make_client(bootstrap=bootstrap)
    assert client.assign("alert", unit="1").reason is Reason.NO_RULESET
    assert client.states()["bootstrap"] == "refused"


def test_without_a_ruleset_the_default_is_the_payload(make_client: MakeClient) -> None:
    client = make_client()
    choice = client.assign("alert", unit="1", default={"threshold": 0.5})
    assert (choice.arm, choice.model, choice.payload, choice.reason, choice.ruleset) == (
        "champion",
        None,
        {"threshold": 0.5},
        "NO_RULESET",
        0,
    )


@pytest.mark.parametrize("unit", ["", None, 7, "\ud800", "a\x00b", ["1"], object()])
@pytest.mark.parametrize("name", ["alert", "nowhere"])
def test_no_unit_makes_a_call_raise(
    unit: Any, name: str, make_client: MakeClient, live: Ruleset
) -> None:
    client = make_client(bootstrap=live.document())
    for choice in (client.assign(name, unit=unit), client.peek(name, unit=unit)):
        assert (choice.arm, choice.reason) == ("champion", Reason.INVALID_UNIT)


@pytest.mark.parametrize("name", [None, 7, ["alert"], {}, b"alert"])
def test_no_slot_makes_a_call_raise(name: Any, make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    assert client.assign(name, unit="1").arm == "champion"
    assert client.peek(name, unit="1").arm == "champion"
    assert [choice.arm for choice in client.assign_many(name, ["1", "2"])] == ["champion"] * 2


class Hostile(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("attributes of the devil")


def test_hostile_arguments_give_champion_and_are_counted(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    tree = {"attribute": "x", "op": "eq", "value": 1}
    rules = ruleset(slot(rollout(enrolled_ppm=PPM, eligible=tree)))
    client = make_client(bootstrap=rules.document())
    for _ in range(50):
        choice = client.assign("alert", unit="1", attributes=Hostile(x=1))
        assert (choice.arm, choice.reason, choice.model) == ("champion", Reason.ERROR, CHAMPION)
    assert client.counts()["errors"] == 50
    assert sum("devil" in line for line in caplog.messages) == 1
    assert client.assign_many("alert", 5) == []  # type: ignore[arg-type]
    client.expose(None)  # type: ignore[arg-type]
    assert client.record(None, unit="1", ref="2") is None  # type: ignore[arg-type]
    assert client.explain("alert", None)["reason"] == "INVALID_UNIT"  # type: ignore[arg-type]


def test_explain_tells_the_story(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    told = client.explain("alert", unit="1")
    assert told["reason"] == "SPLIT"
    assert told["source"] == "service"
    assert told["ruleset"] == 7
    assert [step["step"] for step in told["steps"]] == ["kill", "enrolment", "arm", "answer"]
    json.dumps(told)
    assert client.flush()
    assert service.events == []


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://host", KEY),
        ("host:8080", KEY),
        ("http://", KEY),
        ("", KEY),
        ("http://host", "secret"),
        ("http://host", None),
        (None, KEY),
    ],
)
def test_a_malformed_setup_is_said_at_once(url: str | None, key: str | None) -> None:
    with pytest.raises(InvalidInput):
        Client(url, key)


def test_from_env_reads_url_and_key_or_stays_offline(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTROLLER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONTROLLER_URL", service.url)
    monkeypatch.setenv("CONTROLLER_KEY", KEY)
    with Client.from_env() as client:
        assert client.wait_until_ready()
    assert any(tmp_path.rglob("ruleset.snapshot"))
    monkeypatch.delenv("CONTROLLER_URL")
    monkeypatch.delenv("CONTROLLER_KEY")
    with Client.from_env() as client:
        assert client.assign("alert", unit="1").reason is Reason.NO_RULESET
        assert client.states()["mode"] == "offline"


def test_the_async_client_has_the_same_methods(service: Service, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncClient(service.url, KEY, state_dir=tmp_path, flush_seconds=0.05) as client:
            assert await client.wait_until_ready()
            choice = client.assign("alert", unit="1")
            assert choice.reason is Reason.SPLIT
            client.track("cost", unit="1", value=1.0)
            assert await client.flush()

    run_apart(story())
    assert [event["type"] for event in service.events] == ["exposure", "outcome"]
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}


def test_many_threads_share_one_client(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    seen: list[Counter[str]] = []

    def work() -> None:
        seen.append(Counter(client.assign("alert", unit=unit).arm for unit in UNITS))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(sorted(counter.items())) for counter in seen}) == 1
    assert client.flush()
    assert Counter(event["unit"] for event in service.events) == Counter(UNITS)


def test_the_first_questions_of_many_threads_all_get_the_rules(
    make_client: MakeClient, live: Ruleset
) -> None:
    expected = [evaluate(live, "alert", str(number)) for number in range(16)]
    found: list[list[Choice]] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of the start
    for _ in range(40):
        client = make_client(bootstrap=live.document())
        gate = threading.Barrier(16)

        def ask(number: int, client: Client = client, gate: threading.Barrier = gate) -> Choice:
            gate.wait()
            return client.assign("alert", unit=str(number))

        with ThreadPoolExecutor(16) as pool:
            found.append(list(pool.map(ask, range(16))))
    sys.setswitchinterval(interval)
    assert found == [expected] * 40


def test_an_exposure_that_could_not_be_made_is_made_later(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, stream=False)
    assert client.wait_until_ready()
    broken: Any = [("origin",)]
    assert client.assign("alert", unit="1", attributes=broken).reason is Reason.ERROR
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.flush(10)
    assert [event["unit"] for event in service.events] == ["1"]


def test_equal_answers_share_one_object(make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    assert len({id(client.assign("alert", unit=unit)) for unit in UNITS}) == 2


def test_a_closed_client_goes_on_answering(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready()
    client.close()
    client.close()
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.counts()["events_after_close"] == 1
    assert client.flush(0.2)


def test_a_client_travels_to_a_spawned_process_as_its_options(
    make_client: MakeClient, live: Ruleset
) -> None:
    client = make_client(bootstrap=live.document())
    again = pickle.loads(pickle.dumps(client))
    assert again.assign("alert", unit="1") == client.assign("alert", unit="1")


def test_the_model_of_the_answer(make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    unit = next(u for u in UNITS if client.assign("alert", unit=u).arm == "challenger")
    choice = client.assign("alert", unit=unit)
    assert choice.model == CHALLENGER
    assert choice.payload == ["x", 1]
    assert (choice.rollout, choice.allocation, choice.ruleset) == ("r-1", 1, 7)


def test_importing_the_sdk_loads_only_the_standard_library() -> None:
    code = (
        "import sys, controller.sdk\n"
        "client = controller.sdk.Client()\n"
        "client.assign('a', '1')\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded - set(sys.stdlib_module_names) - {'controller', '__main__'}))\n"
        "print(sorted(loaded & {'asyncio', 'http', 'ssl', 'logging', 'email', 'decimal'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stdout


def test_one_log_line_per_change_of_state(
    service: Service, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "controller.sdk")
    client = make_client(service, poll_seconds=0.05, stream=False)
    assert client.wait_until_ready()
    assert caplog.messages == []
    service.fault = lambda handler: handler.answer(500, b"broken")
    before = len(service.requests)
    assert wait_for(lambda: len(service.requests) > before + 6)
    service.fault = lambda _: False
    assert wait_for(lambda: client.states()["refresh"] == "ok")
    lines = [line for line in caplog.messages if "topic=refresh" in line]
    assert [line.split()[2] for line in lines] == ["state=status_500", "state=ok"]
