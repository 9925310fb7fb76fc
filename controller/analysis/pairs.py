"""One challenger beside the champion on one metric: what the statistics rooms need of them.

Here a metric's definition meets its sums: a ratio is linearised under the null, a covariate takes
its part of the variance away, and what remains are means per epoch for the design-weighted score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis.ratios import adjusted_epochs, adjusted_levels, ratio_of
from controller.experiments.metrics import Metric, MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.ratio import LinearArm, linearise
from controller.stats.results import Inconclusive, Reason
from controller.stats.rounding import beyond_rounding, mean_error, square_error
from controller.stats.score import EQUAL, ArmMoments, EpochMoments, Null, effective_size

_NOTHING = Moments()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Sums of champion and one challenger, epoch by epoch.

    Attributes
    ----------
    metric : Metric
    challenger : str
        Arm name.
    epochs : tuple of (number, champion, challenger)
        Epochs in which either arm has a unit.
    equal_weights : bool
        Whether both arms have the same weight in every one of them.
    shares : tuple of float
        By epoch, the probability that a unit of either arm was assigned the challenger.
    covariates : int
        Of which the covariate that the sums know is a fitted combination; 1 where it is one.
    """

    metric: Metric
    challenger: str
    epochs: tuple[tuple[int, Moments, Moments], ...]
    equal_weights: bool
    shares: tuple[float, ...]
    covariates: int = 1

    @property
    def units(self) -> int:
        """Complete units of both arms."""
        return sum([champion.n + challenger.n for _, champion, challenger in self.epochs])

    @property
    def looks_back(self) -> bool:
        """Whether any unit has a covariate."""
        return any(a.covariate_n + b.covariate_n for _, a, b in self.epochs)


class Levels(NamedTuple):
    """Design-weighted level of each arm, for relative effects; variances are of these levels."""

    champion: float
    challenger: float
    champion_variance: float
    challenger_variance: float
    covariance: float = 0.0


def pair_of(
    statistics: Statistics, metric: Metric, challenger: str, *, covariates: int = 1
) -> Pair:
    """Collect the sums of one comparison."""
    epochs: list[tuple[int, Moments, Moments]] = []
    shares: list[float] = []
    equal = True
    for epoch in statistics.epochs:
        champion = statistics.moments.get((metric.key, epoch.number, CHAMPION), _NOTHING)
        other = statistics.moments.get((metric.key, epoch.number, challenger), _NOTHING)
        if champion.n == 0 and other.n == 0:
            continue
        own, rest = epoch.weights.get(challenger, 0.0), epoch.weights.get(CHAMPION, 0.0)
        equal = equal and rest == own
        shares.append(own / (own + rest) if own + rest > 0.0 else 0.0)
        epochs.append((epoch.number, champion, other))
    return Pair(
        metric=metric,
        challenger=challenger,
        epochs=tuple(epochs),
        equal_weights=equal,
        shares=tuple(shares),
        covariates=covariates,
    )


def moments_under(pair: Pair, null: Null = EQUAL) -> tuple[tuple[EpochMoments, ...], Null]:
    """The epochs as the score reads them, and the null that is left to test there.

    A ratio is linearised under `null`, after which equality remains; any other metric keeps it.
    """
    if pair.metric.type is MetricType.RATIO:
        if pair.looks_back:
            return tuple(adjusted_epochs(pair.epochs, null)), EQUAL
        linear = [_linearised(number, a, b, null) for number, a, b in pair.epochs]
        return tuple(each for each in linear if each is not None), EQUAL
    plain = tuple(
        [
            EpochMoments(epoch=number, control=_arm(a), treatment=_arm(b))
            for number, a, b in pair.epochs
        ]
    )
    theta = _theta(pair)
    return (_adjusted(plain, pair, theta, null.scale) if theta else plain), null


