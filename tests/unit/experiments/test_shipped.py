"""The shipped policies say what their names promise."""

from __future__ import annotations

import pytest

from controller.experiments.policies import Autonomy, Policy
from controller.experiments.shipped import AB_TEST, CAUTIOUS, SHIPPED_POLICIES, SOLO


@pytest.mark.parametrize("policy", SHIPPED_POLICIES, ids=lambda policy: policy.name)
def test_a_shipped_policy_is_what_its_document_says(policy: Policy) -> None:
    read = Policy.from_document(policy.document())
    assert read == policy
    assert read.sha256 == policy.sha256


def test_every_shipped_policy_asks_people_before_it_promotes() -> None:
    assert [policy.name for policy in SHIPPED_POLICIES] == [
        "cautious",
        "standard",
        "ab-test",
        "solo",
    ]
    for policy in SHIPPED_POLICIES:
        assert policy.promote_gate is not None
        assert not policy.autonomy.promotes


def test_only_the_solo_policy_gives_up_four_eyes() -> None:
    alone = [
        policy.name
        for policy in SHIPPED_POLICIES
        if any(gate.requester_may_approve for gate in policy.approvals.values())
    ]
    assert alone == [SOLO.name]


def test_under_the_default_the_machine_only_retreats() -> None:
    assert CAUTIOUS.autonomy is Autonomy.L2
    assert CAUTIOUS.autonomy.retreats
    assert not CAUTIOUS.autonomy.ramps


def test_an_ab_test_enrols_everybody_at_once() -> None:
    assert [stage.enrolled for stage in AB_TEST.ramp] == [1.0]


def test_only_full_autonomy_may_do_without_a_promotion_gate() -> None:
    ramp = {"ramp": [{"enrolled": 1.0}]}
    for level in ("L0", "L1", "L2", "L3"):
        policy = Policy.from_document({"name": "p", "autonomy": level, **ramp})
        assert policy.promote_gate is not None
    assert Policy.from_document({"name": "p", "autonomy": "L4", **ramp}).promote_gate is None
