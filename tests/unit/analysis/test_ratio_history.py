"""What the past of numerator and denominator does to a ratio, against a regression of its units."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments
from controller.aggregation.sums import Contribution, Sums
from controller.analysis.pairs import Levels, Pair, levels
from controller.analysis.readings import Reading, read
from controller.events.contracts import MAX_VALUE
from controller.experiments.metrics import Metric, MetricType
from controller.stats.ratio import RelativeLift, relative_lift
from controller.stats.results import Inconclusive, Reason
from controller.stats.score import EQUAL, Null
from tests.worlds import metric, ratio_moments

Floats = NDArray[np.float64]
Arm = tuple[Floats, Floats, Floats, Floats]
"""Numerator, denominator, and both before exposure."""

PER_ORDER: Metric = metric("per-order", type=MetricType.RATIO, denominator="orders")
RUNS = 2000
Z = 1.959963984540054


def draw(rng: np.random.Generator, n: int, lift: float = 0.0, *, price: float = 10.0) -> Arm:
    """Units with a price and a liking of their own, which they had before exposure as well."""
    own = price * rng.gamma(16.0, 1 / 16.0, n)
    often = rng.gamma(4.0, 1.0, n)
    orders, before = (1.0 + rng.poisson(often).astype(np.float64) for _ in range(2))
    spend = orders * own * (1.0 + lift) * rng.gamma(50.0, 1 / 50.0, n)
    return spend, orders, before * own * rng.gamma(50.0, 1 / 50.0, n), before


def sums(arm: Arm) -> Moments:
    return ratio_moments(arm[0], arm[1], (arm[2], arm[3]))


def pair(epochs: Sequence[tuple[Arm, Arm]], weights: float = 0.5) -> Pair:
    return Pair(
        metric=PER_ORDER,
        challenger="challenger",
        epochs=tuple((i, sums(a), sums(b)) for i, (a, b) in enumerate(epochs)),
        equal_weights=weights == 0.5,
        shares=(weights,) * len(epochs),
    )


NOTHING = pair([])


def reading(given: Pair, null: Null = EQUAL) -> Reading:
    found = read(given, (), null=null)
    assert isinstance(found, Reading)
    return found


def adjusted(given: Pair) -> Levels:
    found = levels(given)
    assert isinstance(found, Levels)
    return found


def lift_of(arms: Levels) -> RelativeLift:
    found = relative_lift(
        arms.challenger,
        arms.champion,
        treatment_variance=arms.challenger_variance,
        control_variance=arms.champion_variance,
        covariance=arms.covariance,
        critical=Z,
    )
    assert isinstance(found, RelativeLift)
    return found


def by_regression(
    epochs: Sequence[tuple[Arm, Arm]], null: Null = EQUAL, *, equal: bool = True
) -> tuple[float, float, float]:
    """Estimate, its standard error and z from the units: least squares of the linearised outcome.

    One regression on the past with an intercept for each epoch; then, epoch by epoch, difference
    and variance of its residuals, as the design-weighted score adds them.
    """
    outcome, past, epoch, treated = [], [], [], []
    for number, (a, b) in enumerate(epochs):
        m = np.concatenate([null.scale * a[0], b[0] - null.shift * b[1]])
        d = np.concatenate([a[1], b[1]])
        outcome.append((m - m.sum() / d.sum() * d) / d.mean())
        past.append(np.column_stack([np.concatenate([a[i], b[i]]) for i in (2, 3)]))
        epoch.append(np.full(m.size, number))
        treated.append(np.repeat([False, True], [a[0].size, b[0].size]))
    y, which, arm = np.concatenate(outcome), np.concatenate(epoch), np.concatenate(treated)
    x = np.column_stack([np.eye(len(epochs))[which], np.concatenate(past)])
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    score = pooled = by_arm = total = 0.0
    for number in range(len(epochs)):
        mine, others = rest[(which == number) & arm], rest[(which == number) & ~arm]
        size = mine.size * others.size / (mine.size + others.size)
        score += size * (mine.mean() - others.mean())
        pooled += size * np.concatenate([mine, others]).var(ddof=1)
        by_arm += size**2 * (mine.var(ddof=1) / mine.size + others.var(ddof=1) / others.size)
        total += size
    variance = pooled if equal else max(pooled, by_arm)
    return score / total, math.sqrt(variance) / total, score / math.sqrt(variance)


@pytest.mark.parametrize(
    "null", [EQUAL, Null(scale=0.9), Null(shift=-0.4), Null(scale=1.05, shift=0.2)]
)
@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        (((400, 400),), 0.5),
        (((900, 100),), 0.1),
        (((300, 320), (150, 130)), 0.5),
        (((450, 60), (880, 110), (200, 20)), 0.1),
    ],
)
def test_the_score_is_that_of_a_regression_of_the_units(
    sizes: tuple[tuple[int, int], ...], weights: float, null: Null
) -> None:
    rng = np.random.default_rng(70)
    epochs = [(draw(rng, a, price=8.0 + i), draw(rng, b, 0.05)) for i, (a, b) in enumerate(sizes)]
    found = reading(pair(epochs, weights), null)
    told = (found.distance, found.standard_error, found.z)
    assert told == pytest.approx(by_regression(epochs, null, equal=weights == 0.5), rel=1e-9)


def test_the_interval_shrinks_by_what_the_past_explains() -> None:
    """sqrt(1 - rho^2), rho the multiple correlation of the linearised outcome with the past."""
    rng = np.random.default_rng(71)
    epochs = [(draw(rng, 3000), draw(rng, 3000, 0.02))]
    (a, b), given = epochs[0], pair(epochs)
    plain = replace(given, epochs=((0, ratio_moments(*a[:2]), ratio_moments(*b[:2])),))
    m, d, *past = (np.concatenate(both) for both in zip(a, b, strict=True))
    line = m - m.sum() / d.sum() * d
    x = np.column_stack([np.ones(m.size), *past])
    rest = line - x @ np.linalg.lstsq(x, line, rcond=None)[0]
    share = math.sqrt(rest.var() / line.var())
    assert 0.7 < share < 0.8
    absolute = reading(given).standard_error / reading(plain).standard_error
    assert absolute == pytest.approx(share, rel=1e-3)
    narrow, wide = lift_of(adjusted(given)), lift_of(adjusted(plain))
    relative = (narrow.upper - narrow.lower) / (wide.upper - wide.lower)
    assert relative == pytest.approx(share, rel=0.02)


@pytest.mark.parametrize(("sizes", "lift"), [((300, 300), 0.1), ((900, 100), -0.05)])
def test_the_relative_interval_covers(sizes: tuple[int, int], lift: float) -> None:
    rng = np.random.default_rng(72)
    covered = 0
    for _ in range(RUNS):
        found = lift_of(adjusted(pair([(draw(rng, sizes[0]), draw(rng, sizes[1], lift))])))
        covered += found.lower <= lift <= found.upper
    assert abs(covered / RUNS - 0.95) <= 3.5 * math.sqrt(0.05 * 0.95 / RUNS)


def test_both_adjusted_ratios_have_the_variances_they_say() -> None:
    rng = np.random.default_rng(73)
    found = [adjusted(pair([(draw(rng, 400), draw(rng, 200, 0.1))])) for _ in range(RUNS)]
    seen = np.cov([arms.champion for arms in found], [arms.challenger for arms in found])
    said = np.mean(
        [(arms.champion_variance, arms.covariance, arms.challenger_variance) for arms in found],
        axis=0,
    )
    assert said[[0, 2]] == pytest.approx([seen[0, 0], seen[1, 1]], rel=0.12)
    assert said[1] == pytest.approx(seen[0, 1], abs=0.12 * seen[0, 0])
    assert np.mean([arms.champion for arms in found]) == pytest.approx(10.0, abs=0.05)


@pytest.mark.parametrize("sizes", [(300, 300), (500, 120), (120, 500)])
@pytest.mark.parametrize("null", [Null(scale=0.8), Null(shift=-2.0)])
def test_a_margin_is_its_own_null(sizes: tuple[int, int], null: Null) -> None:
    """At the boundary z has mean 0 and variance 1, or less where arms are unequal."""
    rng = np.random.default_rng(74)
    runs, scores = RUNS // 2, []
    for _ in range(runs):
        both = draw(rng, sizes[0]), draw(rng, sizes[1], -0.2)
        scores.append(reading(pair([both], sizes[1] / sum(sizes)), null).z)
    assert abs(np.mean(scores)) <= 4.0 / math.sqrt(runs)
    assert 0.60 <= float(np.var(scores)) <= 1.0 + 4.0 * math.sqrt(2.0 / runs)


def test_levels_and_estimate_tell_one_difference() -> None:
    given = pair([(draw(np.random.default_rng(75), 4000), draw(np.random.default_rng(76), 4000))])
    arms, found = adjusted(given), reading(given)
    assert arms.challenger - arms.champion == pytest.approx(
        found.distance, abs=0.02 * found.standard_error
    )


def test_a_denominator_that_never_varied_leaves_one_covariate() -> None:
    rng = np.random.default_rng(77)
    a, b = draw(rng, 200), draw(rng, 200)
    still = [(*arm[:3], np.full(200, 3.0)) for arm in (a, b)]
    doubled = [(*arm[:3], 2.0 * arm[2]) for arm in (a, b)]
    found = [reading(pair([(one[0], one[1])])) for one in (still, doubled)]
    assert found[0].z == pytest.approx(found[1].z, rel=1e-12)
    assert abs(found[0].z - reading(pair([(a, b)])).z) > 1e-3


def test_the_unit_of_the_past_does_not_matter() -> None:
    rng = np.random.default_rng(78)
    a, b = draw(rng, 200), draw(rng, 200)
    cents = [(arm[0], arm[1], 100.0 * arm[2] + 1e9, arm[3] / 7.0) for arm in (a, b)]
    assert reading(pair([(cents[0], cents[1])])).z == pytest.approx(
        reading(pair([(a, b)])).z, rel=1e-6
    )


def test_each_look_back_costs_a_degree_of_freedom() -> None:
    rng = np.random.default_rng(79)
    too_few = Inconclusive(reason=Reason.TOO_FEW_UNITS)
    assert read(pair([(draw(rng, 2), draw(rng, 2))]), ()) == too_few
    assert isinstance(read(pair([(draw(rng, 3), draw(rng, 2))]), ()), Reading)


def test_what_the_past_explains_to_the_last_digit_is_no_evidence() -> None:
    """All spend 1.1 times of what they did, on 1.7 times the orders: what is left is rounding."""
    rng = np.random.default_rng(80)
    arms = []
    for n in (400, 300):
        _, _, past, before = draw(rng, n)
        arms.append((1.1 * past, 1.7 * before, past, before))
    assert read(pair([(arms[0], arms[1])]), ()) == Inconclusive(reason=Reason.ZERO_VARIANCE)


def test_an_epoch_with_an_empty_arm_adds_nothing() -> None:
    rng = np.random.default_rng(81)
    both = pair([(draw(rng, 50), draw(rng, 60))])
    alone = replace(both, epochs=(*both.epochs, (1, sums(draw(rng, 40)), Moments())))
    assert reading(alone).z == reading(both).z
    assert adjusted(alone) == adjusted(both)


def test_values_at_the_ends_of_what_is_accepted_end_in_a_number_or_a_name() -> None:
    rng = random.Random(82)
    kinds = (0.0, 1.0, 1e-320, 1e-300, -1e-160, 1e-9, 0.3, MAX_VALUE, -MAX_VALUE)

    def arm(past: bool) -> Moments:
        def one() -> Contribution:
            m, d, x, z = (rng.choice(kinds) for _ in range(4))
            return Contribution(m, d, x, second=z) if past else Contribution(m, d)

        return Sums.of([one() for _ in range(rng.randrange(7))]).moments()

    named = 0
    for _ in range(1500):
        past = rng.random() < 0.7
        epochs = tuple((i, arm(past), arm(past)) for i in range(rng.choice([1, 2])))
        given = replace(NOTHING, epochs=epochs, equal_weights=rng.random() < 0.5)
        for null in (EQUAL, Null(scale=0.9), Null(shift=-1e-3), Null(shift=MAX_VALUE)):
            found = read(given, (), null=null)
            named += isinstance(found, Inconclusive)
            assert isinstance(found, Inconclusive) or math.isfinite(found.z)
        arms = levels(given)
        assert isinstance(arms, Inconclusive) or math.isfinite(arms.champion_variance)
    assert 1000 < named < 5500
