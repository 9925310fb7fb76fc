"""Arms from the raw sums that references give, in exact rational arithmetic, rounded once."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from controller.aggregation.statistics import Moments
from controller.analysis.pairs import Pair, moments_under
from controller.experiments.metrics import MetricType
from controller.stats.ratio import RatioMoments
from controller.stats.score import ArmMoments
from tests.worlds import metric


def scatter(n: int, product: float, one: float, two: float) -> float:
    """Sum of products of deviations, of the sum of products and both sums; no cancellation."""
    return float(Fraction(product) - Fraction(one) * Fraction(two) / n)


def ratio_arm(sums: Mapping[str, Any]) -> RatioMoments:
    """One arm of a ratio: sums of the numerator m and the denominator d."""
    n, m, d = (sums[name] for name in ("n", "m_sum", "d_sum"))
    return RatioMoments(
        n=n,
        mean=float(Fraction(m) / n),
        m2=scatter(n, sums["m_sum_squares"], m, m),
        denominator_mean=float(Fraction(d) / n),
        denominator_m2=scatter(n, sums["d_sum_squares"], d, d),
        cross_m2=scatter(n, sums["md"], m, d),
    )


def arm_with_history(sums: Mapping[str, Any]) -> Moments:
    """One arm of a mean: sums of what its units did after their exposure, and before."""
    n, post, pre = (sums[name] for name in ("n", "post_sum", "pre_sum"))
    return Moments(
        n=n,
        nonzero=n,
        mean=float(Fraction(post) / n),
        m2=scatter(n, sums["post_sum_squares"], post, post),
        covariate_n=n,
        covariate_mean=float(Fraction(pre) / n),
        covariate_m2=scatter(n, sums["pre_sum_squares"], pre, pre),
        covariate_cross_m2=scatter(n, sums["cross"], post, pre),
    )


def adjusted(champion: Moments, challenger: Moments) -> tuple[ArmMoments, ArmMoments]:
    """Both arms of one epoch as a look adjusts them by their covariate."""
    pair = Pair(
        metric=metric("revenue", type=MetricType.MEAN, lookback_seconds=60.0),
        challenger="challenger",
        epochs=((1, champion, challenger),),
        equal_weights=True,
        shares=(0.5,),
    )
    (epoch,), _ = moments_under(pair)
    return epoch.control, epoch.treatment
