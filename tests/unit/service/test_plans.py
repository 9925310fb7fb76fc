"""`POST /v1/plans`: when it will decide, and what would make it feasible."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Scope
from tests.web import METRIC, SLOT, Web


@pytest.fixture(autouse=True)
def _defined(web: Web) -> None:
    guardrail = {**METRIC, "outcome": "errors", "baseline": {"mean": 0.5, "sd": 0.5}}
    admin = web.keys[Scope.ADMIN]
    for key, document in (("cost", METRIC), ("errors", guardrail)):
        assert web.call("PUT", f"/v1/metrics/{key}", admin, json=document).status_code == 200
    slot = {**SLOT, "guardrails": [{"metric": "errors", "margin_relative": 0.1}]}
    assert web.call("PUT", "/v1/slots/late", admin, json=slot).status_code == 200


def plan(web: Web, **asked: Any) -> Any:
    body = {"slot": "late", "traffic": 2000, **asked}
    return web.call("POST", "/v1/plans", web.keys[Scope.READ], json=body)


def test_a_plan_with_enough_traffic_is_feasible_and_says_when(web: Web) -> None:
    answer = plan(web).json
    assert answer["feasible"] is True
    assert answer["advice"] == []
    oec, guardrail = answer["claims"]
    assert (oec["metric"], oec["role"], guardrail["role"]) == ("cost", "oec", "guardrail")
    # Fixed sample: 2 * 2 * (1.960 + 1.282)^2 / 0.1^2 = 4203 units; looking early costs a little.
    assert 4203 <= oec["units"] <= 1.2 * 4203
    assert oec["first_look"]["expected"] < oec["decision"]["expected"] < oec["end"]["expected"]
    effects = [effect for _, effect in oec["mde_curve"]]
    assert effects == sorted(effects, reverse=True)


def test_a_range_of_traffic_gives_a_range_of_dates(web: Web) -> None:
    days = plan(web, traffic={"low": 1000, "expected": 2000, "high": 4000}).json["claims"][0]["end"]
    assert days["soonest"] < days["expected"] < days["latest"]


def test_a_plan_that_cannot_decide_says_what_would_help(web: Web) -> None:
    answer = plan(web, traffic=5).json
    assert answer["feasible"] is False
    assert "times the traffic" in answer["advice"][0]
    assert answer["claims"][0]["traffic_factor"] > 1


def test_without_traffic_nothing_ever_ends(web: Web) -> None:
    answer = plan(web, traffic=0)
    assert answer.status_code == 200
    assert answer.json["claims"][0]["end"]["expected"] is None


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"slot": "nobody"}, 404, "not_found"),
        ({"policy": "solo"}, 403, "policy_not_allowed"),
        ({"challengers": 9}, 422, "invalid_input"),
        ({"traffic": -1}, 422, "invalid_input"),
        ({"traffic": "many"}, 422, "wrong_type"),
        ({"traffic": {"low": 5, "expected": 1, "high": 9}}, 422, "invalid_input"),
        ({"traffic": {"low": 5}}, 422, "missing_field"),
        ({"days": 3}, 422, "unknown_field"),
    ],
)
def test_a_wrong_question_is_refused(
    web: Web, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = plan(web, **asked)
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_an_unknown_baseline_is_said(web: Web) -> None:
    bare = {key: value for key, value in METRIC.items() if key != "baseline"}
    web.call("PUT", "/v1/metrics/cost", web.keys[Scope.ADMIN], json=bare)
    assert plan(web).json["code"] == "baseline_unknown"
