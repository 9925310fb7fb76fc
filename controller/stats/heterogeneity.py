"""Whether the effect is the same in every epoch, and the pooled estimate if it is.

Inverse variance serves here alone. Weighting the *test* by variances estimated from the arms'
own outcomes rejects a true null in half the runs when payers are rare, because the arm that was
lucky early looks precise. The decision uses the design-weighted score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason


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
    effect = np.asarray(effects, dtype=np.float64)
    variance = np.asarray(variances, dtype=np.float64)
    if effect.shape != variance.shape or effect.ndim != 1:
        raise InvalidInput("one variance per effect", field="variances")
    usable = np.isfinite(effect) & np.isfinite(variance) & (variance > 0.0)
    if int(usable.sum()) < 2:
        return Inconclusive(reason=Reason.NO_DATA, detail="fewer than two epochs have evidence")
    effect, variance = effect[usable], variance[usable]
    precision = 1.0 / variance
    pooled = float(precision @ effect / precision.sum())
    q = float(precision @ (effect - pooled) ** 2)
    freedom = int(usable.sum()) - 1
    return Heterogeneity(
        q=q,
        freedom=freedom,
        p_value=float(chdtrc(freedom, q)),
        i_squared=max(0.0, 1.0 - freedom / q) if q > 0.0 else 0.0,
        pooled=pooled,
        pooled_variance=float(1.0 / precision.sum()),
    )
