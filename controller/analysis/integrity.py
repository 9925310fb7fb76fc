"""Whether the data may be believed: the split, the missing values, and how old they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis.memory import settled
from controller.analysis.report import Held, SrmReport
from controller.experiments.metrics import Direction, Metric, MetricType, Observed, ZeroMeans
from controller.experiments.plans import CHAMPION, Plan
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.results import Inconclusive
from controller.stats.srm import EpochCounts, sample_ratio

SILENT_UNITS = 25
COMMON_SHARE = 0.2
MOST_DOUBLE = 0.001
FEWEST_DOUBLE = 10
_MISSING: Callable[[Moments], int] = attrgetter("missing")


class Split(Protocol):
    """The part of a plan that says how units were split; recorded experiments have no more of it.

    Attributes
    ----------
    arms : collection of str
        Champion first.
    weights : mapping of arm to share
    srm_alpha : float
    """

    @property
    def arms(self) -> Collection[str]: ...

    @property
    def challengers(self) -> tuple[str, ...]: ...

    @property
    def weights(self) -> Mapping[str, float]: ...

    @property
    def srm_alpha(self) -> float: ...


def most_double_exposed(units: int) -> int:
    """How many of so many exposed units may have met two arms before nothing here is believed.

    They leave the test, and they leave unevenly where one arm drives people to come back another
    way. A working split shows none; one in a thousand, or ten, are forgiven.
    """
    return max(FEWEST_DOUBLE, int(MOST_DOUBLE * units))


def sample_ratio_report(
    statistics: Statistics, plan: Plan, *, log_e_max: float
) -> tuple[SrmReport, float]:
    """The sequential sample-ratio test over all epochs, and its memory.

    A unit counts once, in the epoch of its first exposure, against that epoch's weights. Before the
    first unit the e-value is 1: nothing has been bet yet.
    """
    arms = tuple(plan.arms)
    exposures = _exposures(statistics, arms)
    peak = raised_log_e(exposures, plan.policy.srm_alpha, log_e_max)
    p = settled(p_from_log_e(peak))
    expected = {
        arm: math.fsum(
            sum(epoch.counts) * epoch.weights[index] / math.fsum(epoch.weights)
            for epoch in exposures
        )
        for index, arm in enumerate(arms)
    }
    report = SrmReport(
        alarm=p <= plan.policy.srm_alpha,
        p=p,
        e_value=settled(e_from_log(peak)),
        alpha=plan.policy.srm_alpha,
        exposed={
            arm: sum(epoch.counts[index] for epoch in exposures) for index, arm in enumerate(arms)
        },
        expected=expected,
    )
    return report, peak


def can_miss(metric: Metric) -> bool:
    """Whether a complete unit may be without a value."""
    return metric.zero_means is ZeroMeans.UNKNOWN


def missing_log_e(
    statistics: Statistics,
    plan: Split,
    metric: Metric,
    arms: Sequence[str],
    *,
    log_e_max: float,
) -> float:
    """Running log e-value that values are missing unevenly, of a metric of which they can be.

    Given that a complete unit of these arms has no value, its arm follows their weights if
    missingness does not depend on the arm: the sample-ratio test of the missing units.
    """
    lacking = unit_counts(statistics, metric, arms, of=_MISSING)
    return raised_log_e(lacking, plan.srm_alpha, log_e_max)


def family(statistics: Statistics, plan: Split, arm: str) -> tuple[str, ...]:
    """The arms whose missing values are weighed together for one challenger: all that live.

    A challenger that has been given up has no weight in the newest epoch. What it lacks says
    nothing about the others; its own comparison is weighed against them.
    """
    newest = max(statistics.epochs, key=lambda epoch: epoch.number, default=None)
    living = plan.weights if newest is None else newest.weights
    return (
        CHAMPION,
        *(each for each in plan.challengers if each == arm or living.get(each, 0.0) > 0.0),
    )


def why_unknown(statistics: Statistics, plan: Plan, metric: Metric) -> str | None:
    """A stable word for why nothing of the metric may be read now, or None if it may."""
    freshness = statistics.freshness.get(metric.key)
    age = freshness.age_seconds if freshness is not None else None
    if age is None:
        return "no_data"
    return None if age <= plan.policy.data.max_age_seconds else "stale"


def why_held(
    statistics: Statistics,
    plan: Split,
    metric: Metric,
    arm: str,
    *,
    missing_log_e_max: float | None,
) -> Held | None:
    """Why one challenger's comparison may not be read although outcomes arrive, or None.

    Parameters
    ----------
    missing_log_e_max : float or None
        Of the challenger's `family`.
    """
    if missing_log_e_max is not None and p_from_log_e(missing_log_e_max) <= plan.srm_alpha:
        arms = family(statistics, plan, arm)
        return Held(reason="missing_differs", cause=_most_missing(statistics, metric, arms))
    suspect = arm if metric.direction is Direction.DECREASE else CHAMPION
    if _is_silent(statistics, plan, metric, suspect):
        return Held(reason="arm_silent", cause=suspect)
    for either in (arm, CHAMPION) if metric.type is MetricType.RATIO else ():
        if _is_silent(statistics, plan, metric, either, rate=_rate_of_denominators):
            return Held(reason="arm_silent", cause=either)
    return None


def _rate_of_values(cell: Moments) -> float:
    return cell.nonzero / cell.n


def _rate_of_denominators(cell: Moments) -> float:
    """At least so large a share of the units has a denominator other than zero (Cauchy-Schwarz)."""
    square = cell.denominator_mean * cell.denominator_mean
    return square / (square + cell.denominator_m2 / cell.n) if square > 0.0 else 0.0


def _is_silent(
    statistics: Statistics,
    plan: Split,
    metric: Metric,
    suspect: str,
    *,
    rate: Callable[[Moments], float] = _rate_of_values,
) -> bool:
    """Whether an arm has lost its outcomes to the challenger's advantage; no outcome means zero.

    In one epoch, its units show nothing but zeros although, at the rate of the busiest arm, at
    least 25 of them would not (probability below e^-25 where the rates are equal). Only where a
    fifth of that arm's units has a value: a rare error may really have been cured. Silence that
    speaks against the challenger is left to speak: going back is always safe. A ratio without
    denominators speaks neither way, so these are missed in either arm.
    """
    if metric.zero_means is not ZeroMeans.ZERO:
        return False
    for epoch in statistics.epochs:
        own = statistics.moments.get((metric.key, epoch.number, suspect))
        if own is None or own.n == 0 or rate(own) > 0.0:
            continue
        cells = (statistics.moments.get((metric.key, epoch.number, arm)) for arm in plan.arms)
        busiest = max(rate(cell) for cell in cells if cell is not None and cell.n > 0)
        if busiest >= COMMON_SHARE and busiest * own.n >= SILENT_UNITS:
            return True
    return False


def is_selected(plan: Plan, metric: Metric) -> bool:
    """Whether outcomes are seen only where the model said yes, and the policy forbids that."""
    return metric.observed is Observed.AFTER_DECISION and not plan.policy.allow_selected


def _exposures(statistics: Statistics, arms: tuple[str, ...]) -> list[EpochCounts]:
    return [
        EpochCounts(
            counts=tuple(statistics.exposed.get((epoch.number, arm), 0) for arm in arms),
            weights=tuple(epoch.weights.get(arm, 0.0) for arm in arms),
        )
        for epoch in statistics.epochs
    ]


def unit_counts(
    statistics: Statistics, metric: Metric, arms: Sequence[str], *, of: Callable[[Moments], int]
) -> list[EpochCounts]:
    """So many units of each arm, epoch by epoch, beside the weights they should follow."""
    counts = []
    for epoch in statistics.epochs:
        weights = tuple(epoch.weights.get(arm, 0.0) for arm in arms)
        cells = (statistics.moments.get((metric.key, epoch.number, arm)) for arm in arms)
        found = tuple(of(cell) if cell is not None else 0 for cell in cells)
        counts.append(EpochCounts(counts=found, weights=weights))
    return counts


def _most_missing(statistics: Statistics, metric: Metric, arms: Sequence[str]) -> str:
    """The arm with the most missing values beyond its share of them: whom to ask first."""
    excess = dict.fromkeys(arms, 0.0)
    for epoch in unit_counts(statistics, metric, arms, of=_MISSING):
        even = sum(epoch.counts) / math.fsum(epoch.weights)
        for arm, count, weight in zip(arms, epoch.counts, epoch.weights, strict=True):
            excess[arm] += count - even * weight
    return max(arms, key=excess.__getitem__)


def raised_log_e(epochs: list[EpochCounts], alpha: float, log_e_max: float) -> float:
    """The running maximum of the split's log e-value after this look.

    Saturated where an arm of weight zero holds units.
    """
    result = sample_ratio(epochs, alpha=alpha, log_e_max=log_e_max)
    if isinstance(result, Inconclusive):
        return log_e_max
    return settled(min(result.log_e_max, 1e6))
