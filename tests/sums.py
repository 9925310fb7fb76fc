"""Joint moments from the raw sums that references give."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from controller.stats.cuped import JointMoments


def moments_from_sums(
    n: int,
    sums: Sequence[Fraction | int | float],
    products: Sequence[Sequence[Fraction | int | float]],
) -> JointMoments:
    """Means and scatter from raw sums, in exact rational arithmetic, rounded once.

    Parameters
    ----------
    n : int
        Units, >= 1.
    sums : sequence, length k
        Sum of each variable, outcome first.
    products : sequence of sequences, shape (k, k)
        Sums over units of products; symmetric.

    Returns
    -------
    JointMoments
        No cancellation at any mean: float sums count as the exact number they are.

    """
    exact = [Fraction(value) for value in sums]
    scatter = [
        [float(Fraction(products[i][j]) - exact[i] * exact[j] / n) for j in range(len(exact))]
        for i in range(len(exact))
    ]
    return JointMoments(
        n=n,
        mean=np.array([float(value / n) for value in exact]),
        scatter=np.array(scatter),
    )
