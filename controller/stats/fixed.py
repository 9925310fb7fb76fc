"""Fixed-horizon results for one look planned in advance, by statsmodels, labelled as such.

Nothing here may be peeked at: these are the exact and score methods for the one look at the end and
for rare events. statsmodels and pandas cost seconds to load, so every function imports them when it
is called; a web process never calls one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from controller.errors import InvalidInput
from controller.stats.results import Alternative, Inconclusive, Reason

ProportionMethod = Literal["wilson", "beta", "jeffreys", "agresti_coull", "normal"]
DifferenceMethod = Literal["score", "newcomb", "agresti-caffo", "wald"]
RatioMethod = Literal["score", "log", "log-adjusted"]
RateMethod = Literal["score", "sqrt", "exact-cond", "etest-score", "wald"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTest:
    """A statistic (None for exact tests) and its p-value for one look."""

    statistic: float | None
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInterval:
    """A confidence interval for one look."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Superiority:
    """Brunner-Munzel: P(treatment > control) + P(equal) / 2, with its test and interval."""

    probability: float
    p_value: float
    interval: FixedInterval


def proportion_interval(
    count: int, n: int, *, alpha: float = 0.05, method: ProportionMethod = "wilson"
) -> FixedInterval | Inconclusive:
    """Interval for one proportion (statsmodels `proportion_confint`); `no_data` for n = 0."""
    from statsmodels.stats.proportion import proportion_confint

    _check(alpha, (count, n))
    if n == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    return _interval(proportion_confint(count, n, alpha=alpha, method=method))


def difference_interval(
    treatment: tuple[int, int],
    control: tuple[int, int],
    *,
    alpha: float = 0.05,
    method: DifferenceMethod = "score",
) -> FixedInterval | Inconclusive:
    """Interval for the difference of two proportions, each (successes, units).

    The score interval (Miettinen and Nurminen 1985) keeps its level for small counts; Newcombe's
    hybrid is the fallback of choice where it does not converge.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    return _two(
        confint_proportions_2indep, treatment, control, alpha, method=method, compare="diff"
    )


def ratio_interval(
    treatment: tuple[int, int],
    control: tuple[int, int],
    *,
    alpha: float = 0.05,
    method: RatioMethod = "score",
) -> FixedInterval | Inconclusive:
    """Interval for the ratio of two proportions, each (successes, units)."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    return _two(
        confint_proportions_2indep, treatment, control, alpha, method=method, compare="ratio"
    )


def proportions_test(
    treatment: tuple[int, int],
    control: tuple[int, int],
    *,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
) -> FixedTest | Inconclusive:
    """Score test of treatment - control = `null` (Miettinen and Nurminen 1985).

    Non-inferiority by margin m of a rate to be raised is null = -m with "larger".
    """
    from statsmodels.stats.proportion import test_proportions_2indep

    empty = _empty(treatment, control)
    if empty is not None:
        return empty
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = test_proportions_2indep(
            *treatment, *control, value=null, method="score", alternative=alternative
        )
    return _test(found.statistic, found.pvalue)


def rates_test(
    treatment: tuple[int, float],
    control: tuple[int, float],
    *,
    method: RateMethod = "score",
    ratio: float = 1.0,
    alternative: Alternative = "two-sided",
) -> FixedTest | Inconclusive:
    """Test that two Poisson rates, each (events, exposure), have the given ratio.

    `exact-cond` conditions on the total; `etest-score` (Krishnamoorthy and Thomson 2004) is exact
    and less conservative. Use one of them below 50 expected events an arm.
    """
    from statsmodels.stats.rates import test_poisson_2indep

    if min(treatment[1], control[1]) <= 0.0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    if treatment[0] + control[0] == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    found = test_poisson_2indep(
        *treatment, *control, value=ratio, method=method, alternative=alternative
    )
    return _test(getattr(found, "statistic", None), found.pvalue)


