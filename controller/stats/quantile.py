"""Quantiles of two arms compared at every look, from counts below the cuts of a log grid.

Latencies arrive several to a unit, so a quantile is tested through a ratio: C outcomes at or below
x out of n outcomes, per unit. If both arms have the same q-quantile x, their shares below x are
equal and both are q. x is unknown; a claim is rejected only when every x is: at each candidate x
the evidence is a mixture of two e-values, one that the arms' shares differ at x, and one, with a
small weight, that x is not the quantile at all. Averages of e-values are e-values under any
dependence, so the smallest over x is one for the null "equal quantiles". Shifting or stretching one
arm's grid gives margins and intervals.

Between two cuts counts are interpolated on the log scale. Under equal distributions that changes
nothing; otherwise a stated value may be off by `relative_error`, the width of one cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.errors import InvalidInput
from controller.stats.clustered import ClusteredCounts, Nulls, Table, prepare, quantile_of
from controller.stats.mixture import e_from_log, p_from_log_e, tuned_rho
from controller.stats.results import Alternative, Inconclusive, Reason

MOST_CUTS = 256
_REFINEMENT = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileScore:
    """The contrast of shares at the pooled quantile, for planned and fixed tests.

    Attributes
    ----------
    score, variance : float
        Design-weighted sum and its variance; positive when treatment's quantile is *larger*.
    size : float
        Effective size W in units.
    """

    score: float
    variance: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileTest:
    """One look of the always-valid comparison of two quantiles.

    Attributes
    ----------
    control, treatment : float
        Estimated quantiles.
    log_e_value, p_value : float
        Against the null.
    ratio_lower, ratio_upper : float
        Confidence sequence for treatment / control; an open end is 0 or inf.
    difference_lower, difference_upper : float
        Confidence sequence for treatment - control; an open end is infinite.
    relative_error : float
        Width of one grid cell: the resolution of every value above.
    size : float
        Effective size W in units.
    """

    control: float
    treatment: float
    log_e_value: float
    p_value: float
    ratio_lower: float
    ratio_upper: float
    difference_lower: float
    difference_upper: float
    relative_error: float
    size: float

    @property
    def e_value(self) -> float:
        """The e-value, at most 1e308."""
        return e_from_log(self.log_e_value)


def log_cuts(low: float, high: float, *, count: int = MOST_CUTS) -> tuple[float, ...]:
    """Cuts evenly spaced on the log scale from `low` to `high`, fixed before the data.

    Parameters
    ----------
    low, high : float
        0 < low < high; the quantile of both arms should lie well inside.
    count : int
        2 to 256.
    """
    if not (0.0 < low < high < math.inf and 2 <= count <= MOST_CUTS):
        raise InvalidInput("0 < low < high and 2 <= count <= 256", field="low")
    return tuple(float(cut) for cut in np.geomspace(low, high, count))


def relative_error(cuts: Sequence[float] | Floats) -> float:
    """Width of the widest cell over its lower end: by how much a stated value may be off."""
    edges = np.asarray(cuts, dtype=np.float64)
    return float(np.max(edges[1:] / edges[:-1])) - 1.0


def quantile_score(
    epochs: Sequence[tuple[ClusteredCounts, ClusteredCounts]],
    *,
    q: float,
    scale: float = 1.0,
    shift: float = 0.0,
) -> QuantileScore | Inconclusive:
    """Score of the null Q_treatment = scale Q_control + shift at the pooled quantile.

    Parameters
    ----------
    epochs : sequence of (control, treatment)
    q : float
        In (0, 1).
    scale, shift : float
        The null; (1 + margin, 0) is a relative margin of harm for a latency.

    Returns
    -------
    QuantileScore or Inconclusive
        Inconclusive `arm_empty`, `burn_in` (fewer than 25 outcomes in the smaller tail of an arm),
        `grid_exceeded`, `zero_variance`.
    """
    prepared = prepare(epochs, q)
    if isinstance(prepared, Inconclusive):
        return prepared
    null = Nulls.one(scale, shift)
    place = quantile_of(prepared.pooled(null)[0], prepared.cuts, q)
    if place is None:
        return Inconclusive(reason=Reason.GRID_EXCEEDED)
    score, variance, _ = prepared.contrast(np.array([[place]]), null)
    if not variance[0, 0] > 0.0:
        return Inconclusive(reason=Reason.ZERO_VARIANCE)
    return QuantileScore(
        score=-float(score[0, 0]), variance=float(variance[0, 0]), size=prepared.effective_size()
    )


def quantile_log_e(
    epochs: Sequence[tuple[ClusteredCounts, ClusteredCounts]],
    *,
    q: float,
    alpha: float,
    tuning: float,
    alternative: Alternative = "two-sided",
    scale: float = 1.0,
    shift: float = 0.0,
) -> float | Inconclusive:
    """Log e-value of `quantile_test` alone: a fifteenth of its time, for an alarm at every look.

    Parameters and reasons are those of `quantile_test`.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    prepared = prepare(epochs, q)
    if isinstance(prepared, Inconclusive):
        return prepared
    if any(quantile_of(prepared.arm_share(side), prepared.cuts, q) is None for side in (0, 1)):
        return Inconclusive(reason=Reason.GRID_EXCEEDED)
    rho = tuned_rho(tuning, alpha=alpha, alternative=alternative)
    ratio = prepared.effective_size() / rho
    return float(prepared.smallest_log_e(Nulls.one(scale, shift), ratio, alternative)[0])


