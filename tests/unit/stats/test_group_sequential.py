from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.group_sequential import (
    SequentialPlan,
    TakenLook,
    boundaries,
    next_look,
)
from controller.stats.spending import Spending, SpendingShape
from tests.chances import crossing_probability

PLAN = SequentialPlan(alpha=0.05)
POCOCK = Spending(shape=SpendingShape.POCOCK)


def test_one_look_at_the_end_is_the_fixed_test() -> None:
    assert boundaries(PLAN, [1.0])[0].critical_value == pytest.approx(1.959963984540054, abs=1e-12)
    one_sided = SequentialPlan(alpha=0.025, sides=1)
    assert boundaries(one_sided, [1.0])[0].critical_value == pytest.approx(1.959963984540054)


@pytest.mark.parametrize("looks", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("sides", [1, 2])
def test_the_looks_together_spend_exactly_alpha(looks: int, sides: int) -> None:
    plan = SequentialPlan(alpha=0.05, sides=1 if sides == 1 else 2)
    times = np.linspace(1 / looks, 1.0, looks) ** 1.7
    taken = boundaries(plan, times)
    spent = plan.sides * float(plan.spending.spent(times[-1], alpha=plan.alpha / plan.sides))
    # Each side's probability is exact; a path that meets both sides is impossible in one look.
    assert crossing_probability(plan, taken) == pytest.approx(spent, rel=1e-11)


def test_a_look_taken_without_a_trail_equals_the_one_with_it_to_the_bit() -> None:
    times = np.cumsum([0.05, 0.013, 0.2, 0.07, 0.3, 0.011, 0.356])
    warm = boundaries(PLAN, times)
    for index, look in enumerate(warm):
        cold = next_look(
            PLAN,
            warm[:index],
            spending_time=look.spending_time,
            variance_ratio=look.variance_ratio,
        )
        assert cold == look


def test_the_variance_ratio_and_the_spending_clock_are_two_clocks() -> None:
    calendar = [0.2, 0.6, 1.0]
    same = boundaries(PLAN, calendar)
    fast = boundaries(PLAN, [0.5, 0.9, 1.0], spending_time=calendar)
    assert [look.alpha_spent for look in same] == [look.alpha_spent for look in fast]
    # Nearly everything was there before: hardly a new chance to err, so the bound may fall.
    assert fast[2].critical_value < same[2].critical_value
    assert crossing_probability(PLAN, fast) == pytest.approx(0.05, rel=1e-11)


def test_an_over_running_last_look_spends_what_is_left() -> None:
    taken = boundaries(PLAN, [0.4, 0.8, 1.7])
    assert taken[-1].spending_time == 1.0
    assert taken[-1].alpha_spent == 0.05
    assert crossing_probability(PLAN, taken) == pytest.approx(0.05, rel=1e-11)


def test_a_look_that_releases_nothing_cannot_cross() -> None:
    first = boundaries(PLAN, [0.3])
    again = next_look(PLAN, first, spending_time=0.3, variance_ratio=0.8)
    assert again.critical_value == math.inf
    assert again.alpha_spent == first[0].alpha_spent
    last = next_look(PLAN, (*first, again), spending_time=1.0, variance_ratio=0.5)
    assert crossing_probability(PLAN, (*first, again, last)) == pytest.approx(0.05, rel=1e-11)


def test_two_sided_equals_one_sided_at_half_alpha_where_the_far_side_is_out_of_reach() -> None:
    two = boundaries(PLAN, [0.5, 1.0])
    one = boundaries(SequentialPlan(alpha=0.025, sides=1), [0.5, 1.0])
    for a, b in zip(two, one, strict=True):
        assert a.critical_value == pytest.approx(b.critical_value, abs=1e-5)
        assert a.critical_value <= b.critical_value


def test_more_looks_never_make_the_last_bound_smaller() -> None:
    last = [
        boundaries(replace(PLAN, spending=POCOCK), np.arange(1, k + 1) / k)[-1].critical_value
        for k in (1, 2, 5, 10, 50)
    ]
    assert last == sorted(last)


def test_a_clock_that_falls_or_a_ratio_out_of_range_is_refused() -> None:
    first = boundaries(PLAN, [0.5])
    for time_now, ratio in ((0.4, 0.9), (1.2, 0.9), (0.6, 1.0), (0.6, 0.0), (0.6, math.nan)):
        with pytest.raises(InvalidInput):
            next_look(PLAN, first, spending_time=time_now, variance_ratio=ratio)
    with pytest.raises(InvalidInput):
        next_look(PLAN, (), spending_time=0.1, variance_ratio=0.5)
    with pytest.raises(InvalidInput):
        boundaries(PLAN, [0.5, 0.5])
    with pytest.raises(InvalidInput):
        boundaries(PLAN, [0.5, 1.0], spending_time=[1.0])


def test_plans_check_themselves() -> None:
    with pytest.raises(InvalidInput):
        SequentialPlan(alpha=0.0)
    with pytest.raises(InvalidInput):
        SequentialPlan(alpha=0.05, sides=3)  # type: ignore[arg-type]


def test_two_hundred_looks_take_less_than_a_second() -> None:
    began = time.process_time()  # of this process: the machine may be busy
    taken = boundaries(PLAN, np.arange(1, 201) / 200)
    assert time.process_time() - began < 1.0
    assert taken[-1].critical_value == pytest.approx(2.2855341541, abs=1e-9)


def test_taken_looks_are_the_whole_state() -> None:
    look = TakenLook(spending_time=0.3, variance_ratio=0.0, alpha_spent=0.01, critical_value=3.0)
    following = next_look(PLAN, (look,), spending_time=1.0, variance_ratio=0.3)
    # A bound set by hand at look one: the next still spends exactly what the plan releases.
    assert following.alpha_spent == 0.05
