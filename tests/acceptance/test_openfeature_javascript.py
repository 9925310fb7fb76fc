"""The unmodified JavaScript OpenFeature SDKs with their OFREP providers ask this service."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance import flags
from tests.acceptance.javascript import FOLDER, Visitor, evaluate, question, visiting
from tests.acceptance.ledger import ledger
from tests.running import Running

EVALUATE = "/ofrep/v1/evaluate/flags"
FACTS = {"reason", "ruleset", "exposure", "model"}


@pytest.fixture(scope="module")
def flagged(service: Running) -> Running:
    flags.define(service)
    return service


@pytest.fixture(scope="module")
def browser_key(flagged: Running) -> str:
    """A key for browsers: it opens the slots `text` and `split`."""
    asked = {"name": "shop", "scopes": ["evaluate"], "origins": ["https://shop.example"]}
    made = flagged.call("POST", "/v1/keys", flagged.admin_token, json_body=asked)
    assert made.status == 201, made.body
    return str(made.json["key"])


def visitor(unit: str, **attributes: Any) -> dict[str, Any]:
    return {"targetingKey": unit, **attributes}


def test_the_packages_are_those_of_the_lock() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    for place, package in lock["packages"].items():
        installed = json.loads((FOLDER / place / "package.json").read_text())
        assert installed.get("version") == package.get("version"), place


# ---------------------------------------------------------------- one flag at a time


def test_values_of_every_type_with_variant_reason_and_metadata(flagged: Running) -> None:
    defaults = {"object": {}, "text": "-", "number": 0, "one": 0, "whole": 0, "yes": False}
    context = visitor("js-1", origin="EWR", seats=3, nested={"ignored": [1]})
    found = evaluate(flagged, *(question(flag, empty, context) for flag, empty in defaults.items()))
    assert [details["value"] for details in found] == [flags.PAYLOADS[flag] for flag in defaults]
    for flag, details in zip(defaults, found, strict=True):
        assert (details["variant"], details["reason"]) == ("champion", "STATIC"), flag
        assert "errorCode" not in details
        assert details["flagMetadata"].keys() == FACTS
        assert details["flagMetadata"]["reason"] == "NO_ROLLOUT"
        assert details["flagMetadata"]["model"] == f"{flag} 1"
        assert details["flagMetadata"]["exposure"] in {"durable", "queued"}


def test_a_rollout_splits_and_each_unit_keeps_its_arm(flagged: Running) -> None:
    units = [f"js-split-{number}" for number in range(40)]
    asked = [question("split", {}, visitor(unit)) for unit in units]
    found = evaluate(flagged, *asked, *asked)
    for details in found:
        assert details["value"] == flags.SPLIT[details["variant"]]
        assert details["reason"] == "SPLIT"
        assert details["flagMetadata"].keys() == FACTS | {"rollout", "allocation"}
        assert details["flagMetadata"]["reason"] in {"SPLIT", "PINNED"}
    arms = [details["variant"] for details in found]
    assert set(arms) == {"champion", "challenger"}
    assert arms[:40] == arms[40:]
    for unit, arm in zip(units, arms, strict=False):
        asked_otherwise = {"slot": "split", "unit": unit, "expose": False}
        same = flagged.call("POST", "/v1/assign", flagged.sdk_key, json_body=asked_otherwise)
        assert same.json["arm"] == arm


def test_an_evaluation_exposes_once_and_looking_exposes_nobody(flagged: Running) -> None:
    looked = question("split", {}, visitor("js-looked", expose=False))
    used = question("split", {}, visitor("js-used", plan="free"))
    found = evaluate(flagged, used, used, looked, used)
    assert [details["flagMetadata"]["exposure"] for details in found[:2]] != ["none", "none"]
    assert found[2]["flagMetadata"]["exposure"] == "none"
    token = found[2]["flagMetadata"]["exposure_token"]
    assert _exposures(flagged, "js-used") == {"js-used": 1, "js-looked": 0}
    body = {"tokens": [token]}
    assert flagged.call("POST", "/v1/expose", flagged.sdk_key, json_body=body).status == 200
    assert _exposures(flagged, "js-looked") == {"js-used": 1, "js-looked": 1}


def _exposures(service: Running, awaited: str) -> dict[str, int]:
    """How often the two units above were exposed, once the awaited one has been counted."""

    def counted() -> Counter[str | None] | None:
        units = Counter(event.unit for event in ledger(service, slot="split", kind="exposure"))
        return units if units[awaited] else None

    units = service.until(counted, "the exposures")
    return {unit: units[unit] for unit in ("js-used", "js-looked")}


def test_every_error_keeps_the_codes_default_and_says_why(flagged: Running) -> None:
    anybody = visitor("js-2")
    cases: list[tuple[str, Any, dict[str, Any], str, str]] = [
        ("nobody", "mine", anybody, "FLAG_NOT_FOUND", "There is no slot 'nobody'."),
        ("a/b", "mine", anybody, "FLAG_NOT_FOUND", "There is no such address."),
        ("split", {"mine": 1}, {}, "TARGETING_KEY_MISSING", "targetingKey"),
        ("split", {"mine": 1}, {"targetingKey": ""}, "TARGETING_KEY_MISSING", "targetingKey"),
        ("split", {"mine": 1}, visitor("x" * 300), "INVALID_CONTEXT", "256 bytes"),
        ("object", "mine", anybody, "TYPE_MISMATCH", "Expected flag type string but got object"),
        ("whole", "mine", anybody, "TYPE_MISMATCH", "Expected flag type string but got number"),
    ]
    asked = [question(flag, default, context) for flag, default, context, _, _ in cases]
    for (flag, default, _, code, words), details in zip(
        cases, evaluate(flagged, *asked), strict=True
    ):
        assert (details["errorCode"], details["reason"]) == (code, "ERROR"), flag
        assert details["value"] == default
        assert words in details["errorMessage"]


def test_a_slot_that_splits_nobody_needs_no_unit(flagged: Running) -> None:
    (details,) = evaluate(flagged, question("text", "-", {}))
    assert (details["value"], details["reason"]) == ("ask", "STATIC")
    assert details["flagMetadata"]["exposure"] == "none"
    assert "exposure_token" not in details["flagMetadata"]


def test_a_model_without_a_payload_keeps_the_codes_default(flagged: Running) -> None:
    (details,) = evaluate(flagged, question("plain", "mine", visitor("js-3")))
    assert details["value"] == "mine"


@pytest.mark.parametrize("key", ["", "rc_other1_0123456789abcdefghijklmn"])
def test_without_a_known_key_the_default_stands(key: str, flagged: Running) -> None:
    (details,) = evaluate(flagged, question("text", "mine", visitor("js-4")), key=key)
    assert (details["value"], details["errorCode"]) == ("mine", "GENERAL")
    refused = flagged.call("POST", f"{EVALUATE}/text", key or None, json_body={"context": {}})
    assert (refused.status, refused.json["errorCode"]) == (401, "GENERAL")


def test_a_killed_slot_is_disabled_and_exposes_nobody(flagged: Running) -> None:
    with flags.killed(flagged, "split"):
        (details,) = evaluate(flagged, question("split", {}, {}))
    assert (details["value"], details["variant"], details["reason"]) == (
        flags.SPLIT["champion"],
        "champion",
        "DISABLED",
    )
    assert details["flagMetadata"]["reason"] == "KILLED"
    assert details["flagMetadata"]["exposure"] == "none"
    (details,) = evaluate(flagged, question("split", {}, visitor("js-5")))
    assert details["reason"] == "SPLIT"


# ---------------------------------------------------------------- every flag at once


@pytest.fixture
def shopper(flagged: Running, browser_key: str) -> Iterator[Visitor]:
    with visiting(flagged, browser_key) as started:
        yield started


def test_a_browser_gets_the_slots_open_to_it_and_exposes_nobody(
    shopper: Visitor, flagged: Running
) -> None:
    assert shopper.do("start", context=visitor("web-1")) == {"status": "READY"}
    text, split = shopper.get("text", "-"), shopper.get("split", {})
    assert (text["value"], text["variant"], text["reason"]) == ("ask", "champion", "STATIC")
    assert (split["value"], split["reason"]) == (flags.SPLIT[split["variant"]], "SPLIT")
    assert {text["flagMetadata"]["exposure"], split["flagMetadata"]["exposure"]} == {"none"}
    closed = shopper.get("object", {})
    assert (closed["value"], closed["errorCode"]) == ({}, "FLAG_NOT_FOUND")
    mistaken = shopper.get("text", 1)
    assert (mistaken["value"], mistaken["errorCode"]) == (1, "TYPE_MISMATCH")


def test_a_browser_polls_for_nothing_until_something_changes(
    shopper: Visitor, flagged: Running
) -> None:
    shopper.do("start", context=visitor("web-2"))
    again = shopper.do("poll")
    first = shopper.do("requests")[0]
    assert (first["status"], first["asked"]) == (200, None)
    assert (again["status"], again["asked"]) == (304, first["etag"])
    before = shopper.get("split", {})
    other = next(
        context
        for number in range(100)
        if _arm(flagged, (context := visitor(f"web-2-{number}"))["targetingKey"])
        != before["variant"]
    )
    assert shopper.do("context", context=other) == {"status": "READY"}
    assert shopper.get("split", {})["variant"] != before["variant"]
    # The last answer may be that of a poll for the first visitor, under way meanwhile.
    assert any(answer["etag"] != first["etag"] for answer in shopper.do("requests"))


def _arm(service: Running, unit: str) -> str:
    body = {"slot": "split", "unit": unit, "expose": False}
    return str(service.call("POST", "/v1/assign", service.sdk_key, json_body=body).json["arm"])


def test_another_attribute_is_another_answer_even_for_the_same_unit(
    shopper: Visitor, flagged: Running
) -> None:
    shopper.do("start", context=visitor("web-3", plan="free"))
    shopper.do("poll")
    shopper.do("context", context=visitor("web-3", plan="paid"))
    asked = shopper.do("requests")
    changed = next(one for one in asked[1:] if one["status"] == 200)
    assert changed["asked"] == asked[0]["etag"] != changed["etag"]


def test_a_visitor_without_a_unit_gets_what_needs_none(shopper: Visitor) -> None:
    assert shopper.do("start", context={}) == {"status": "READY"}
    assert shopper.get("text", "-")["value"] == "ask"
    split = shopper.get("split", {"mine": 1})
    assert (split["value"], split["errorCode"]) == ({"mine": 1}, "TARGETING_KEY_MISSING")
    assert "targetingKey" in split["errorMessage"]


def test_a_browser_with_a_wrong_key_is_told_that_it_is_final(flagged: Running) -> None:
    with visiting(flagged, "rc_other1_0123456789abcdefghijklmn") as stranger:
        assert stranger.do("start", context=visitor("web-4"))["status"] == "FATAL"
        assert stranger.get("text", "mine")["value"] == "mine"


def test_too_many_questions_pause_the_client_until_the_time_said(
    flagged: Running, browser_key: str
) -> None:
    asked = [question("text", "mine", visitor("web-5", expose=False))] * 3000
    pause = {"type": "wait", "seconds": 1.5}
    crowd = {"type": "crowd", "questions": asked}
    *found, _, later = evaluate(flagged, crowd, pause, asked[0], key=browser_key)
    answered = [details for details in found if "errorCode" not in details]
    messages = [details["errorMessage"] for details in found if "errorCode" in details]
    assert len(answered) >= 200
    assert {details["value"] for details in answered} == {"ask"}
    paused = ["paused due to TooManyRequests" in message for message in messages]
    assert not paused[0]
    assert any(paused)
    for message in (one for one, waits in zip(messages, paused, strict=True) if not waits):
        assert "rate limit exceeded, try again after" in message
    assert later["value"] == "ask"
