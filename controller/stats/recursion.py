"""The exact recursion behind every planned test: where the statistic is, given that it goes on.

A score with independent increments, looked at k times, gives standardised statistics that form a
Markov chain. With rho_k^2 = V_{k-1} / V_k and m_k the mean of Z_k,

    Z_k | Z_{k-1} = z  ~  Normal(m_k + rho_k (z - m_{k-1}), 1 - rho_k^2).

The sub-density of Z_k over the paths that have not stopped is carried from look to look on panels
of Gauss-Legendre nodes (Armitage, McPherson and Rowe 1969, "Repeated significance tests on
accumulating data", JRSS A 132(2); Jennison and Turnbull 2000, "Group Sequential Methods", ch. 19).
The width of a panel follows the narrowest Gaussian in sight, so that the quadrature stays at double
precision for two looks or a thousand, and only panels within reach of each other are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from controller.errors import InvalidInput
from controller.stats.spending import one_sided_critical_value

Floats = NDArray[np.float64]

# Gauss-Legendre with 32 nodes over ten standard deviations: what it integrates is a Gaussian times
# a density that is itself no rougher than one, so the error is near 1e-13 of it.
_NODES = 32
_PANEL = 10.0
# Mass further out than this below the mean (1e-19) cannot matter to an upper crossing; above the
# mean, nodes reach as far as double precision can express a tail (1e-316).
_REACH_BELOW = 9.0
_REACH_ABOVE = 38.0
# Given where a path is, it comes from within so many standard deviations of its mean origin.
_REACH_BACK = 8.5
_FURTHEST = 100.0
_LONGEST_MOVE = 4.0
_SMALLEST_ERROR = 1e-14
_ROOT_STEPS = 80
_ROOT_2_PI = math.sqrt(2.0 * math.pi)


def _legendre(count: int) -> tuple[Floats, Floats]:
    x, w = np.polynomial.legendre.leggauss(count)
    return np.asarray(x, dtype=np.float64), np.asarray(w, dtype=np.float64)


_X, _W = _legendre(_NODES)
_POINT = np.zeros(1)


class Strip(NamedTuple):
    """Panels of one width side by side, over one interval where the test goes on.

    Attributes
    ----------
    first, half : float
        Centre of the lowest panel; half of the width of each.
    offsets : ndarray, shape (n,)
        Of the nodes from the centre, in halves.
    nodes, mass : ndarray, shape (panels, n)
        Values of Z_k, rising; density times quadrature weight.
    """

    first: float
    half: float
    offsets: Floats
    nodes: Floats
    mass: Floats


class SubDensity(NamedTuple):
    """Distribution of Z_k over the paths that have not stopped by look k.

    Attributes
    ----------
    strips : tuple of Strip
        One for each interval in which the test goes on, ascending.
    mean : float
        Drift: the mean Z_k would have if nothing ever stopped.
    """

    strips: tuple[Strip, ...]
    mean: float

    @property
    def left(self) -> float:
        """Probability of still going on."""
        return math.fsum(float(strip.mass.sum()) for strip in self.strips)


START = SubDensity(
    strips=(
        Strip(first=0.0, half=0.0, offsets=_POINT, nodes=np.zeros((1, 1)), mass=np.ones((1, 1))),
    ),
    mean=0.0,
)
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
    return math.fsum(
        float(mass @ ndtr(z)) for mass, z in _beyond(before, step, value, sign=1.0, reach=math.inf)
    )


def probability_below(before: SubDensity, step: Step, value: float) -> float:
    """P(not stopped before look k, Z_k < value)."""
    return math.fsum(
        float(mass @ ndtr(z)) for mass, z in _beyond(before, step, value, sign=-1.0, reach=math.inf)
    )


def advance(
    before: SubDensity,
    step: Step,
    *,
    going_on: Sequence[tuple[float, float]],
    next_ratio: float = 0.0,
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

    Returns
    -------
    SubDensity
    """
    spread = step.spread
    # Towards the next look a point z spreads with sqrt(1 - r), seen from here divided by sqrt(r).
    ahead = math.sqrt(1.0 / next_ratio - 1.0) if next_ratio > 0.0 else math.inf
    widest = _PANEL * min(spread, ahead)
    strips = []
    for low, high in going_on:
        left = max(low, step.mean - _REACH_BELOW)
        right = min(high, step.mean + (_REACH_BELOW if high == math.inf else _REACH_ABOVE))
        if left < right:
            strips.append(
                _strip(before, step, left, right, panels=math.ceil((right - left) / widest))
            )
    return SubDensity(strips=tuple(strips), mean=step.mean)


