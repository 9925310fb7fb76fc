"""The rates that a margin leaves possible: both arms' shares or counts, a given distance apart.

An absolute margin says that treatment's rate is control's plus a shift. Under it both arms tell one
unknown rate, and the law of the values weighs them: a few failures of the arm that fails less say
more about it than as many of the other. Rates pooled without these weights fall together with the
difference that is tested, and the variance shrinks just where the margin seems shown.
"""

from __future__ import annotations

import math
from typing import Literal

Law = Literal["binary", "count"]
"""Values whose variance follows from their mean: p (1 - p) of a share, p of a Poisson count."""

Sample = tuple[int, float]
"""Units of an arm, > 0, and the mean of their values."""

_MOST_STEPS = 100
# The way doubles its digits: the next step would be the square of this.
_CLOSE = 1e-7


def spread(rate: float, law: Law) -> float:
    """Variance of one value at this mean; 0 where the mean is no possible rate."""
    return max(0.0, rate * (1.0 - rate) if law == "binary" else rate)


def restricted_rates(
    control: Sample, treatment: Sample, *, shift: float, law: Law
) -> tuple[float, float] | None:
    """Most likely rates of control and treatment among those that lie `shift` apart.

    Parameters
    ----------
    control, treatment : (n, mean)
        Means outside the law's range, which a covariate's adjustment may give, count as its bound.
    shift : float
        Treatment's rate minus control's.
    law : "binary" or "count"

    Returns
    -------
    (control, treatment) or None
        None where no two rates lie so far apart. Sums, products, quotients and square roots alone
        lead there: the same bits on every machine.

    References
    ----------
    .. [1] Miettinen and Nurminen (1985), "Comparative analysis of two rates", Statistics in
       Medicine 4(2), appendix I: the likelihood equation under a difference.
    .. [2] Farrington and Manning (1990), "Test statistics and sample size formulae for comparative
       binomial trials with null hypothesis of non-zero risk difference or non-unity relative
       risk", Statistics in Medicine 9(12), section 3: these rates in a non-inferiority test.
    """
    if law == "binary" and abs(shift) >= 1.0:
        return None
    (n0, y0), (n1, y1) = (_within(control, law), _within(treatment, law))
    if law == "binary" and n0 * y0 + n1 * y1 > 0.5 * (n0 + n1):
        # Who is spared is the rarer then, and a rate near 1 would have lost its digits.
        low = _lower_rate(*_by_rate((n0, 1.0 - y0), (n1, 1.0 - y1), -shift), abs(shift), law)
        control_rate = 1.0 - low if shift <= 0.0 else 1.0 - (low + shift)
    else:
        low = _lower_rate(*_by_rate((n0, y0), (n1, y1), shift), abs(shift), law)
        control_rate = low if shift >= 0.0 else low - shift
    return control_rate, control_rate + shift


def _within(sample: Sample, law: Law) -> Sample:
    n, mean = sample
    return n, min(max(mean, 0.0), 1.0 if law == "binary" else math.inf)


def _by_rate(control: Sample, treatment: Sample, shift: float) -> tuple[Sample, Sample]:
    return (control, treatment) if shift >= 0.0 else (treatment, control)


def _lower_rate(lower: Sample, upper: Sample, gap: float, law: Law) -> float:
    """The lower of the two rates, x: where h(x) = x (x + gap) times the score crosses zero.

    With c and t hits, h(x) = c (x + gap) + t x - x (x + gap) k(x). For counts k is the number of
    units; for shares k(x) = (n - c) / (1 - x) + (m - t) / (1 - x - gap), and h, concave as k rises,
    is solved by Newton's way from the root of k(0), which lies above.
    """
    (n, mean), (m, other) = lower, upper
    c, t = n * mean, m * other
    if law == "count":
        return _quadratic(n + m, c, t, gap)
    most = 1.0 - gap
    if other == 1.0 and n * (most - mean) <= m * spread(most, law):
        return most
    low, high = 0.0, most
    rate = min(_quadratic(n - c + (m - t) / most, c, t, gap), 0.75 * most)  # away from the pole
    for _ in range(_MOST_STEPS):
        if rate == 0.0:
            return rate
        if not low < rate < high:
            rate = 0.5 * (low + high)
        a, b = (n - c) / (1.0 - rate), (m - t) / (most - rate)
        product = rate * (rate + gap)
        value = c * (rate + gap) + t * rate - product * (a + b)
        slope = c + t - (2.0 * rate + gap) * (a + b)
        slope -= product * (a / (1.0 - rate) + b / (most - rate))
        low, high = (rate, high) if value > 0.0 else (low, rate)
        before, rate = rate, rate - value / slope if slope < 0.0 else high
        if abs(rate - before) <= _CLOSE * rate:
            break
    return rate


def _quadratic(k: float, c: float, t: float, gap: float) -> float:
    """The root >= 0 of k x (x + gap) = c (x + gap) + t x."""
    b = k * gap - c - t
    root = math.sqrt(b * b + 4.0 * k * c * gap)
    return (root - b) / (2.0 * k) if b <= 0.0 else 2.0 * c * gap / (b + root)
