"""`POST /v1/plans`: when it will decide, and what would make it feasible."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Scope
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import database_now
from controller.storage.sql.units import DAY_US, SqlUnits
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


def calendar(answer: Any) -> dict[str, Any]:
    return {f"{step['step']}{step['stage'] or ''}": step for step in answer["calendar"]}


def test_the_calendar_names_every_stage_and_date(web: Web) -> None:
    answer = plan(web, traffic=2000, start="2026-12-01").json
    steps = calendar(answer)
    ramp = web.call("GET", "/v1/policies/cautious", web.keys[Scope.READ]).json["ramp"]
    assert [key for key in steps if key.startswith("stage")] == [
        f"stage{number}" for number in range(1, len(ramp) + 1)
    ]
    assert steps["stage1"]["expected"] == "2026-12-01"
    # 200 units at 2 % of 2,000 a day take five days, longer than the dwell of one.
    assert steps["stage2"]["days"]["expected"] == pytest.approx(5.0)
    assert (steps["stage2"]["expected"], steps["stage2"]["waited_for"]) == (
        "2026-12-06",
        "min_units",
    )
    assert steps["stage4"]["challenger_share"] == pytest.approx(0.5)
    order = [steps[name]["days"]["expected"] for name in ("first_evidence", "decision", "horizon")]
    assert order == sorted(order)
    assert answer["calendar"] == sorted(
        answer["calendar"], key=lambda step: step["days"]["expected"]
    )


def test_traffic_that_never_comes_has_no_date(web: Web) -> None:
    steps = calendar(plan(web, traffic=0).json)
    assert steps["stage1"]["expected"] is not None
    assert steps["decision"]["expected"] is None


def test_stated_baselines_go_before_the_metrics_own(web: Web) -> None:
    wide = plan(web, baselines={"cost": {"mean": 1.0, "sd": 2.0}}).json
    usual = plan(web).json
    assert wide["baselines"]["cost"] == {"mean": 1.0, "sd": 2.0}
    assert usual["baselines"]["cost"] == {"mean": 1.0, "sd": 1.0}
    ratio = wide["claims"][0]["units"] / usual["claims"][0]["units"]
    assert ratio == pytest.approx(4.0, rel=0.001)


def test_uneven_weights_say_what_they_cost(web: Web) -> None:
    uneven = plan(web, weights={"champion": 0.9, "challenger": 0.1}).json
    assert uneven["claims"][0]["units"] / plan(web).json["claims"][0]["units"] == pytest.approx(
        0.25 / 0.09, rel=0.001
    )
    assert "2.78 times" in uneven["advice"][-1]


def test_a_guardrail_that_nobody_knows_makes_no_plan(web: Web) -> None:
    admin = web.keys[Scope.ADMIN]
    bare = {key: value for key, value in METRIC.items() if key != "baseline"}
    web.call("PUT", "/v1/metrics/errors", admin, json={**bare, "outcome": "errors"})
    answer = plan(web).json
    assert answer["feasible"] is False
    assert "Do one of three" in answer["unknown"]["errors"]
    assert any(line.startswith("errors: ") for line in answer["advice"])


def test_the_slot_at_rest_knows_its_traffic(web: Web) -> None:
    unstated = plan(web, traffic=None)
    assert (unstated.status_code, unstated.json["code"]) == (422, "invalid_input")
    with web.database.begin() as connection:
        today = to_micros(database_now(connection)) // DAY_US
        units = SqlUnits(connection)
        for day, count in ((4, 7), (3, 30), (2, 50), (1, 40)):
            start = (today - day) * DAY_US
            units.observe("default", "late", {f"{day}-{k}": start + k for k in range(count)})
        units.observe("default", "late", {"today": today * DAY_US + 1})
    answer = plan(web, traffic=None).json
    # The first observed day is not a whole one; METRIC's slot observes everybody.
    assert answer["traffic"] == {"low": 30.0, "expected": 40.0, "high": 50.0}
    assert answer["traffic_observed"] is True


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"weights": {"champion": 1.0}}, 422, "invalid_input"),
        ({"weights": {"champion": 0.5, "challenger": 0.0}}, 422, "invalid_input"),
        ({"baselines": {"cost": {"mean": 1.0, "sd": 0.0}}}, 422, "invalid_input"),
        ({"start": "tomorrow"}, 422, "invalid_input"),
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


@pytest.mark.parametrize("mean", [-10, 0])
def test_a_relative_margin_needs_a_champion_above_zero(web: Web, mean: float) -> None:
    answer = plan(web, baselines={"errors": {"mean": mean, "sd": 5}})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert "state margin, a number" in answer.json["detail"]


@pytest.mark.parametrize("mde", [1e-7, 1e-12, 1e-200])
def test_an_effect_that_no_number_of_units_shows_is_refused(web: Web, mde: float) -> None:
    web.define(oec={"metric": "cost", "mde": mde})
    asked = {"slot": "late", "traffic": 1e12}
    answer = web.call("POST", "/v1/plans", web.keys[Scope.READ], json=asked)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert "cost: more than 1,000,000,000,000 units" in answer.json["detail"]


@pytest.mark.parametrize("first_look", [0.94, 0.999999, 1.0])
@pytest.mark.parametrize("mode", ["planned", "anytime"])
def test_a_late_first_look_leaves_fewer_looks(web: Web, mode: str, first_look: float) -> None:
    policy = {
        "ramp": [{"enrolled": 1.0, "dwell": "1d"}],
        "oec": {"mode": mode, "first_look": first_look},
    }
    admin = web.keys[Scope.ADMIN]
    assert web.call("PUT", "/v1/policies/late-look", admin, json=policy).status_code == 200
    web.define(policy="late-look")
    asked = {"slot": "late", "traffic": 5000}
    answer = web.call("POST", "/v1/plans", web.keys[Scope.READ], json=asked)
    assert answer.status_code == 200, answer.json
    (claim,) = answer.json["claims"]
    assert claim["power_at_limit"] == pytest.approx(0.9, abs=0.001)
    assert claim["units"] >= 4203, "no sequential test needs less than the fixed one"


def test_a_baseline_of_no_metric_of_the_slot_is_a_slip(web: Web) -> None:
    web.define()
    asked = {"slot": "late", "traffic": 10, "baselines": {"cots": {"mean": 1.0, "sd": 1.0}}}
    answer = web.call("POST", "/v1/plans", web.keys[Scope.READ], json=asked)
    assert answer.status_code == 422
    assert "'cots' is no metric of slot late; name cost." in answer.json["detail"]
