from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.futility import (
    FutilityLook,
    FutilityPlan,
    design_drift,
    next_futility,
)
from controller.stats.group_sequential import SequentialPlan, TakenLook, boundaries
from controller.stats.planning import operating
from controller.stats.spending import Spending, SpendingShape

PLAN = SequentialPlan(alpha=0.05)
ONE = SequentialPlan(alpha=0.025, sides=1)
FUTILITY = FutilityPlan(drift=3.2415)


def all_looks(
    plan: SequentialPlan, futility: FutilityPlan, taken: tuple[TakenLook, ...]
) -> list[FutilityLook]:
    given_up: list[FutilityLook] = []
    for index, look in enumerate(taken):
        given_up.append(next_futility(plan, futility, taken[:index], given_up, look))
    return given_up


def test_bounds_agree_with_the_reference_design() -> None:
    values = json.loads(
        (Path(__file__).parents[2] / "oracles" / "group_sequential.json").read_text()
    )["values"]
    oracle = next(
        v for v in values if v["name"] == "gst_futility_bounds" and not v["inputs"]["binding"]
    )
    shape = Spending(shape=SpendingShape.OBRIEN_FLEMING)
    plan = SequentialPlan(alpha=0.025, sides=1, spending=shape)
    taken = boundaries(plan, oracle["inputs"]["information_rates"])
    futility = FutilityPlan(drift=oracle["expected"]["drift"], beta=0.1, spending=shape)
    given_up = all_looks(plan, futility, taken)
    np.testing.assert_allclose(
        [look.critical_value for look in taken], oracle["expected"]["efficacy_z"], atol=1e-9
    )
    np.testing.assert_allclose(
        [look.better_below for look in given_up], oracle["expected"]["futility_z"], atol=1e-9
    )


def test_giving_up_costs_what_was_allowed() -> None:
    times = np.arange(1, 51) / 50
    taken = boundaries(ONE, times)
    given_up = all_looks(ONE, FUTILITY, taken)
    efficacy = [look.critical_value for look in taken]
    with_futility = operating(
        times.tolist(),
        efficacy,
        drift=FUTILITY.drift,
        stop_below=[look.better_below for look in given_up],
    )
    without = operating(times.tolist(), efficacy, drift=FUTILITY.drift)
    assert without.power - with_futility.power < 0.02
    # Giving up before the end uses less than beta; the rest is lost at the end.
    assert 1.0 - with_futility.power >= 0.1 - 1e-9


def test_a_two_sided_test_gives_up_only_when_both_claims_are_hopeless() -> None:
    taken = boundaries(PLAN, np.arange(1, 21) / 20)
    given_up = all_looks(PLAN, FUTILITY, taken)
    early, late = given_up[1], given_up[-2]
    assert not early.stops(0.0)
    assert late.stops(0.0)
    assert not late.stops(-2.4)
    assert -late.worse_above > late.better_below  # "worse" is guarded less, so it gives up sooner


def test_it_meets_the_efficacy_bound_at_the_end() -> None:
    taken = boundaries(PLAN, [0.5, 1.0])
    last = all_looks(PLAN, FUTILITY, taken)[-1]
    assert last.better_below == taken[-1].critical_value
    assert last.worse_above == -taken[-1].critical_value


def test_never_above_the_efficacy_bound_and_hopeless_for_ever_after() -> None:
    taken = boundaries(ONE, np.arange(1, 31) / 30)
    strict = FutilityPlan(drift=3.2415, beta=0.9)
    given_up = all_looks(ONE, strict, taken)
    for look, hopeless in zip(taken, given_up, strict=True):
        assert hopeless.better_below <= look.critical_value


def test_the_design_drift_is_the_fixed_tests() -> None:
    assert design_drift(PLAN, power=0.9) == pytest.approx(3.2415, abs=1e-4)
    assert design_drift(ONE, power=0.9) == pytest.approx(3.2415, abs=1e-4)
    with pytest.raises(InvalidInput):
        design_drift(PLAN, power=0.01)


def test_plans_and_histories_are_checked() -> None:
    for drift, beta in ((0.0, 0.1), (math.inf, 0.1), (1.0, 0.0), (1.0, 1.0)):
        with pytest.raises(InvalidInput):
            FutilityPlan(drift=drift, beta=beta)
    taken = boundaries(PLAN, [0.5, 1.0])
    with pytest.raises(InvalidInput):
        next_futility(PLAN, FUTILITY, taken[:1], [], taken[1])


@pytest.mark.parametrize("looks", [100, 150, 382])
def test_no_bound_leaves_sight_where_nearly_all_that_is_left_must_stop(looks: int) -> None:
    plan = SequentialPlan(alpha=0.05, spending=Spending(parameter=-3.0))
    fractions = np.arange(1, looks + 1) / looks
    taken = boundaries(plan, fractions[fractions >= 0.05])
    given_up = all_looks(plan, FutilityPlan(drift=design_drift(plan, power=0.9)), taken)
    better = np.array([look.better_below for look in given_up])
    worse = np.array([look.worse_above for look in given_up])
    assert np.abs(better).max() < 3.0
    assert np.abs(worse).max() < 3.0
    assert np.abs(np.diff(better[:-1])).max() < 0.2  # the last is the critical value
