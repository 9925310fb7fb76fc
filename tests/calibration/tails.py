"""Two quantiles looked at again and again: by the clustered grid, and by the values themselves.

Lognormal values, one a unit, both arms alike but for a lift; 25 looks from 100 units an arm on,
each method tuned for half of the last one's size. Decision 0034 rests on the table.

    python -m tests.calibration --table tails --runs 200
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from controller.aggregation.statistics import QuantileGrid
from controller.stats.exact_quantile import (
    ExactQuantileTest,
    exact_quantile_log_e,
    exact_quantile_test,
)
from controller.stats.quantile import QuantileTest, log_cuts, quantile_log_e, quantile_test
from controller.stats.results import Inconclusive

ALPHA = 0.05
LOOKS = 25
WIDTHS = 20
"""Runs whose intervals are taken: a width varies little, and takes a hundred times as long."""
CASES = (
    (0.5, 2000, 0.0), (0.5, 2000, 0.15), (0.9, 2000, 0.0), (0.9, 2000, 0.25),
    (0.95, 4000, 0.0), (0.95, 4000, 0.2), (0.99, 10_000, 0.0), (0.99, 10_000, 0.3),
    (0.95, 480, 0.0), (0.95, 480, 1.0), (0.99, 2400, 0.0), (0.99, 2400, 0.5), (0.99, 2400, 1.0),
)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One method on many experiments.

    Attributes
    ----------
    claimed : float
        Share of runs in which some look claims a difference.
    units : float
        Mean units an arm until then; all of them where nothing is claimed.
    width : float or None
        Median width of log(upper / lower) of the ratio at the end; None where there is none.
    """

    claimed: float
    units: float
    width: float | None


def measure(q: float, units: int, lift: float, *, runs: int, seed: int) -> tuple[Found, Found]:
    """The grid, and the exact form, on the same values.

    Parameters
    ----------
    units : int
        Of an arm at the end.
    lift : float
        Treatment's values are 1 + lift times as large.
    """
    rng = np.random.default_rng(seed)
    looks = np.unique(np.geomspace(100, units, LOOKS).astype(int)).tolist()
    middle = math.exp(float(ndtri(q)))
    cuts = log_cuts(middle / 16.0, middle * 16.0)
    first: tuple[list[int | None], list[int | None]] = ([], [])
    widths: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        a, b = rng.lognormal(size=units), (1.0 + lift) * rng.lognormal(size=units)
        pairs = {n: ((_grid(a[:n], cuts), _grid(b[:n], cuts)),) for n in looks}
        by_grid = (quantile_log_e(pairs[n], q=q, alpha=ALPHA, tuning=0.25 * units) for n in looks)
        by_values = (
            exact_quantile_log_e(a[:n], b[:n], q=q, alpha=ALPHA, tuning=0.5 * units) for n in looks
        )
        for at, evidence in zip(first, (by_grid, by_values), strict=True):
            at.append(next((n for n, e in zip(looks, evidence, strict=True) if _claims(e)), None))
        if run >= WIDTHS:
            continue
        last = (
            quantile_test(pairs[units], q=q, alpha=ALPHA, tuning=0.25 * units),
            exact_quantile_test(a, b, q=q, alpha=ALPHA, tuning=0.5 * units),
        )
        for width, found in zip(widths, last, strict=True):
            width += _width(found)
    grid, exact = (_found(at, width, units) for at, width in zip(first, widths, strict=True))
    return grid, exact


def lines(runs: int) -> Iterator[str]:
    """The table as Markdown, grid / exact."""
    yield f"{runs} runs a row, grid / exact\n"
    yield "| quantile | units an arm | lift | found | mean units until then | log width |"
    yield "|---|---|---|---|---|---|"
    for q, units, lift in CASES:
        grid, exact = measure(q, units, lift, runs=runs, seed=7)
        widths = " / ".join("none" if w is None else f"{w:.3f}" for w in (grid.width, exact.width))
        yield (
            f"| {q:g} | {units:,} | {lift:g} | {grid.claimed:.3f} / {exact.claimed:.3f} "
            f"| {grid.units:,.0f} / {exact.units:,.0f} | {widths} |"
        )


def _claims(log_e: float | Inconclusive) -> bool:
    return not isinstance(log_e, Inconclusive) and log_e >= -math.log(ALPHA)


def _width(found: QuantileTest | ExactQuantileTest | Inconclusive) -> list[float]:
    if isinstance(found, Inconclusive) or found.ratio_lower <= 0.0:
        return []
    return [math.log(found.ratio_upper / found.ratio_lower)]


def _found(first: list[int | None], widths: list[float], units: int) -> Found:
    return Found(
        claimed=sum(at is not None for at in first) / len(first),
        units=float(np.mean([at or units for at in first])),
        width=float(np.median(widths)) if widths else None,
    )


def _grid(values: Floats, cuts: tuple[float, ...]) -> QuantileGrid:
    """One value a unit: sums of C, C^2 and C n are all the same counts."""
    below = tuple(np.searchsorted(np.sort(values), cuts, side="right").tolist())
    return QuantileGrid(
        cuts=cuts,
        units=values.size,
        outcomes=values.size,
        outcomes_squared=values.size,
        below=below,
        below_squared=below,
        below_outcomes=below,
    )
