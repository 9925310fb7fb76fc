"""One arm's e-value, at every x, that x is not its q-quantile: exact, from the values themselves.

Below its quantile lies a share q of an arm's values, so counting there is tossing a coin of known
bias, and a beta mixture over other biases is an e-process with nothing estimated. It depends on the
count alone: one table serves every x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaln, psi

from controller.errors import InvalidInput

# Below it the incomplete beta function has no digits left, and its first terms bound it.
_LEAST_MASS = 1e-280

Floats = NDArray[np.float64]
Bias = Literal["any", "more", "fewer"]
"""What is bet on: that the share of values below x is not q, is more, or is less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileBets:
    """One arm.

    At x itself any share between those of the values below x and of the values up to x may be the
    one that equals q, so the smallest e-value over these counts stands.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Sorted.
    quantile : float
        The smallest value with a share q of all at or below it; NaN without values.
    table : ndarray, shape (n + 1,)
        Log e-value by how many values count as below.
    least, at_least : float
        Where a two-sided table turns, between counts, and its value there.
    """

    values: Floats
    quantile: float
    bias: Bias
    table: Floats
    least: float
    at_least: float

    @property
    def quietest(self) -> float:
        """The smallest log e-value at any x."""
        smallest = float(self.table.min())
        return min(smallest, self.at_least) if self.bias == "any" else smallest

    def log_e(self, x: Floats) -> Floats:
        """At every x, that it is not the quantile; same shape."""
        if self.bias == "more":
            return np.asarray(self.table[np.searchsorted(self.values, x, side="left")])
        if self.bias == "fewer":
            return np.asarray(self.table[np.searchsorted(self.values, x, side="right")])
        low = np.searchsorted(self.values, x, side="left")
        high = np.searchsorted(self.values, x, side="right")
        edge = np.where(low > self.least, self.table[low], self.table[high])
        return np.where((low <= self.least) & (self.least <= high), self.at_least, edge)


def quantile_bets(values: ArrayLike, *, q: float, weight: float, bias: Bias) -> QuantileBets:
    """Prepare one arm.

    Parameters
    ----------
    values : array_like, shape (n,)
        Of independent units, in any order.
    q : float
        In (0, 1).
    weight : float
        r > 0 of the mixing prior p ~ Beta(r / (1 - q), r / q), whose mean is q.
    bias : {"any", "more", "fewer"}
        One-sided, the prior is cut at q, and the e-value holds against every share up to q ("more")
        or from q on ("fewer").

    Raises
    ------
    InvalidInput
        If the values are not finite numbers in one dimension.

    References
    ----------
    .. [1] Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Ann. Statist. 49(2), proposition 7: the beta-binomial mixture.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.ndim != 1 or not np.isfinite(ordered).all():
        raise InvalidInput("values are finite numbers, one a unit", field="values")
    n = ordered.size
    a, b = weight / (1.0 - q), weight / q

    def log_e(count: Floats, over: Bias) -> Floats:
        fair = count * math.log(q) + (n - count) * math.log1p(-q)
        prior = _log_integral(np.array(a), np.array(b), q, over)
        return np.asarray(_log_integral(a + count, b + n - count, q, over) - prior - fair)

    least = _least(n, q, a, b)
    return QuantileBets(
        values=ordered,
        quantile=float(ordered[max(math.ceil(q * n) - 1, 0)]) if n else math.nan,
        bias=bias,
        table=log_e(np.arange(n + 1, dtype=np.float64), bias),
        least=least,
        at_least=float(log_e(np.array(least), "any")),
    )


def _log_integral(a: Floats, b: Floats, q: float, over: Bias) -> Floats:
    """Log of the integral of p^(a - 1) (1 - p)^(b - 1) over (0, 1), (q, 1) or (0, q)."""
    if over == "any":
        return np.asarray(betaln(a, b))
    if over == "more":
        return _log_below(b, a, 1.0 - q)
    return _log_below(a, b, q)


def _log_below(a: Floats, b: Floats, q: float) -> Floats:
    """Over (0, q); deep in the tail a lower bound, which an e-value may always be replaced by.

    There B_q(a, b) = q^a (1 - q)^b / a * F(1, a + b; a + 1; q), and each term of the series is at
    least q times the one before: F >= 1 / (1 - q).
    """
    mass = betainc(a, b, q)
    exact = betaln(a, b) + np.log(np.maximum(mass, _LEAST_MASS))
    bound = a * math.log(q) + (b - 1.0) * math.log1p(-q) - np.log(a)
    return np.where(mass > _LEAST_MASS, exact, bound)


def _least(n: int, q: float, a: float, b: float) -> float:
    """Where betaln(a + k, b + n - k) - k logit q is least: it is convex in k."""

    def slope(k: float) -> float:
        return float(psi(a + k) - psi(b + n - k)) - math.log(q / (1.0 - q))

    if slope(0.0) >= 0.0 or slope(n) <= 0.0:
        return 0.0 if slope(0.0) >= 0.0 else float(n)
    return float(brentq(slope, 0.0, n, xtol=1e-9))
