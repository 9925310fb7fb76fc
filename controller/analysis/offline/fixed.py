"""Results of one look, as if it had been planned for the end: labelled fixed, never peeked at.

Binary: pooled z, or the score test where hits or misses are few. Mean and count: Welch. Ratio:
delta method. Mean, count and ratio are adjusted for their covariates. Quantile: shares at the
pooled quantile. Over several epochs: the design-weighted score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from controller.analysis.memory import Ends
from controller.analysis.offline.fixed_few import Arm, few_hits, score_test
from controller.analysis.pairs import Levels, Pair, levels, moments_under
from controller.analysis.planned import PlannedRules, one_end_open
from controller.analysis.readings import Grids, read
from controller.analysis.rules import harm_nulls
from controller.analysis.sights import Sight
from controller.experiments.metrics import MetricType
from controller.stats.quantile import quantile_score
from controller.stats.ratio import RatioMoments, ratio_effect, relative_lift
from controller.stats.results import Inconclusive, Reason
from controller.stats.score import EQUAL, ArmMoments

_BISECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One comparison's fixed-horizon result.

    Attributes
    ----------
    method : str
        `pooled_z`, `score`, `welch`, `delta`, `quantile_z` or `stratified_z`.
    estimate : float
    p : float
        Two-sided against no difference for an OEC, one-sided against the margin for a guardrail.
    ci : (low, high)
        Level 1 - alpha; an open end is None.
    relative : (low, high) or None
        The same as a fraction of champion's level, Fieller's way.
    statistic : float
        Standardised distance from the null, positive when the challenger is larger.
    """

    method: str
    estimate: float
    p: float
    ci: Ends
    relative: Ends | None
    statistic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distance:
    """Estimate and standard error of a difference, and of the distance from the null."""

    method: str
    estimate: float
    error: float
    distance: float
    distance_error: float
    freedom: float = math.inf


def fixed_result(rules: PlannedRules, sight: Sight) -> Fixed | Inconclusive:
    """The fixed-horizon result of one comparison at the last look."""
    if sight.pair.metric.type is MetricType.QUANTILE:
        return _quantile(rules, sight)
    once = read(replace(sight.pair, equal_weights=True), (), null=rules.null)
    if isinstance(once, Inconclusive):
        return once  # one look has no burn-in to wait for
    few = few_hits(sight, rules)
    if few is not None:
        return _score(rules, *few)
    found = _distance(rules, sight)
    if isinstance(found, Inconclusive):
        return found
    if not (found.error > 0.0 and found.distance_error > 0.0):
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    statistic = found.distance / found.distance_error
    half = _critical(rules, found.freedom) * found.error
    return Fixed(
        method=found.method,
        estimate=found.estimate,
        p=_p(rules, statistic, found.freedom),
        ci=one_end_open(rules, found.estimate - half, found.estimate + half),
        relative=_relative(rules, sight, _critical(rules, found.freedom)),
        statistic=statistic,
    )


def shows_harm(rules: PlannedRules, sight: Sight) -> bool:
    """Whether a challenger is worse than its margin: beyond every null that would deny it."""
    for null in harm_nulls(rules.null, sight.pair.metric):
        reading = sight.reading
        if null != rules.null:
            reading = read(sight.pair, sight.grids, null=null)
        found = fixed_result(rules.against(null), replace(sight, reading=reading))
        if isinstance(found, Inconclusive) or found.p < 1.0 - rules.alpha:
            return False
    return True


def _score(rules: PlannedRules, challenger: Arm, champion: Arm) -> Fixed | Inconclusive:
    found = score_test(rules, challenger, champion)
    if isinstance(found, Inconclusive):
        return found
    test, ends, relative = found
    assert test.statistic is not None
    return Fixed(
        method="score",
        estimate=challenger[0] / challenger[1] - champion[0] / champion[1],
        p=test.p_value,
        ci=ends,
        relative=relative,
        statistic=test.statistic,
    )


def _distance(rules: PlannedRules, sight: Sight) -> _Distance | Inconclusive:
    pair, known = sight.pair, sight.known
    live = [e for e in pair.epochs if e[1].n > 0 and e[2].n > 0]
    if not live:
        return Inconclusive(reason=Reason.ARM_EMPTY if pair.epochs else Reason.NO_DATA)
    kind = pair.metric.type
    if len(live) == 1 and kind is MetricType.RATIO:
        return _delta(rules, pair)
    if len(live) == 1 and kind is not MetricType.BINARY:
        return _welch(rules, pair)
    if known is None or sight.estimate is None or sight.standard_error is None:
        return sight.reading if isinstance(sight.reading, Inconclusive) else _no_variance()
    if len(live) > 1:
        return _Distance(
            method="stratified_z",
            estimate=sight.estimate,
            error=sight.standard_error,
            distance=known.distance,
            distance_error=known.standard_error,
        )
    # The textbook's pooled variance divides by N; the score's by N - 1.
    units = pair.units
    shrink = math.sqrt((units - 1.0) / units)
    return _Distance(
        method="pooled_z",
        estimate=sight.estimate,
        error=shrink * sight.standard_error,
        distance=known.distance,
        distance_error=shrink * known.standard_error,
    )


