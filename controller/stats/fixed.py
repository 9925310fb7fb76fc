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

from controller.errors import InvalidInput
from controller.stats.results import Alternative, Inconclusive, Reason

DifferenceMethod = Literal["score", "newcomb", "agresti-caffo", "wald"]
RatioMethod = Literal["score", "log", "log-adjusted"]


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
        try:
            ends = confint(*treatment, *control, alpha=alpha, **options)
        except ValueError:  # it met that edge: perfectly separated arms
            return Inconclusive(reason=Reason.NOT_FINITE)
    return _interval(ends)


def _empty(treatment: tuple[int, int], control: tuple[int, int]) -> Inconclusive | None:
    if min(treatment[1], control[1]) == 0:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    if treatment[0] + control[0] in (0, treatment[1] + control[1]):
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    return None


def _interval(ends: tuple[float, float]) -> FixedInterval | Inconclusive:
    if any(isinstance(end, complex) for end in ends):  # beyond perfect separation no root is real
        return Inconclusive(reason=Reason.NOT_FINITE)
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
