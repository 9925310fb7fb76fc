from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from controller.errors import InvalidInput
from controller.stats.recursion import (
    START,
    Step,
    advance,
    probability_above,
    probability_below,
    value_exceeded_with,
    value_undercut_with,
)


def test_two_looks_agree_with_the_bivariate_normal() -> None:
    rho2, first, second, drift = 0.3, 2.1, 1.8, (0.4, 0.9)
    density = advance(
        START,
        Step(variance_ratio=0.0, mean=drift[0]),
        going_on=((-1.0, first),),
        next_ratio=rho2,
    )
    ours = probability_above(density, Step(variance_ratio=rho2, mean=drift[1]), second)
    joint = multivariate_normal(drift, [[1.0, math.sqrt(rho2)], [math.sqrt(rho2), 1.0]])
    box = joint.cdf([first, 40.0], lower_limit=[-1.0, second], rng=np.random.default_rng(1))
    assert ours == pytest.approx(float(box), abs=2e-6)


def test_what_goes_on_and_what_stops_adds_up_to_one() -> None:
    step = Step(variance_ratio=0.0, mean=1.2)
    density = advance(START, step, going_on=((-math.inf, -0.5), (0.5, 2.5)), next_ratio=0.9)
    inside = ndtr(-1.7) + ndtr(1.3) - ndtr(-0.7)
    assert density.left == pytest.approx(inside, abs=1e-14)
    following = Step(variance_ratio=0.9, mean=1.3)
    total = probability_above(density, following, 0.2) + probability_below(density, following, 0.2)
    assert total == pytest.approx(inside, abs=1e-14)


@pytest.mark.parametrize("probability", [0.5, 1e-3, 1e-12, 1e-60, 1e-250])
def test_the_root_holds_its_probability_in_any_tail(probability: float) -> None:
    density = advance(START, Step(variance_ratio=0.0), going_on=((-30.0, 30.0),), next_ratio=0.99)
    step = Step(variance_ratio=0.99)
    value = value_exceeded_with(density, step, probability)
    assert probability_above(density, step, value) == pytest.approx(probability, rel=1e-9)
    if probability >= 1e-12:  # below the mean the nodes reach nine standard deviations
        assert value_undercut_with(density, step, probability) == pytest.approx(-value, abs=1e-5)


def test_nothing_to_spend_means_no_bound_and_everything_means_all() -> None:
    step = Step(variance_ratio=0.0)
    assert value_exceeded_with(START, step, 0.0) == math.inf
    assert value_exceeded_with(START, step, 1.0) == -math.inf


def test_a_look_that_must_stop_leaves_nothing_behind() -> None:
    gone = advance(START, Step(variance_ratio=0.0), going_on=((math.inf, -math.inf),))
    assert gone.left == 0.0
    step = Step(variance_ratio=0.5)
    assert advance(gone, step, going_on=((-1.0, 1.0),)).left == 0.0
    assert probability_above(gone, step, 0.0) == 0.0
    assert value_exceeded_with(gone, step, 0.01) == -math.inf


def test_steps_check_their_range() -> None:
    for ratio in (-0.1, 1.0, math.nan):
        with pytest.raises(InvalidInput):
            Step(variance_ratio=ratio)
    with pytest.raises(InvalidInput):
        Step(variance_ratio=0.5, mean=math.inf)


def trapezoid_bound(bounds: NDArray[np.float64], look: int, released: float) -> float:
    """Critical value of one of 100 equal looks by another road: Brownian scale, trapezoid rule."""
    spacing = 0.004
    edges = bounds * np.sqrt(np.arange(1, 101) / 100)
    nodes = mass = np.zeros(0)
    for k in range(look - 1):
        count = int(2 * edges[k] / spacing) | 1
        x = np.linspace(-edges[k], edges[k], count)
        weight = np.full(count, x[1] - x[0])
        weight[[0, -1]] /= 2
        scale = 1 / (0.1 * math.sqrt(2 * math.pi))
        if k == 0:
            density = scale * np.exp(-x * x / 0.02)
        else:
            density = scale * (np.exp(-((x[:, None] - nodes[None, :]) ** 2) / 0.02) @ mass)
        nodes, mass = x, weight * density
    low, high = 0.0, 2.0 * float(edges[look - 1])
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = float(mass @ ndtr((nodes - middle) / 0.1))
        low, high = (middle, high) if above > released else (low, middle)
    return 0.5 * (low + high) / math.sqrt(look / 100)


def test_an_independent_trapezoid_recursion_finds_the_same_far_tail() -> None:
    from controller.stats.group_sequential import SequentialPlan, boundaries
    from controller.stats.spending import Spending, SpendingShape

    plan = SequentialPlan(alpha=0.05, spending=Spending(shape=SpendingShape.OBRIEN_FLEMING))
    taken = boundaries(plan, np.arange(1, 101) / 100)
    bounds = np.array([look.critical_value for look in taken])
    released = (taken[8].alpha_spent - taken[7].alpha_spent) / 2
    assert released < 1e-12
    assert trapezoid_bound(bounds, 9, released) == pytest.approx(bounds[8], abs=5e-6)
