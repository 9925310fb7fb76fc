"""Quantiles of two arms compared at every look from the values themselves, one a unit.

If both arms have the same q-quantile, it is some x; the null is rejected when every x is refuted,
by the smallest product over x of both arms' e-values that x is not theirs (`quantile_bets`). That
is exact from the first unit on, in however thin a tail. Two mixtures pay twice for not knowing the
effect: where each tail holds 25 values, the contrast of both arms' shares (`quantile`) finds it
with fewer units. Stretching or shifting the treatment's values gives margins and intervals.

Units are independent, and an arm's law does not change with time: one epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.errors import InvalidInput
from controller.stats.mixture import e_from_log, p_from_log_e, tuned_rho
from controller.stats.quantile_bets import Bias, QuantileBets, quantile_bets
from controller.stats.results import Alternative, Inconclusive, Reason

_BISECTIONS = 40
_WIDEST_LOG = 500.0

Floats = NDArray[np.float64]

# A larger quantile of treatment: more of control's values below x than q, fewer of treatment's.
_BIASES: Mapping[Alternative, tuple[Bias, Bias]] = MappingProxyType(
    {"two-sided": ("any", "any"), "larger": ("more", "fewer"), "smaller": ("fewer", "more")}
)
# Which ends of an interval a claim closes.
_SIDES: Mapping[Alternative, tuple[bool, bool]] = MappingProxyType(
    {"two-sided": (True, True), "larger": (True, False), "smaller": (False, True)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactQuantileTest:
    """One look of the exact comparison of two quantiles.

    Attributes
    ----------
    control, treatment : float
        Empirical quantiles.
    log_e_value, p_value : float
        Against the null, at this look; over several looks 1 / the largest e-value is valid.
    ratio_lower, ratio_upper, difference_lower, difference_upper : float
        Confidence sequences; an open end is 0 or infinite.
    """

    control: float
    treatment: float
    log_e_value: float
    p_value: float
    ratio_lower: float
    ratio_upper: float
    difference_lower: float
    difference_upper: float

    @property
    def e_value(self) -> float:
        """The e-value, at most 1e308."""
        return e_from_log(self.log_e_value)


def exact_quantile_log_e(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    q: float,
    tuning: float,
    alpha: float,
    alternative: Alternative = "two-sided",
    scale: float = 1.0,
    shift: float = 0.0,
) -> float | Inconclusive:
    """Log e-value against "treatment's q-quantile is scale times control's plus shift".

    Parameters
    ----------
    control, treatment : array_like, shape (n,)
        Values of independent units, in any order; ties are allowed.
    q : float
        In (0, 1).
    tuning : float
        Units of an arm at which evidence is to be strongest.
    alpha : float
        Level it is tuned for.
    alternative : {"two-sided", "larger", "smaller"}
        About treatment's quantile; one-sided, the null is "at most" or "at least" that.
    scale, shift : float
        The null's boundary; (1 + m, 0) is a relative margin of harm where more is worse.

    Returns
    -------
    float or Inconclusive
        Valid at every look, from the first unit on; Inconclusive `arm_empty`.

    Raises
    ------
    InvalidInput
        If a value is not finite or a parameter lies outside its range.

    Notes
    -----
    One-sided, under "treatment's is at most control's" let x be control's: a share of at most q of
    control's values lies below it, and at least q of treatment's up to it. Both one-sided e-values
    hold there, so the smallest product over x is no larger than one that does.

    References
    ----------
    .. [1] Howard and Ramdas (2022), "Sequential estimation of quantiles with applications to A/B
       testing and best-arm identification", Bernoulli 28(3), section 4.
    """
    table = _table(control, treatment, q=q, tuning=tuning, alpha=alpha, alternative=alternative)
    if isinstance(table, Inconclusive):
        return table
    return table.log_e(scale, shift)


def exact_quantile_test(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    q: float,
    tuning: float,
    alpha: float,
    alternative: Alternative = "two-sided",
    scale: float = 1.0,
    shift: float = 0.0,
) -> ExactQuantileTest | Inconclusive:
    """One look with its intervals: the nulls that are not rejected at `alpha`.

    Parameters, errors and reasons are those of `exact_quantile_log_e`. A ratio is open where a
    quantile is not positive. Evidence against a null grows the further away it lies, because every
    x between both quantiles then refutes an arm more; an end is bisected and rounded outward.
    """
    table = _table(control, treatment, q=q, tuning=tuning, alpha=alpha, alternative=alternative)
    if isinstance(table, Inconclusive):
        return table
    evidence = table.log_e(scale, shift)
    below, above = table.control.quantile, table.treatment.quantile
    sides = _SIDES[alternative]
    difference = _difference_ends(table, above - below, sides)
    ratio = (0.0, math.inf)
    if min(below, above) > 0.0:
        ratio = _ratio_ends(table, above / below, sides)
    return ExactQuantileTest(
        control=below,
        treatment=above,
        log_e_value=evidence,
        p_value=p_from_log_e(evidence),
        ratio_lower=ratio[0],
        ratio_upper=ratio[1],
        difference_lower=difference[0],
        difference_upper=difference[1],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """Both arms, to be compared under many nulls."""

    control: QuantileBets
    treatment: QuantileBets
    threshold: float

    def log_e(self, scale: float, shift: float) -> float:
        """The smallest evidence over x; the open stretches between values hold no smaller one."""
        return self._smallest(self.control.values, self.treatment.values, scale, shift)

    def keeps(self, scale: float, shift: float) -> bool:
        """Whether a null is not rejected: some x is refuted by neither arm, nor by both."""
        return self._smallest(*self._near, scale, shift) < self.threshold

    @cached_property
    def _near(self) -> tuple[Floats, Floats]:
        """Values that the arm does not refute so loudly that the other could not outweigh it."""
        control, treatment = (
            one.values[one.log_e(one.values) + other.quietest < self.threshold]
            for one, other in ((self.control, self.treatment), (self.treatment, self.control))
        )
        return control, treatment

    def _smallest(self, control: Floats, treatment: Floats, scale: float, shift: float) -> float:
        if not control.size + treatment.size:
            return math.inf
        seen = np.concatenate([control, (treatment - shift) / scale])
        moved = np.concatenate([scale * control + shift, treatment])
        return float(np.min(self.control.log_e(seen) + self.treatment.log_e(moved)))


def _table(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    q: float,
    tuning: float,
    alpha: float,
    alternative: Alternative,
) -> _Table | Inconclusive:
    if not 0.0 < q < 1.0:
        raise InvalidInput("q must lie in (0, 1)", field="q")
    spread = q * (1.0 - q)
    rho = tuned_rho(tuning * spread, alpha=alpha, alternative=alternative)
    weight = max(rho - spread, 1e-3 * spread)
    first, second = _BIASES[alternative]
    arms = (
        quantile_bets(control, q=q, weight=weight, bias=first),
        quantile_bets(treatment, q=q, weight=weight, bias=second),
    )
    if not (arms[0].values.size and arms[1].values.size):
        return Inconclusive(reason=Reason.ARM_EMPTY)
    return _Table(control=arms[0], treatment=arms[1], threshold=-math.log(alpha))


def _difference_ends(table: _Table, centre: float, sides: tuple[bool, bool]) -> tuple[float, float]:
    every = np.concatenate([table.control.values, table.treatment.values])
    apart = 2.0 * float(every.max() - every.min()) + 1.0
    return _ends(lambda shift: table.keeps(1.0, shift), centre, apart, sides)


def _ratio_ends(table: _Table, centre: float, sides: tuple[bool, bool]) -> tuple[float, float]:
    every = np.concatenate([table.control.values, table.treatment.values])
    positive = every[every > 0.0]
    apart = 2.0 * math.log(float(positive.max()) / float(positive.min())) + 1.0
    low, high = _ends(lambda log: table.keeps(_scale(log), 0.0), math.log(centre), apart, sides)
    return (_scale(low) if math.isfinite(low) else 0.0), (
        _scale(high) if math.isfinite(high) else math.inf
    )


def _scale(log: float) -> float:
    """A ratio from its logarithm, within what a double can stretch by."""
    return math.exp(min(max(log, -_WIDEST_LOG), _WIDEST_LOG))


def _ends(
    keeps: Callable[[float], bool], centre: float, apart: float, sides: tuple[bool, bool]
) -> tuple[float, float]:
    """Lower and upper end, from `centre` outward; where the arms are `apart` nothing changes."""
    low = _end(keeps, centre, centre - apart) if sides[0] else -math.inf
    high = _end(keeps, centre, centre + apart) if sides[1] else math.inf
    return low, high


def _end(keeps: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where nulls cease to be kept; infinite if they are kept even where the arms lie apart."""
    if keeps(outside):
        return math.copysign(math.inf, outside - inside)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (inside + outside)
        if keeps(middle):
            inside = middle
        else:
            outside = middle
    return outside