def _strip(before: SubDensity, step: Step, left: float, right: float, *, panels: int) -> Strip:
    half = 0.5 * (right - left) / panels
    centres = left + half * np.arange(1.0, 2.0 * panels, 2.0)
    density = np.zeros((panels, _NODES))
    for strip in before.strips:
        density += _carried(strip, before.mean, step, centres, half)
    density *= _W * (half / (step.spread * _ROOT_2_PI))
    nodes = centres[:, None] + half * _X
    return Strip(first=left + half, half=half, offsets=_X, nodes=nodes, mass=density)


def _carried(old: Strip, mean: float, step: Step, centres: Floats, half: float) -> Floats:
    """sum_i mass_i exp(-(y - rho x_i)^2 / 2) at every new node y, distances in spreads.

    With D the distance of two panels' centres and u, v the nodes' offsets from these,

        exp(-(D + u - v)^2 / 2) = exp(-D^2 / 2 - D u) exp(-(u - v)^2 / 2) exp(D v):

    an exponential for each panel in reach and node instead of one for each pair of nodes, and the
    middle factor, which is the same for all panels, makes one matrix product.
    """
    spread = step.spread
    scale = math.sqrt(step.variance_ratio) / spread
    new, here = (centres - step.mean) / spread, half / spread * _X
    lowest, there = (old.first - mean) * scale, old.half * scale * old.offsets
    which = _in_reach(old, step, new, lowest=lowest, half=half)
    distance = new[:, None] - (2.0 * old.half * scale * which + lowest)
    np.minimum(distance, _FURTHEST, out=distance)
    np.maximum(distance, -_FURTHEST, out=distance)
    distance = distance.reshape(-1, 1)
    sources = np.exp(distance * there)
    sources *= old.mass.take(which.ravel(), axis=0)
    apart = here - there[:, None]
    apart *= apart
    apart *= -0.5
    reached = sources @ np.exp(apart, out=apart)
    targets = distance * -here
    targets -= 0.5 * distance * distance
    reached *= np.exp(targets, out=targets)
    return np.asarray(np.add.reduce(reached.reshape(centres.size, -1, here.size), axis=1))


def _in_reach(
    old: Strip, step: Step, new: Floats, *, lowest: float, half: float
) -> NDArray[np.intp]:
    """Old panels from which a path may come to each new one, shape (new panels, as many each).

    To y the paths come from about rho^2 y, with standard deviation rho (in spreads, seen from y).
    `new` are the centres of the new panels, `lowest` that of the lowest old one.
    """
    panels, ratio = old.mass.shape[0], step.variance_ratio
    if panels == 1:
        return np.zeros((new.size, 1), dtype=np.intp)
    rho, spread = math.sqrt(ratio), step.spread
    width = 2.0 * old.half * rho / spread
    reach = ratio * half / spread + _REACH_BACK * rho
    near = min(math.ceil(2.0 * reach / width) + 1, panels)
    slope, start = ratio / width, 0.5 * near - lowest / width
    first = [min(max(int(slope * y + start) - near + 1, 0), panels - near) for y in new.tolist()]
    return np.array(first, dtype=np.intp)[:, None] + np.arange(near)


def value_exceeded_with(
    before: SubDensity, step: Step, probability: float, *, near: float | None = None
) -> float:
    """The value c with P(not stopped before look k, Z_k > c) = `probability`.

    Parameters
    ----------
    before : SubDensity
    step : Step
    probability : float
    near : float, optional
        Where to begin the search: usually the value of the look before.

    Returns
    -------
    float
        inf when `probability` is 0 (or below what a double can express) and -inf when it is all
        that is left.
    """
    return _value_beyond(before, step, probability, sign=1.0, near=near)


def value_undercut_with(
    before: SubDensity, step: Step, probability: float, *, near: float | None = None
) -> float:
    """The value f with P(not stopped before look k, Z_k < f) = `probability`; the mirror image."""
    return _value_beyond(before, step, probability, sign=-1.0, near=near)


