"""A ratio's regression adjustment: its numerator and denominator as they were before exposure.

A ratio is tested through a linearised outcome l = (a m + b d) / u, one line for each arm of an
epoch. What numerator and denominator were before exposure, x and z, no arm can change. So l is
replaced by l - theta'((x, z) - centre) with one theta for all epochs and both arms, as for a mean:
the difference keeps its expectation and loses the variance that the past explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from controller.aggregation.statistics import Moments
from controller.stats.ratio import RatioMoments, joint_ratio
from controller.stats.results import Inconclusive
from controller.stats.rounding import beyond_rounding, mean_error, square_error
from controller.stats.score import EQUAL, ArmMoments, EpochMoments, Null, effective_size


class Line(NamedTuple):
    """l = (above m + below d) / unit; `reach` bounds the terms that `below` was computed from."""

    above: float
    below: float
    unit: float
    reach: float


class Theta(NamedTuple):
    """Coefficients of the past numerator and denominator, in units of l."""

    x: float
    z: float


class Shifts(NamedTuple):
    """What adjusting adds to champion's level and takes from the challenger's.

    `common` is the variance that both adjusted levels owe to the centre.
    """

    up: float
    down: float
    common: float


NO_SLOPE = Theta(0.0, 0.0)

Lined = tuple[int, Moments, Moments, Line, Line]
"""Epoch number, champion and challenger, and the line of each."""


def ratio_of(moments: Moments) -> RatioMoments:
    """Numerator and denominator without their past."""
    return RatioMoments(
        n=moments.n,
        mean=moments.mean,
        m2=moments.m2,
        denominator_mean=moments.denominator_mean,
        denominator_m2=moments.denominator_m2,
        cross_m2=moments.cross_m2,
    )


def lined(epochs: Sequence[tuple[int, Moments, Moments]], null: Null) -> list[Lined]:
    """The epochs in which both arms are linearised under a null, as `ratio.linearise` does."""
    found: list[Lined] = []
    for number, a, b in epochs:
        joint = joint_ratio(ratio_of(a), ratio_of(b), scale=null.scale, shift=null.shift)
        if isinstance(joint, Inconclusive):
            continue
        ratio, unit = joint
        moved = ratio + null.shift
        reach = abs(ratio) + abs(null.shift)
        line = Line(null.scale, -ratio, unit, abs(ratio))
        found.append((number, a, b, line, Line(1.0, -moved, unit, reach)))
    return found


def adjusted_epochs(
    epochs: Sequence[tuple[int, Moments, Moments]], null: Null
) -> list[EpochMoments]:
    """What the score reads of a ratio whose units have a past, linearised under `null`.

    The centre cancels in the difference whatever the null, because it moves both arms alike.
    """
    both = lined(epochs, null)
    theta = slopes(both)
    found = []
    for number, a, b, of_a, of_b in both:
        up, down, _ = shifts(a, b, theta)
        found.append(
            EpochMoments(
                epoch=number,
                control=_adjusted(a, of_a, theta, up),
                treatment=_adjusted(b, of_b, theta, -down),
            )
        )
    return found


def adjusted_levels(
    epochs: Sequence[tuple[Moments, Moments]],
) -> list[tuple[float, float, float, float, float]]:
    """Of each epoch both arms' adjusted ratios, their variances and what these share.

    In the order of `pairs.Levels`: champion and its variance, challenger and its, covariance. Each
    arm has the delta method's variance about its own ratio; theta is that of the estimate.
    """
    theta = slopes(lined([(0, *both) for both in epochs], EQUAL))
    found = []
    for a, b in epochs:
        up, down, common = shifts(a, b, theta)
        champion, champion_variance = _level(a, theta)
        challenger, challenger_variance = _level(b, theta)
        found.append(
            (
                champion + up,
                champion_variance + common,
                challenger - down,
                challenger_variance + common,
                common,
            )
        )
    return found


def slopes(epochs: Sequence[Lined]) -> Theta:
    """theta of the regression of l on the past, over all epochs and both arms.

    Deng, Xu, Kohavi and Walker (2013), WSDM, eq. (5), with two covariates and on the deviations
    from each epoch's common mean; zeros where the past says nothing.
    """
    sums: tuple[list[float], ...] = ([], [], [], [], [])
    for _, a, b, of_a, of_b in epochs:
        w = effective_size(b.n, a.n)
        gap = _mean(b, of_b) - _mean(a, of_a)
        x, z = b.covariate_mean - a.covariate_mean, b.second_mean - a.second_mean
        between = (w * x * x, w * x * z, w * z * z, w * x * gap, w * z * gap)
        for sum_, terms in zip(
            sums, zip(_past(a, of_a), _past(b, of_b), between, strict=True), strict=True
        ):
            sum_ += terms
    return _solved(*map(_total, sums))


def slopes_of(arm: Moments, line: Line) -> Theta:
    """theta of one arm of one epoch alone."""
    return _solved(*_past(arm, line))


def shifts(champion: Moments, challenger: Moments, theta: Theta) -> Shifts:
    """How far adjusting moves each arm's level towards the other's past."""
    n0, n1 = champion.n, challenger.n
    if n0 == 0 or n1 == 0:
        return Shifts(0.0, 0.0, 0.0)
    n = n0 + n1
    x = challenger.covariate_mean - champion.covariate_mean
    z = challenger.second_mean - champion.second_mean
    gap = theta.x * x + theta.z * z
    m2 = (
        _past_square(champion, theta)
        + _past_square(challenger, theta)
        + effective_size(n1, n0) * gap * gap
    )
    return Shifts(gap * n1 / n, gap * n0 / n, max(0.0, m2) / (n - 1) / n)


def residual(arm: Moments, line: Line, theta: Theta) -> float:
    """Sum of squares of l - theta'(x, z) about its mean; 0 where that may be rounding alone."""
    x, z = -theta.x * line.unit, -theta.z * line.unit
    found = _total(_squares(arm, line.above, line.below, x, z))
    error = square_error(*_squares(arm, line.above, line.reach, x, z))
    return beyond_rounding(found, error) / line.unit / line.unit