def _welch(rules: PlannedRules, pair: Pair) -> _Distance | Inconclusive:
    """Welch's t, Satterthwaite's degrees of freedom; CUPED-adjusted if there is a covariate."""
    epochs, _ = moments_under(pair, EQUAL)
    epoch = next(e for e in epochs if e.control.n > 0 and e.treatment.n > 0)
    control, treatment = epoch.control, epoch.treatment
    if control.n < 2 or treatment.n < 2:
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    v0, v1 = _of_mean(control), _of_mean(treatment)
    scale = rules.null.scale
    s0 = scale * scale * v0
    below = s0 * s0 / (control.n - 1) + v1 * v1 / (treatment.n - 1)
    return _Distance(
        method="welch",
        estimate=treatment.mean - control.mean,
        error=math.sqrt(v0 + v1),
        distance=treatment.mean - scale * control.mean - rules.null.shift,
        distance_error=math.sqrt(s0 + v1),
        freedom=(s0 + v1) ** 2 / below if below > 0.0 else math.inf,
    )


def _of_mean(arm: ArmMoments) -> float:
    return arm.m2 / (arm.n - 1) / arm.n


def _delta(rules: PlannedRules, pair: Pair) -> _Distance | Inconclusive:
    _, a, b = next(e for e in pair.epochs if e[1].n > 0 and e[2].n > 0)
    arms = [
        RatioMoments(
            n=arm.n,
            mean=arm.mean,
            m2=arm.m2,
            denominator_mean=arm.denominator_mean,
            denominator_m2=arm.denominator_m2,
            cross_m2=arm.cross_m2,
        )
        for arm in (a, b)
    ]
    effect = ratio_effect(*arms)
    if isinstance(effect, Inconclusive):
        return effect
    if pair.looks_back:
        adjusted = levels(pair)
        return adjusted if isinstance(adjusted, Inconclusive) else _adjusted(rules, adjusted)
    scale = rules.null.scale
    return _Distance(
        method="delta",
        estimate=effect.difference,
        error=math.sqrt(effect.variance),
        distance=effect.treatment - scale * effect.control - rules.null.shift,
        distance_error=math.sqrt(
            effect.treatment_variance + scale * scale * effect.control_variance
        ),
    )


def _adjusted(rules: PlannedRules, arms: Levels) -> _Distance:
    """Of two adjusted ratios, which share the error of their covariates' mean."""
    scale = rules.null.scale
    own, other, both = arms.challenger_variance, arms.champion_variance, arms.covariance
    return _Distance(
        method="delta",
        estimate=arms.challenger - arms.champion,
        error=math.sqrt(own + other - 2.0 * both),
        distance=arms.challenger - scale * arms.champion - rules.null.shift,
        distance_error=math.sqrt(own + scale * scale * other - 2.0 * scale * both),
    )


def _quantile(rules: PlannedRules, sight: Sight) -> Fixed | Inconclusive:
    if sight.known is None or sight.estimate is None or sight.levels is None:
        return sight.reading if isinstance(sight.reading, Inconclusive) else _no_variance()
    critical = _critical(rules, math.inf)
    grids, q = sight.grids, sight.pair.metric.q
    assert q is not None
    champion, estimate = sight.levels.champion, sight.estimate

    def by_shift(shift: float) -> float:
        return _z(grids, q, scale=1.0, shift=shift)

    def by_scale(share: float) -> float:
        return _z(grids, q, scale=1.0 + share, shift=0.0)

    lift = estimate / champion
    low, high = _kept(by_shift, estimate, 8.0 * champion, critical)
    down, up = _kept(by_scale, lift, 8.0, critical)
    return Fixed(
        method="quantile_z",
        estimate=estimate,
        p=_p(rules, sight.known.z, math.inf),
        ci=one_end_open(rules, low, high),
        relative=one_end_open(rules, down, up),
        statistic=sight.known.z,
    )


def _z(grids: Grids, q: float, *, scale: float, shift: float) -> float:
    if scale <= 0.0:
        return math.inf
    found = quantile_score(grids, q=q, scale=scale, shift=shift)
    return math.inf if isinstance(found, Inconclusive) else found.score / math.sqrt(found.variance)


def _kept(
    z: Callable[[float], float], centre: float, reach: float, critical: float
) -> tuple[float, float]:
    """Ends of the nulls around the estimate that a test with this critical value keeps."""
    ends = []
    for outside in (centre - reach, centre + reach):
        inside = centre
        for _ in range(_BISECTIONS):
            middle = 0.5 * (inside + outside)
            if abs(z(middle)) < critical:
                inside = middle
            else:
                outside = middle
        ends.append(outside)
    return ends[0], ends[1]


def _critical(rules: PlannedRules, freedom: float) -> float:
    tail = rules.alpha / rules.sides
    if math.isfinite(freedom):
        return -float(stdtrit(freedom, tail))
    return -float(ndtri(tail))


def _p(rules: PlannedRules, statistic: float, freedom: float) -> float:
    claimed = -abs(statistic) if rules.sides == 2 else -rules.better * statistic
    tail = stdtr(freedom, claimed) if math.isfinite(freedom) else ndtr(claimed)
    return min(1.0, rules.sides * float(tail))


def _relative(rules: PlannedRules, sight: Sight, critical: float) -> Ends | None:
    arms = sight.levels
    if arms is None or critical <= 0.0:
        return None
    lift = relative_lift(
        arms.challenger,
        arms.champion,
        treatment_variance=arms.challenger_variance,
        control_variance=arms.champion_variance,
        covariance=arms.covariance,
        critical=critical,
    )
    return None if isinstance(lift, Inconclusive) else one_end_open(rules, lift.lower, lift.upper)


def _no_variance() -> Inconclusive:
    return Inconclusive(reason=Reason.ZERO_VARIANCE)
