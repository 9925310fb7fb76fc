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
_AT_ONCE = 2000


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


def count_claims(*, runs: int, seed: int) -> tuple[float, float]:
    """The same for an overdispersed count: failures of 1 + Poisson(4) requests with one Beta rate.

    Units with the same count are drawn together, as one multinomial a block and arm.
    """
    rng = np.random.default_rng(seed)
    requests = 1 + rng.poisson(4.0, 2_000_000)
    law = np.bincount(rng.binomial(requests, rng.beta(1.0, 19.0, requests.size))) / requests.size
    value = np.arange(law.size, dtype=np.float64)
    clock = np.arange(1, LOOKS + 1) / LOOKS
    taken = boundaries(SequentialPlan(alpha=ALPHA), clock)
    critical = np.array([look.critical_value for look in taken])
    better = anything = 0
    for begin in range(0, runs, _AT_ONCE):
        shape = (min(_AT_ONCE, runs - begin), LOOKS)
        blocks = rng.binomial(UNITS, 0.5, shape)
        told = rng.multinomial(blocks, law), rng.multinomial(UNITS - blocks, law)
        sums = [(each @ value).cumsum(axis=1) for each in told]
        squares = ((told[0] + told[1]) @ value**2).cumsum(axis=1)
        n1 = blocks.cumsum(axis=1)
        units = UNITS * np.arange(1.0, LOOKS + 1.0)
        variance = (squares - (sums[0] + sums[1]) ** 2 / units) / (units - 1.0)
        error = np.sqrt(variance * (1.0 / n1 + 1.0 / (units - n1)))
        z = (sums[0] / n1 - sums[1] / (units - n1)) / error
        better += int((z >= critical).any(axis=1).sum())
        anything += int((np.abs(z) >= critical).any(axis=1).sum())
    return better / runs, anything / runs


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
    better, anything = count_claims(runs=runs, seed=len(worlds))
    print(f"| failures a unit, overdispersed | {better:.4f} | {anything:.4f} |", flush=True)


if __name__ == "__main__":
    main()
