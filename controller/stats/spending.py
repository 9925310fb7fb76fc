"""How alpha (or beta) is spread over a planned test: Lan-DeMets spending functions.

A spending function says how much of the error a test may have used by the time the share t of its
planned information is in. It is fixed before the first look; looks may then come at any times and
in any number. `Spending` is the value a plan stores; the plain functions below are its shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtri, ndtri_exp

from controller.errors import InvalidInput

_LOG_2 = math.log(2.0)


class SpendingShape(StrEnum):
    """The named families, and a table of the user's own."""

    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"
    HWANG_SHIH_DECANI = "hwang_shih_decani"
    KIM_DEMETS = "kim_demets"
    TABULATED = "tabulated"


def obrien_fleming(information_fraction: ArrayLike, *, alpha: float = 0.025) -> NDArray[np.float64]:
    """Cumulative alpha spent under the Lan-DeMets O'Brien-Fleming rule.

    Parameters
    ----------
    information_fraction : array_like, shape (n_looks,)
        Share of the planned information gathered by each look, in (0, 1].
    alpha : float, default 0.025
        One-sided type I error to spend over the whole experiment.

    Returns
    -------
    ndarray, shape (n_looks,)
        Probability, cumulative and non-decreasing in the fraction; equals `alpha` at 1.

    Raises
    ------
    InvalidInput
        If a fraction lies outside (0, 1] or `alpha` outside (0, 1).

    References
    ----------
    .. [1] Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials", Biometrika
       70(3): alpha(t) = 2 - 2 Phi(z_{alpha/2} / sqrt(t)).

    Examples
    --------
    >>> obrien_fleming([0.5, 1.0]).round(6).tolist()
    [0.001525, 0.025]
    """
    t = _checked(information_fraction, alpha)
    # log_ndtr keeps the early looks, where alpha(t) may be 1e-100, exact.
    spent = np.exp(_LOG_2 + log_ndtr(float(ndtri(alpha / 2.0)) / np.sqrt(t)))
    return np.where(t == 1.0, alpha, spent)


def pocock(information_fraction: ArrayLike, *, alpha: float = 0.025) -> NDArray[np.float64]:
    """Cumulative alpha spent under the Lan-DeMets Pocock rule: alpha ln(1 + (e - 1) t).

    Parameters, returned value and errors are those of `obrien_fleming`; see its reference.
    """
    t = _checked(information_fraction, alpha)
    return np.where(t == 1.0, alpha, alpha * np.log1p((math.e - 1.0) * t))


def hwang_shih_decani(
    information_fraction: ArrayLike, *, alpha: float = 0.025, gamma: float = -2.0
) -> NDArray[np.float64]:
    """Cumulative alpha spent by the gamma family: alpha (1 - e^{-gamma t}) / (1 - e^{-gamma}).

    Parameters
    ----------
    information_fraction, alpha
        As in `obrien_fleming`.
    gamma : float, default -2
        Negative spends late (-4 is close to O'Brien-Fleming), 1 is close to Pocock, 0 linear.

    References
    ----------
    .. [1] Hwang, Shih and DeCani (1990), "Group sequential designs using a family of type I error
       probability spending functions", Statistics in Medicine 9(12).
    """
    t = _checked(information_fraction, alpha)
    if not abs(gamma) <= 40.0:
        raise InvalidInput("gamma must lie in [-40, 40]", field="gamma")
    share = t if abs(gamma) < 1e-9 else np.expm1(-gamma * t) / math.expm1(-gamma)
    return np.where(t == 1.0, alpha, alpha * share)


def kim_demets(
    information_fraction: ArrayLike, *, alpha: float = 0.025, rho: float = 2.0
) -> NDArray[np.float64]:
    """Cumulative alpha spent by the power family: alpha t^rho.

    Parameters
    ----------
    information_fraction, alpha
        As in `obrien_fleming`.
    rho : float, default 2
        Exponent, > 0; larger spends later.

    References
    ----------
    .. [1] Kim and DeMets (1987), "Design and analysis of group sequential tests based on the type I
       error spending rate function", Biometrika 74(1).
    """
    t = _checked(information_fraction, alpha)
    if not 0.0 < rho <= 40.0:
        raise InvalidInput("rho must lie in (0, 40]", field="rho")
    return np.where(t == 1.0, alpha, alpha * t**rho)


def tabulated(
    information_fraction: ArrayLike,
    *,
    alpha: float = 0.025,
    table: tuple[tuple[float, float], ...],
) -> NDArray[np.float64]:
    """Cumulative alpha read from the plan's own table, linear between its points.

    Parameters
    ----------
    information_fraction, alpha
        As in `obrien_fleming`.
    table : tuple of (fraction, share)
        Strictly rising fractions with non-falling shares of alpha; (0, 0) is understood in front
        and the last pair must be (1, 1).
    """
    t = _checked(information_fraction, alpha)
    knots = np.asarray(((0.0, 0.0), *table), dtype=np.float64)
    rising = bool(np.all(np.diff(knots[:, 0]) > 0.0) and np.all(np.diff(knots[:, 1]) >= 0.0))
    if not (rising and knots[-1, 0] == 1.0 and knots[-1, 1] == 1.0):
        raise InvalidInput("a spending table rises from (0, 0) to (1, 1)", field="table")
    return alpha * np.interp(t, knots[:, 0], knots[:, 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The shape a plan has chosen; `parameter` is gamma (HSD) or rho (Kim-DeMets), else ignored."""

    shape: SpendingShape = SpendingShape.HWANG_SHIH_DECANI
    parameter: float = -2.0
    table: tuple[tuple[float, float], ...] = ()

    def spent(self, information_fraction: ArrayLike, *, alpha: float) -> NDArray[np.float64]:
        """Cumulative `alpha` spent at each fraction; shapes and errors as in `obrien_fleming`."""
        return _SHAPES[self.shape](information_fraction, alpha, self)


def one_sided_critical_value(tail: float) -> float:
    """z with upper tail probability `tail`, exact for tails far below the double epsilon."""
    return float(-ndtri_exp(math.log(tail))) if tail > 0.0 else math.inf


def _checked(information_fraction: ArrayLike, alpha: float) -> NDArray[np.float64]:
    t = np.asarray(information_fraction, dtype=np.float64)
    if not (np.all(t > 0.0) and np.all(t <= 1.0)):
        raise InvalidInput("information fractions lie in (0, 1]", field="information_fraction")
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    return t


_Shape = Callable[[ArrayLike, float, Spending], NDArray[np.float64]]
_SHAPES: Mapping[SpendingShape, _Shape] = MappingProxyType(
    {
        SpendingShape.OBRIEN_FLEMING: lambda t, a, _: obrien_fleming(t, alpha=a),
        SpendingShape.POCOCK: lambda t, a, _: pocock(t, alpha=a),
        SpendingShape.HWANG_SHIH_DECANI: lambda t, a, s: hwang_shih_decani(
            t, alpha=a, gamma=s.parameter
        ),
        SpendingShape.KIM_DEMETS: lambda t, a, s: kim_demets(t, alpha=a, rho=s.parameter),
        SpendingShape.TABULATED: lambda t, a, s: tabulated(t, alpha=a, table=s.table),
    }
)
