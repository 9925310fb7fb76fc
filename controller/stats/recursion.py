"""The exact recursion behind every planned test: where the statistic is, given that it goes on.

A score with independent increments, looked at k times, gives standardised statistics that form a
Markov chain. With rho_k^2 = V_{k-1} / V_k and m_k the mean of Z_k,

    Z_k | Z_{k-1} = z  ~  Normal(m_k + rho_k (z - m_{k-1}), 1 - rho_k^2).

The sub-density of Z_k over the paths that have not stopped is carried from look to look on
Gauss-Legendre nodes (Armitage, McPherson and Rowe 1969, "Repeated significance tests on
accumulating data", JRSS A 132(2); Jennison and Turnbull 2000, "Group Sequential Methods", ch. 19).
The number of nodes follows the narrowest Gaussian in sight, so that the quadrature stays at double
precision for two looks or a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from controller.errors import InvalidInput
from controller.stats.spending import one_sided_critical_value

# Half the narrowest standard deviation between nodes leaves an error near exp(-2 pi^2 4) ~ 1e-34,
# a whole one exp(-2 pi^2) ~ 3e-9.
SPACING = 0.5
COARSE = 1.0
_FEWEST_NODES = 24
_MOST_NODES = 3000
# Mass further out than this below the mean (1e-19) cannot matter to an upper crossing; above the
# mean, nodes reach as far as double precision can express a tail (1e-316).
_REACH_BELOW = 9.0
_REACH_ABOVE = 38.0
_LOG_FLOOR = -700.0
_LONGEST_MOVE = 4.0
_ROOT_STEPS = 80


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubDensity:
    """Distribution of Z_k over the paths that have not stopped by look k.

    Attributes
    ----------
    nodes : ndarray, shape (n,)
        Values of Z_k.
    mass : ndarray, shape (n,)
        Density times quadrature weight: sums to the probability of still going on.
    mean : float
        Drift: the mean Z_k would have if nothing ever stopped.
    """

    nodes: NDArray[np.float64]
    mass: NDArray[np.float64]
    mean: float


START = SubDensity(nodes=np.zeros(1), mass=np.ones(1), mean=0.0)
"""Before the first look: a point, from which a correlation of 0 leads anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The way from one look to the next.

    Attributes
    ----------
    variance_ratio : float
        V_{k-1} / V_k in [0, 1); 0 at the first look.
    mean : float
        Mean of Z_k, 0 under the null.
    """

    variance_ratio: float
    mean: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.variance_ratio < 1.0:
            raise InvalidInput("variance_ratio lies in [0, 1)", field="variance_ratio")
        if not math.isfinite(self.mean):
            raise InvalidInput("the mean of a step is finite", field="mean")

    @property
    def spread(self) -> float:
        """Standard deviation of Z_k given Z_{k-1}."""
        return math.sqrt(1.0 - self.variance_ratio)


def probability_above(before: SubDensity, step: Step, value: float) -> float:
    """P(not stopped before look k, Z_k > value)."""
    return float(before.mass @ ndtr((_centre(before, step) - value) / step.spread))


def probability_below(before: SubDensity, step: Step, value: float) -> float:
    """P(not stopped before look k, Z_k < value)."""
    return float(before.mass @ ndtr((value - _centre(before, step)) / step.spread))


def advance(
    before: SubDensity,
    step: Step,
    *,
    going_on: Sequence[tuple[float, float]],
    next_ratio: float = 0.0,
    spacing: float = SPACING,
) -> SubDensity:
    """The sub-density of Z_k after look k.

    Parameters
    ----------
    before : SubDensity
        After look k - 1, on nodes made for this step.
    step : Step
        From look k - 1 to k.
    going_on : sequence of (low, high)
        Where the test continues at look k; disjoint intervals, ends may be infinite.
    next_ratio : float
        V_k / V_{k+1}: the nodes are made fine enough for that step; 0 if there is none.
    spacing : float
        Distance of the nodes in units of the narrowest standard deviation in sight; `COARSE` leaves
        an error near 1e-8 and takes a quarter of the time.

    Returns
    -------
    SubDensity
    """
    # Towards the next look a point z spreads with sqrt(1 - r), seen from here divided by sqrt(r).
    ahead = math.sqrt(1.0 / next_ratio - 1.0) if next_ratio > 0.0 else math.inf
    nodes, weights = _nodes(going_on, step.mean, spacing * min(step.spread, ahead))
    gap = (nodes[:, None] - _centre(before, step)[None, :]) / step.spread
    kernel = np.exp(np.maximum(-0.5 * gap * gap, _LOG_FLOOR))
    density = kernel @ before.mass / (step.spread * math.sqrt(2.0 * math.pi))
    return SubDensity(nodes=nodes, mass=weights * density, mean=step.mean)


def value_exceeded_with(before: SubDensity, step: Step, probability: float) -> float:
    """The value c with P(not stopped before look k, Z_k > c) = `probability`.

    Returns inf when `probability` is 0 (or below what a double can express) and -inf when it is
    all that is left.

    Notes
    -----
    Newton on log P(c), which is concave where it matters, kept inside a bracket.
    """
    left = float(before.mass.sum())
    if probability >= left:
        return -math.inf
    if probability <= 1e-300:
        return math.inf
    centre = _centre(before, step)
    # P(Z_k > c) alone bounds c from the right, and so does the reach of the paths still going on.
    unstopped = step.mean + one_sided_critical_value(min(probability / left, 1.0))
    value = min(unstopped, float(centre.max()) + 6.0 * step.spread)
    low, high = -math.inf, math.inf
    for _ in range(_ROOT_STEPS):
        reached, move = _newton_move(before.mass, (centre - value) / step.spread, probability)
        move *= step.spread
        if abs(move) <= 4e-16 * max(1.0, abs(value)):
            break
        low, high = (value, high) if reached > probability else (low, value)
        following = value + move
        if not low < following < high:
            inside = math.isfinite(low) and math.isfinite(high)
            following = 0.5 * (low + high) if inside else value + math.copysign(0.5, move)
        if following == value:
            break
        value = following
    return value


def _newton_move(
    mass: NDArray[np.float64], z: NDArray[np.float64], probability: float
) -> tuple[float, float]:
    """P(c) and Newton's move of c on log P, in units of the spread; a step back if P vanishes."""
    reached = float(mass @ ndtr(z))
    slope = float(mass @ np.exp(np.maximum(-0.5 * z * z, _LOG_FLOOR))) / math.sqrt(2.0 * math.pi)
    if reached <= 0.0 or slope <= 0.0:
        return reached, -1.0
    move = reached * math.log(reached / probability) / slope
    # Where nearly all of what is left must be stopped, log P is flat and Newton would leave sight.
    return reached, min(max(move, -_LONGEST_MOVE), _LONGEST_MOVE)


