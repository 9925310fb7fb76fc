from collections.abc import Callable
from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.metrics import Metric, ZeroMeans
from controller.experiments.models import Model
from controller.experiments.plans import Plan, challenger_names
from controller.experiments.policies import OecRules, Policy
from controller.experiments.slots import Slot

METRIC = {"type": "mean", "direction": "decrease", "outcome": "cost", "window_seconds": 60}
SLOT = {
    "unit": "customer",
    "champion": {"name": "rules", "version": "1"},
    "oec": {"metric": "cost"},
}
POLICY = {"ramp": [{"enrolled": "10%", "dwell": "1h"}, {"enrolled": 1.0}]}


def refusal(read: Callable[[Any], object], document: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(document)
    return caught.value.message


def metric(**changes: Any) -> Metric:
    return Metric.from_document({**METRIC, **changes}, key="cost")


def test_a_metric_survives_its_document() -> None:
    for changes in (
        {},
        {"winsorize": 0.99},
        {"winsorize": {"value": 40}},
        {"baseline": {"mean": 1.0, "sd": 2.0}, "lookback_seconds": 3600.0},
        {"complete": "declared", "observed": "after_decision", "zero_means": "unknown"},
    ):
        one = metric(**changes)
        assert Metric.from_document(one.document()) == one


def test_a_metric_that_closes_with_its_first_outcome_states_its_expected_delay() -> None:
    document = {
        "type": "binary",
        "direction": "increase",
        "outcome": "repaid",
        "closes": "first_outcome",
        "expected_delay_seconds": 30,
    }
    one = Metric.from_document(document, key="repaid")
    assert one.window_seconds == 30
    assert one.zero_means is ZeroMeans.UNKNOWN
    assert Metric.from_document(one.document()) == one


def test_a_ratio_reads_two_outcomes_and_a_quantile_needs_q() -> None:
    ratio = Metric.from_document(
        {
            "type": "ratio",
            "direction": "increase",
            "numerator": "spend",
            "denominator": "orders",
            "window_seconds": 5,
        },
        key="basket",
    )
    assert ratio.outcomes == ("spend", "orders")
    assert Metric.from_document(ratio.document()) == ratio
    assert "metric.q: is required" in refusal(lambda d: metric(**d), {"type": "quantile"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "median"}, "expected one of binary, mean, count, ratio, quantile"),
        ({"window_seconds": 0}, "window_seconds: expected a number > 0"),
        ({"window_seconds": True}, "window_seconds"),
        ({"direction": "up"}, "increase, decrease"),
        ({"winsorize": 5}, "a bare number is a quantile"),
        ({"winsorize": {"value": 1, "quantile": 0.9}}, "either a value or a quantile"),
        ({"lateness": 5}, "did you mean 'lateness_seconds'"),
        ({"key": "other"}, "but the address says"),
        ({"baseline": {"mean": 1, "sd": 0}}, "sd"),
    ],
)
def test_a_wrong_metric_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(lambda d: metric(**d), changes)


def test_a_changed_payload_is_another_model_and_new_authors_are_not() -> None:
    one = Model(name="fraud", version="3", payload={"prompt": "a"})
    assert one.identity != Model(name="fraud", version="3", payload={"prompt": "b"}).identity
    assert (
        one.identity
        == Model(name="fraud", version="3", payload={"prompt": "a"}, authors=("ana",)).identity
    )


def test_a_slot_survives_its_document() -> None:
    document = {
        **SLOT,
        "oec": {"metric": "cost", "goal": "not_worse", "margin": 0.1},
        "guardrails": [{"metric": "errors", "margin_relative": 0.05}],
        "fallback": {"name": "constant", "version": "1", "payload": 0},
        "moving": True,
        "observe": "10%",
    }
    one = Slot.from_document(document, key="late-flight-alert")
    assert Slot.from_document(one.document()) == one
    assert one.metrics == ("cost", "errors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"champion": {}}, "champion.name: is required"),
        ({"unit": "Customer"}, "slot.unit"),
        ({"oec": {"metric": "cost", "mde": 1, "mde_relative": 0.1}}, "not both"),
        ({"oec": {"metric": "cost", "goal": "not_worse"}}, "needs one"),
        ({"oec": {"metric": "cost", "margin": 1}}, "a margin belongs to the goal not_worse"),
        ({"guardrails": [{"metric": "errors"}]}, "margin or margin_relative"),
        ({"guardrails": [{"metric": "errors", "margin": -1}]}, "expected a number > 0"),
        ({"guardrails": [{"metric": "cost", "margin": 1}]}, "a metric stands once"),
        ({"observe": 5}, "did you mean 0.05"),
        ({"champoin": {}}, "did you mean 'champion'"),
    ],
)
def test_a_wrong_slot_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(lambda d: Slot.from_document({**SLOT, **d}, key="s"), changes)


