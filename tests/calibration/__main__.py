"""Error rates of the live look at full length, as a Markdown table: `make calibrate`.

python -m tests.calibration [--runs 1000] [--looks 20] [--units 1000] [--world WORD]
"""

from __future__ import annotations

import argparse
import sys

from tests.calibration.streams import rates
from tests.calibration.worlds_without_effect import MARGINS, worlds


def main() -> None:
    """One line a world, as soon as it is known; progress on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--world", default="", help="only worlds whose name holds this")
    chosen = parser.parse_args()
    print("| world without an effect | better | OEC claim | NI shown at margin | harm | SRM |")
    print("|---|---|---|---|---|---|")
    for number, world in enumerate(worlds(looks=chosen.looks, units=chosen.units)):
        if chosen.world not in world.name:
            continue
        print(f"{world.name} ...", file=sys.stderr, flush=True)
        found = rates(world, runs=chosen.runs, seed=1000 + number, harm=MARGINS[world.name])
        parts = (found.better, found.any_claim, found.not_worse, found.harm, found.srm)
        print(f"| {world.name} | " + " | ".join(f"{p:.4f}" for p in parts) + " |", flush=True)


if __name__ == "__main__":
    main()
