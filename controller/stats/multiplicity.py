"""Several claims at once: Holm on p-values, or a sequence fixed before the data.

Both hold under any dependence between the claims, and need numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.errors import InvalidInput


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm-adjusted p-values: reject where at most alpha.

    Parameters
    ----------
    p_values : array_like, shape (n_claims,)
        Valid p-values, fixed or always-valid; a claim without evidence enters with 1 and still
        counts in the family.

    Returns
    -------
    ndarray, shape (n_claims,)
        max over the smaller ones of (n - rank + 1) p, at most 1, in the order given.

    Raises
    ------
    InvalidInput
        If a value lies outside [0, 1].

    References
    ----------
    .. [1] Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J.
       Statist. 6(2).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _probabilities(p_values)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def fixed_sequence(p_values: Sequence[float], *, alpha: float) -> tuple[bool, ...]:
    """Claims tested in an order fixed before the data, each at the full alpha, until one fails.

    Parameters
    ----------
    p_values : sequence of float
        In the planned order.
    alpha : float
        Familywise error, in (0, 1).

    Returns
    -------
    tuple of bool

    References
    ----------
    .. [1] Maurer, Hothorn and Lehmacher (1995), "Multiple comparisons in drug clinical trials and
       preclinical assays: a-priori ordered hypotheses".
    """
    _check_alpha(alpha)
    shown = _probabilities(p_values) <= alpha
    return tuple(bool(value) for value in np.logical_and.accumulate(shown))


def _probabilities(p_values: ArrayLike) -> NDArray[np.float64]:
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    if p.ndim != 1 or not ((p >= 0.0) & (p <= 1.0)).all():
        raise InvalidInput("p-values must lie in [0, 1]", field="p_values")
    return p


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
