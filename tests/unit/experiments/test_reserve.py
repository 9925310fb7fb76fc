"""`oec.reserve` in a policy: when it may be stated, and what stays as it was without it."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.policies import OnNoDifference, Policy

PLAIN = {"name": "plain", "ramp": [{"enrolled": 1.0}]}
KEEPS_ON = {"reserve": 0.005, "on_no_difference": "keep_testing", "futility": "none"}


def read(**oec: Any) -> Policy:
    return Policy.from_document(PLAIN | {"oec": oec})


def test_a_reserve_is_read_written_and_read_again() -> None:
    policy = read(**KEEPS_ON)
    assert policy.oec.reserve == 0.005
    assert policy.oec.planned_alpha == pytest.approx(0.045)
    assert policy.oec.on_no_difference is OnNoDifference.KEEP_TESTING
    assert Policy.from_document(policy.document()) == policy


def test_a_policy_without_a_reserve_keeps_its_document() -> None:
    assert "reserve" not in read().document()["oec"]
    assert read().oec.planned_alpha == read().oec.alpha
    assert read(**KEEPS_ON).sha256 != read().sha256


@pytest.mark.parametrize(
    "oec",
    [
        KEEPS_ON | {"reserve": 0.05},
        KEEPS_ON | {"reserve": 0.0499},
        KEEPS_ON | {"reserve": 5e-324},
        KEEPS_ON | {"reserve": -0.1},
        KEEPS_ON | {"mode": "anytime"},
        KEEPS_ON | {"futility": "non_binding"},
        {"reserve": 0.005},
        {"on_no_difference": "keep_testing"},
    ],
)
def test_a_reserve_and_going_on_belong_together(oec: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="reserve"):
        read(**oec)
