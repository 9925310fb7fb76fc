"""How much of a statistic may be rounding, so that noise is never taken for a difference.

Values are doubles: 19.99 is stored up to a relative error of u = 2^-53, and so is every product of
it. A price that is the same in every order leaves residuals of that size; divided by each other
they look like any other statistic, and at -16 digits a pure rounding has a p of 1e-200. Sums
themselves are exact, so what is left can be bounded.

Derivation, with gamma_k = k u / (1 - k u) <= (k + 1) u [1]_:

- A mean reaches the score through at most eight roundings: of each value (a product of two
  doubles), of the mean, of a fitted ratio or coefficient (four: two sums, a quotient, its product
  with a mean) and of the difference. Its error is at most `ROUNDINGS` u times the sum of the
  absolute values of its terms.
- A sum of squared residuals, m2 - 2 r c + r^2 d, is formed from sums that are exact and rounded
  once (live), or summed pairwise (recorded rows; at most 16 + log2(n / 128) roundings, <= 48 below
  10^11 rows); the fitted r enters twice. Its error is at most `SQUARE_ROUNDINGS` u times the sum of
  the absolute values of its terms. The rounding of the values themselves is quadratic in u and far
  below that.

A statistic z = S / sqrt(V) is off by at most E_S / sqrt(V) + |z| E_V / (2 V). Where either part
exceeds 1/16 (`CLEAR`), the data do not say whether anything varies: `zero_variance`.

The floor is relative: 1e-12 and 1e12 are judged alike. In units of the mean, a standard deviation
is seen from 256 u sqrt(W) on: at a mean of 10^9 and 10^5 units, from .005. A residual is seen from
6.8e-7 of the standard deviation of what it is the residual of.

References
----------
.. [1] Higham (2002), "Accuracy and Stability of Numerical Algorithms", 2nd ed., sections 3.1
   (gamma_k, inner products) and 4.2 (pairwise summation).
"""

from __future__ import annotations

import math

UNIT = 2.0**-53
ROUNDINGS = 8
SQUARE_ROUNDINGS = 64
CLEAR = 16.0
# Below it a square has lost digits to underflow, whatever its terms were.
LEAST_VARIANCE = 2.0**-960


def mean_error(*terms: float) -> float:
    """Bound on the rounding of a mean that is the sum of these terms."""
    return ROUNDINGS * UNIT * _sizes(terms)


def square_error(*terms: float) -> float:
    """Bound on the rounding of a sum of squares that is the sum of these terms."""
    return SQUARE_ROUNDINGS * UNIT * _sizes(terms)


def beyond_rounding(square: float, error: float) -> float:
    """A sum of squares or a variance, 0 where it may be rounding alone.

    Parameters
    ----------
    square : float
        As computed; may be negative by rounding.
    error : float
        Bound on its rounding.
    """
    if not math.isfinite(square):
        return square  # for the caller to name
    return square if square > CLEAR * error else 0.0


def is_clear(variance: float, *, score_error: float) -> bool:
    """Whether a score of this variance stands well above its own rounding.

    Parameters
    ----------
    variance : float
        Of the score.
    score_error : float
        Bound on the rounding of the score.
    """
    return variance > LEAST_VARIANCE and math.sqrt(variance) > CLEAR * score_error


def _sizes(terms: tuple[float, ...]) -> float:
    try:
        return math.fsum(map(abs, terms))
    except OverflowError:  # each of them is finite, their sum is not
        return math.inf