def _adjusted(arm: Moments, line: Line, theta: Theta, moved: float) -> ArmMoments:
    raw = mean_error(line.above * arm.mean, line.reach * arm.denominator_mean)
    past = mean_error(theta.x * arm.covariate_mean, theta.z * arm.second_mean)
    return ArmMoments(
        n=arm.n,
        mean=_mean(arm, line) + moved,
        m2=residual(arm, line, theta),
        nonzero=arm.nonzero,
        mean_error=raw / abs(line.unit) + past,
    )


def own_line(arm: Moments) -> Line | None:
    """The line about the arm's own ratio; None where its denominator is 0."""
    if arm.denominator_mean == 0.0:
        return None
    ratio = arm.mean / arm.denominator_mean
    return Line(1.0, -ratio, arm.denominator_mean, abs(ratio))


def _level(arm: Moments, theta: Theta) -> tuple[float, float]:
    line = own_line(arm)
    if line is None:
        return math.nan, math.nan
    variance = residual(arm, line, theta) / (arm.n - 1) / arm.n if arm.n > 1 else 0.0
    return -line.below, variance


def _mean(arm: Moments, line: Line) -> float:
    return (line.above * arm.mean + line.below * arm.denominator_mean) / line.unit


def _past(arm: Moments, line: Line) -> tuple[float, float, float, float, float]:
    """Products of deviations: xx, xz, zz, and both with l."""
    above, below, unit, _ = line
    return (
        arm.covariate_m2,
        arm.covariate_second_m2,
        arm.second_m2,
        (above * arm.covariate_cross_m2 + below * arm.denominator_covariate_m2) / unit,
        (above * arm.second_cross_m2 + below * arm.denominator_second_m2) / unit,
    )


def _past_square(arm: Moments, theta: Theta) -> float:
    """Sum of squares of theta'(x, z)."""
    return _total(_squares(arm, 0.0, 0.0, theta.x, theta.z))


def _squares(arm: Moments, m: float, d: float, x: float, z: float) -> tuple[float, ...]:
    """The terms of the sum of squared deviations of m M + d D + x X + z Z."""
    return (
        m * m * arm.m2,
        d * d * arm.denominator_m2,
        x * x * arm.covariate_m2,
        z * z * arm.second_m2,
        2.0 * m * d * arm.cross_m2,
        2.0 * m * x * arm.covariate_cross_m2,
        2.0 * m * z * arm.second_cross_m2,
        2.0 * d * x * arm.denominator_covariate_m2,
        2.0 * d * z * arm.denominator_second_m2,
        2.0 * x * z * arm.covariate_second_m2,
    )


def _total(terms: Sequence[float]) -> float:
    """Rounded once on every version of Python; nan where it is no number."""
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):  # beyond any float, or inf - inf
        return math.nan


def _solved(xx: float, xz: float, zz: float, xl: float, zl: float) -> Theta:
    """The normal equations, the second covariate after the first; one that adds nothing gets 0."""
    if not all(map(math.isfinite, (xx, xz, zz, xl, zl))):
        return NO_SLOPE
    if not xx > 0.0:
        return _finite(0.0, zl / zz if zz > 0.0 else 0.0)
    explained = xz * (xz / xx)
    left = beyond_rounding(zz - explained, square_error(zz, explained))
    z = (zl - xz * (xl / xx)) / left if left > 0.0 else 0.0
    return _finite((xl - z * xz) / xx, z)


def _finite(x: float, z: float) -> Theta:
    return Theta(x, z) if math.isfinite(x) and math.isfinite(z) else NO_SLOPE
