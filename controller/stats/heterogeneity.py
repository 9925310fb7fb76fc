"""Whether the effect is the same in every epoch, and the pooled estimate if it is.

Two answers: Cochran's Q, for one look that was fixed beforehand, and an e-value for looking at
every look, in which the epochs fill one after the other.

Inverse variance serves here alone. Weighting the *test* by variances estimated from the arms'
own outcomes rejects a true null in half the runs when payers are rare, because the arm that was
lucky early looks precise. The decision uses the design-weighted score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason

_SCALES: Final = (4.0, 32.0, 256.0)
"""How far epochs may lie apart: by the standard error at a 4th, 32nd, 256th of the planned size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heterogeneity:
    """Cochran's test over epochs.

    Attributes
    ----------
    q : float
        Sum of squared standardised deviations from the pooled effect.
    freedom : int
        Epochs minus one.
    p_value : float
        P(chi-square(freedom) > q): small means the epochs disagree.
    i_squared : float
        Share of the variation between epochs that is not chance, in [0, 1).
    pooled, pooled_variance : float
        Inverse-variance estimate: to display when the epochs agree.
    """

    q: float
    freedom: int
    p_value: float
    i_squared: float
    pooled: float
    pooled_variance: float


def heterogeneity(
    effects: Sequence[float], variances: Sequence[float]
) -> Heterogeneity | Inconclusive:
    """Cochran's Q over epochs.

    Parameters
    ----------
    effects : sequence of float, length n_epochs
        Difference treatment - control in each epoch.
    variances : sequence of float, length n_epochs
        Variance of each difference; epochs with no positive finite variance are left out.

    Returns
    -------
    Heterogeneity or Inconclusive
        Inconclusive `no_data` with fewer than two usable epochs.

    Raises
    ------
    InvalidInput
        If the lengths differ.

    References
    ----------
    .. [1] Cochran (1954), "The combination of estimates from different experiments", Biometrics.
    .. [2] Higgins and Thompson (2002), "Quantifying heterogeneity in a meta-analysis".
    """
    effect, variance = _usable(effects, variances)
    if effect.size < 2:
        return Inconclusive(reason=Reason.NO_DATA, detail="fewer than two epochs have evidence")
    precision = 1.0 / variance
    pooled = float(precision @ effect / precision.sum())
    q = _deviations(effect, variance)
    freedom = int(effect.size) - 1
    return Heterogeneity(
        q=q,
        freedom=freedom,
        p_value=float(chdtrc(freedom, q)),
        i_squared=max(0.0, 1.0 - freedom / q) if q > 0.0 else 0.0,
        pooled=pooled,
        pooled_variance=float(1.0 / precision.sum()),
    )


def heterogeneity_log_e(
    effects: Sequence[float],
    variances: Sequence[float],
    *,
    unit_variance: float,
    planned_size: float,
) -> float:
    """Log e-value against "one effect in every epoch", valid at every look.

    Parameters
    ----------
    effects, variances : sequence of float, length n_epochs
        As in `heterogeneity`, of everything seen so far.
    unit_variance : float
        Variance of the difference times effective size, V / W: it scales the alternatives.
    planned_size : float
        Effective size that was planned, > 0; fixed before the data.

    Returns
    -------
    float
        0 with fewer than two usable epochs, whose e-value is 1.

    Notes
    -----
    Each epoch's running difference is a Brownian motion with drift over its own information 1 / v;
    an epoch that has not begun has none. Under the null all drifts are one unknown number. Weighing
    that number by a flat density on both sides leaves

        e(t2) = L(v + t2) / L(v),   L(u) = prod u^-1/2 (sum 1/u)^-1/2 exp(-Q(u) / 2)

    for drifts that scatter by t2 around it: a likelihood ratio of what is left when the common
    drift is taken away, so a martingale under every value of it [1]_. The mean over three t2 fixed
    by the plan is one, too. The variances are estimated, so this holds as the units grow, as it
    does for the normal mixture.

    References
    ----------
    .. [1] Pérez-Ortiz, Lardy, de Heide and Grünwald (2024), "E-statistics, group invariance and
       anytime-valid testing", Annals of Statistics 52(4), Theorem 4.2: the translation group.
    """
    effect, variance = _usable(effects, variances)
    if effect.size < 2 or not (unit_variance > 0.0 and planned_size > 0.0):
        return 0.0
    below = _log_likelihood(effect, variance)
    terms = []
    for part in _SCALES:
        spread = unit_variance * part / planned_size
        terms.append(_log_likelihood(effect, variance + spread) - below)
    highest = max(terms)
    return highest + math.log(math.fsum(math.exp(term - highest) for term in terms) / len(terms))


Floats = NDArray[np.float64]


def _usable(effects: Sequence[float], variances: Sequence[float]) -> tuple[Floats, Floats]:
    effect = np.asarray(effects, dtype=np.float64)
    variance = np.asarray(variances, dtype=np.float64)
    if effect.shape != variance.shape or effect.ndim != 1:
        raise InvalidInput("one variance per effect", field="variances")
    usable = np.isfinite(effect) & np.isfinite(variance) & (variance > 0.0)
    return effect[usable], variance[usable]


def _deviations(effect: Floats, variance: Floats) -> float:
    """Q: squared standardised deviations from the inverse-variance mean."""
    precision = 1.0 / variance
    pooled = float(precision @ effect / precision.sum())
    return float(precision @ (effect - pooled) ** 2)


def _log_likelihood(effect: Floats, variance: Floats) -> float:
    logs = float(np.log(variance).sum()) + math.log(float((1.0 / variance).sum()))
    return -0.5 * (logs + _deviations(effect, variance))
