"""Metrics, slots, policies and rollouts that nobody should define: refused, nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.flow.actors import Scope
from tests.security.knocking import JSON, send
from tests.web import METRIC, SLOT, Web

METRICS: list[dict[str, Any]] = [
    {"type": "magic"},
    {"direction": "up"},
    {"window_seconds": -1},
    {"window_seconds": "60"},
    {"window_seconds": 10**400},
    {"unknown": 1},
    {"status": "promoted"},
    {"outcome": ""},
    {"outcome": None},
    {"outcome": 7},
    {"baseline": {"mean": "x", "sd": 1}},
    {"winsorize": 2.0},
    {"key": "another"},
    {"type": "ratio"},
    {"type": "quantile", "q": 1.5},
]


@pytest.mark.parametrize("change", METRICS, ids=str)
def test_a_wrong_metric_is_refused(web: Web, change: dict[str, Any]) -> None:
    status, code = send(web, "PUT", "/v1/metrics/other", Scope.ADMIN, json={**METRIC, **change})
    assert status in {409, 422}, code


SLOTS: list[dict[str, Any]] = [
    {"unit": ""},
    {"unit": "Ünit"},
    {"champion": None},
    {"champion": {"name": "x"}},
    {"champion": {"name": "x", "version": 1}},
    {"champion": {"name": "x", "version": "1", "payload": "x" * 70_000}},
    {"oec": {"metric": "nobody", "mde": 1}},
    {"oec": {"metric": "cost", "mde": 0}},
    {"oec": {"metric": "cost", "mde": -1}},
    {"oec": {"metric": "cost", "mde": True}},
    {"oec": {"metric": "cost", "mde": "0.5"}},
    {"guardrails": [{"metric": "cost", "margin": 1}]},
    {"guardrails": "cost"},
    {"observe": 50},
    {"observe": -0.1},
    {"observe": "abc%"},
    {"policy": "nobody"},
    {"policy": 7},
    {"other_policies": ["cautious", 1]},
    {"status": {"version": 9}},
    {"project": "other"},
    {"kill": None, "approved_by": "me"},
]


@pytest.mark.parametrize("change", SLOTS, ids=lambda change: str(change)[:60])
def test_a_wrong_slot_is_refused(web: Web, change: dict[str, Any]) -> None:
    status, code = send(web, "PUT", "/v1/slots/other", Scope.ADMIN, json={**SLOT, **change})
    assert status == 422, code
    assert send(web, "GET", "/v1/slots/other", Scope.READ) == (404, "not_found")


POLICIES: list[Any] = [
    {},
    [],
    None,
    {"ramp": []},
    {"ramp": [{"enrolled": 2.0, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 10, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}, {"enrolled": 0.1, "dwell": "1h"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "soon"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": -1}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1e12s"}]},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": 0}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": 1}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"alpha": -0.05}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"mode": "magic"}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"horizon": 0}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "approvals": {"promote": {"quorum": 0}}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "approvals": {"promote": {"quorum": -1}}},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "unknown": True},
    {"ramp": [{"enrolled": 0.5, "dwell": "1h", "unknown": True}]},
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy)[:70])
def test_a_wrong_policy_is_refused(web: Web, policy: Any) -> None:
    raw = json.dumps(policy).encode()
    status, code = send(web, "PUT", "/v1/policies/other", Scope.ADMIN, data=raw, headers=JSON)
    assert status == 422, code


@pytest.mark.parametrize(
    "key", ["Late", "a b", "x" * 65, "__proto__", "-a", "%2b", "é", "a%0a", "con*", "{tag}"]
)
def test_a_wrong_key_is_refused(web: Web, key: str) -> None:
    status, _ = send(web, "PUT", f"/v1/slots/{key}", Scope.ADMIN, json=SLOT)
    assert status in {400, 422}


@pytest.mark.parametrize(
    "raw",
    [
        b"unit: !!python/object/apply:os.system ['true']",
        b"a: &a [*a]",
        b"a: &a [1,2]\nb: [*a,*a]",
        b"unit: [",
        b"unit: x\nunit: y",
        b"\xff\xfe",
    ],
)
def test_yaml_tricks_are_refused(web: Web, raw: bytes) -> None:
    headers = {"Content-Type": "application/yaml"}
    status, _ = send(web, "PUT", "/v1/slots/other", Scope.ADMIN, data=raw, headers=headers)
    assert status == 400


ROLLOUTS: list[tuple[dict[str, Any], int]] = [
    ({}, 422),
    ({"slot": "late"}, 422),
    ({"slot": "late", "challengers": []}, 422),
    ({"slot": "nobody", "challengers": [{"name": "m", "version": "2"}]}, 404),
    ({"slot": "late", "challengers": [{"name": "m"}]}, 422),
    ({"slot": "late", "challengers": [SLOT["champion"]]}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}] * 2}, 422),
    (
        {"slot": "late", "challengers": [{"name": "m", "version": str(n)} for n in range(9)]},
        422,
    ),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "policy": "solo"}, 403),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "id": "mine"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "state": "Promoted"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "project_id": "x"}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2", "x": 1}]}, 422),
    ({"slot": "late", "challengers": [{"name": "m", "version": "2"}], "requested_by": "no"}, 422),
]


@pytest.mark.parametrize(("asked", "status"), ROLLOUTS, ids=lambda row: str(row)[:80])
def test_a_wrong_rollout_is_refused(web: Web, asked: dict[str, Any], status: int) -> None:
    got, code = send(web, "POST", "/v1/rollouts", Scope.ADMIN, json=asked)
    assert got == status, code