def quantile_test(
    epochs: Sequence[tuple[ClusteredCounts, ClusteredCounts]],
    *,
    q: float,
    alpha: float,
    tuning: float,
    alternative: Alternative = "two-sided",
    scale: float = 1.0,
    shift: float = 0.0,
) -> QuantileTest | Inconclusive:
    """One look of the always-valid comparison of the arms' q-quantiles.

    Parameters
    ----------
    epochs : sequence of (control, treatment)
        Counts on one common grid of cuts.
    q : float
        In (0, 1).
    alpha : float
        Level, two-sided for "two-sided".
    tuning : float
        Effective size at which the interval is narrowest.
    alternative : {"two-sided", "larger", "smaller"}
        About treatment's quantile against scale * control's + shift.
    scale, shift : float
        The null.

    Returns
    -------
    QuantileTest or Inconclusive
        Reasons as in `quantile_score`.

    References
    ----------
    .. [1] Howard and Ramdas (2022), "Sequential estimation of quantiles with applications to A/B
       testing and best-arm identification", Bernoulli 28(3), section 4: the minimum over x of an
       e-value of both arms at x.
    .. [2] Waudby-Smith et al. (2024), Theorem 2.2, for each ratio test.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
    prepared = prepare(epochs, q)
    if isinstance(prepared, Inconclusive):
        return prepared
    cuts = prepared.cuts
    control, treatment = (quantile_of(prepared.arm_share(side), cuts, q) for side in (0, 1))
    if control is None or treatment is None:
        return Inconclusive(reason=Reason.GRID_EXCEEDED)
    size = prepared.effective_size()
    ratio = size / tuned_rho(tuning, alpha=alpha, alternative=alternative)

    evidence = float(prepared.smallest_log_e(Nulls.one(scale, shift), ratio, alternative)[0])

    def kept(nulls: Nulls) -> NDArray[np.bool_]:
        return prepared.smallest_log_e(nulls, ratio, alternative) < -math.log(alpha)

    ends = _ends(kept, prepared, control, treatment)
    if alternative == "smaller":
        ends[[0, 2]] = 0.0, -math.inf
    elif alternative == "larger":
        ends[[1, 3]] = math.inf
    return QuantileTest(
        control=control,
        treatment=treatment,
        log_e_value=evidence,
        p_value=p_from_log_e(evidence),
        ratio_lower=float(ends[0]),
        ratio_upper=float(ends[1]),
        difference_lower=float(ends[2]),
        difference_upper=float(ends[3]),
        relative_error=relative_error(cuts),
        size=size,
    )


def _ends(
    kept: Callable[[Nulls], NDArray[np.bool_]], table: Table, control: float, treatment: float
) -> Floats:
    """Lower and upper ratio, lower and upper difference: where nulls cease to be kept.

    The four searches go together, because a null costs little beside a call: outward in doubling
    steps, then three times into the bracket. Ends are rounded outward.
    """
    span = math.log(table.cuts[-1] / table.cuts[0])
    centre = np.array([math.log(treatment / control)] * 2 + [treatment - control] * 2)
    reach = np.array([-span, span, -table.cuts[-1], table.cuts[-1]])

    def refused(offsets: Floats) -> Floats:
        """First refused column of each of the four rows; the last column if none is."""
        values = centre[:, None] + offsets
        nulls = Nulls(
            scale=np.concatenate([np.exp(values[:2]).ravel(), np.ones(values[2:].size)]),
            shift=np.concatenate([np.zeros(values[:2].size), values[2:].ravel()]),
        )
        out = ~kept(nulls).reshape(values.shape)
        first = np.where(out.any(axis=1), out.argmax(axis=1), values.shape[1])
        return np.asarray(first, dtype=np.float64)

    steps = np.concatenate([[0.0], np.geomspace(1.0 / 1024.0, 1.0, 11)])
    start = refused(reach[:, None] * steps[1:]).astype(np.intp)
    open_ = start == steps.size - 1
    inside = reach * steps[np.minimum(start, steps.size - 2)]
    outside = reach * steps[np.minimum(start + 1, steps.size - 1)]
    parts = np.arange(1, _REFINEMENT) / _REFINEMENT
    for _ in range(3):
        width = outside - inside
        first = refused(inside[:, None] + width[:, None] * parts)
        inside, outside = (
            inside + width * first / _REFINEMENT,
            inside + width * (first + 1) / _REFINEMENT,
        )
    ends = np.where(open_, np.copysign(math.inf, reach), centre + outside)
    ends[:2] = np.exp(ends[:2])
    return np.asarray(ends, dtype=np.float64)
