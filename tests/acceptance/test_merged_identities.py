"""Anonymous today, an account tomorrow: over the whole service, one unit with one arm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.sdk import Client
from tests.processes import PATIENCE_SECONDS
from tests.running import Running
from tests.sdk.service import wait_for

POLICY = {
    "ramp": [{"enrolled": 1.0, "dwell": "1d"}],
    "oec": {"horizon": 3000, "first_look": 0.2},
    "approvals": {"promote": {"quorum": 1, "requester_may_approve": True}},
    "sticky": "exceptions",
}
COST = {"type": "mean", "direction": "decrease", "outcome": "cost", "window_seconds": 3600}
SLOT = {
    "unit": "customer",
    "champion": {"name": "rules", "version": "1", "payload": 1},
    "oec": {"metric": "cost", "mde": 0.2},
    "policy": "kept",
}
PAIRS = 40


@pytest.fixture(scope="module")
def rollout(service: Running) -> str:
    for path, document in (
        ("/v1/metrics/cost", COST),
        ("/v1/policies/kept", POLICY),
        ("/v1/slots/offers", SLOT),
    ):
        made = service.call("PUT", path, service.admin_key, json_body=document)
        assert made.status == 200, made.body
    asked = {"slot": "offers", "challengers": [{"name": "boost", "version": "2", "payload": 2}]}
    made = service.call("POST", "/v1/rollouts", service.admin_token, json_body=asked)
    assert made.status == 201, made.body
    name = str(made.json["metadata"]["uid"])

    def state() -> Any:
        answer = service.call("GET", f"/v1/rollouts/{name}", service.admin_token)
        return answer.headers["etag"], answer.json["status"]["state"]

    def running() -> bool:
        etag, now = state()
        verb = {"Draft": "submit", "Validating": "start", "Shadow": "start"}.get(now)
        if verb is not None:
            path = f"/v1/rollouts/{name}/actions/{verb}"
            service.call("POST", path, service.admin_token, headers={"If-Match": etag})
        return bool(now == "Ramping")

    assert wait_for(running), state()
    return name


@pytest.fixture
def client(service: Running, rollout: str, tmp_path: Path) -> Iterator[Client]:
    url = service.url
    with Client(url, service.sdk_key, state_dir=tmp_path, flush_seconds=0.1) as made:
        assert made.wait_until_ready(PATIENCE_SECONDS)
        assert wait_for(lambda: made.peek("offers", unit="any").rollout == rollout)
        yield made


def pins(service: Running, rollout: str) -> Any:
    answer = service.call("GET", f"/v1/rollouts/{rollout}", service.admin_token)
    return answer.json["status"]["pins"]


def test_an_sdk_answers_the_account_as_it_answered_the_visitor(
    service: Running, rollout: str, client: Client
) -> None:
    pairs = [(f"anon-{number}", f"account-{number}") for number in range(PAIRS)]
    met = {account: client.assign("offers", unit=anon).arm for anon, account in pairs}
    own = {account: client.peek("offers", unit=account).arm for _, account in pairs}
    differ = [account for _, account in pairs if met[account] != own[account]]
    assert differ
    assert client.flush(PATIENCE_SECONDS)
    said = [{"unit_type": "customer", "unit": account, "alias": anon} for anon, account in pairs]
    stated = service.call("POST", "/v1/aliases/batch", service.sdk_key, json_body={"aliases": said})
    assert (stated.status, stated.json["accepted"]) == (202, PAIRS)
    assert wait_for(lambda: pins(service, rollout)["published"] == PAIRS)
    seen = pins(service, rollout)
    assert (seen["mode"], seen["merged"], seen["waiting"]) == ("exceptions", PAIRS, 0)

    client.prefetch([account for _, account in pairs])
    assert wait_for(
        lambda: all(client.peek("offers", unit=one).reason is Reason.PINNED for one in differ), 30
    )
    for _, account in pairs:
        assert client.assign("offers", unit=account).arm == met[account]
        remote = {"slot": "offers", "unit": account, "expose": False}
        answer = service.call("POST", "/v1/assign", service.sdk_key, json_body=remote).json
        assert (answer["arm"], answer["reason"]) == (met[account], "PINNED")
    stranger = client.peek("offers", unit="somebody else")
    assert stranger.reason is Reason.SPLIT


def test_the_status_page_and_metrics_tell_of_them(service: Running, rollout: str) -> None:
    assert wait_for(lambda: pins(service, rollout)["available"] is True)
    text = service.call("GET", "/metrics").body.decode()
    assert "controller_pins_available" in text
    assert "controller_pins_skipped_total" in text
