"""The whole sentence over HTTP: assigned, recorded, looked at, approved, promoted, undone."""

from __future__ import annotations

import http.client
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.running import Answer, Running

POLICY = {
    "ramp": [{"enrolled": 1.0, "dwell": "0s"}],
    "oec": {"horizon": 3000, "first_look": 0.2},
    "approvals": {"promote": {"quorum": 2}},
    "bake": {"duration": "1s", "holdback": 0, "undo_window": "1d"},
    "look_every": "1s",
}
COST = {"type": "mean", "direction": "decrease", "outcome": "cost", "window_seconds": 1}
UNITS = 3000


@dataclass
class Story:
    """One rollout and the people around it."""

    service: Running
    rollout: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, who: str, **options: Any) -> Answer:
        return self.service.call(method, path, self.tokens.get(who, who), **options)

    def status(self) -> Any:
        answer = self.ask("GET", f"/v1/rollouts/{self.rollout}", "carl")
        assert answer.status == 200, answer.body
        return answer.json["status"]

    def verb(self, verb: str, who: str = "carl") -> Answer:
        """One verb with the version just read, again where the machine moved in between."""
        while True:
            path = f"/v1/rollouts/{self.rollout}"
            etag = self.ask("GET", path, who).headers["etag"]
            answer = self.ask("POST", f"{path}/actions/{verb}", who, headers={"If-Match": etag})
            if answer.status != 412:
                return answer

    def until_state(self, *states: str) -> str:
        return str(
            self.service.until(
                lambda: (now := self.status()["state"]) in states and now, " or ".join(states), 90
            )
        )


@pytest.fixture(scope="module")
def story(service: Running) -> Story:
    story = Story(service)
    admin = service.admin_token
    for name, roles in (
        ("ann", ["approver"]),
        ("bob", ["approver"]),
        ("carl", ["author", "operator"]),
    ):
        made = service.call(
            "POST", "/v1/operators", admin, json_body={"name": name, "roles": roles}
        )
        assert made.status == 201, made.body
        secret = made.json["link"].rpartition("/")[2]
        story.tokens[name] = _token_by_link(service, name, secret)
    for path, document in (
        ("/v1/metrics/cost", COST),
        ("/v1/policies/quick", POLICY),
        (
            "/v1/slots/alerts",
            {
                "unit": "departure",
                "champion": {"name": "logistic", "version": "1", "payload": 1},
                "oec": {"metric": "cost", "mde": 0.2},
                "policy": "quick",
            },
        ),
    ):
        answer = service.call("PUT", path, service.admin_key, json_body=document)
        assert answer.status == 200, answer.body
    return story


