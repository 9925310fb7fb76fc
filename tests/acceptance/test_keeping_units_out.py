"""Holdouts, layers and overrides in a running service, as the SDK, OFREP and the operator see them.

Two slots have a living rollout in which everybody is enrolled, so whoever does not take part was
kept out. The rules are made with the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.sdk import Client
from tests.acceptance.flags import EVERYBODY, put, start_rollout
from tests.processes import PATIENCE_SECONDS
from tests.running import Running
from tests.web import METRIC

UNITS = [f"visitor-{number}" for number in range(600)]
TESTER = "a-tester@example.org"
SLOTS = ("search", "checkout")


@pytest.fixture(scope="module", autouse=True)
def rollouts(service: Running) -> dict[str, str]:
    """The rollout of each slot."""
    put(service, "/v1/metrics/cost", METRIC)
    put(service, "/v1/policies/everybody", EVERYBODY)
    for slot in SLOTS:
        document = {
            "unit": "visitor",
            "champion": {"name": slot, "version": "1", "payload": 1},
            "oec": {"metric": "cost", "mde": 0.1},
            "policy": "everybody",
        }
        put(service, f"/v1/slots/{slot}", document)
    return {
        slot: start_rollout(service, slot, {"name": slot, "version": "2", "payload": 2})
        for slot in SLOTS
    }


@pytest.fixture(scope="module")
def client(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("sdk")
    url = service.url
    with Client(url, service.sdk_key, state_dir=folder, flush_seconds=0.1) as made:
        assert made.wait_until_ready(PATIENCE_SECONDS)
        yield made


def command(service: Running, *words: str) -> Any:
    """One command of the operator's; its JSON where it prints any."""
    env = {
        **os.environ,
        "CONTROLLER_URL": service.url,
        "CONTROLLER_TOKEN": service.admin_token,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "controller", *words],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout) if ran.stdout.startswith("{") else ran.stdout


def told(service: Running, client: Client) -> None:
    """Waits until the SDK has the newest ruleset."""
    newest = service.call("GET", "/v1/ruleset", service.sdk_key).json["version"]
    service.until(lambda: client.ruleset_version >= newest, "the SDK has the newest")


def kept(client: Client, slot: str, reason: Reason) -> set[str]:
    return {unit for unit in UNITS if client.peek(slot, unit=unit).reason is reason}


def remote(service: Running, slot: str, unit: str) -> Any:
    body = {"context": {"targetingKey": unit, "expose": False}}
    answer = service.call(
        "POST", f"/ofrep/v1/evaluate/flags/{slot}", service.sdk_key, json_body=body
    )
    assert answer.status == 200, answer.body
    return answer.json


def share_out(service: Running, search: str, checkout: str) -> Any:
    members = ("--slot", f"search={search}", "--slot", f"checkout={checkout}")
    return command(service, "layer", "put", "shop", "--unit", "visitor", *members)


def test_a_layer_shares_units_out_between_two_rollouts(service: Running, client: Client) -> None:
    made = share_out(service, "30%", "0.5")
    assert made["status"]["ranges"] == {"search": [[0, 3000]], "checkout": [[3000, 8000]]}
    told(service, client)
    outside = {slot: kept(client, slot, Reason.LAYER) for slot in SLOTS}
    inside = {slot: set(UNITS) - outside[slot] for slot in SLOTS}
    assert not inside["search"] & inside["checkout"]
    assert 0.2 < len(inside["search"]) / len(UNITS) < 0.4
    assert 0.4 < len(inside["checkout"]) / len(UNITS) < 0.6
    one = min(outside["search"])
    assert remote(service, "search", one)["metadata"]["reason"] == "LAYER"
    share_out(service, "0.4", "0.5")
    told(service, client)
    assert kept(client, "search", Reason.LAYER) < outside["search"]
    assert kept(client, "checkout", Reason.LAYER) == outside["checkout"]


