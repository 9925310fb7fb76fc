"""Rare events and error rates: exact e-processes from event counts alone.

If the arms have the same rate, each event belongs to the treatment with probability equal to the
share of traffic it had when the event's unit was assigned, whatever the rate does over time. A
beta mixture of that coin gives an e-process that is exact at any count, however small. Epochs with
different shares multiply. The test needs one event to be one draw: conversions of units, or errors
without bursts; events clustered within units belong to the mean-type test over units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import betainc, betaln, expit

from controller.errors import InvalidInput
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.results import Alternative, Inconclusive, Reason

DEFAULT_CONCENTRATION = 100.0
_LOG_E_FLOOR = -745.0
_WIDEST_LOG_RATIO = 60.0
_BISECTIONS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEvents:
    """Events of two arms in one epoch.

    Attributes
    ----------
    control, treatment : int
        Events in each arm.
    share : float
        Treatment's share of both arms' exposure in this epoch, in (0, 1): its weight, or its part
        of the exposed time.
    """

    control: int
    treatment: int
    share: float

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InvalidInput("share must lie in (0, 1)", field="share")
        if self.control < 0 or self.treatment < 0:
            raise InvalidInput("events are counted from 0", field="control")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRatio:
    """One look of the always-valid test of treatment rate / control rate.

    Attributes
    ----------
    ratio : float
        Maximum-likelihood rate ratio; 0 or inf when one arm has no events.
    log_e_value, p_value : float
        Against the null ratio; p = min(1, 1/e).
    lower, upper : float
        Confidence sequence for the ratio: it excludes the null exactly when p < alpha.
    events : int
    """

    ratio: float
    log_e_value: float
    p_value: float
    lower: float
    upper: float
    events: int

    @property
    def e_value(self) -> float:
        """The e-value, at most 1e308."""
        return e_from_log(self.log_e_value)


def log_e_value(
    epochs: Sequence[EpochEvents],
    *,
    ratio: float = 1.0,
    alternative: Alternative = "two-sided",
    concentration: float = DEFAULT_CONCENTRATION,
) -> float:
    """Log e-value against rate ratio `ratio` (two-sided), or against "at most / at least" it.

    Parameters
    ----------
    epochs : sequence of EpochEvents
    ratio : float
        Null ratio treatment / control, > 0; 1 + margin for non-inferiority of an error rate.
    alternative : {"two-sided", "larger", "smaller"}
        "larger" mixes over ratios above `ratio` only, so the null is composite.
    concentration : float
        Beta(k s, k (1 - s)) mixture around the epoch's share s.

    Returns
    -------
    float
        At least -745 (the value means "no evidence").

    References
    ----------
    .. [1] Lindon and Malek (2022), arXiv 2011.03567, section 3: equality of inhomogeneous
       Bernoulli and Poisson processes from the marks of their events.
    .. [2] Howard et al. (2021), section 3.2, beta-binomial mixture, for the one-sided form.
    """
    _check(ratio, concentration)
    total = math.fsum(_epoch_log_e(epoch, ratio, alternative, concentration) for epoch in epochs)
    return max(total, _LOG_E_FLOOR)


def rate_ratio(
    epochs: Sequence[EpochEvents],
    *,
    alpha: float,
    null_ratio: float = 1.0,
    alternative: Alternative = "two-sided",
    concentration: float = DEFAULT_CONCENTRATION,
) -> RateRatio | Inconclusive:
    """One look of the always-valid comparison of two event rates.

    Parameters
    ----------
    epochs : sequence of EpochEvents
    alpha : float
        Level, in (0, 1).
    null_ratio, alternative, concentration
        See `log_e_value`.

    Returns
    -------
    RateRatio or Inconclusive
        Inconclusive `no_data` before the first event.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    _check(null_ratio, concentration)
    live = [epoch for epoch in epochs if epoch.control + epoch.treatment > 0]
    events = sum(epoch.control + epoch.treatment for epoch in live)
    if events == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    at_null = log_e_value(
        live, ratio=null_ratio, alternative=alternative, concentration=concentration
    )

    def excess(log_ratio: float) -> float:
        value = log_e_value(
            live, ratio=math.exp(log_ratio), alternative=alternative, concentration=concentration
        )
        return value + math.log(alpha)

    log_mle = _log_ratio_mle(live)
    start = min(max(log_mle, -_WIDEST_LOG_RATIO), _WIDEST_LOG_RATIO)
    if alternative != "two-sided":
        start = _not_rejected(excess, start, 1.0 if alternative == "larger" else -1.0)
    lower = 0.0 if alternative == "smaller" else math.exp(_edge(excess, start, -1.0))
    upper = math.inf if alternative == "larger" else math.exp(_edge(excess, start, 1.0))
    return RateRatio(
        ratio=math.exp(log_mle) if math.isfinite(log_mle) else (0.0 if log_mle < 0.0 else math.inf),
        log_e_value=at_null,
        p_value=p_from_log_e(at_null),
        lower=lower,
        upper=upper,
        events=events,
    )