def _token_by_link(service: Running, name: str, secret: str) -> str:
    """Choose a password by the sign-in link, as a browser does, then make a token by the API."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    password = f"the very own password of {name}"
    form = urlencode({"password": password, "again": password})
    connection.request(
        "POST", f"/link/{secret}", form, {"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 303, answer.status
    signed_in = service.call("POST", "/v1/tokens", json_body={"name": name, "password": password})
    assert signed_in.status == 201, signed_in.body
    return str(signed_in.json["token"])


def test_a_rollout_is_asked_for_submitted_and_started(story: Story) -> None:
    asked = {
        "slot": "alerts",
        "challengers": [{"name": "boost", "version": "2", "payload": 2, "authors": ["dora"]}],
        "hypothesis": "weather helps",
    }
    made = story.ask("POST", "/v1/rollouts", "carl", json_body=asked)
    assert made.status == 201, made.body
    story.rollout = made.json["metadata"]["uid"]
    assert made.headers["location"] == f"/v1/rollouts/{story.rollout}"
    assert made.json["status"]["state"] == "Draft"
    bare = story.ask("POST", f"/v1/rollouts/{story.rollout}/actions/submit", "carl")
    assert bare.status == 428
    assert story.verb("submit").status == 200
    while (started := story.verb("start")).status == 422:
        assert {"guard"} <= started.json["failed"][0].keys()
        time.sleep(0.2)
    assert started.status in {200, 409}, started.body
    assert story.until_state("Ramping", "Deciding") in {"Ramping", "Deciding"}


def test_units_are_assigned_exposed_and_their_outcomes_accepted(story: Story) -> None:
    service, chance = story.service, random.Random(7)
    arms: dict[str, str] = {}
    service.until(
        lambda: service.call(
            "POST", "/v1/assign", service.sdk_key, json_body={"slot": "alerts", "unit": "first"}
        ).json["rollout"],
        "units are assigned",
    )
    for first in range(0, UNITS, 500):
        asked = [
            {"slot": "alerts", "unit": f"f-{number}", "expose": True}
            for number in range(first, first + 500)
        ]
        answer = service.call(
            "POST", "/v1/assign/batch", service.sdk_key, json_body={"requests": asked}
        )
        assert answer.status == 200, answer.body
        for question, choice in zip(asked, answer.json["assignments"], strict=True):
            assert choice["reason"] in {"SPLIT", "PINNED"}
            assert choice["exposure"] in {"durable", "queued"}
            assert choice["payload"] == (2 if choice["arm"] == "challenger" else 1)
            arms[str(question["unit"])] = choice["arm"]
    assert 0.45 < sum(arm == "challenger" for arm in arms.values()) / UNITS < 0.55
    units = list(arms.items())
    accepted = 0
    for first in range(0, UNITS, 500):
        now = datetime.now(UTC).isoformat()
        events = [
            {
                "type": "outcome",
                "event_id": f"cost-{unit}",
                "occurred_at": now,
                "unit": unit,
                "name": "cost",
                "slot": "alerts",
                "value": chance.gauss(0.6 if arm == "challenger" else 1.0, 0.5),
            }
            for unit, arm in units[first : first + 500]
        ]
        answer = service.call(
            "POST",
            "/v1/events",
            service.sdk_key,
            json_body={"batch_id": f"b-{first}", "events": events},
        )
        assert (answer.status, answer.json["rejected"]) == (202, [])
        accepted += answer.json["accepted"]
    assert accepted == UNITS


def test_the_same_unit_keeps_its_arm(story: Story) -> None:
    service = story.service
    ask = {"slot": "alerts", "unit": "f-1", "expose": False}
    arms = {
        service.call("POST", "/v1/assign", service.sdk_key, json_body=ask).json["arm"]
        for _ in range(20)
    }
    assert len(arms) == 1


def test_evidence_brings_the_promotion_before_people_and_two_approve(story: Story) -> None:
    proposal = story.service.until(
        lambda: story.ask("GET", "/v1/approvals?status=open", "ann").json["approvals"],
        "the promotion is proposed",
        90,
    )[0]
    assert (proposal["transition"], proposal["rollout"]) == ("promote", story.rollout)
    path = f"/v1/approvals/{proposal['id']}/votes"
    good = {"vote": "approve", "digest": proposal["digest"], "comment": "read it"}
    assert story.ask("POST", path, "carl", json_body=good).status == 403, "no approver"
    assert story.ask("POST", path, story.service.admin_key, json_body=good).status == 403
    wrong = {**good, "digest": "0" * 64}
    assert story.ask("POST", path, "ann", json_body=wrong).json["code"] == "approval_invalid"
    first = story.ask("POST", path, "ann", json_body=good)
    assert (first.status, first.json["status"]) == (200, "open"), first.body
    again = story.ask("POST", path, "ann", json_body=good)
    assert again.json["code"] == "approval_invalid"
    second = story.ask("POST", path, "bob", json_body=good)
    assert (second.status, second.json["status"]) == (200, "executed"), second.body
    votes = {vote["voter"]: (vote["channel"], vote["method"]) for vote in second.json["votes"]}
    assert votes == {"ann": ("api", "token"), "bob": ("api", "token")}


def test_the_challenger_becomes_champion_and_undo_brings_the_old_one_back(story: Story) -> None:
    assert story.until_state("Promoting", "Baking", "Promoted")
    service = story.service
    story.until_state("Promoted", "RolledBack")
    assert story.status()["state"] == "Promoted"
    slot = service.call("GET", "/v1/slots/alerts", service.admin_key).json
    assert slot["champion"]["name"] == "boost"
    assert slot["status"]["previous_champion"]["name"] == "logistic"
    undone = story.ask("POST", f"/v1/rollouts/{story.rollout}/actions/undo", "carl")
    assert undone.status == 200, undone.body
    slot = service.call("GET", "/v1/slots/alerts", service.admin_key).json
    assert slot["champion"]["name"] == "logistic"


def test_every_step_is_written_down_and_proven(story: Story) -> None:
    path = f"/v1/rollouts/{story.rollout}"
    decisions = story.ask("GET", f"{path}/decisions", "carl").json["decisions"]
    assert [one["seq"] for one in decisions] == list(range(1, len(decisions) + 1))
    actions = [one["action"] for one in decisions]
    for action in (
        "create",
        "submit",
        "start",
        "proposal_opened",
        "vote_approve",
        "promote",
        "undo",
    ):
        assert action in actions, actions
    evidence = next(one["details"]["evidence"] for one in decisions if one["action"] == "promote")
    document = story.ask("GET", f"/v1/evidence/{evidence}", "carl")
    assert document.status == 200
    assert document.headers["etag"] == f'"{evidence}"'
    proof = story.service.call("GET", "/v1/audit/verify", story.service.admin_token)
    assert proof.json["intact"] is True
    assert proof.json["entries"] > len(decisions)


def test_the_log_is_followed_from_where_it_broke_off(story: Story) -> None:
    path = f"/v1/rollouts/{story.rollout}"
    after = story.ask("GET", f"{path}/decisions", "carl").json["decisions"][-3]["seq"]
    connection = http.client.HTTPConnection("127.0.0.1", story.service.port, timeout=30)
    connection.request(
        "GET",
        f"{path}/events",
        headers={"Authorization": f"Bearer {story.tokens['carl']}", "Last-Event-ID": str(after)},
    )
    response = connection.getresponse()
    assert response.getheader("Content-Type", "").startswith("text/event-stream")
    ids: list[int] = []
    while len(ids) < 2:
        line = response.readline()
        if line.startswith(b"id: "):
            ids.append(int(line[4:]))
    connection.close()
    assert ids == [after + 1, after + 2]


def test_the_kill_switch_answers_at_once_and_is_lifted_by_an_operator(story: Story) -> None:
    service = story.service
    killed = service.call("POST", "/v1/slots/alerts/kill", story.tokens["ann"])
    assert (killed.status, killed.json) == (200, {"slots": ["alerts"]})
    ask = {"slot": "alerts", "unit": "k-1"}
    service.until(
        lambda: (
            service.call("POST", "/v1/assign", service.sdk_key, json_body=ask).json["reason"]
            == "KILLED"
        ),
        "it is killed",
    )
    assert service.call("DELETE", "/v1/slots/alerts/kill", story.tokens["ann"]).status == 403
    assert service.call("DELETE", "/v1/slots/alerts/kill", story.tokens["carl"]).status == 204