def rates_interval(
    treatment: tuple[int, float],
    control: tuple[int, float],
    *,
    alpha: float = 0.05,
    compare: Literal["ratio", "diff"] = "ratio",
) -> FixedInterval | Inconclusive:
    """Score interval for ratio or difference of two Poisson rates, each (events, exposure)."""
    from statsmodels.stats.rates import confint_poisson_2indep

    _check(alpha, (treatment[0], control[0]))
    if min(treatment[1], control[1]) <= 0.0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    if min(treatment[0], control[0]) == 0:
        return Inconclusive(
            reason=Reason.NO_DATA, detail="the score interval needs an event an arm"
        )
    return _interval(
        confint_poisson_2indep(*treatment, *control, method="score", compare=compare, alpha=alpha)
    )


def equivalence_test(
    treatment: ArrayLike, control: ArrayLike, *, low: float, high: float
) -> FixedTest | Inconclusive:
    """Two one-sided Welch tests that low < mean(treatment) - mean(control) < high.

    The p-value is the larger of the two (Schuirmann 1987).
    """
    from statsmodels.stats.weightstats import ttost_ind

    if not low < high:
        raise InvalidInput("low < high", field="low")
    y1, y0 = _samples(treatment, control)
    if y1.size < 2 or y0.size < 2:
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    if float(np.ptp(y1)) == 0.0 and float(np.ptp(y0)) == 0.0:
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    p_value = ttost_ind(y1, y0, low, high, usevar="unequal")[0]
    return _test(None, p_value)


def rank_superiority(
    treatment: ArrayLike, control: ArrayLike, *, alpha: float = 0.05
) -> Superiority | Inconclusive:
    """Brunner and Munzel (2000): whether treatment's values tend to be larger, ties and all."""
    from statsmodels.stats.nonparametric import rank_compare_2indep

    _check(alpha, (0,))
    y1, y0 = _samples(treatment, control)
    if y1.size < 2 or y0.size < 2:
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    if float(y1.min()) > float(y0.max()) or float(y0.min()) > float(y1.max()):
        return Inconclusive(reason=Reason.ZERO_VARIANCE, detail="the samples are separated")
    if float(np.ptp(np.concatenate([y1, y0]))) == 0.0:
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    found = rank_compare_2indep(y1, y0)
    return Superiority(
        probability=float(found.prob1),
        p_value=float(found.test_prob_superior().pvalue),
        interval=FixedInterval(
            lower=float(found.conf_int(alpha=alpha)[0]), upper=float(found.conf_int(alpha=alpha)[1])
        ),
    )


def _two(
    confint: Callable[..., Any],
    treatment: tuple[int, int],
    control: tuple[int, int],
    alpha: float,
    **options: str,
) -> FixedInterval | Inconclusive:
    _check(alpha, (*treatment, *control))
    empty = _empty(treatment, control)
    if empty is not None:
        return empty
    # The score interval walks to the edge of the parameter space, where a logarithm meets zero.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _interval(confint(*treatment, *control, alpha=alpha, **options))


def _empty(treatment: tuple[int, int], control: tuple[int, int]) -> Inconclusive | None:
    if min(treatment[1], control[1]) == 0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    if treatment[0] + control[0] in (0, treatment[1] + control[1]):
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    return None


def _samples(treatment: ArrayLike, control: ArrayLike) -> tuple[Any, Any]:
    pair = (np.asarray(treatment, dtype=np.float64), np.asarray(control, dtype=np.float64))
    if not all(y.ndim == 1 and np.isfinite(y).all() for y in pair):
        raise InvalidInput("samples are finite and one-dimensional", field="treatment")
    return pair


def _interval(ends: tuple[float, float]) -> FixedInterval | Inconclusive:
    lower, upper = float(ends[0]), float(ends[1])
    if math.isnan(lower) or math.isnan(upper):
        return Inconclusive(reason=Reason.NOT_FINITE)
    return FixedInterval(lower=lower, upper=upper)


def _test(statistic: float | None, p_value: float) -> FixedTest | Inconclusive:
    if math.isnan(p_value):
        return Inconclusive(reason=Reason.NOT_FINITE)
    return FixedTest(
        statistic=None if statistic is None else float(statistic), p_value=float(p_value)
    )


def _check(alpha: float, counts: tuple[float, ...]) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    if min(counts) < 0:
        raise InvalidInput("counts are not negative", field="count")