def levels(pair: Pair) -> Levels | Inconclusive:
    """Mean (or ratio) of each arm, epochs weighted by w_e = n1 n0 / (n1 + n0).

    With a covariate the adjusted means, of which the estimate is the difference. An epoch in which
    an arm has no ratio adds nothing, here as to the score.
    """
    both = [(a, b) for _, a, b in pair.epochs if _has_level(pair, a) and _has_level(pair, b)]
    sizes = [effective_size(b.n, a.n) for a, b in both]
    total = math.fsum(sizes)
    if total == 0.0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    theta = 0.0 if pair.metric.type is MetricType.RATIO else _theta(pair)
    if pair.metric.type is MetricType.RATIO and pair.looks_back:
        parts = adjusted_levels(both)
    elif pair.metric.type is MetricType.RATIO:
        parts = [(*_ratio_level(a), *_ratio_level(b), 0.0) for a, b in both]
    elif theta:
        parts = [_adjusted_levels(a, b, theta) for a, b in both]
    else:
        parts = [(*_mean_level(a), *_mean_level(b), 0.0) for a, b in both]
    if not all(map(math.isfinite, chain.from_iterable(parts))):
        return Inconclusive(reason=Reason.NOT_FINITE)
    values = parts[0] if len(parts) == 1 else _weighted([size / total for size in sizes], parts)
    champion, champion_variance, challenger, challenger_variance, covariance = values
    return Levels(
        champion=champion,
        challenger=challenger,
        champion_variance=champion_variance,
        challenger_variance=challenger_variance,
        covariance=covariance,
    )


_Parts = tuple[float, float, float, float, float]
"""Champion's level and its variance, the challenger's, and the covariance of both levels."""


def _weighted(shares: Sequence[float], parts: Sequence[_Parts]) -> _Parts:
    """Levels over several epochs: means by their shares, variances by the squares."""
    a, va, b, vb, common = zip(*parts, strict=True)

    def over(values: Sequence[float], power: int) -> float:
        return math.fsum([w**power * value for w, value in zip(shares, values, strict=True)])

    return over(a, 1), over(va, 2), over(b, 1), over(vb, 2), over(common, 2)


def _adjusted_levels(champion: Moments, challenger: Moments, theta: float) -> _Parts:
    """Both adjusted means: each has its own residual error, and they share that of xbar."""
    down, up, common = _shifts(champion, challenger, theta)
    a, b = (
        _residual(arm, theta) / (arm.n - 1) / arm.n if arm.n > 1 else 0.0
        for arm in (champion, challenger)
    )
    return champion.mean + up, a + common, challenger.mean - down, b + common, common


def pooled(moments: Sequence[Moments]) -> Moments:
    """Several epochs' sums of one arm as one, for display."""
    if not moments:
        return _NOTHING
    total = moments[0]
    for each in moments[1:]:
        total = _merged(total, each) if total.n and each.n else _counted(total, each)
    return total


def _counted(a: Moments, b: Moments) -> Moments:
    return replace(a if a.n else b, missing=a.missing + b.missing)


def _merged(a: Moments, b: Moments) -> Moments:
    n = a.n + b.n
    w = effective_size(a.n, b.n)
    gap, below = b.mean - a.mean, b.denominator_mean - a.denominator_mean
    return replace(
        a,
        n=n,
        missing=a.missing + b.missing,
        nonzero=a.nonzero + b.nonzero,
        mean=a.mean + gap * (b.n / n),
        m2=a.m2 + b.m2 + w * gap * gap,
        denominator_mean=a.denominator_mean + below * (b.n / n),
        denominator_m2=a.denominator_m2 + b.denominator_m2 + w * below * below,
        cross_m2=a.cross_m2 + b.cross_m2 + w * gap * below,
    )


def _has_level(pair: Pair, arm: Moments) -> bool:
    ratio = pair.metric.type is MetricType.RATIO
    return arm.n > 0 and not (ratio and arm.denominator_mean == 0.0)


def _mean_level(arm: Moments) -> tuple[float, float]:
    return arm.mean, arm.m2 / (arm.n - 1) / arm.n if arm.n > 1 else 0.0


def _ratio_level(arm: Moments) -> tuple[float, float]:
    if arm.denominator_mean == 0.0:
        return math.nan, math.nan
    ratio = arm.mean / arm.denominator_mean
    below = arm.denominator_mean  # divided by twice: its square may vanish
    left = residual_about(arm, ratio)
    return ratio, left / (arm.n - 1) / arm.n / below / below if arm.n > 1 else 0.0


def residual_about(arm: Moments, ratio: float) -> float:
    """Sum of squares of numerator - ratio x denominator; 0 where that may be rounding alone."""
    terms = arm.m2, -2.0 * ratio * arm.cross_m2, ratio * ratio * arm.denominator_m2
    return beyond_rounding(_in_turn(terms), square_error(*terms))


def _in_turn(terms: tuple[float, float, float]) -> float:
    """Their plain sum: `sum` compensates from Python 3.12 on, and evidence must not."""
    one, two, three = terms
    return one + two + three


def _arm(moments: Moments) -> ArmMoments:
    return ArmMoments(moments.n, moments.mean, moments.m2, moments.nonzero)


