"""Ratio metrics as linear ones, and relative lifts whose intervals stay honest.

A ratio of sums over units (spend per order, errors per request) is tested through the linearised
outcome l = (m - R d) / mean(d), whose mean difference between the arms is zero exactly when both
ratios equal R. The relative lift is tested on numerator - (1 + lift) denominator, Fieller's way, so
a noisy baseline widens the interval instead of breaking it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason
from controller.stats.rounding import beyond_rounding, mean_error, square_error


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioMoments:
    """Numerator m and denominator d of one arm in one epoch, over its units.

    Attributes
    ----------
    n : int
    mean, m2 : float
        Of the numerator: mean, and sum of squared deviations from it.
    denominator_mean, denominator_m2 : float
    cross_m2 : float
        Sum of products of both deviations.
    """

    n: int
    mean: float
    m2: float
    denominator_mean: float
    denominator_m2: float
    cross_m2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearArm:
    """One arm of the linearised outcome: mean, m2 about it, and a bound on the mean's rounding."""

    n: int
    mean: float
    m2: float
    mean_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioEffect:
    """Difference of two ratios.

    Attributes
    ----------
    control, treatment : float
        The ratios.
    difference, variance : float
        treatment - control, and its delta-method variance.
    control_variance, treatment_variance : float
        Of each ratio.
    """

    control: float
    treatment: float
    difference: float
    variance: float
    control_variance: float
    treatment_variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeLift:
    """A relative effect: 0.1 is a tenth of |control| above control; an open end is infinite."""

    estimate: float
    lower: float
    upper: float


def linearise(
    control: RatioMoments, treatment: RatioMoments, *, scale: float = 1.0, shift: float = 0.0
) -> tuple[LinearArm, LinearArm] | Inconclusive:
    """Both arms' linearised outcomes under the null R1 = scale * R0 + shift.

    Parameters
    ----------
    control, treatment : RatioMoments
        One epoch's arms.
    scale, shift : float
        The null: (1, 0) equality, (1 - margin, 0) a relative and (1, -margin) an absolute
        non-inferiority margin.

    Returns
    -------
    (LinearArm, LinearArm) or Inconclusive
        Control and treatment; under the null the difference of their means has mean zero. Units
        are those of the ratio. Inconclusive `arm_empty` or `denominator_zero`.

    Notes
    -----
    The control's numerator is scaled and the treatment's shifted to what they would be under
    equality; R is then the ratio of the joint sums, so that its error enters only multiplied by the
    difference of the mean denominators, which is of second order.

    References
    ----------
    .. [1] Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD.
    .. [2] Budylin, Drutsa, Katsev and Tsoy (2018), "Consistent transformation of ratio metrics for
       efficient online controlled experiments", WSDM: linearisation.
    """
    joint = joint_ratio(control, treatment, scale=scale, shift=shift)
    if isinstance(joint, Inconclusive):
        return joint
    ratio, per_unit = joint
    return (
        _linear(_shifted(control, scale, 0.0), ratio, per_unit),
        _linear(_shifted(treatment, 1.0, -shift), ratio, per_unit, beside=treatment, shift=shift),
    )


def joint_ratio(
    control: RatioMoments, treatment: RatioMoments, *, scale: float = 1.0, shift: float = 0.0
) -> tuple[float, float] | Inconclusive:
    """R and mean(d) of both arms together, as `linearise` puts them under the null.

    An arm whose denominators add up to zero has no ratio, whatever both have together.
    """
    if control.n < 1 or treatment.n < 1:
        return Inconclusive(reason=Reason.ARM_EMPTY)
    if control.denominator_mean == 0.0 or treatment.denominator_mean == 0.0:
        return Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    scaled = _shifted(control, scale, 0.0)
    shifted = _shifted(treatment, 1.0, -shift)
    units = scaled.n + shifted.n
    denominators = scaled.n * scaled.denominator_mean + shifted.n * shifted.denominator_mean
    per_unit = denominators / units
    if per_unit == 0.0:
        return Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    return (scaled.n * scaled.mean + shifted.n * shifted.mean) / denominators, per_unit


