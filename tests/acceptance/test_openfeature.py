"""The unmodified OpenFeature SDK with its OFREP provider asks this service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from tests.acceptance.flags import PAYLOADS, SPLIT, define, killed
from tests.acceptance.ledger import ledger
from tests.running import Running

HERE = "service"


@pytest.fixture(scope="module")
def flags(service: Running) -> Iterator[OpenFeatureClient]:
    define(service)
    api.set_provider(provider(service, service.sdk_key), HERE)
    yield api.get_client(HERE)
    api.shutdown()


def provider(service: Running, key: str) -> OFREPProvider:
    headers = {"Authorization": f"Bearer {key}"}
    return OFREPProvider(service.url, headers_factory=lambda: headers, timeout=20.0)


def test_the_value_is_the_payload_and_the_variant_the_arm(flags: OpenFeatureClient) -> None:
    details = flags.get_object_details("object", {}, EvaluationContext("u-1", {"origin": "EWR"}))
    assert details.value == PAYLOADS["object"]
    assert details.variant == "champion"
    assert details.reason == "STATIC"
    assert details.error_code is None
    assert details.flag_metadata["reason"] == "NO_ROLLOUT"
    assert details.flag_metadata["exposure"] in {"durable", "queued"}


def test_every_type_of_flag_has_its_value(flags: OpenFeatureClient) -> None:
    unit = EvaluationContext("u-1")
    assert flags.get_string_value("text", "-", unit) == "ask"
    assert flags.get_float_value("number", 0.0, unit) == 0.5
    assert flags.get_float_value("one", 0.0, unit) == 1.0
    assert flags.get_integer_value("whole", 0, unit) == 3
    assert flags.get_boolean_value("yes", False, unit) is True


def test_an_integer_is_no_float_and_a_float_no_integer(flags: OpenFeatureClient) -> None:
    unit = EvaluationContext("u-1")
    for details in (
        flags.get_float_details("whole", 9.0, unit),
        flags.get_integer_details("one", 9, unit),
        flags.get_string_details("yes", "9", unit),
    ):
        assert details.error_code == ErrorCode.TYPE_MISMATCH
        assert details.value in {9, "9"}


def test_a_rollout_splits_and_each_unit_keeps_its_arm(
    flags: OpenFeatureClient, service: Running
) -> None:
    for number in range(30):
        unit = EvaluationContext(f"u-split-{number}")
        first, again = (flags.get_object_details("split", {}, unit) for _ in range(2))
        assert (first.value, first.reason) == (SPLIT[str(first.variant)], "SPLIT")
        assert again.variant == first.variant
        assert first.flag_metadata["allocation"] == 1

    def counted() -> dict[str | None, str | None] | None:
        found = ledger(service, slot="split", kind="exposure")
        return {event.unit: event.arm for event in found} if len(found) == 30 else None

    exposures = service.until(counted, "the exposures")  # asked twice, told once
    assert set(exposures.values()) == {"champion", "challenger"}


def test_a_killed_slot_is_disabled_for_everybody(
    flags: OpenFeatureClient, service: Running
) -> None:
    with killed(service, "split"):
        details = flags.get_object_details("split", {}, EvaluationContext())
    assert (details.value, details.reason) == (SPLIT["champion"], "DISABLED")
    assert details.flag_metadata["reason"] == "KILLED"
    unit = EvaluationContext("u-1")
    assert flags.get_object_details("split", {}, unit).reason == "SPLIT"


def test_a_split_without_a_unit_is_refused_by_name(flags: OpenFeatureClient) -> None:
    details = flags.get_object_details("split", {}, EvaluationContext())
    assert details.error_code == ErrorCode.TARGETING_KEY_MISSING
    assert "targetingKey" in str(details.error_message)


def test_without_a_known_key_the_default_stands(flags: OpenFeatureClient, service: Running) -> None:
    api.set_provider(provider(service, "rc_other1_0123456789abcdefghijklmn"), "stranger")
    details = api.get_client("stranger").get_string_details("text", "-", EvaluationContext("u"))
    assert (details.value, details.reason, details.error_code) == ("-", "ERROR", ErrorCode.GENERAL)


def test_too_many_questions_pause_the_client_until_the_time_said(
    flags: OpenFeatureClient, service: Running
) -> None:
    asked = {"name": "shop", "scopes": ["evaluate"], "origins": ["https://shop.example"]}
    made = service.call("POST", "/v1/keys", service.admin_token, json_body=asked)
    api.set_provider(provider(service, made.json["key"]), "shop")
    shop, unit = api.get_client("shop"), EvaluationContext("u-9", {"expose": False})
    with ThreadPoolExecutor(16) as crowd:  # so many at once that a busy machine is quick enough
        asking = [crowd.submit(shop.get_string_details, "text", "-", unit) for _ in range(3000)]
        found = [details.result() for details in asking]
    answered = [details for details in found if details.error_code is None]
    assert len(answered) >= 200
    assert len(answered) < len(found)
    refused = next(details for details in found if details.error_code is not None)
    assert (refused.value, refused.error_code) == ("-", ErrorCode.GENERAL)
    service.until(lambda: shop.get_string_value("text", "-", unit) == "ask", "it answers")


def test_looking_exposes_nobody_and_hands_out_a_token(
    flags: OpenFeatureClient, service: Running
) -> None:
    context = EvaluationContext("u-2", {"expose": False})
    details = flags.get_object_details("object", {}, context)
    assert details.flag_metadata["exposure"] == "none"
    token = details.flag_metadata["exposure_token"]
    used = service.call("POST", "/v1/expose", service.sdk_key, json_body={"tokens": [token]})
    assert used.status == 200
    assert used.json["exposure"] in {"durable", "queued"}


def test_a_model_without_a_payload_keeps_the_codes_default(flags: OpenFeatureClient) -> None:
    details = flags.get_string_details("plain", "mine", EvaluationContext("u-4"))
    assert (details.value, details.variant, details.error_code) == ("mine", "champion", None)


def test_an_unknown_slot_is_an_unknown_flag(flags: OpenFeatureClient) -> None:
    details = flags.get_string_details("nobody", "mine", EvaluationContext("u-5"))
    assert (details.value, details.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    assert "nobody" in str(details.error_message)


def test_an_impossible_unit_is_an_invalid_context(flags: OpenFeatureClient) -> None:
    details = flags.get_object_details("object", {}, EvaluationContext("x" * 300))
    assert details.error_code == ErrorCode.INVALID_CONTEXT


def test_bulk_answers_every_slot_and_its_tag_covers_the_context(
    flags: OpenFeatureClient, service: Running
) -> None:
    path, key = "/ofrep/v1/evaluate/flags", service.sdk_key
    one = service.call("POST", path, key, json_body={"context": {"targetingKey": "u-6"}})
    assert {flag["key"] for flag in one.json["flags"]} == {*PAYLOADS, "plain", "split"}
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
    path = "/ofrep/v1/evaluate/flags/object"
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
