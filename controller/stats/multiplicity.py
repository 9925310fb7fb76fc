"""Several claims at once: Holm on p-values, e-BH on e-values, fixed sequence.

All of them hold under any dependence between the claims. `holm` and `e_bh` need numpy alone and run
in every look; `adjusted_p_values` asks statsmodels, which is loaded only when it is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.errors import InvalidInput

Method = Literal["holm", "hommel", "simes-hochberg", "bonferroni", "fdr_bh", "fdr_by"]


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


def e_bh(log_e_values: ArrayLike, *, alpha: float) -> NDArray[np.bool_]:
    """Claims rejected by e-BH: false discovery rate at most alpha under any dependence.

    Parameters
    ----------
    log_e_values : array_like, shape (n_claims,)
        Natural logarithms of *current* e-values at one common time. Running maxima of e-processes
        are not e-values and lose the guarantee [2]_.
    alpha : float
        False discovery rate, in (0, 1).

    Returns
    -------
    ndarray of bool, shape (n_claims,)

    Raises
    ------
    InvalidInput
        If a value is not a number or `alpha` lies outside (0, 1).

    References
    ----------
    .. [1] Wang and Ramdas (2022), "False discovery rate control with e-values", JRSS B 84(3):
       reject the k* largest, k* = max{k : k e_(k) / n >= 1/alpha}.
    .. [2] Tavyrikov, Goeman and de Heide (2025), arXiv 2501.19360.
    """
    _check_alpha(alpha)
    log_e = np.atleast_1d(np.asarray(log_e_values, dtype=np.float64))
    if np.isnan(log_e).any():
        raise InvalidInput("e-values must be numbers", field="log_e_values")
    n = log_e.size
    order = np.argsort(-log_e, kind="stable")
    enough = log_e[order] + np.log(np.arange(1, n + 1)) >= math.log(n / alpha) - 1e-12
    rejected = np.zeros(n, dtype=np.bool_)
    if enough.any():
        rejected[order[: int(np.flatnonzero(enough)[-1]) + 1]] = True
    return rejected


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


def adjusted_p_values(p_values: ArrayLike, *, method: Method) -> NDArray[np.float64]:
    """Adjusted p-values by any of statsmodels' procedures (loads statsmodels).

    Hommel and Hochberg need positive dependence, `fdr_bh` too; `holm`, `bonferroni` and `fdr_by`
    need nothing.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests(_probabilities(p_values), method=method)[1]
    return np.asarray(adjusted, dtype=np.float64)


def _probabilities(p_values: ArrayLike) -> NDArray[np.float64]:
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    if p.ndim != 1 or not ((p >= 0.0) & (p <= 1.0)).all():
        raise InvalidInput("p-values must lie in [0, 1]", field="p_values")
    return p


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
