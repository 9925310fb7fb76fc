"""The normal mixture: evidence about a mean difference that is valid at every look, for ever.

Under the null, the standardised statistic z at information v behaves like a Brownian motion B(v)
divided by sqrt(v). Mixing the likelihood ratios exp(lambda B - lambda^2 v / 2) over lambda gives a
test martingale in closed form: its value is an e-value, its reciprocal an always-valid p-value, and
the set of nulls it does not reject a confidence sequence. With a plug-in variance this is the
asymptotic confidence sequence; with a known one it is the mSPRT.

`information` and `tuning` share a unit of the caller's choice (effective size, units, 1/variance):
only their ratio enters. Nothing here depends on the scale of the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from controller.errors import InvalidInput
from controller.stats.results import Alternative, Inconclusive, Reason

LARGEST_E_VALUE = 1e308
_NEWTON_STEPS = 60
_LOG_2 = math.log(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysValid:
    """One look of an always-valid test of `treatment - control` against `null`.

    Attributes
    ----------
    estimate : float
        Design-weighted difference, in the units of the metric.
    standard_error : float
        Of `estimate`.
    z : float
        (estimate - null) / standard_error; positive when treatment is larger.
    log_e_value : float
        Natural logarithm of the e-value against the null; at most 1 in mean under it.
    p_value : float
        min(1, 1/e) of this look. The smallest over all looks so far is valid as well.
    lower, upper : float
        Confidence sequence at level 1 - alpha; an open end is -inf or inf. It excludes `null`
        exactly when `p_value` < alpha.
    """

    estimate: float
    standard_error: float
    z: float
    log_e_value: float
    p_value: float
    lower: float
    upper: float

    @property
    def e_value(self) -> float:
        """The e-value itself, at most 1e308 so that JSON can carry it."""
        return e_from_log(self.log_e_value)


def e_from_log(log_e_value: float) -> float:
    """exp, saturated at 1e308: never an OverflowError, never inf, also after rounding."""
    return math.exp(log_e_value) if log_e_value < 709.0 else LARGEST_E_VALUE


def p_from_log_e(log_e_value: float) -> float:
    """Always-valid p = min(1, 1/e) (Johari et al. 2022; Ville's inequality)."""
    return math.exp(-log_e_value) if log_e_value > 0.0 else 1.0


@lru_cache(maxsize=1024)  # a plan asks for the same few at every look
def tuned_rho(tuning: float, *, alpha: float, alternative: Alternative = "two-sided") -> float:
    """Mixture variance that makes the interval narrowest at a planned information.

    Parameters
    ----------
    tuning : float
        Information at which the interval is to be narrowest, > 0. Off by a factor of four costs
        less than five points of power.
    alpha : float
        Level, in (0, 1). One-sided tests are tuned at 2 alpha, as in [1]_.
    alternative : {"two-sided", "larger", "smaller"}

    Returns
    -------
    float
        rho, in the unit of `tuning`; the test depends on information / rho.

    Raises
    ------
    InvalidInput
        If `tuning` is not a positive finite number or `alpha` lies outside (0, 1).

    References
    ----------
    .. [1] Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Ann. Statist. 49(2), section 3.5: rho = v / (2 log(1/a) +
       log(1 + 2 log(1/a))).
    """
    if not (math.isfinite(tuning) and tuning > 0.0):
        raise InvalidInput("tuning must be a positive finite information", field="tuning")
    _check_alpha(alpha)
    level = min(alpha if alternative == "two-sided" else 2.0 * alpha, 0.999)
    twice_log = -2.0 * math.log(level)
    return tuning / (twice_log + math.log1p(twice_log))


def log_e_value(
    z: ArrayLike, ratio: ArrayLike, *, alternative: Alternative = "two-sided"
) -> NDArray[np.float64]:
    """Log e-value of the normal mixture, elementwise.

    Parameters
    ----------
    z : array_like
        Standardised statistic, positive when treatment is larger.
    ratio : array_like
        information / rho, >= 0, broadcast against `z`.
    alternative : {"two-sided", "larger", "smaller"}
        A one-sided alternative mixes over one half-line, so the null is composite: no larger (no
        smaller) than the null value.

    Returns
    -------
    ndarray
        log e; finite for |z| below 1e154.

    References
    ----------
    .. [1] Howard et al. (2021), section 3.2: normal mixture, two-sided, and with a half-normal
       mixing density one-sided.
    .. [2] Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), "Time-uniform central limit theory
       and asymptotic confidence sequences", Ann. Statist. 52(6), Theorem 2.2: the same with a
       plug-in variance.
    """
    statistic = np.asarray(z, dtype=np.float64)
    r = np.asarray(ratio, dtype=np.float64)
    shrink = r / (1.0 + r)
    with np.errstate(over="ignore"):  # beyond |z| = 1e154 the answer is inf, which the caller names
        value = 0.5 * (shrink * statistic * statistic - np.log1p(r))
    if alternative == "two-sided":
        return np.asarray(value, dtype=np.float64)
    sign = 1.0 if alternative == "larger" else -1.0
    tail = log_ndtr(sign * statistic * np.sqrt(shrink))
    return np.asarray(value + tail + _LOG_2, dtype=np.float64)


def log_e_of(z: float, ratio: float, *, alternative: Alternative = "two-sided") -> float:
    """`log_e_value` of one statistic: the same formula without arrays, a sixth of its time.

    Every test of every look asks for one; inf (which the caller names) beyond |z| = 1e154.
    """
    shrink = ratio / (1.0 + ratio)
    value = 0.5 * (shrink * z * z - math.log1p(ratio))
    if alternative == "two-sided":
        return value
    sign = 1.0 if alternative == "larger" else -1.0
    return value + float(log_ndtr(sign * z * math.sqrt(shrink))) + _LOG_2


def regression_log_e(z: float, ratio: float, *, units: int, freedom: int) -> float:
    """Log e-value of the two-sided t-mixture: exact for normal outcomes, at any number of units.

    Parameters
    ----------
    z : float
        Score over the root of its *null* variance (sum of squares about the common mean over
        units - 1), so that z^2 < units - 1.
    ratio : float
        information / rho, >= 0.
    units : int
        Of both arms.
    freedom : int
        nu: units less the columns of the regression (2, and 1 for each covariate).

    Returns
    -------
    float
        `log_e_of` as units grow; larger than it at few, where a plug-in normal wastes evidence.

    Notes
    -----
    With t^2 / nu = z^2 / (units - 1 - z^2) and r = 1 / (1 + ratio), the paper's
    log G = ln r / 2 + (nu + 1)/2 [ln(1 + t^2/nu) - ln(1 + r t^2/nu)] is what stands below.

    References
    ----------
    .. [1] Lindon, Ham, Tingley and Bojinov (2022), "Anytime-valid linear models and regression
       adjusted causal inference in randomized experiments", arXiv 2210.08589, theorem on the t-test
       martingale, with r = g / (g + n).
    """
    shrink = ratio / (1.0 + ratio)
    explained = min(z * z / (units - 1), 1.0)
    return -0.5 * ((freedom + 1) * math.log1p(-shrink * explained) + math.log1p(ratio))


def regression_critical_z(ratio: float, *, alpha: float, units: int, freedom: int) -> float:
    """The z at which `regression_log_e` reaches log(1/alpha); inf where no outcome can.

    Parameters are those of `regression_log_e`; `alpha` is two-sided.
    """
    _check_alpha(alpha)
    shrink = ratio / (1.0 + ratio)
    bound = (math.log1p(ratio) - 2.0 * math.log(alpha)) / (freedom + 1)
    explained = -math.expm1(-bound) / shrink
    return math.sqrt(explained * (units - 1)) if explained < 1.0 else math.inf


def critical_z(ratio: ArrayLike, *, alpha: float, alternative: Alternative = "two-sided") -> float:
    """The z at which the e-value reaches 1/alpha: the boundary of the confidence sequence.

    Parameters
    ----------
    ratio : float
        information / rho, > 0.
    alpha : float
        Level, in (0, 1).
    alternative : {"two-sided", "larger", "smaller"}
        The value is positive for all three; "smaller" rejects at z <= -value. (A one-sided bound
        at alpha > 1/2 may be negative.)

    Returns
    -------
    float

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Theorem 2.2: sqrt((1 + r)/r log((1 + r)/alpha^2)).
    """
    _check_alpha(alpha)
    r = float(np.asarray(ratio, dtype=np.float64))
    if not (math.isfinite(r) and r > 0.0):
        raise InvalidInput("information must be positive and finite", field="ratio")
    shrink = r / (1.0 + r)
    bound = math.log1p(r) - 2.0 * math.log(alpha)
    if alternative == "two-sided":
        return math.sqrt(bound / shrink)
    return _one_sided_root(bound) / math.sqrt(shrink)


def _one_sided_root(bound: float) -> float:
    """Solve u^2/2 + log 2 + log Phi(u) = bound/2 for u; convex and increasing, so Newton."""
    target = 0.5 * bound - math.log(2.0)
    # From the right of the root Newton on a convex increasing function falls monotonically.
    u = math.sqrt(max(2.0 * (target + math.log(2.0)), 0.0)) + 1.0
    for _ in range(_NEWTON_STEPS):
        log_tail = float(log_ndtr(u))
        mills = math.exp(-0.5 * u * u - log_tail) / math.sqrt(2.0 * math.pi)
        step = (0.5 * u * u + log_tail - target) / (u + mills)
        u -= step
        if abs(step) <= 1e-14 * max(1.0, abs(u)):
            break
    return u


def always_valid(
    estimate: float,
    variance: float,
    *,
    information: float,
    tuning: float,
    alpha: float,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
) -> AlwaysValid | Inconclusive:
    """One look of the asymptotic confidence sequence for a difference.

    Parameters
    ----------
    estimate, variance : float
        The difference (treatment - control) and its variance, in the metric's units and their
        square. Regression-adjusted (CUPED) estimates enter the same way.
    information : float
        What has been gathered, e.g. the effective size W = sum n1 n0/(n1 + n0). It must not depend
        on the outcomes' mean; it should grow with the variance of the score.
    tuning : float
        The information at which the interval is narrowest, fixed before the data.
    alpha : float
        Level of this test: two-sided for "two-sided", else one-sided.
    alternative : {"two-sided", "larger", "smaller"}
        "larger" gives a lower bound (upper is inf), "smaller" an upper bound.
    null : float
        The difference under the null; for non-inferiority or harm, the margin with its sign.

    Returns
    -------
    AlwaysValid or Inconclusive
        Inconclusive (`no_data`, `not_finite`, `zero_variance`) when no statement can be made.

    Raises
    ------
    InvalidInput
        If `alpha`, `tuning` or `null` is not a legal number: errors of the plan, not of the data.

    References
    ----------
    .. [1] Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), Theorem 2.2.
    .. [2] Lindon, Ham, Tingley, Bojinov (2022), arXiv 2210.08589, for the regression-adjusted form.
    """
    rho = tuned_rho(tuning, alpha=alpha, alternative=alternative)
    if not math.isfinite(null):
        raise InvalidInput("null must be finite", field="null")
    if not (math.isfinite(estimate) and math.isfinite(variance) and math.isfinite(information)):
        return Inconclusive(reason=Reason.NOT_FINITE)
    if information <= 0.0:
        return Inconclusive(reason=Reason.NO_DATA)
    error = math.sqrt(variance) if variance > 0.0 else 0.0
    if error == 0.0:
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    ratio = information / rho
    z = (estimate - null) / error
    log_e = log_e_of(z, ratio, alternative=alternative)
    if not (math.isfinite(z) and math.isfinite(log_e)):
        return Inconclusive(reason=Reason.NOT_FINITE)
    half = critical_z(ratio, alpha=alpha, alternative=alternative) * error
    return AlwaysValid(
        estimate=estimate,
        standard_error=error,
        z=z,
        log_e_value=log_e,
        p_value=p_from_log_e(log_e),
        lower=-math.inf if alternative == "smaller" else estimate - half,
        upper=math.inf if alternative == "larger" else estimate + half,
    )


def from_score(
    score: float,
    variance: float,
    *,
    size: float,
    tuning: float,
    alpha: float,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
) -> AlwaysValid | Inconclusive:
    """One look from the design-weighted score.

    Parameters
    ----------
    score : float
        S = sum_e w_e d_e, w_e = n1 n0/(n1 + n0) and d_e the difference in epoch e.
    variance : float
        V, the variance of `score`.
    size : float
        W = sum_e w_e, the effective size; it is the information clock (it never falls).
    tuning : float
        Effective size at which the interval is narrowest; usually a fraction of W at the horizon.
    alpha, alternative, null
        As in `always_valid`.

    Returns
    -------
    AlwaysValid or Inconclusive
    """
    if not math.isfinite(size):
        return Inconclusive(reason=Reason.NOT_FINITE)
    if size <= 0.0:
        tuned_rho(tuning, alpha=alpha, alternative=alternative)
        return Inconclusive(reason=Reason.NO_DATA)
    return always_valid(
        score / size,
        variance / size / size,
        information=size,
        tuning=tuning,
        alpha=alpha,
        alternative=alternative,
        null=null,
    )


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
