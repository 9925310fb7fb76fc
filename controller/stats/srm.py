"""Sample-ratio mismatch: whether the arms hold the shares that were asked for.

A unit counts once, in the epoch of its first exposure, against that epoch's weights. Within an
epoch the counts are multinomial under the null; a Dirichlet mixture centred on the weights gives an
e-process that may be looked at after every unit. Epochs are disjoint sets of units, so the product
of their e-processes is one e-process: ramps and edits of the weights cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, gammaln

from controller.errors import InvalidInput
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.results import Inconclusive, Reason

DEFAULT_ALPHA = 0.001
DEFAULT_CONCENTRATION = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochCounts:
    """Units first exposed in one epoch.

    Attributes
    ----------
    counts : tuple of int
        Units per arm, >= 0.
    weights : tuple of float
        Shares asked for, >= 0; they are normalised to sum to one.
    """

    counts: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """One look of the sequential sample-ratio test.

    Attributes
    ----------
    log_e_value : float
        Evidence of this look; inf when an arm of weight zero holds units.
    log_e_max : float
        Running maximum, >= 0: hand it to the next look.
    p_value : float
        1 / exp(log_e_max), valid at every look.
    alarm : bool
        p_value <= alpha at this look or an earlier one.
    units : int
    """

    log_e_value: float
    log_e_max: float
    p_value: float
    alarm: bool
    units: int

    @property
    def e_value(self) -> float:
        """This look's e-value, at most 1e308."""
        return e_from_log(self.log_e_value)


def log_e_value(
    counts: ArrayLike, weights: ArrayLike, *, concentration: float = DEFAULT_CONCENTRATION
) -> NDArray[np.float64]:
    """Log e-value that multinomial counts do not follow the weights.

    Parameters
    ----------
    counts : array_like, shape (..., n_arms)
        Units per arm.
    weights : array_like, shape (n_arms,)
        Expected shares, > 0, summing to one.
    concentration : float
        k of the Dirichlet(k * weights) mixture; 1000 suits 10^4 to 10^5 units, a tenth or ten
        times of it finds 51/49 a tenth later.

    Returns
    -------
    ndarray, shape (...)
        log [ B(k w + counts) / B(k w) / prod w^counts ].

    References
    ----------
    .. [1] Lindon and Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS;
       arXiv 2011.03567, eq. (4).
    """
    observed = np.asarray(counts, dtype=np.float64)
    shares = np.asarray(weights, dtype=np.float64)
    prior = concentration * shares
    units = observed.sum(axis=-1)
    value = (
        np.sum(gammaln(prior + observed) - gammaln(prior) - observed * np.log(shares), axis=-1)
        + gammaln(concentration)
        - gammaln(concentration + units)
    )
    return np.asarray(value, dtype=np.float64)


def sample_ratio(
    epochs: Sequence[EpochCounts],
    *,
    alpha: float = DEFAULT_ALPHA,
    concentration: float = DEFAULT_CONCENTRATION,
    log_e_max: float = 0.0,
) -> SampleRatio | Inconclusive:
    """One look of the sequential sample-ratio test over all epochs.

    Parameters
    ----------
    epochs : sequence of EpochCounts
        Order is irrelevant; an epoch without units counts as one.
    alpha : float
        Level at which the running maximum raises the alarm.
    concentration : float
        See `log_e_value`.
    log_e_max : float
        Running maximum of the earlier looks; 0 at the first.

    Returns
    -------
    SampleRatio or Inconclusive
        Inconclusive `no_data` before the first unit.

    Raises
    ------
    InvalidInput
        If counts are negative, or weights negative, all zero or not one per arm.

    Notes
    -----
    The probability that the alarm is ever raised on a healthy split is at most `alpha` (Ville).
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    if not concentration > 0.0:
        raise InvalidInput("concentration must be positive", field="concentration")
    checked = [_checked(epoch) for epoch in epochs]
    units = sum(sum(epoch.counts) for epoch in epochs)
    if units == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    now = math.fsum(_epoch_log_e(c, w, concentration) for c, w in checked)
    peak = max(log_e_max, now)
    p_value = p_from_log_e(peak)
    return SampleRatio(
        log_e_value=now, log_e_max=peak, p_value=p_value, alarm=p_value <= alpha, units=units
    )


def chi_square_p(epochs: Sequence[EpochCounts]) -> float | Inconclusive:
    """Pearson's p for one look planned in advance; for display, since peeking inflates it 23-fold.

    Epochs add up: statistics and degrees of freedom are summed over epochs with units. An arm of
    weight zero takes no degree of freedom; units in it make p = 0.

    Returns
    -------
    float or Inconclusive
        Inconclusive `no_data` before the first unit.
    """
    statistic, freedom = 0.0, 0
    for counts, weights in (_checked(epoch) for epoch in epochs):
        live = weights > 0.0
        if np.any(counts[~live] > 0.0):
            return 0.0
        units = counts.sum()
        if units > 0.0:
            expected = units * weights[live]
            statistic += float(np.sum((counts[live] - expected) ** 2 / expected))
            freedom += int(live.sum()) - 1
    if freedom == 0:
        return Inconclusive(reason=Reason.NO_DATA)
    return float(chdtrc(freedom, statistic))


def _epoch_log_e(
    counts: NDArray[np.float64], weights: NDArray[np.float64], concentration: float
) -> float:
    live = weights > 0.0
    if not live.all():
        if counts[~live].any():
            return math.inf
        counts, weights = counts[live], weights[live]
    if not counts.any():
        return 0.0
    return float(log_e_value(counts, weights, concentration=concentration))


def _checked(epoch: EpochCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(epoch.counts) != len(epoch.weights) or len(epoch.counts) < 2:
        raise InvalidInput("one count and one weight per arm, two arms or more", field="weights")
    if not all(0.0 <= count < math.inf for count in epoch.counts):
        raise InvalidInput("counts must be whole numbers of at least 0", field="counts")
    weights = np.asarray(epoch.weights, dtype=np.float64)
    total = weights.sum()
    if not (all(weight >= 0.0 for weight in epoch.weights) and 0.0 < total < math.inf):
        raise InvalidInput("weights must be at least 0 and not all 0", field="weights")
    return np.asarray(epoch.counts, dtype=np.float64), weights / total
