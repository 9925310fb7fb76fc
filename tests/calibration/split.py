"""The sample-ratio alarm against a chi-square test that is looked at just as often.

python -m tests.calibration.split [--runs 20000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from controller.stats.srm import log_e_value

LOOKS, BLOCK, LEVEL = 200, 500, 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What both have said by 100,000 units.

    Attributes
    ----------
    ours, chi_square : float
        Share of runs with an alarm.
    median : int or None
        Units at which half of our runs had alarmed; None where fewer ever did.
    """

    ours: float
    chi_square: float
    median: int | None


def measure(planned: float, true: float, *, runs: int, seed: int) -> Found:
    """Two arms, the challenger planned to get one share and really getting another."""
    rng = np.random.default_rng(seed)
    units = BLOCK * np.arange(1, LOOKS + 1)
    arrived = rng.binomial(BLOCK, true, (runs, LOOKS)).cumsum(axis=1)
    counts = np.stack([units - arrived, arrived], axis=-1)
    ours = log_e_value(counts, (1.0 - planned, planned)) >= -math.log(LEVEL)
    z = (arrived - planned * units) / np.sqrt(units * planned * (1.0 - planned))
    ever = ours.any(axis=1)
    first = np.where(ever, units[ours.argmax(axis=1)], 10**9)
    return Found(
        ours=float(ever.mean()),
        chi_square=float((np.abs(z) > -ndtri(LEVEL / 2.0)).any(axis=1).mean()),
        median=int(np.median(first)) if ever.mean() > 0.5 else None,
    )


def lines(*, runs: int) -> Iterator[str]:
    """The table as Markdown."""
    yield f"{runs} runs, standard error at .001: {math.sqrt(LEVEL * (1 - LEVEL) / runs):.5f}\n"
    yield "| planned : real | ours | chi-square, peeked | half of ours alarm by |"
    yield "|---|---|---|---|"
    cases = ((0.5, 0.5), (0.1, 0.1), (0.01, 0.01), (0.5, 0.505), (0.5, 0.51), (0.5, 0.52))
    for number, (planned, true) in enumerate((*cases, (0.1, 0.105))):
        found = measure(planned, true, runs=runs, seed=number)
        by = "-" if found.median is None else f"{found.median:,} units"
        shares = f"{found.ours:.4f} | {found.chi_square:.4f}"
        yield f"| {_split(planned)} : {_split(true)} | {shares} | {by} |"


def _split(share: float) -> str:
    return f"{100 * (1 - share):g}/{100 * share:g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    for line in lines(runs=parser.parse_args().runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
