"""The planned test written out a second time, for conversions and very many runs at once.

Where all runs share their bounds (equal weights, known rates) the whole simulation is a few
arrays: tens of thousands of runs in a second, to tell chance from inflation in the live look's
shorter runs.

    python -m tests.calibration.written_out [--runs 20000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np

from controller.stats.group_sequential import SequentialPlan, boundaries

LOOKS, UNITS, ALPHA = 20, 1000, 0.05


def claims(rates: Sequence[float], *, runs: int, seed: int) -> tuple[float, float]:
    """Shares of runs that claim "better", and that claim anything; one epoch a rate, split evenly.

    A null world of `LOOKS` looks of `UNITS` units; the variance ratios of neighbouring looks use
    the true rates, the statistics the observed ones.
    """
    rng = np.random.default_rng(seed)
    epoch = np.arange(LOOKS) * len(rates) // LOOKS
    total = np.zeros((runs, LOOKS))
    variance = np.zeros((runs, LOOKS))
    truth = np.zeros(LOOKS)
    for number, rate in enumerate(rates):
        here = epoch == number
        n1 = np.cumsum(np.where(here, rng.binomial(UNITS, 0.5, (runs, LOOKS)), 0), axis=1)
        n0 = np.cumsum(np.where(here, UNITS, 0)) - n1
        x1 = np.cumsum(
            np.where(here, rng.binomial(np.diff(n1, axis=1, prepend=0), rate), 0), axis=1
        )
        x0 = np.cumsum(
            np.where(here, rng.binomial(np.diff(n0, axis=1, prepend=0), rate), 0), axis=1
        )
        units = np.maximum(n1 + n0, 2)
        size = n1 * n0 / units
        shown = (x1 + x0) / units
        total += size * (x1 / np.maximum(n1, 1) - x0 / np.maximum(n0, 1))
        variance += size * shown * (1.0 - shown) * units / (units - 1)
        truth += np.cumsum(here) * rate * (1.0 - rate)
    z = total / np.sqrt(np.maximum(variance, 1e-300))
    clock = np.arange(1, LOOKS + 1) / LOOKS
    taken = boundaries(SequentialPlan(alpha=ALPHA), truth, spending_time=clock)
    critical = np.array([look.critical_value for look in taken])
    better = (z >= critical).any(axis=1)
    return float(better.mean()), float((better | (z <= -critical).any(axis=1)).mean())


def main() -> None:
    """A Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    runs = parser.parse_args().runs
    worlds: dict[str, Sequence[float]] = {
        f"conversion {p:g}": (p,) for p in (0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)
    }
    worlds["ramp in four epochs, base rate 2-5-8-10 %"] = (0.02, 0.05, 0.08, 0.10)
    print(f"standard error {math.sqrt(ALPHA * (1 - ALPHA) / runs):.4f}\n")
    print("| world without an effect | better | OEC claim |\n|---|---|---|")
    for number, (name, rates) in enumerate(worlds.items()):
        better, anything = claims(rates, runs=runs, seed=number)
        print(f"| {name} | {better:.4f} | {anything:.4f} |", flush=True)


if __name__ == "__main__":
    main()