def test_a_holdout_keeps_units_with_the_champion(service: Running, client: Client) -> None:
    command(service, "holdout", "put", "all", "--unit", "visitor", "--share", "20%")
    told(service, client)
    held = kept(client, "search", Reason.HOLDOUT)
    assert held == kept(client, "checkout", Reason.HOLDOUT), "the same units, everywhere"
    assert 0.12 < len(held) / len(UNITS) < 0.28
    one = min(held)
    assert client.peek("search", unit=one).payload == 1
    assert remote(service, "search", one)["metadata"]["reason"] == "HOLDOUT"
    assert remote(service, "search", one)["variant"] == "champion"


def test_an_override_shows_a_tester_the_challenger(
    service: Running, client: Client, rollouts: dict[str, str]
) -> None:
    made = command(service, "slot", "override", "put", "search", TESTER, "challenger")
    assert (made["arm"], made["meets"]) == ("challenger", "challenger")
    told(service, client)
    met = client.assign("search", unit=TESTER)
    assert (met.reason, met.arm, met.payload) == (Reason.OVERRIDE, "challenger", 2)
    assert met.exposed is False
    assert remote(service, "search", TESTER)["metadata"]["reason"] == "OVERRIDE"
    assert remote(service, "search", TESTER)["value"] == 2
    claimed = {
        "type": "exposure",
        "event_id": "claimed-1",
        "occurred_at": datetime.now(UTC).isoformat(),
        "slot": "search",
        "unit": TESTER,
        "rollout": rollouts["search"],
        "allocation": met.allocation,
        "arm": "challenger",
        "ruleset": met.ruleset,
        "reason": "SPLIT",
    }
    sent = service.call("POST", "/v1/events", service.sdk_key, json_body={"events": [claimed]})
    assert (sent.status, sent.json["rejected"]) == (202, [])
    problems = service.until(
        lambda: [
            one
            for one in service.call("GET", "/v1/events/problems", service.admin_key).json[
                "problems"
            ]
            if one["code"] == "overridden"
        ],
        "the overridden exposure is named",
    )
    assert problems[0]["count"] == 1


def test_the_operator_sees_why_not_everybody_meets_the_rollout(
    service: Running, rollouts: dict[str, str]
) -> None:
    path = f"/v1/rollouts/{rollouts['search']}"
    status = service.call("GET", path, service.admin_token).json["status"]
    assert status["reach"]["share"] == pytest.approx(0.8 * 0.4)
    assert status["challenger_traffic"] == pytest.approx(0.8 * 0.4 * 0.5)
    assert "20% is held out and layer shop gives the slot 40%" in status["sentence"]
    for words, shown in (
        (("holdout", "list"), "checkout, search"),
        (("layer", "list"), "checkout=0.5, search=0.4"),
        (("slot", "override", "list", "search"), "challenger"),
    ):
        assert shown in command(service, *words)


def test_nothing_that_is_kept_holds_the_testers_id(service: Running) -> None:
    ruleset = service.call("GET", "/v1/ruleset", service.sdk_key)
    listed = service.call("GET", "/v1/slots/search/overrides", service.admin_key)
    audit = service.call("GET", "/v1/audit?limit=500", service.admin_token)
    assert b"override_set" in audit.body
    for answer in (ruleset, listed, audit):
        assert TESTER.encode() not in answer.body
    assert TESTER not in service.log.read_text()


def test_a_kill_wins_and_the_rules_can_be_taken_away(service: Running, client: Client) -> None:
    service.call("POST", "/v1/slots/search/kill", service.admin_key, json_body={})
    told(service, client)
    for unit in (TESTER, *UNITS[:50]):
        assert client.peek("search", unit=unit).reason is Reason.KILLED
    service.call("DELETE", "/v1/slots/search/kill", service.admin_token)
    command(service, "slot", "override", "delete", "search", TESTER)
    command(service, "holdout", "delete", "all")
    command(service, "layer", "delete", "shop")
    told(service, client)
    assert {client.peek("search", unit=unit).reason for unit in UNITS} == {Reason.SPLIT}
