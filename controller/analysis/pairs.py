"""One challenger beside the champion on one metric: what the statistics rooms need of them.

Here a metric's definition meets its sums: a ratio is linearised under the null, a covariate takes
its part of the variance away, and what remains are means per epoch for the design-weighted score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.aggregation.statistics import Moments, Statistics
from controller.experiments.metrics import Metric, MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.ratio import RatioMoments, linearise
from controller.stats.results import Inconclusive, Reason
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
    """

    metric: Metric
    challenger: str
    epochs: tuple[tuple[int, Moments, Moments], ...]
    equal_weights: bool

    @property
    def units(self) -> int:
        """Complete units of both arms."""
        return sum(champion.n + challenger.n for _, champion, challenger in self.epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Design-weighted level of each arm, for relative effects; variances are of these levels."""

    champion: float
    challenger: float
    champion_variance: float
    challenger_variance: float


def pair_of(statistics: Statistics, metric: Metric, challenger: str) -> Pair:
    """Collect the sums of one comparison."""
    epochs: list[tuple[int, Moments, Moments]] = []
    equal = True
    for epoch in statistics.epochs:
        champion = statistics.moments.get((metric.key, epoch.number, CHAMPION), _NOTHING)
        other = statistics.moments.get((metric.key, epoch.number, challenger), _NOTHING)
        if champion.n == 0 and other.n == 0:
            continue
        weights = epoch.weights
        equal = equal and weights.get(CHAMPION, 0.0) == weights.get(challenger, 0.0)
        epochs.append((epoch.number, champion, other))
    return Pair(metric=metric, challenger=challenger, epochs=tuple(epochs), equal_weights=equal)


def moments_under(pair: Pair, null: Null = EQUAL) -> tuple[tuple[EpochMoments, ...], Null]:
    """The epochs as the score reads them, and the null that is left to test there.

    A ratio is linearised under `null`, after which equality remains; any other metric keeps it.
    """
    if pair.metric.type is MetricType.RATIO:
        linear = [_linearised(number, a, b, null) for number, a, b in pair.epochs]
        return tuple(each for each in linear if each is not None), EQUAL
    plain = tuple(
        EpochMoments(epoch=number, control=_arm(a), treatment=_arm(b))
        for number, a, b in pair.epochs
    )
    theta = _theta(pair)
    return (_adjusted(plain, pair, theta) if theta else plain), null


def levels(pair: Pair) -> Levels | Inconclusive:
    """Mean (or ratio) of each arm, epochs weighted by w_e = n1 n0 / (n1 + n0)."""
    level = _ratio_level if pair.metric.type is MetricType.RATIO else _mean_level
    both = [
        (effective_size(b.n, a.n), level(a), level(b))
        for _, a, b in pair.epochs
        if a.n > 0 and b.n > 0
    ]
    total = math.fsum(size for size, _, _ in both)
    if total == 0.0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    values = Levels(
        champion=math.fsum(size / total * a for size, (a, _), _ in both),
        challenger=math.fsum(size / total * b for size, _, (b, _) in both),
        champion_variance=math.fsum((size / total) ** 2 * v for size, (_, v), _ in both),
        challenger_variance=math.fsum((size / total) ** 2 * v for size, _, (_, v) in both),
    )
    finite = all(math.isfinite(getattr(values, name)) for name in values.__slots__)
    return values if finite else Inconclusive(reason=Reason.NOT_FINITE)


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


def _mean_level(arm: Moments) -> tuple[float, float]:
    return arm.mean, arm.m2 / (arm.n - 1) / arm.n if arm.n > 1 else 0.0


def _ratio_level(arm: Moments) -> tuple[float, float]:
    if arm.denominator_mean == 0.0:
        return math.nan, math.nan
    ratio = arm.mean / arm.denominator_mean
    m2 = arm.m2 - 2.0 * ratio * arm.cross_m2 + ratio * ratio * arm.denominator_m2
    below = arm.denominator_mean  # divided by twice: its square may vanish
    return ratio, max(m2, 0.0) / (arm.n - 1) / arm.n / below / below if arm.n > 1 else 0.0


def _arm(moments: Moments) -> ArmMoments:
    return ArmMoments(n=moments.n, mean=moments.mean, m2=moments.m2, nonzero=moments.nonzero)


def _linearised(
    number: int, champion: Moments, challenger: Moments, null: Null
) -> EpochMoments | None:
    arms = linearise(_ratio(champion), _ratio(challenger), scale=null.scale, shift=null.shift)
    if isinstance(arms, Inconclusive):
        return None
    control, treatment = arms
    return EpochMoments(
        epoch=number,
        control=ArmMoments(n=control.n, mean=control.mean, m2=control.m2, nonzero=champion.nonzero),
        treatment=ArmMoments(
            n=treatment.n, mean=treatment.mean, m2=treatment.m2, nonzero=challenger.nonzero
        ),
    )


def _ratio(moments: Moments) -> RatioMoments:
    return RatioMoments(
        n=moments.n,
        mean=moments.mean,
        m2=moments.m2,
        denominator_mean=moments.denominator_mean,
        denominator_m2=moments.denominator_m2,
        cross_m2=moments.cross_m2,
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


def _adjusted(plain: Sequence[EpochMoments], pair: Pair, theta: float) -> tuple[EpochMoments, ...]:
    return tuple(
        replace(
            epoch,
            control=_less(epoch.control, champion, theta),
            treatment=_less(epoch.treatment, challenger, theta),
        )
        for epoch, (_, champion, challenger) in zip(plain, pair.epochs, strict=True)
    )


def _less(arm: ArmMoments, moments: Moments, theta: float) -> ArmMoments:
    """y - theta x; only differences of means are read from it, so x needs no centre."""
    m2 = (
        moments.m2 - 2.0 * theta * moments.covariate_cross_m2 + theta * theta * moments.covariate_m2
    )
    return replace(arm, mean=arm.mean - theta * moments.covariate_mean, m2=max(m2, 0.0))
