"""Saying that two ids are one: batched like events, to its own address, never in anybody's way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller.sdk import AsyncClient, Client
from controller.sdk.testing import RecordingClient
from tests.loops import run_apart
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Handler, Service, wait_for

SAID = {"unit_type": "customer", "unit": "account-1", "alias": "anon-1"}


class Stated:
    """The service's side: takes statements in, refuses those of the account `taken`."""

    def __init__(self, service: Service) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 202
        service.fault = self

    def __call__(self, handler: Handler) -> bool:
        if handler.path != "/v1/aliases/batch":
            return False
        if self.status != 202:
            return handler.answer(self.status, b"{}")
        said = json.loads(handler.body)
        assert list(said) == ["aliases"]
        self.batches.append(said["aliases"])
        self.headers.append(dict(handler.headers.items()))
        rejected = [
            {"index": place, "code": "alias_conflict", "detail": "it belongs to another unit"}
            for place, one in enumerate(said["aliases"])
            if one["unit"] == "taken"
        ]
        receipt = {"accepted": len(said["aliases"]), "duplicates": 0, "rejected": rejected}
        return handler.answer(202, json.dumps(receipt).encode())

    @property
    def aliases(self) -> list[dict[str, Any]]:
        return [one for batch in self.batches for one in batch]


@pytest.fixture
def stated(service: Service) -> Stated:
    return Stated(service)


@pytest.fixture
def client(service: Service, stated: Stated, make_client: MakeClient) -> Iterator[Client]:
    with closing(make_client(service)) as made:
        assert made.wait_until_ready()
        yield made


def test_statements_and_events_said_in_turn_arrive_in_few_batches(
    client: Client, service: Service, stated: Stated
) -> None:
    for number in range(900):
        client.alias("customer", f"account-{number}", f"anon-{number}")
        client.track("cost", unit=f"account-{number}", value=1.0, slot="alert")
    assert client.flush(20)
    wanted = [{**SAID, "unit": f"account-{n}", "alias": f"anon-{n}"} for n in range(900)]
    assert stated.aliases == wanted
    assert len(service.events) == 900
    assert not [event for event in service.events if event["type"] == "alias"]
    assert max(map(len, stated.batches)) <= 500
    assert len(stated.batches) <= 10
    assert client.counts()["events_delivered"] == 1800


def test_what_contradicts_is_refused_there_and_counted_here(client: Client, stated: Stated) -> None:
    client.alias("customer", "taken", "anon-1")
    client.alias(**SAID)
    assert client.flush(20)
    assert client.counts()["events_rejected"] == 1
    assert client.states()["events"] == "rejected: alias_conflict"
    assert stated.aliases[1] == SAID


@pytest.mark.parametrize(
    "said",
    [
        {**SAID, "unit": ""},
        {**SAID, "alias": "\x00"},
        {**SAID, "alias": "\ud800"},
        {**SAID, "unit": 5},
        {**SAID, "unit": None},
        {**SAID, "alias": SAID["unit"]},
        {**SAID, "alias": "x" * 257},
        {**SAID, "unit_type": "t" * 65},
        {**SAID, "unit_type": object()},
        {**SAID, "unit": ["a"]},
    ],
)
def test_nonsense_never_raises_and_costs_no_other_statement(
    said: dict[str, Any], client: Client, stated: Stated
) -> None:
    client.alias(**said)
    client.alias(**SAID)
    assert client.flush(20)
    assert stated.aliases == [SAID]
    assert client.counts()["events_invalid"] == 1


def test_while_the_service_is_down_it_waits_on_disk_and_goes_to_its_own_address(
    service: Service, stated: Stated, tmp_path: Path, make_client: MakeClient
) -> None:
    stated.status = 503
    first = make_client(service)
    assert first.wait_until_ready()
    started = time.perf_counter()
    first.alias(**SAID)
    assert time.perf_counter() - started < 0.1
    assert wait_for(lambda: first.states().get("delivery") == "status_503")
    first.close(0.1)
    stated.status = 202
    second = make_client(service)
    second.track("cost", unit="1", value=1.0, slot="alert")  # starts the delivery
    assert wait_for(lambda: stated.aliases == [SAID])
    assert wait_for(lambda: len(service.events) == 1)


def test_losses_are_told_with_events_alone(client: Client, stated: Stated) -> None:
    stated.status = 422
    client.alias(**SAID)
    assert wait_for(lambda: client.counts().get("events_refused_422") == 1)
    stated.status = 202
    client.alias(**SAID)
    assert client.flush(20)
    assert "Controller-Events-Lost" not in stated.headers[0]
    assert client.counts()["lost_unreported"] == 1


def test_the_asyncio_client_says_it_too_without_waiting(
    service: Service, stated: Stated, tmp_path: Path
) -> None:
    async def run() -> bool:
        async with AsyncClient(service.url, key=KEY, state_dir=tmp_path / "state") as client:
            client.alias(**SAID)
            return await client.flush(20)

    assert run_apart(run())
    assert stated.aliases == [SAID]


def test_a_client_for_tests_keeps_what_was_said_apart_from_events() -> None:
    client = RecordingClient({"alert": "challenger"})
    client.alias(**SAID)
    client.track("cost", unit="1", value=1.0)
    client.alias("customer", "same", "same")
    assert client.aliases == [SAID]
    assert [event["type"] for event in client.events] == ["outcome"]
    assert client.complaints == ["alias: a unit is not its own alias."]
