"""CUPED: what units did before their exposure explains part of what they do after it.

Outcomes are replaced by y - theta'(x - centre) with one theta for both arms, so the difference of
the adjusted means has the same expectation as before (x cannot be changed by the arm) and a smaller
variance. Everything is computed from means and cross products; unit rows are not needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REDUNDANT = 1e-12


def coefficients(scatter: NDArray[np.float64]) -> NDArray[np.float64]:
    """theta from the scatter of outcome and covariates about their common mean.

    Parameters
    ----------
    scatter : ndarray, shape (1 + n_covariates, 1 + n_covariates)
        Sums over the units of all arms of products of deviations from their common mean; outcome
        first.

    Returns
    -------
    ndarray, shape (n_covariates,)
        The shortest solution of S_xx theta = S_xy [1]_ on the correlation scale, where conditioning
        has a meaning: covariates that say the same share their part, one that does not vary has
        none. Zeros where a sum is not finite.

    References
    ----------
    .. [1] Deng, Xu, Kohavi and Walker (2013), "Improving the sensitivity of online controlled
       experiments by utilizing pre-experiment data", WSDM, eq. (5).
    """
    if not np.isfinite(scatter).all():
        return np.zeros(len(scatter) - 1)
    spread = np.sqrt(np.maximum(np.diag(scatter)[1:], 0.0))
    spread[spread == 0.0] = 1.0
    correlation = scatter[1:, 1:] / np.outer(spread, spread)
    inverse = np.linalg.pinv(correlation, rcond=_REDUNDANT, hermitian=True)
    return np.asarray(inverse @ (scatter[1:, 0] / spread) / spread, dtype=np.float64)
