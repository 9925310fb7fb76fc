"""Betting confidence sequences: a finite-sample guarantee for bounded outcomes.

No variance is estimated and no limit theorem used: the capital of a gambler who bets against every
candidate mean is a test martingale under that mean. The price is power (about .50 where the
asymptotic sequence has .68) and the need for values in order of arrival, so this serves metrics for
which a finite-sample guarantee is demanded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason

_TRUNCATION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BettingInterval:
    """A confidence sequence at its last look.

    Attributes
    ----------
    estimate : float
        Plain mean of the values (or of the difference's unbiased terms).
    lower, upper : float
        Running intersection: the candidates never rejected so far. It widens outward to the grid.
    n : int
        Values seen.
    """

    estimate: float
    lower: float
    upper: float
    n: int


def bounded_mean(
    values: ArrayLike, *, alpha: float, low: float = 0.0, high: float = 1.0, grid: int = 1000
) -> BettingInterval | Inconclusive:
    """Hedged-capital confidence sequence for the mean of bounded values.

    Parameters
    ----------
    values : array_like, shape (n,)
        In order of arrival, all in [low, high].
    alpha : float
        Level, in (0, 1).
    low, high : float
        Bounds known before the data.
    grid : int
        Candidate means; the ends are exact to (high - low) / grid, outward.

    Returns
    -------
    BettingInterval or Inconclusive
        Inconclusive `no_data` for no values.

    Raises
    ------
    InvalidInput
        If a value lies outside the bounds or is not a number.

    References
    ----------
    .. [1] Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
       betting", JRSS B 86(1), section 4.2: hedged capital with predictable plug-in bets.
    """
    if not (0.0 < alpha < 1.0 and high > low and grid >= 2):
        raise InvalidInput("alpha in (0, 1), low < high, grid >= 2", field="alpha")
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    if x.ndim != 1 or not ((x >= low) & (x <= high)).all():
        raise InvalidInput("every value must lie within [low, high]", field="values")
    unit = (x - low) / (high - low)
    candidates = np.arange(grid + 1) / grid
    kept = candidates[_peak_log_capital(unit, candidates, alpha) < math.log(1.0 / alpha)]
    mean = float(unit.mean())
    first, last = (kept[0], kept[-1]) if kept.size else (mean, mean)
    lower, upper = max(0.0, first - 1.0 / grid), min(1.0, last + 1.0 / grid)
    width = high - low
    return BettingInterval(
        estimate=low + width * mean,
        lower=low + width * float(lower),
        upper=low + width * float(upper),
        n=int(x.size),
    )


def bounded_difference(
    values: ArrayLike,
    treated: ArrayLike,
    *,
    share: ArrayLike,
    alpha: float,
    low: float = 0.0,
    high: float = 1.0,
    grid: int = 2000,
) -> BettingInterval | Inconclusive:
    """Confidence sequence for the mean difference treatment - control of a randomised stream.

    Parameters
    ----------
    values : array_like, shape (n,)
        Outcomes in order of arrival, in [low, high].
    treated : array_like of bool, shape (n,)
        Whether each unit met the treatment.
    share : array_like, shape () or (n,)
        Probability of treatment each unit was assigned with (its epoch's weight), in (0, 1).
    alpha, low, high, grid
        As in `bounded_mean`, on the scale of the difference.

    Returns
    -------
    BettingInterval or Inconclusive

    Notes
    -----
    Bets on A (y - c)/p - (1 - A)(y - c)/(1 - p), whose conditional mean is the difference for any
    predictable c; c is the running mean of the pooled outcomes, which removes most of the variance
    that inverse weighting adds.

    References
    ----------
    .. [1] Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2024), "Anytime-valid off-policy
       inference for contextual bandits": bounded pseudo-outcomes.
    """
    y = np.asarray(values, dtype=np.float64)
    arm = np.asarray(treated, dtype=np.bool_)
    p = np.broadcast_to(np.asarray(share, dtype=np.float64), y.shape)
    if y.size == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    if arm.shape != y.shape or not ((p > 0.0) & (p < 1.0)).all():
        raise InvalidInput("one arm a value and shares in (0, 1)", field="treated")
    if not ((y >= low) & (y <= high)).all() or not high > low:
        raise InvalidInput("every value must lie within [low, high]", field="values")
    unit = (y - low) / (high - low)
    before = np.concatenate([[0.0], np.cumsum(unit)[:-1]])
    centre = (before + 0.5) / (np.arange(y.size) + 1.0)
    terms = np.where(arm, (unit - centre) / p, -(unit - centre) / (1.0 - p))
    reach = float(1.0 / np.minimum(p, 1.0 - p).min())
    found = bounded_mean(terms, alpha=alpha, low=-reach, high=reach, grid=grid)
    if isinstance(found, Inconclusive):
        return found
    width = high - low
    return BettingInterval(
        estimate=width * found.estimate,
        lower=width * max(found.lower, -1.0),
        upper=width * min(found.upper, 1.0),
        n=found.n,
    )


def predictable_bets(values: NDArray[np.float64], *, alpha: float) -> NDArray[np.float64]:
    """Bets sized by the variance seen so far.

    Parameters
    ----------
    values : ndarray, shape (n,)
        In [0, 1].
    alpha : float

    Returns
    -------
    ndarray, shape (n,)
        lambda_t = sqrt(2 log(2/alpha) / (v_{t-1} t log(1 + t))), from values before t only.

    References
    ----------
    .. [1] Waudby-Smith and Ramdas (2024), eq. (26): predictable plug-in.
    """
    steps = np.arange(1, values.size + 1, dtype=np.float64)
    mean = (0.5 + np.cumsum(values)) / (steps + 1.0)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (steps + 1.0)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2.0 * math.log(2.0 / alpha) / (before * steps * np.log1p(steps)))
    return np.asarray(bets, dtype=np.float64)


def _peak_log_capital(
    values: NDArray[np.float64], candidates: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Running maximum of the hedged log capital against each candidate mean, shape (n_grid,).

    One pass over the values, so memory is that of the grid however long the stream.
    """
    bets = predictable_bets(values, alpha=alpha)
    with np.errstate(divide="ignore"):
        most_up = _TRUNCATION / candidates
        most_down = _TRUNCATION / (1.0 - candidates)
    up = np.zeros_like(candidates)
    down = np.zeros_like(candidates)
    peak = np.full_like(candidates, -math.inf)
    for value, bet in zip(values.tolist(), bets.tolist(), strict=True):
        gap = value - candidates
        up += np.log1p(np.minimum(bet, most_up) * gap)
        down += np.log1p(-np.minimum(bet, most_down) * gap)
        np.maximum(peak, np.maximum(up, down), out=peak)
    return peak + math.log(0.5)