def _epoch_log_e(
    epoch: EpochEvents, ratio: float, alternative: Alternative, concentration: float
) -> float:
    hit, miss = epoch.treatment, epoch.control
    if hit + miss == 0:
        return 0.0
    log_odds = math.log(epoch.share) - math.log1p(-epoch.share) + math.log(ratio)
    a, b = concentration * epoch.share, concentration * (1.0 - epoch.share)
    null = -hit * _softplus(-log_odds) - miss * _softplus(log_odds)
    value = float(betaln(a + hit, b + miss) - betaln(a, b)) - null
    if alternative == "two-sided":
        return value
    if alternative == "larger":
        tails = _beta_above(a + hit, b + miss, log_odds), _beta_above(a, b, log_odds)
    else:
        tails = _beta_above(b + miss, a + hit, -log_odds), _beta_above(b, a, -log_odds)
    posterior, prior = tails
    if posterior <= 0.0 or prior <= 0.0:
        return _LOG_E_FLOOR
    return value + math.log(posterior) - math.log(prior)


def _beta_above(a: float, b: float, log_odds: float) -> float:
    """P(Beta(a, b) > expit(log_odds)), from the side that keeps its digits."""
    return float(betainc(b, a, float(expit(-log_odds))))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _log_ratio_mle(epochs: Sequence[EpochEvents]) -> float:
    """Root of the score sum_e (treatment - events * P(treatment | ratio)) in log ratio."""
    hits = sum(epoch.treatment for epoch in epochs)
    misses = sum(epoch.control for epoch in epochs)
    if hits == 0 or misses == 0:
        return -math.inf if hits == 0 else math.inf
    odds = [math.log(e.share) - math.log1p(-e.share) for e in epochs]

    def score(log_ratio: float) -> float:
        expected = math.fsum(
            (e.treatment + e.control) * float(expit(o + log_ratio))
            for e, o in zip(epochs, odds, strict=True)
        )
        return hits - expected

    return _bisect(score, -_WIDEST_LOG_RATIO, _WIDEST_LOG_RATIO)


def _not_rejected(excess: Callable[[float], float], start: float, direction: float) -> float:
    """First of a doubling walk from `start` that a one-sided test keeps.

    Epochs that contradict each other can reject their common estimate as well.
    """
    step = 0.1
    while excess(start) >= 0.0 and abs(start) <= 2.0 * _WIDEST_LOG_RATIO:
        start += direction * step
        step *= 2.0
    return start


def _edge(excess: Callable[[float], float], inside: float, direction: float) -> float:
    """Where the e-value reaches 1/alpha, going outward from a ratio that is not rejected.

    The e-value of a ratio is convex in the log ratio, so there is one edge a side; without one
    within exp(60) the interval is open.
    """
    if excess(inside) >= 0.0:  # no single ratio fits the epochs: an interval of one point
        return inside
    step = 0.1
    while abs(inside + direction * step) <= 2.0 * _WIDEST_LOG_RATIO:
        outside = inside + direction * step
        if excess(outside) >= 0.0:
            if direction > 0.0:
                return _bisect(lambda x: -excess(x), inside, outside)
            return _bisect(excess, outside, inside)
        step *= 2.0
    return direction * math.inf


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """Root of a function that is positive at `low` and negative at `high`."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if falling(middle) > 0.0:
            low = middle
        else:
            high = middle
        if high - low <= 1e-13 * max(1.0, abs(middle)):
            break
    return 0.5 * (low + high)


def _check(ratio: float, concentration: float) -> None:
    if not (math.isfinite(ratio) and ratio > 0.0):
        raise InvalidInput("the null ratio must be positive and finite", field="ratio")
    if not concentration > 0.0:
        raise InvalidInput("concentration must be positive", field="concentration")
