"""The unmodified OpenFeature SDK over our provider, evaluating locally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import (
    FlagEvaluationDetails,
    FlagEvaluationOptions,
    FlagValueType,
)
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.track import TrackingEventDetails

from controller.assignment.choice import Model
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Kill, RolloutRules, Ruleset, Share, SlotRules
from controller.assignment.runs import build_runs
from controller.sdk.openfeature import ControllerProvider
from controller.sdk.testing import RecordingClient
from tests.loops import run_apart

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
    flags.track("seen", UNIT, TrackingEventDetails(attributes={"event_id": "order-7"}))
    cost, seen = client.events
    assert (seen["event_id"], "attributes" in seen) == ("order-7", False)
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


class Listening(Hook):
    """Adds an attribute before the evaluation and remembers what it was told afterwards."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def before(self, hook_context: HookContext, hints: HookHints) -> EvaluationContext:
        self.told.append(("before", hook_context.flag_key))
        return EvaluationContext(attributes={"channel": "web"})

    def after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,
    ) -> None:
        self.told.append(("after", (details.variant, details.flag_metadata["rollout"])))

    def error(self, hook_context: HookContext, exception: Exception, hints: HookHints) -> None:
        assert isinstance(exception, OpenFeatureError)
        self.told.append(("error", exception.error_code))

    def finally_after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,
    ) -> None:
        self.told.append(("finally", details.reason))


@pytest.mark.parametrize("where", ["api", "client", "call"])
def test_hooks_of_every_level_run_around_an_evaluation(
    where: str, flags: OpenFeatureClient, client: RecordingClient
) -> None:
    hook = Listening()
    if where == "api":
        api.add_hooks([hook])
    elif where == "client":
        flags.add_hooks([hook])
    options = FlagEvaluationOptions(hooks=[hook]) if where == "call" else None
    try:
        assert flags.get_string_value("text", "", UNIT, options) == "v4"
        assert flags.get_string_value("nowhere", "mine", UNIT, options) == "mine"
    finally:
        api.clear_hooks()
    assert hook.told == [
        ("before", "text"), ("after", ("challenger", "test-text")), ("finally", "SPLIT"),
        ("before", "nowhere"), ("error", ErrorCode.FLAG_NOT_FOUND), ("finally", "ERROR"),
    ]  # fmt: skip
    (exposure,) = client.events
    assert exposure["attributes"] == {"origin": "EWR", "channel": "web"}


def test_contexts_of_api_client_and_call_are_merged(client: RecordingClient) -> None:
    api.set_provider(ControllerProvider(client))
    api.set_evaluation_context(EvaluationContext("nobody", {"plan": "free", "origin": "JFK"}))
    try:
        flags = api.get_client()
        flags.context = EvaluationContext(attributes={"origin": "LGA"})
        assert flags.get_string_value("text", "", UNIT) == "v4"
        flags.track("cost", UNIT, TrackingEventDetails(1.0))
    finally:
        api.set_evaluation_context(EvaluationContext())
        api.clear_providers()
    exposure, outcome = client.events
    assert exposure["attributes"] == {"plan": "free", "origin": "EWR"}
    assert (exposure["unit"], outcome["unit"]) == ("4711", "4711")


def test_asynchronous_evaluation_gives_the_same(
    flags: OpenFeatureClient, client: RecordingClient
) -> None:
    async def ask() -> tuple[Any, ...]:
        return (
            await flags.get_string_value_async("text", "", UNIT),
            await flags.get_object_value_async("object", {}, UNIT),
            (await flags.get_integer_details_async("yes", 7, UNIT)).error_code,
        )

    assert run_apart(ask()) == ("v4", {"threshold": 0.25}, ErrorCode.TYPE_MISMATCH)
    assert len(client.events) == 2


def test_tracking_without_a_unit_or_with_a_strange_value_is_refused_quietly(
    flags: OpenFeatureClient, client: RecordingClient
) -> None:
    flags.track("cost")
    flags.track("cost", EvaluationContext("4711"), TrackingEventDetails(float("nan")))
    flags.track("cost", EvaluationContext("4711"), TrackingEventDetails(1.0, {"slot": ["no"]}))
    flags.track("cost", EvaluationContext("4711"), TrackingEventDetails(1.0, {"event_id": 7}))
    assert client.events == []


@pytest.mark.parametrize("context", [None, EvaluationContext(), EvaluationContext("")])
def test_a_unit_is_needed_only_where_units_are_split(context: EvaluationContext | None) -> None:
    """As OFREP answers it: what holds for everybody is given to nobody in particular."""
    from controller.sdk import Client

    champion = Model(name="m", version="1", payload="v1")
    resting = SlotRules(
        slot="resting", unit_type="u", champion=champion, observe=Share(salt="s", ppm=PPM)
    )
    rollout = RolloutRules(
        id="r", attempt=1, allocation=1, salt="0" * 16, enrolled_ppm=PPM,
        runs=build_runs({"champion": 0.5, "challenger": 0.5}),
        arms={"champion": champion, "challenger": Model(name="m", version="2", payload="v2")},
    )  # fmt: skip
    split = replace(resting, slot="split", rollout=rollout)
    killed = replace(split, slot="killed", kill=Kill(to="champion", model=champion))
    slots = {rules.slot: rules for rules in (resting, split, killed)}
    rules = Ruleset(project="default", deployment="d", version=1, slots=slots)
    client = Client(bootstrap=rules.document())
    api.set_provider(ControllerProvider(client))
    flags = api.get_client()
    found = {slot: flags.get_string_details(slot, "mine", context) for slot in slots}
    api.clear_providers()
    assert {slot: (one.value, one.reason, one.error_code) for slot, one in found.items()} == {
        "resting": ("v1", "STATIC", None),
        "killed": ("v1", "DISABLED", None),
        "split": ("mine", "ERROR", ErrorCode.TARGETING_KEY_MISSING),
    }
    assert "events_offline" not in client.counts()
    assert flags.get_string_details("nowhere", "mine", context).value == "mine"
