"""How close a spending shape can come to Wald's bound: power against mean size, exactly computed.

Where a lift raises the variance, as it does for revenue of 6 % payers, twice the effect is only
1.775 times the drift: the last column of the table, and the second search.

For every shape the exact recursion gives power and ASN/N at the effect that a fixed test of N units
finds with power .9. The bound is Wald's mean size of a two-decision SPRT with the same errors. The
search moves the five inner knots of a tabulated shape to the least mean size at a given power.

    python -m tests.benchmarks.spending_frontier [--looks 100] [--steps 300]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtri

from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.planning import operating
from controller.stats.spending import Spending, SpendingShape

ALPHA = 0.05
FIRST_LOOK = 0.05
DRIFT = float(ndtri(1 - ALPHA / 2) + ndtri(0.9))
KNOTS = (0.15, 0.3, 0.5, 0.7, 0.85)
TWICE_OF_RARE_PAYERS = 1.775


def performance(spending: Spending, looks: int) -> tuple[float, float, float, float]:
    """Power, ASN/N at the design effect, at twice it, and at 1.775 times it."""
    times = [k / looks for k in range(1, looks + 1) if k / looks >= FIRST_LOOK]
    taken = boundaries(SequentialPlan(alpha=ALPHA, spending=spending), times)
    above = [look.critical_value for look in taken]
    below = [-each for each in above]
    design, twice, rare = (
        operating(times, above, drift=factor * DRIFT, stop_below=below)
        for factor in (1.0, 2.0, TWICE_OF_RARE_PAYERS)
    )
    return (
        design.power,
        design.expected_fraction,
        twice.expected_fraction,
        rare.expected_fraction,
    )


def wald(power: float) -> float:
    """Wald's mean size over the fixed test's N (power .9) for errors alpha / 2 and 1 - power."""
    a, b = ALPHA / 2, 1.0 - power
    return 2.0 * ((1 - b) * math.log((1 - b) / a) + b * math.log(b / (1 - a))) / DRIFT**2


def searched(power: float, *, looks: int, steps: int, early: bool = False) -> Spending:
    """The tabulated shape with the least mean size among those near this power.

    With `early` the least at 1.775 times the effect, among those of at most .625 at the effect.
    """

    def shape(free: NDArray[np.float64]) -> Spending:
        gaps = np.exp(np.append(free, 0.0))
        shares = np.cumsum(gaps / gaps.sum())
        shares[-1] = 1.0
        table = tuple(zip((*KNOTS, 1.0), shares.tolist(), strict=True))
        return Spending(shape=SpendingShape.TABULATED, table=table)

    def cost(free: NDArray[np.float64]) -> float:
        reached, size, _, rare = performance(shape(free), looks)
        short = 20.0 * max(power - reached, 0.0)
        return rare + 20.0 * max(size - 0.625, 0.0) + short if early else size + short

    start = np.log(np.diff(Spending().spent((*KNOTS, 1.0), alpha=0.5) / 0.5, prepend=0.0))
    best = minimize(
        cost,
        start[:-1] - start[-1],
        method="Nelder-Mead",
        options={"maxfev": steps, "xatol": 1e-3, "fatol": 1e-5},
    )
    return shape(best.x)


def shapes() -> dict[str, Spending]:
    """The named families along their parameter."""
    family: dict[str, Callable[[float], Spending]] = {
        "HSD": lambda g: Spending(parameter=g),
        "power": lambda r: Spending(shape=SpendingShape.KIM_DEMETS, parameter=r),
    }
    found = {"Pocock": Spending(shape=SpendingShape.POCOCK)}
    for name, parameters in (("HSD", (-1.0, -2.0, -3.0, -4.0)), ("power", (1.5, 2.0, 3.0))):
        found |= {f"{name}({p:g})": family[name](p) for p in parameters}
    return found | {"O'Brien-Fleming": Spending(shape=SpendingShape.OBRIEN_FLEMING)}


def lines(named: dict[str, Spending], looks: int) -> Sequence[str]:
    """Markdown rows."""
    rows = [
        "| shape | power | ASN/N | twice | 1.775 times | over Wald |",
        "|---|---|---|---|---|---|",
    ]
    for name, spending in named.items():
        power, size, twice, rare = performance(spending, looks)
        cells = f"{power:.4f} | {size:.4f} | {twice:.4f} | {rare:.4f} | {size / wald(power):.4f}"
        rows.append(f"| {name} | {cells} |")
    return rows


def main() -> None:
    """Print the named shapes, then the searched ones at their powers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=300)
    chosen = parser.parse_args()
    best = {
        f"searched for power {power:g}": searched(power, looks=chosen.looks, steps=chosen.steps)
        for power in (0.86, 0.872, 0.88)
    }
    best["searched for 1.775 times, power 0.87"] = searched(
        0.87, looks=chosen.looks, steps=chosen.steps, early=True
    )
    print("\n".join(lines(shapes() | best, chosen.looks)))
    for name, spending in best.items():
        print(f"{name}: {[(t, round(share, 4)) for t, share in spending.table]}")


if __name__ == "__main__":
    main()