def test_a_policy_survives_its_document_and_its_name_is_its_content() -> None:
    document = {
        **POLICY,
        "guardrails": {"alpha": 0.02, "metrics": {"errors": {"harm_alpha": 0.005}}},
        "approvals": {"promote": {"quorum": 3, "groups": {"risk": 1}, "expires": "24h"}},
        "aa": {"min_units": 500},
        "bake": {"duration": "7d", "holdback": "5%"},
    }
    one = Policy.from_document(document, name="careful")
    assert Policy.from_document(one.document()) == one
    assert one.guardrail_rules("errors").harm_alpha == 0.005
    assert one.guardrail_rules("errors").alpha == 0.02
    assert one.guardrail_rules("latency").alpha == 0.02
    assert Policy.from_document({**one.document(), "version": 9}).sha256 == one.sha256


def test_the_spending_shape_follows_futility_unless_the_policy_says_otherwise() -> None:
    def gamma(**oec: Any) -> float:
        return Policy.from_document({**POLICY, "oec": oec}, name="p").oec.gamma

    assert gamma() == OecRules().gamma == -3.0
    assert gamma(futility="none") == -2.0
    assert gamma(futility="none", gamma=-4) == -4.0


def test_a_promotion_always_has_a_gate_of_two_people() -> None:
    gate = Policy.from_document(POLICY, name="p").promote_gate
    assert gate is not None
    assert gate.quorum == 2
    assert not gate.requester_may_approve


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ramp": []}, "at least one stage"),
        ({"ramp": [{"enrolled": 0.5}, {"enrolled": 0.5}]}, "must rise"),
        ({"ramp": [{"enrolled": 0}]}, "must rise"),
        ({"ramp": [{"enrolled": 10}]}, 'did you mean 0.10 or "10%"'),
        ({"ramp": [{"enrolled": 1, "approval": "risk"}]}, "no gate 'risk' under approvals"),
        ({"ramp": [{"enrolled": 1, "dwel": "1h"}]}, "did you mean 'dwell'"),
        ({"oec": {"alpha": 0}}, "policy.oec.alpha"),
        ({"oec": {"horizon": 3}}, "policy.oec.horizon"),
        ({"approvals": {"promote": {"quorum": 1, "groups": {"a": 1, "b": 1}}}}, "more people"),
        ({"autonomy": "L5"}, "L0, L1, L2, L3, L4"),
        ({"bake": {"holdback": 0.5}}, "below 0.5"),
        ({"guardrails": {"metrics": {"errors": {"alfa": 1}}}}, "did you mean 'alpha'"),
        ({"deadlines": {"ramping": 5}}, "expected a duration"),
    ],
)
def test_a_wrong_policy_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(lambda d: Policy.from_document({**POLICY, **d}, name="p"), changes)


def test_a_plan_survives_its_document_and_its_sha256_covers_every_part() -> None:
    slot = Slot.from_document(SLOT, key="s")
    policy = Policy.from_document(POLICY, name="p")

    def plan(**changes: Any) -> Plan:
        parts = {
            "project": "default",
            "slot": slot,
            "policy": policy,
            "metrics": {"cost": metric()},
            "arms": {"champion": slot.champion, "challenger": Model(name="gbm", version="2")},
            "weights": {"champion": 0.5, "challenger": 0.5},
            "horizon": 1000,
            "guardrail_horizons": {},
        }
        return Plan(**{**parts, **changes})

    one = plan()
    assert Plan.from_document(one.document()).sha256 == one.sha256
    for changes in (
        {"horizon": 1001},
        {"metrics": {"cost": metric(window_seconds=61)}},
        {"weights": {"champion": 0.6, "challenger": 0.4}},
        {"project": "other"},
    ):
        assert plan(**changes).sha256 != one.sha256
    assert one.challengers == ("challenger",)


def test_arms_of_several_challengers_are_numbered() -> None:
    assert challenger_names(1) == ("challenger",)
    assert challenger_names(2) == ("challenger-1", "challenger-2")
