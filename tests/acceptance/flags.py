"""Slots of every kind, one with a living rollout, for clients of the remote protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.running import Running
from tests.web import METRIC

PAYLOADS: dict[str, Any] = {
    "object": {"threshold": 0.25, "words": ["late", "très"]},
    "text": "ask",
    "number": 0.5,
    "one": 1.0,
    "whole": 3,
    "yes": True,
}
"""Slots at rest, one for each type of flag; `plain` has a model without a payload."""

EVERYBODY = {
    "ramp": [{"enrolled": 1.0, "dwell": "0s"}],
    "oec": {"horizon": 3000, "first_look": 0.2},
    "approvals": {
        "promote": {"quorum": 1, "requester_may_approve": True, "author_may_approve": True}
    },
    "look_every": "60s",
}
SPLIT = {"champion": {"threshold": 0.25}, "challenger": {"threshold": 0.5}}
"""The payloads of the two arms of the slot `split`, in which everybody is enrolled."""


def define(service: Running) -> None:
    """The slots of this module, and the rollout of `split` in the state Ramping or Deciding."""
    slot = {"unit": "visitor", "observe": 1.0, "oec": {"metric": "cost", "mde": 0.2}}
    put(service, "/v1/metrics/cost", METRIC)
    put(service, "/v1/policies/everybody", EVERYBODY)
    for key, payload in PAYLOADS.items():
        champion = _model(key, payload)
        put(service, f"/v1/slots/{key}", {**slot, "champion": champion, "clients": key == "text"})
    put(service, "/v1/slots/plain", {**slot, "champion": {"name": "rule", "version": "1"}})
    split = {"champion": _model("split", SPLIT["champion"]), "policy": "everybody"}
    put(service, "/v1/slots/split", {**slot, **split, "clients": True})
    start_rollout(service, "split", _model("split", SPLIT["challenger"], version="2"))


def put(service: Running, path: str, document: dict[str, Any]) -> None:
    answer = service.call("PUT", path, service.admin_key, json_body=document)
    assert answer.status == 200, answer.body


def start_rollout(service: Running, slot: str, challenger: dict[str, Any]) -> str:
    """Ask for a rollout as the administrator and bring it to its only stage; its id."""
    asked = {"slot": slot, "challengers": [challenger], "hypothesis": "it is better"}
    made = service.call("POST", "/v1/rollouts", service.admin_token, json_body=asked)
    assert made.status == 201, made.body
    path = f"/v1/rollouts/{made.json['metadata']['uid']}"
    for verb in ("submit", "start"):
        _until_done(service, path, verb)
    service.until(
        lambda: _status(service, path)["state"] in {"Ramping", "Deciding"}, "the rollout ramps"
    )
    service.until(lambda: _reason(service, slot) == "SPLIT", "it splits")  # every web process knows
    return path.rpartition("/")[2]


@contextmanager
def killed(service: Running, slot: str) -> Iterator[None]:
    """The slot serves its champion to everybody; every web process knows within a second."""
    service.call("POST", f"/v1/slots/{slot}/kill", service.admin_key, json_body={"note": "now"})
    try:
        service.until(lambda: _reason(service, slot) == "KILLED", "it is killed")
        yield
    finally:
        service.call("DELETE", f"/v1/slots/{slot}/kill", service.admin_token)
    service.until(lambda: _reason(service, slot) != "KILLED", "it is not killed")


def _reason(service: Running, slot: str) -> str:
    asked = {"slot": slot, "unit": "somebody", "expose": False}
    answer = service.call("POST", "/v1/assign", service.sdk_key, json_body=asked)
    return str(answer.json["reason"])


def _until_done(service: Running, path: str, verb: str) -> None:
    """One verb with the version just read; again while the machine moves or still validates."""
    ends = time.monotonic() + 60
    while True:
        etag = service.call("GET", path, service.admin_token).headers["etag"]
        done = service.call(
            "POST", f"{path}/actions/{verb}", service.admin_token, headers={"If-Match": etag}
        )
        if done.status not in {412, 422}:
            assert done.status in {200, 409}, done.body
            return
        assert time.monotonic() < ends, done.body
        time.sleep(0.2)


def _status(service: Running, path: str) -> Any:
    return service.call("GET", path, service.admin_token).json["status"]


def _model(name: str, payload: Any, version: str = "1") -> dict[str, Any]:
    return {"name": name, "version": version, "payload": payload}