def ratio_effect(control: RatioMoments, treatment: RatioMoments) -> RatioEffect | Inconclusive:
    """Difference of two ratios with the delta method's variance, each arm about its own ratio.

    Returns
    -------
    RatioEffect or Inconclusive
        Inconclusive `too_few_units` below two units an arm, `denominator_zero`, `not_finite`.

    References
    ----------
    .. [1] Deng, Knoblich and Lu (2018), section 2.2.
    """
    if control.n < 2 or treatment.n < 2:
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    if control.denominator_mean == 0.0 or treatment.denominator_mean == 0.0:
        return Inconclusive(reason=Reason.DENOMINATOR_ZERO)
    ratios = [arm.mean / arm.denominator_mean for arm in (control, treatment)]
    variances = [
        _linear(arm, ratio, arm.denominator_mean).m2 / (arm.n - 1) / arm.n
        for arm, ratio in zip((control, treatment), ratios, strict=True)
    ]
    if not all(math.isfinite(value) for value in (*ratios, *variances)):
        return Inconclusive(reason=Reason.NOT_FINITE)
    return RatioEffect(
        control=ratios[0],
        treatment=ratios[1],
        difference=ratios[1] - ratios[0],
        variance=variances[0] + variances[1],
        control_variance=variances[0],
        treatment_variance=variances[1],
    )


def relative_lift(
    treatment: float,
    control: float,
    *,
    treatment_variance: float,
    control_variance: float,
    critical: float,
    covariance: float = 0.0,
) -> RelativeLift | Inconclusive:
    """Fieller interval for (treatment - control) / |control|, by inverting the test of every lift.

    Parameters
    ----------
    treatment, control : float
        The two estimates, independent unless `covariance` says otherwise; design-weighted sums over
        epochs enter the same way.
    treatment_variance, control_variance, covariance : float
        Of these estimates.
    critical : float
        Standard errors to each side: a normal quantile, a group-sequential bound or the boundary
        of a confidence sequence (it must not depend on the lift). inf gives no interval.

    Returns
    -------
    RelativeLift or Inconclusive
        Inconclusive `baseline_zero` when the control is within `critical` standard errors of zero:
        then every lift is compatible with the data on at least one side.

    Raises
    ------
    InvalidInput
        If a variance is negative or `critical` is not positive.

    References
    ----------
    .. [1] Fieller (1954), "Some problems in interval estimation", JRSS B 16(2): the lifts L with
       (treatment - (1 + L) control)^2 <= critical^2 Var.
    """
    if min(treatment_variance, control_variance) < 0.0 or not critical > 0.0:
        raise InvalidInput("variances >= 0 and critical > 0", field="critical")
    inputs = (treatment, control, treatment_variance, control_variance, covariance, critical)
    if not all(math.isfinite(value) for value in inputs):
        return Inconclusive(reason=Reason.NOT_FINITE)
    square = critical * critical
    a = control * control - square * control_variance
    if a <= 0.0:
        return Inconclusive(reason=Reason.BASELINE_ZERO)
    b = treatment * control - square * covariance
    c = treatment * treatment - square * treatment_variance
    root = math.sqrt(max(b * b - a * c, 0.0))
    low, high = (b - root) / a - 1.0, (b + root) / a - 1.0
    lift = treatment / control - 1.0
    if control < 0.0:  # a rise from below zero makes the quotient smaller
        return RelativeLift(estimate=-lift, lower=-high, upper=-low)
    return RelativeLift(estimate=lift, lower=low, upper=high)


def _shifted(arm: RatioMoments, scale: float, shift: float) -> RatioMoments:
    """The arm with numerator scale * m + shift * d."""
    return RatioMoments(
        n=arm.n,
        mean=scale * arm.mean + shift * arm.denominator_mean,
        m2=scale * scale * arm.m2
        + 2.0 * scale * shift * arm.cross_m2
        + shift * shift * arm.denominator_m2,
        denominator_mean=arm.denominator_mean,
        denominator_m2=arm.denominator_m2,
        cross_m2=scale * arm.cross_m2 + shift * arm.denominator_m2,
    )


def _linear(
    arm: RatioMoments,
    ratio: float,
    per_unit: float,
    *,
    beside: RatioMoments | None = None,
    shift: float = 0.0,
) -> LinearArm:
    """Mean and m2 of (m - ratio d) / per_unit.

    Rounding is that of the sums as they were before any shift: `beside`, whose terms may be larger
    than what is left of them.
    """
    raw, reach = beside or arm, abs(ratio) + abs(shift)
    m2 = arm.m2 - 2.0 * ratio * arm.cross_m2 + ratio * ratio * arm.denominator_m2
    error = square_error(raw.m2, 2.0 * reach * raw.cross_m2, reach * reach * raw.denominator_m2)
    return LinearArm(
        n=arm.n,
        mean=(arm.mean - ratio * arm.denominator_mean) / per_unit,
        m2=beyond_rounding(m2, error) / per_unit / per_unit,
        mean_error=mean_error(raw.mean, reach * raw.denominator_mean) / abs(per_unit),
    )
