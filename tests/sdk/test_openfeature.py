"""The unmodified OpenFeature SDK over our provider, evaluating locally."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.track import TrackingEventDetails

from controller.assignment.choice import Model
from controller.sdk.openfeature import ControllerProvider
from controller.sdk.testing import RecordingClient

PAYLOADS: dict[str, Any] = {
    "object": {"threshold": 0.25},
    "list": [1, 2],
    "text": "v4",
    "number": 0.5,
    "whole": 3,
    "yes": True,
    "none": None,
}
UNIT = EvaluationContext("4711", {"origin": "EWR"})


@pytest.fixture
def client() -> RecordingClient:
    models = {
        slot: {"challenger": Model(name="m", version="2", payload=payload)}
        for slot, payload in PAYLOADS.items()
    }
    return RecordingClient(dict.fromkeys(PAYLOADS, "challenger"), models)


@pytest.fixture
def flags(client: RecordingClient) -> Iterator[OpenFeatureClient]:
    api.set_provider(ControllerProvider(client))
    yield api.get_client()
    api.clear_providers()


def test_values_of_every_type_with_variant_reason_and_metadata(
    flags: OpenFeatureClient, client: RecordingClient
) -> None:
    details = flags.get_object_details("object", {}, UNIT)
    assert (details.value, details.variant, details.reason) == (
        {"threshold": 0.25},
        "challenger",
        "SPLIT",
    )
    assert details.flag_metadata == {
        "reason": "SPLIT", "ruleset": 1, "rollout": "test-object", "allocation": 1, "model": "m@2",
    }  # fmt: skip
    assert flags.get_object_value("list", [], UNIT) == [1, 2]
    assert flags.get_string_value("text", "", UNIT) == "v4"
    assert flags.get_float_value("number", 0.0, UNIT) == 0.5
    assert flags.get_float_value("whole", 0.0, UNIT) == 3.0
    assert flags.get_integer_value("whole", 0, UNIT) == 3
    assert flags.get_boolean_value("yes", False, UNIT) is True
    assert [event["slot"] for event in client.events] == ["object", "list", "text", "number",
                                                          "whole", "yes"]  # fmt: skip
    assert {event["unit"] for event in client.events} == {"4711"}
    assert client.events[0]["attributes"] == {"origin": "EWR"}


def test_a_model_without_payload_keeps_the_codes_default(flags: OpenFeatureClient) -> None:
    details = flags.get_string_details("none", "mine", UNIT)
    assert (details.value, details.variant, details.error_code) == ("mine", "challenger", None)


@pytest.mark.parametrize(
    ("slot", "context", "code"),
    [
        ("nowhere", UNIT, ErrorCode.FLAG_NOT_FOUND),
        ("text", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("text", EvaluationContext("a\nb"), ErrorCode.INVALID_CONTEXT),
        ("object", UNIT, ErrorCode.TYPE_MISMATCH),
        ("yes", UNIT, ErrorCode.TYPE_MISMATCH),
    ],
)
def test_errors_keep_the_default_name_themselves_and_expose_nobody(
    slot: str, context: EvaluationContext, code: ErrorCode,
    flags: OpenFeatureClient, client: RecordingClient,
) -> None:  # fmt: skip
    details = flags.get_string_details(slot, "mine", context)
    assert (details.value, details.error_code, details.reason) == ("mine", code, "ERROR")
    assert details.error_message
    assert client.events == []


def test_a_boolean_is_no_integer(flags: OpenFeatureClient) -> None:
    details = flags.get_integer_details("yes", 7, UNIT)
    assert (details.value, details.error_code) == (7, ErrorCode.TYPE_MISMATCH)


def test_looking_exposes_nobody(flags: OpenFeatureClient, client: RecordingClient) -> None:
    looking = EvaluationContext("4711", {"expose": False})
    assert flags.get_string_value("text", "", looking) == "v4"
    assert client.events == []


def test_tracking_becomes_an_outcome(flags: OpenFeatureClient, client: RecordingClient) -> None:
    flags.track("cost", UNIT, TrackingEventDetails(2.5, {"slot": "text", "origin": "EWR"}))
    flags.track("seen", UNIT)
    cost, seen = client.events
    assert (cost["name"], cost["unit"], cost["value"], cost["slot"], cost["attributes"]) == (
        "cost",
        "4711",
        2.5,
        "text",
        {"origin": "EWR"},
    )
    assert "value" not in seen


def test_without_a_ruleset_the_default_stands(client: RecordingClient) -> None:
    from controller.sdk import Client

    api.set_provider(ControllerProvider(Client(), ready_seconds=0.0))
    details = api.get_client().get_string_details("text", "mine", UNIT)
    assert (details.value, details.error_code) == ("mine", ErrorCode.PROVIDER_NOT_READY)
    api.clear_providers()