def _value_beyond(
    before: SubDensity, step: Step, probability: float, *, sign: float, near: float | None
) -> float:
    """The root of log P(c), kept inside a bracket; `sign` -1 is the lower tail.

    Each move solves the third-order expansion at c, so that two evaluations serve where the value
    is near that of the look before.
    """
    left = before.left
    if probability >= left:
        return -sign * math.inf
    if probability <= 1e-300:
        return sign * math.inf
    spread, target = step.spread, math.log(probability)
    value = (
        near
        if near is not None and math.isfinite(near)
        else _outset(before, step, probability / left, sign)
    )
    low, high = -math.inf, math.inf
    for _ in range(_ROOT_STEPS):
        excess, move, error = _move(before, step, value, target, sign)
        if error <= _SMALLEST_ERROR:
            return value + sign * move * spread
        # Along `sign` the tail falls: too much of it left means further out.
        here = sign * value
        low, high = (here, high) if excess > 0.0 else (low, here)
        following = here + move * spread
        if not low < following < high:
            inside = math.isfinite(low) and math.isfinite(high)
            following = 0.5 * (low + high) if inside else here + math.copysign(0.5, move)
        if following == here:
            return value
        value = sign * following
    return value


def _outset(before: SubDensity, step: Step, share: float, sign: float) -> float:
    """A first guess: what P(Z_k > c) alone would ask for, within reach of the paths going on."""
    unstopped = sign * step.mean + one_sided_critical_value(min(share, 1.0))
    rho = math.sqrt(step.variance_ratio)
    if sign > 0.0:
        end = float(before.strips[-1].nodes[-1, -1]) - before.mean
    else:
        end = before.mean - float(before.strips[0].nodes[0, 0])
    return sign * min(unstopped, sign * step.mean + rho * end + 6.0 * step.spread)


def _move(
    before: SubDensity, step: Step, value: float, target: float, sign: float
) -> tuple[float, float, float]:
    """log P(c) - target, how far out to go from c, and what is then left to go, in spreads."""
    reached = slope = bend = twist = 0.0
    for mass, z in _beyond(before, step, value, sign=sign, reach=_REACH_BACK):
        reached += float(mass @ ndtr(z))
        falling = np.exp(-0.5 * z * z)
        slope += float(mass @ falling)
        falling *= z
        bend += float(mass @ falling)
        falling *= z
        twist += float(mass @ falling)
    if reached <= 0.0 or slope <= 0.0:
        return -math.inf, -1.0, math.inf
    excess = math.log(reached) - target
    # Derivatives of log P along c: -phi, -z phi and -(z^2 - 1) phi summed over the mass, over P.
    unit = 1.0 / (_ROOT_2_PI * reached)
    first, second, third = -slope * unit, -bend * unit, -(twist - slope) * unit
    curve = second - first * first
    turn = third - 3.0 * first * second + 2.0 * first**3
    move = -excess / first
    a, b = 0.5 * curve / first, turn / (6.0 * first)
    wrong = max(abs(a * move), math.sqrt(abs(b)) * abs(move))
    error = abs(move) * wrong**3
    if wrong < 0.25:
        move *= 1.0 - move * (a - move * (2.0 * a * a - b))
    # Where nearly all of what is left must be stopped, log P is flat and Newton would leave sight.
    return excess, min(max(move, -_LONGEST_MOVE), _LONGEST_MOVE), error


def _beyond(
    before: SubDensity, step: Step, value: float, *, sign: float, reach: float
) -> list[tuple[Floats, Floats]]:
    """(mass, standardised distance beyond `value`) of the nodes, strip by strip.

    Only panels that come within `reach` standard deviations of the mean origin of paths that end
    at `value`, and all those further out; at least the outermost.
    """
    rho, spread = math.sqrt(step.variance_ratio), step.spread
    found = []
    for strip in before.strips:
        panels = strip.mass.shape[0]
        rows = slice(None)
        if reach < math.inf and panels > 1:
            # In panels from the lowest; a mean origin beyond them all counts as their outer edge.
            origin = (before.mean + rho * (value - step.mean) - strip.first) / (2.0 * strip.half)
            back = (reach + 1.0) * spread / (2.0 * strip.half)
            if sign > 0.0:
                rows = slice(max(math.floor(min(origin + 0.5, panels) - back), 0), None)
            else:
                rows = slice(None, min(math.ceil(max(origin + 0.5, 0.0) + back), panels))
        z = strip.nodes[rows].ravel() * (sign * rho / spread)
        z += sign * (step.mean - rho * before.mean - value) / spread
        found.append((strip.mass[rows].ravel(), z))
    return found
