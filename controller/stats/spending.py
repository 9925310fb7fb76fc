"""How alpha (or beta) is spread over a planned test: Lan-DeMets spending functions.

A spending function says how much of the error a test may have used by the time the share t of its
planned information is in. It is fixed before the first look; looks may then come at any times and
in any number. `Spending` is the value a plan stores.
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
    """The named families, and a table of the user's own.

    References
    ----------
    .. [1] Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials", Biometrika
       70(3): O'Brien-Fleming 2 - 2 Phi(z_{alpha/2} / sqrt(t)), Pocock alpha ln(1 + (e - 1) t).
    .. [2] Hwang, Shih and DeCani (1990), "Group sequential designs using a family of type I error
       probability spending functions", Statistics in Medicine 9(12): alpha (1 - e^{-gamma t}) /
       (1 - e^{-gamma}).
    .. [3] Kim and DeMets (1987), "Design and analysis of group sequential tests based on the type I
       error spending rate function", Biometrika 74(1): alpha t^rho.
    """

    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"
    HWANG_SHIH_DECANI = "hwang_shih_decani"
    KIM_DEMETS = "kim_demets"
    TABULATED = "tabulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The shape a plan has chosen.

    Attributes
    ----------
    shape : SpendingShape
    parameter : float
        gamma of Hwang-Shih-DeCani, in [-40, 40]: negative spends late (-4 is close to
        O'Brien-Fleming), 1 is close to Pocock, 0 linear. rho of Kim-DeMets, in (0, 40]: larger
        spends later. Else ignored.
    table : tuple of (fraction, share)
        Of a tabulated shape, linear between its points: strictly rising fractions with non-falling
        shares of alpha; (0, 0) is understood in front and the last pair must be (1, 1).

    Raises
    ------
    InvalidInput
        If the parameter or the table lies outside what its shape allows.

    Examples
    --------
    >>> spending = Spending(shape=SpendingShape.OBRIEN_FLEMING)
    >>> spending.spent([0.5, 1.0], alpha=0.025).round(6).tolist()
    [0.001525, 0.025]
    """

    shape: SpendingShape = SpendingShape.HWANG_SHIH_DECANI
    parameter: float = -2.0
    table: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.shape is SpendingShape.HWANG_SHIH_DECANI and not abs(self.parameter) <= 40.0:
            raise InvalidInput("gamma must lie in [-40, 40]", field="gamma")
        if self.shape is SpendingShape.KIM_DEMETS and not 0.0 < self.parameter <= 40.0:
            raise InvalidInput("rho must lie in (0, 40]", field="rho")
        if self.shape is SpendingShape.TABULATED:
            _check_table(self.table)

    def spent(self, information_fraction: ArrayLike, *, alpha: float) -> NDArray[np.float64]:
        """Cumulative `alpha` spent at each fraction.

        Parameters
        ----------
        information_fraction : array_like, shape (n_looks,)
            Share of the planned information gathered by each look, in (0, 1].
        alpha : float
            One-sided error to spend over the whole test, in (0, 1).

        Returns
        -------
        ndarray, shape (n_looks,)
            Probability, cumulative and non-decreasing in the fraction; equals `alpha` at 1.

        Raises
        ------
        InvalidInput
            If a fraction or `alpha` lies outside its range.
        """
        t = np.asarray(information_fraction, dtype=np.float64)
        each = [self.spent_at(fraction, alpha=alpha) for fraction in t.ravel().tolist()]
        return np.asarray(each, dtype=np.float64).reshape(t.shape)

    def spent_at(self, information_fraction: float, *, alpha: float) -> float:
        """Cumulative `alpha` spent at one fraction, in (0, 1]."""
        if not 0.0 < information_fraction <= 1.0:
            raise InvalidInput("information fractions lie in (0, 1]", field="information_fraction")
        if not 0.0 < alpha < 1.0:
            raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
        if information_fraction == 1.0:
            return alpha
        return _SHAPES[self.shape](information_fraction, alpha, self)


def one_sided_critical_value(tail: float) -> float:
    """z with upper tail probability `tail`, exact for tails far below the double epsilon."""
    return float(-ndtri_exp(math.log(tail))) if tail > 0.0 else math.inf


def _check_table(table: tuple[tuple[float, float], ...]) -> None:
    before = (0.0, 0.0)
    for fraction, share in table:
        if not (fraction > before[0] and share >= before[1]):
            break
        before = (fraction, share)
    else:
        if before == (1.0, 1.0):
            return
    raise InvalidInput("a spending table rises from (0, 0) to (1, 1)", field="table")


def _obrien_fleming(t: float, alpha: float, _: Spending) -> float:
    # log_ndtr keeps the early looks, where alpha(t) may be 1e-100, exact.
    return math.exp(_LOG_2 + float(log_ndtr(float(ndtri(alpha / 2.0)) / math.sqrt(t))))


def _hwang_shih_decani(t: float, alpha: float, spending: Spending) -> float:
    gamma = spending.parameter
    share = t if abs(gamma) < 1e-9 else math.expm1(-gamma * t) / math.expm1(-gamma)
    return alpha * share


def _tabulated(t: float, alpha: float, spending: Spending) -> float:
    before = (0.0, 0.0)
    for fraction, share in spending.table:
        if t <= fraction:
            way = (t - before[0]) / (fraction - before[0])
            return alpha * (before[1] + way * (share - before[1]))
        before = (fraction, share)
    return alpha


_Shape = Callable[[float, float, Spending], float]
_SHAPES: Mapping[SpendingShape, _Shape] = MappingProxyType(
    {
        SpendingShape.OBRIEN_FLEMING: _obrien_fleming,
        SpendingShape.POCOCK: lambda t, a, _: a * math.log1p((math.e - 1.0) * t),
        SpendingShape.HWANG_SHIH_DECANI: _hwang_shih_decani,
        SpendingShape.KIM_DEMETS: lambda t, a, s: a * t**s.parameter,
        SpendingShape.TABULATED: _tabulated,
    }
)