def value_undercut_with(before: SubDensity, step: Step, probability: float) -> float:
    """The value f with P(not stopped before look k, Z_k < f) = `probability`; the mirror image."""
    mirrored = SubDensity(nodes=-before.nodes, mass=before.mass, mean=-before.mean)
    return -value_exceeded_with(
        mirrored, Step(variance_ratio=step.variance_ratio, mean=-step.mean), probability
    )


def _centre(before: SubDensity, step: Step) -> NDArray[np.float64]:
    rho = math.sqrt(step.variance_ratio)
    return step.mean + rho * (before.nodes - before.mean)


def _nodes(
    going_on: Sequence[tuple[float, float]], mean: float, spacing: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights over the intervals, at most `spacing` apart."""
    points: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    for low, high in going_on:
        left, right = max(low, mean - _REACH_BELOW), min(high, mean + _REACH_ABOVE)
        if math.isinf(high):
            right = mean + _REACH_BELOW
        if right <= left:
            continue
        length = right - left
        # In the middle of the interval n nodes lie pi length / (2 n) apart.
        wanted = math.ceil(math.pi * length / (2.0 * spacing))
        x, w = _legendre(_round_up(min(max(wanted, _FEWEST_NODES), _MOST_NODES)))
        points.append(left + 0.5 * length * (x + 1.0))
        weights.append(0.5 * length * w)
    if not points:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(points), np.concatenate(weights)


def _round_up(count: int) -> int:
    """Few different sizes, so that the node tables are shared: steps of about a sixteenth."""
    step = max(8, 1 << max(count.bit_length() - 4, 0))
    return -(-count // step) * step


@lru_cache(maxsize=256)
def _legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, w = np.polynomial.legendre.leggauss(count)
    return np.asarray(x, dtype=np.float64), np.asarray(w, dtype=np.float64)
