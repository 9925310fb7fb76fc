"""CUPED: what units did before their exposure explains part of what they do after it.

Outcomes are replaced by y - theta'(x - centre) with one theta for both arms, so the difference of
the adjusted means has the same expectation as before (x cannot be changed by the arm) and a smaller
variance. Everything is computed from means and cross products; unit rows are not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason

_CONDITION_LIMIT = 1e12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointMoments:
    """Outcome and covariates of one arm in one epoch.

    Attributes
    ----------
    n : int
        Units.
    mean : ndarray, shape (1 + n_covariates,)
        Outcome first, then the covariates.
    scatter : ndarray, shape (1 + n_covariates, 1 + n_covariates)
        Sums over units of products of deviations from `mean`.
    """

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """One arm's outcome after adjustment.

    Attributes
    ----------
    n : int
    mean : float
    m2 : float
        Sum of squared deviations; the variance is m2 / (n - 1).
    """

    n: int
    mean: float
    m2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuped:
    """The adjusted arms, in the order given.

    Attributes
    ----------
    theta : tuple of float
        Coefficient of each covariate.
    arms : tuple of Adjusted
    variance_removed : float
        1 - adjusted / raw variance within the arms, in [0, 1].
    """

    theta: tuple[float, ...]
    arms: tuple[Adjusted, ...]
    variance_removed: float


def cuped(arms: Sequence[JointMoments]) -> Cuped | Inconclusive:
    """Adjust the outcome of every arm of one epoch by its covariates.

    Parameters
    ----------
    arms : sequence of JointMoments
        Control and treatment(s) of one epoch with the same covariates.

    Returns
    -------
    Cuped or Inconclusive
        Inconclusive `too_few_units` (an arm below two units), `zero_variance` (a covariate that
        does not vary), `collinear` or `not_finite`; the caller then uses the raw outcome.

    Notes
    -----
    theta solves S_xx theta = S_xy with the scatter of the joint sample, i.e. about the common mean
    of all arms [1]_; the covariates are centred at their common mean, which keeps the adjusted
    overall mean equal to the raw one.

    References
    ----------
    .. [1] Deng, Xu, Kohavi and Walker (2013), "Improving the sensitivity of online controlled
       experiments by utilizing pre-experiment data", WSDM, eq. (5).
    """
    total = sum(arm.n for arm in arms)
    if not arms or any(arm.n < 2 for arm in arms):
        return Inconclusive(reason=Reason.TOO_FEW_UNITS)
    if any(arm.mean.size < 2 or arm.mean.size != arms[0].mean.size for arm in arms):
        raise InvalidInput("every arm needs the same covariates, one or more", field="arms")
    centre = np.sum([arm.n * arm.mean for arm in arms], axis=0) / total
    within = np.sum([arm.scatter for arm in arms], axis=0)
    between = np.sum(
        [arm.n * np.outer(arm.mean - centre, arm.mean - centre) for arm in arms], axis=0
    )
    theta = coefficients(within + between)
    if isinstance(theta, Inconclusive):
        return theta
    contrast = np.concatenate([[1.0], -theta])
    raw, kept = float(within[0, 0]), float(contrast @ within @ contrast)
    return Cuped(
        theta=tuple(float(value) for value in theta),
        arms=tuple(_adjust(arm, theta, centre[1:], contrast) for arm in arms),
        variance_removed=min(1.0, max(0.0, 1.0 - kept / raw)) if raw > 0.0 else 0.0,
    )


def coefficients(scatter: NDArray[np.float64]) -> NDArray[np.float64] | Inconclusive:
    """theta from the scatter of outcome (first) and covariates about their common mean.

    The normal equations are solved on the correlation scale, where conditioning has a meaning.

    Returns
    -------
    ndarray, shape (n_covariates,), or Inconclusive
        Inconclusive `zero_variance`, `collinear` or `not_finite`.
    """
    if not np.isfinite(scatter).all():
        return Inconclusive(reason=Reason.NOT_FINITE)
    spread = np.sqrt(np.maximum(np.diag(scatter)[1:], 0.0))
    if not (spread > 0.0).all():
        return Inconclusive(reason=Reason.ZERO_VARIANCE, detail="a covariate does not vary")
    correlation = scatter[1:, 1:] / np.outer(spread, spread)
    if np.linalg.cond(correlation) > _CONDITION_LIMIT:
        return Inconclusive(reason=Reason.COLLINEAR)
    solution = np.linalg.solve(correlation, scatter[1:, 0] / spread)
    return np.asarray(solution / spread, dtype=np.float64)


def _adjust(
    arm: JointMoments,
    theta: NDArray[np.float64],
    centre: NDArray[np.float64],
    contrast: NDArray[np.float64],
) -> Adjusted:
    mean = float(arm.mean[0] - theta @ (arm.mean[1:] - centre))
    return Adjusted(n=arm.n, mean=mean, m2=max(0.0, float(contrast @ arm.scatter @ contrast)))
