"""An edit of the weights with open windows: ours holds its level, the tempting ways do not.

Ours gets two Monte Carlo standard errors over its level; each wrong way must be far above it, or
lean to one side by three. The figures of long runs are in docs/explanation/error-rates.md
(`make calibrate ARGS="--table edited"`).
"""

from __future__ import annotations

import pytest

from tests.calibration.edited import WRONG, rates, survivors_left_behind, whole_windows

pytestmark = pytest.mark.calibration

LEVEL = 0.05
AT_LEAST = {
    "open windows cut at the edit": 0.60,
    "entered when the outcome arrived": 0.30,
    "open windows tested": 0.60,
}


def test_whole_windows_hold_their_level_through_an_edit() -> None:
    found = rates(whole_windows, runs=60, seed=1)
    assert found.claims <= LEVEL + 2.0 * found.error
    assert abs(found.lean) <= 2.5
    assert found.srm <= 0.02


@pytest.mark.parametrize("name", AT_LEAST)
def test_the_tempting_way_rejects_a_true_null(name: str) -> None:
    assert rates(WRONG[name], runs=16, seed=1).claims >= AT_LEAST[name]


def test_survivors_that_stay_in_their_epoch_make_an_effect_of_a_drift() -> None:
    assert rates(survivors_left_behind, runs=16, seed=1).lean >= 3.0
