"""What a covariate does to relative effects and relative margins, against direct simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.aggregation.statistics import Moments
from controller.analysis.pairs import Levels, Pair, levels, moments_under
from controller.analysis.readings import Reading, read
from controller.experiments.metrics import Metric, MetricType
from controller.stats.ratio import RelativeLift, relative_lift
from controller.stats.score import Null
from tests.worlds import metric, moments

REVENUE: Metric = metric("revenue", type=MetricType.MEAN)
RUNS = 4000
Z = 1.959963984540054


def draw(
    rng: np.random.Generator, n: int, lift: float, *, mean: float = 10.0
) -> tuple[Moments, np.ndarray, np.ndarray]:
    """n units whose value follows what they were worth before: correlation .9."""
    x = rng.normal(mean, 3.0, n)
    y = 20.0 * (1.0 + lift) + 2.0 * (x - mean) + rng.normal(0.0, 2.9, n)
    return moments(y, covariate=x), x, y


def pair(champion: Moments, challenger: Moments, weights: float = 0.5) -> Pair:
    return Pair(
        metric=REVENUE,
        challenger="challenger",
        epochs=((0, champion, challenger),),
        equal_weights=weights == 0.5,
        shares=(weights,),
    )


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


def adjusted(champion: Moments, challenger: Moments) -> Levels:
    arms = levels(pair(champion, challenger))
    assert isinstance(arms, Levels)
    return arms


@pytest.mark.parametrize(("sizes", "lift"), [((300, 300), 0.1), ((500, 120), -0.05)])
def test_the_relative_interval_covers_and_is_narrow(sizes: tuple[int, int], lift: float) -> None:
    rng = np.random.default_rng(60)
    covered, widths, raw = 0, 0.0, 0.0
    for _ in range(RUNS):
        champion, _, y0 = draw(rng, sizes[0], 0.0)
        challenger, _, y1 = draw(rng, sizes[1], lift)
        found = lift_of(adjusted(champion, challenger))
        covered += found.lower <= lift <= found.upper
        widths += found.upper - found.lower
        spread = math.sqrt(y0.var(ddof=1) / sizes[0] + y1.var(ddof=1) / sizes[1])
        raw += 2 * Z * spread / y0.mean()
    error = math.sqrt(0.05 * 0.95 / RUNS)
    assert abs(covered / RUNS - 0.95) <= 3 * error
    assert widths < 0.55 * raw


def test_both_adjusted_levels_have_the_variances_they_say() -> None:
    rng = np.random.default_rng(61)
    found = [adjusted(draw(rng, 400, 0.0)[0], draw(rng, 200, 0.1)[0]) for _ in range(RUNS)]
    champion = np.array([arms.champion for arms in found])
    challenger = np.array([arms.challenger for arms in found])
    seen = np.cov(champion, challenger)
    said = np.mean(
        [(arms.champion_variance, arms.covariance, arms.challenger_variance) for arms in found],
        axis=0,
    )
    assert said == pytest.approx([seen[0, 0], seen[0, 1], seen[1, 1]], rel=0.08)
    assert champion.mean() == pytest.approx(20.0, abs=0.02)


def test_levels_and_estimate_tell_one_difference() -> None:
    rng = np.random.default_rng(62)
    both = draw(rng, 400, 0.0)[0], draw(rng, 200, 0.1)[0]
    arms = adjusted(*both)
    reading = read(pair(*both), ())
    assert isinstance(reading, Reading)
    assert arms.challenger - arms.champion == pytest.approx(reading.distance, rel=1e-12)


@pytest.mark.parametrize("sizes", [(300, 300), (500, 120), (120, 500)])
@pytest.mark.parametrize("mean", [0.0, 10.0, -1000.0])
def test_a_relative_margin_is_its_own_null_wherever_the_covariate_lies(
    sizes: tuple[int, int], mean: float
) -> None:
    """At the boundary z has mean 0 and variance 1, or less where arms are unequal."""
    rng = np.random.default_rng(63)
    null = Null(scale=0.8)
    scores = []
    for _ in range(RUNS):
        champion, _, _ = draw(rng, sizes[0], 0.0, mean=mean)
        challenger, _, _ = draw(rng, sizes[1], -0.2, mean=mean)
        reading = read(pair(champion, challenger, sizes[1] / sum(sizes)), (), null=null)
        assert isinstance(reading, Reading)
        scores.append(reading.z)
    assert abs(np.mean(scores)) <= 4.0 / math.sqrt(RUNS)
    spread = float(np.var(scores))
    assert spread <= 1.0 + 4.0 * math.sqrt(2.0 / RUNS)
    assert spread >= 0.70


def test_the_adjustment_loses_nothing_to_a_covariate_of_a_billion() -> None:
    rng = np.random.default_rng(64)
    _, x0, y0 = draw(rng, 400, 0.0)
    _, x1, y1 = draw(rng, 300, 0.1)
    near = adjusted(moments(y0, covariate=x0), moments(y1, covariate=x1))
    far = adjusted(moments(y0, covariate=x0 + 1e9), moments(y1, covariate=x1 + 1e9))
    assert far.champion == pytest.approx(near.champion, rel=1e-6)
    assert far.covariance == pytest.approx(near.covariance, rel=1e-6)


def test_an_arm_without_units_is_left_as_it_is() -> None:
    rng = np.random.default_rng(65)
    champion, _, _ = draw(rng, 50, 0.0)
    epochs, _ = moments_under(pair(champion, Moments()))
    assert epochs[0].control.mean == champion.mean
