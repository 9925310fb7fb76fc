"""The unmodified OpenFeature SDK with its OFREP provider asks this service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from tests.running import Running
from tests.web import METRIC, SLOT


@pytest.fixture(scope="module")
def flags(service: Running) -> Iterator[OpenFeatureClient]:
    for path, document in (
        ("/v1/metrics/cost", METRIC),
        ("/v1/slots/late", SLOT),
        ("/v1/slots/plain", {**SLOT, "champion": {"name": "rule", "version": "1"}}),
        ("/v1/slots/text", {**SLOT, "champion": {"name": "p", "version": "1", "payload": "ask"}}),
    ):
        answer = service.call("PUT", path, service.admin_key, json_body=document)
        assert answer.status == 200, answer.body
    headers = {"Authorization": f"Bearer {service.sdk_key}"}
    provider = OFREPProvider(
        f"http://127.0.0.1:{service.port}", headers_factory=lambda: headers, timeout=20.0
    )
    api.set_provider(provider, "service")
    yield api.get_client("service")
    api.shutdown()


def test_the_value_is_the_payload_and_the_variant_the_arm(flags: OpenFeatureClient) -> None:
    details = flags.get_object_details("late", {}, EvaluationContext("u-1", {"origin": "EWR"}))
    assert details.value == {"threshold": 0.25}
    assert details.variant == "champion"
    assert details.reason == "STATIC"
    assert details.error_code is None
    assert details.flag_metadata["reason"] == "NO_ROLLOUT"
    assert details.flag_metadata["exposure"] in {"durable", "queued"}


def test_looking_exposes_nobody_and_hands_out_a_token(
    flags: OpenFeatureClient, service: Running
) -> None:
    context = EvaluationContext("u-2", {"expose": False})
    details = flags.get_object_details("late", {}, context)
    assert details.flag_metadata["exposure"] == "none"
    token = details.flag_metadata["exposure_token"]
    used = service.call("POST", "/v1/expose", service.sdk_key, json_body={"tokens": [token]})
    assert used.status == 200
    assert used.json["exposure"] in {"durable", "queued"}


def test_a_text_payload_is_a_string_flag(flags: OpenFeatureClient) -> None:
    assert flags.get_string_value("text", "-", EvaluationContext("u-3")) == "ask"


def test_a_model_without_a_payload_keeps_the_codes_default(flags: OpenFeatureClient) -> None:
    details = flags.get_string_details("plain", "mine", EvaluationContext("u-4"))
    assert (details.value, details.variant, details.error_code) == ("mine", "champion", None)


def test_an_unknown_slot_is_an_unknown_flag(flags: OpenFeatureClient) -> None:
    details = flags.get_string_details("nobody", "mine", EvaluationContext("u-5"))
    assert (details.value, details.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    assert "nobody" in str(details.error_message)


def test_an_impossible_unit_is_an_invalid_context(flags: OpenFeatureClient) -> None:
    details = flags.get_object_details("late", {}, EvaluationContext("x" * 300))
    assert details.error_code == ErrorCode.INVALID_CONTEXT


def test_bulk_answers_every_slot_and_its_tag_covers_the_context(
    flags: OpenFeatureClient, service: Running
) -> None:
    path, key = "/ofrep/v1/evaluate/flags", service.sdk_key
    one = service.call("POST", path, key, json_body={"context": {"targetingKey": "u-6"}})
    assert {flag["key"] for flag in one.json["flags"]} == {"late", "plain", "text"}
    assert {flag["metadata"]["exposure"] for flag in one.json["flags"]} == {"none"}
    known = {"If-None-Match": one.headers["etag"]}
    same = service.call(
        "POST",
        f"{path}?flagConfigEtag=x",
        key,
        json_body={"context": {"targetingKey": "u-6"}},
        headers=known,
    )
    other = service.call(
        "POST", path, key, json_body={"context": {"targetingKey": "u-7"}}, headers=known
    )
    assert (same.status, other.status) == (304, 200)


def test_refusals_say_it_in_the_protocols_words(service: Running) -> None:
    path = "/ofrep/v1/evaluate/flags/late"
    broken = service.call(
        "POST", path, service.sdk_key, body=b"{", headers={"Content-Type": "application/json"}
    )
    assert (broken.status, broken.json["errorCode"]) == (400, "PARSE_ERROR")
    nobody = service.call("POST", path, json_body={"context": {}})
    assert (nobody.status, nobody.json["errorCode"]) == (401, "GENERAL")
    api_key = service.call(
        "POST",
        path,
        json_body={"context": {"targetingKey": "u-8"}},
        headers={"X-API-Key": service.sdk_key},
    )
    assert api_key.status == 200
