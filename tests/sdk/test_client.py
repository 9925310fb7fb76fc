"""The calls of a client against a real service."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from controller.assignment.choice import Choice, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.events.contracts import Rejection, TimeRules, validate
from controller.events.times import parse_time
from controller.sdk import AsyncClient, Client
from tests.loops import run_apart
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Service
from tests.unit.assignment.rulesets import CHALLENGER

UNITS = [f"flight-{number}" for number in range(200)]


def test_assign_gives_the_services_answer_and_reports_it(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for unit in UNITS:
        choice = client.assign("alert", unit=unit, attributes={"origin": "EWR"})
        assert choice == evaluate(live, "alert", unit)
    assert client.flush(PATIENCE_SECONDS)
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


def test_explain_tells_the_story(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    told = client.explain("alert", unit="1")
    assert told["reason"] == "SPLIT"
    assert told["source"] == "service"
    assert told["ruleset"] == 7
    assert [step["step"] for step in told["steps"]] == ["kill", "enrolment", "arm", "answer"]
    json.dumps(told)
    assert client.flush(PATIENCE_SECONDS)
    assert service.events == []


def test_the_async_client_has_the_same_methods(service: Service, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncClient(service.url, KEY, state_dir=tmp_path, flush_seconds=0.05) as client:
            assert await client.wait_until_ready(PATIENCE_SECONDS)
            choice = client.assign("alert", unit="1")
            assert choice.reason is Reason.SPLIT
            client.track("cost", unit="1", value=1.0)
            assert await client.flush(PATIENCE_SECONDS)

    run_apart(story())
    assert [event["type"] for event in service.events] == ["exposure", "outcome"]
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}


def test_many_threads_share_one_client(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    seen: list[Counter[str]] = []

    def work() -> None:
        seen.append(Counter(client.assign("alert", unit=unit).arm for unit in UNITS))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(sorted(counter.items())) for counter in seen}) == 1
    assert client.flush(PATIENCE_SECONDS)
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
    assert client.wait_until_ready(PATIENCE_SECONDS)
    broken: Any = [("origin",)]
    assert client.assign("alert", unit="1", attributes=broken).reason is Reason.ERROR
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == ["1"]


def test_equal_answers_share_one_object(make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    assert len({id(client.assign("alert", unit=unit)) for unit in UNITS}) == 2


def test_a_closed_client_goes_on_answering(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    client.close()
    client.close()
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.counts()["events_after_close"] == 1
    assert client.flush(0.2)


def test_the_model_of_the_answer(make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    unit = next(u for u in UNITS if client.assign("alert", unit=u).arm == "challenger")
    choice = client.assign("alert", unit=unit)
    assert choice.model == CHALLENGER
    assert choice.payload == ["x", 1]
    assert (choice.rollout, choice.allocation, choice.ruleset) == ("r-1", 1, 7)