def _linearised(
    number: int, champion: Moments, challenger: Moments, null: Null
) -> EpochMoments | None:
    arms = linearise(ratio_of(champion), ratio_of(challenger), scale=null.scale, shift=null.shift)
    if isinstance(arms, Inconclusive):
        return None
    control, treatment = arms
    return EpochMoments(
        epoch=number,
        control=_linear_arm(control, champion),
        treatment=_linear_arm(treatment, challenger),
    )


def _linear_arm(arm: LinearArm, moments: Moments) -> ArmMoments:
    return ArmMoments(
        n=arm.n,
        mean=arm.mean,
        m2=arm.m2,
        nonzero=moments.nonzero,
        mean_error=arm.mean_error,
    )


def _theta(pair: Pair) -> float:
    """CUPED's coefficient, one for all epochs and both arms: sum of S_xy over sum of S_xx.

    Deng, Xu, Kohavi and Walker (2013), WSDM, eq. (5), on the deviations from each epoch's common
    mean; 0 where there is no covariate or it does not vary.
    """
    xx: list[float] = []
    xy: list[float] = []
    for _, a, b in pair.epochs:
        if a.n == 0 or b.n == 0 or a.covariate_n + b.covariate_n == 0:
            continue
        w = effective_size(b.n, a.n)
        gap = b.covariate_mean - a.covariate_mean
        xx += [a.covariate_m2, b.covariate_m2, w * gap * gap]
        xy += [a.covariate_cross_m2, b.covariate_cross_m2, w * gap * (b.mean - a.mean)]
    below = math.fsum(xx)
    theta = math.fsum(xy) / below if below > 0.0 else 0.0
    return theta if math.isfinite(theta) else 0.0


def _adjusted(
    plain: Sequence[EpochMoments], pair: Pair, theta: float, scale: float
) -> tuple[EpochMoments, ...]:
    """y - theta (x - mean of x over both arms), epoch by epoch.

    About the common mean, because a null that scales one arm's mean would not let it cancel. What
    is left of its own error in such a contrast, theta (1 - scale) (xbar - mu), is added to the
    variance of the smaller arm, where it counts at least in full.
    """
    return tuple(
        _less(epoch, champion, challenger, theta, scale)
        for epoch, (_, champion, challenger) in zip(plain, pair.epochs, strict=True)
    )


def _less(
    epoch: EpochMoments, champion: Moments, challenger: Moments, theta: float, scale: float
) -> EpochMoments:
    down, up, common = _shifts(champion, challenger, theta)
    reach = (theta * champion.covariate_mean, theta * challenger.covariate_mean)
    left, right = _residual(champion, theta), _residual(challenger, theta)
    if scale != 1.0 and common > 0.0:
        n1, n0 = challenger.n, champion.n
        extra = (1.0 - scale) ** 2 * common * effective_size(n1, n0) * (n1 + n0 - 1)
        if n1 <= n0 or scale == 0.0:
            right += extra
        else:
            left += extra / scale**2
    control, treatment = (
        ArmMoments(
            n=arm.n,
            mean=arm.mean + moved,
            m2=m2,
            nonzero=arm.nonzero,
            mean_error=mean_error(arm.mean, *reach),
        )
        for arm, moved, m2 in ((epoch.control, up, left), (epoch.treatment, -down, right))
    )
    return EpochMoments(epoch=epoch.epoch, control=control, treatment=treatment)


def _shifts(champion: Moments, challenger: Moments, theta: float) -> tuple[float, float, float]:
    """What adjusting takes from the challenger's mean and gives to champion's; variance of both.

    The third is the variance of theta (xbar - mu), which both adjusted means share.
    """
    n0, n1 = champion.n, challenger.n
    if n0 == 0 or n1 == 0:
        return 0.0, 0.0, 0.0
    n, gap = n0 + n1, challenger.covariate_mean - champion.covariate_mean
    m2 = champion.covariate_m2 + challenger.covariate_m2 + effective_size(n1, n0) * gap * gap
    return theta * gap * n0 / n, theta * gap * n1 / n, theta * theta * m2 / (n - 1) / n


def _residual(moments: Moments, theta: float) -> float:
    """Sum of squares that the covariate leaves; 0 where that may be rounding alone."""
    terms = (
        moments.m2,
        -2.0 * theta * moments.covariate_cross_m2,
        theta * theta * moments.covariate_m2,
    )
    return beyond_rounding(_in_turn(terms), square_error(*terms))
