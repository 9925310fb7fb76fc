"""Several claims at once: Holm on p-values, or a sequence fixed before the data.

Both hold under any dependence between the claims.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import InvalidInput


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values: reject where at most alpha.

    Parameters
    ----------
    p_values : sequence of float, length n_claims
        Valid p-values, fixed or always-valid; a claim without evidence enters with 1 and still
        counts in the family.

    Returns
    -------
    list of float, length n_claims
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
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = _probabilities(p_values)
    adjusted, highest = p[:], 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, p[index] * (len(p) - rank))
        adjusted[index] = min(highest, 1.0)
    return adjusted


def _probabilities(p_values: Sequence[float]) -> list[float]:
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise InvalidInput("p-values must lie in [0, 1]", field="p_values")
    return list(p_values)
