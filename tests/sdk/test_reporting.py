"""What a client reports: each exposure once, what was said as it was said, nothing impossible."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Ruleset
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import Service, wait_for
from tests.unit.assignment.rulesets import rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(200)]


def test_a_batch_carries_schema_and_id_and_at_most_500_events(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for number in range(1203):
        client.track("cost", unit=str(number), value=1.0, slot="alert")
    assert client.flush(PATIENCE_SECONDS)
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
    assert client.wait_until_ready(PATIENCE_SECONDS)
    for _ in range(5):
        client.assign("alert", unit="1")
    service.publish(replace(live, version=8))
    assert wait_for(lambda: client.ruleset_version == 8)
    client.assign("alert", unit="1")
    edited = rollout(enrolled_ppm=PPM, allocation=2)
    service.publish(ruleset(slot(edited), version=9))
    assert wait_for(lambda: client.ruleset_version == 9)
    client.assign("alert", unit="1")
    assert client.flush(PATIENCE_SECONDS)
    assert [event["allocation"] for event in service.events] == [1, 2]


def test_peek_and_assign_many_expose_only_when_told(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    peeked = client.peek("alert", unit="1")
    many = client.assign_many("alert", UNITS)
    assert [choice.unit for choice in many] == UNITS
    assert client.flush(PATIENCE_SECONDS)
    assert service.events == []
    client.expose(peeked)
    client.expose(peeked)
    client.expose(many[3])
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == ["1", UNITS[3]]
    client.assign("alert", unit=UNITS[3])
    assert client.flush(PATIENCE_SECONDS)
    assert len(service.events) == 2


def test_units_outside_a_test_are_not_reported(service: Service, make_client: MakeClient) -> None:
    service.publish(ruleset(slot(rollout(enrolled_ppm=0)), slot(slot="quiet", observe=None)))
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert client.assign("alert", unit="1").reason is Reason.NOT_ENROLLED
    assert client.assign("quiet", unit="1").reason is Reason.NO_ROLLOUT
    client.expose(client.peek("alert", unit="1"))
    assert client.flush(PATIENCE_SECONDS)
    assert service.events == []


def test_track_and_record_send_what_was_said(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    mine = client.track(
        "cost", unit="1", value=5, slot="alert", event_id="order-1", occurred_at=1_800_000_000
    )
    assert mine == "order-1"
    assert client.track("cost", ref="application-4711", slot="alert", value=2.5)
    choice = client.peek("alert", unit="1")
    assert client.record(choice, unit="1", ref="application-4711", score=0.31)
    assert client.flush(PATIENCE_SECONDS)
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
    assert client.flush(PATIENCE_SECONDS)
    counts = client.counts()
    assert counts.get("events_invalid", 0) + counts.get("errors", 0) == 1
    assert len(service.events) == 1


def test_attributes_that_cannot_travel_never_cost_their_event(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    strange: dict[Any, Any] = {
        "object": object(), "nan": float("nan"), "list": [1], "huge": 10**400,
        "surrogate": "\ud800", 7: "number", "": "empty", "control\n": 1,
        "long": "x" * 5000, "x" * 300: 1,
        "text": "é", "number": 1.5, "yes": True, "nothing": None,
    }  # fmt: skip
    client.assign("alert", unit="1", attributes=strange)
    client.track("cost", unit="1", attributes=strange)
    client.assign("alert", unit="2", attributes={str(n): n for n in range(80)})
    assert client.flush(PATIENCE_SECONDS)
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
    assert client.flush(PATIENCE_SECONDS)
    assert client.counts()["events_rejected"] == 2
    assert client.counts()["events_delivered"] == 1
    assert "unknown_slot" in client.states()["events"]
    assert sum("unknown_slot" in line for line in caplog.messages) == 1
