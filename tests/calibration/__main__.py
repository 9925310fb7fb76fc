"""Error rates and coverage of what a look reports, at full length, as Markdown: `make calibrate`.

python -m tests.calibration [--runs 1000] [--table NAME]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from tests.calibration import coverage, edited, rare, split, tails
from tests.calibration.streams import rates
from tests.calibration.worlds_without_effect import MARGINS, worlds

SPLITS_A_RUN = 10
"""The split alone is cheap: so many times more runs."""


def claims(*, runs: int, looks: int, units: int, word: str) -> Iterator[str]:
    """Claims of the live look in each world whose name holds the word; progress on stderr."""
    parts = ("better", "OEC claim", "any time", "NI shown at margin", "harm", "SRM")
    yield f"| world without an effect | {' | '.join(parts)} |"
    yield "|---|---|---|---|---|---|---|"
    for number, world in enumerate(worlds(looks=looks, units=units)):
        if word not in world.name:
            continue
        print(f"{world.name} ...", file=sys.stderr, flush=True)
        found = rates(world, runs=runs, seed=1000 + number, harm=MARGINS[world.name])
        shares = (
            *(found.better, found.any_claim, found.anytime),
            *(found.not_worse, found.harm, found.srm),
        )
        yield f"| {world.name} | {' | '.join(f'{share:.4f}' for share in shares)} |"


def through_an_edit(*, runs: int) -> Iterator[str]:
    """Ours and the tempting ways through an edit with open windows; a fifth of the runs for those.

    Unit by unit through the product's own placing, strata, folding, sums and looks.
    """
    yield "| way | rejects a true null | split called broken |"
    yield "|---|---|---|"
    ways = {"whole windows, split at the edit (ours)": edited.whole_windows, **edited.WRONG}
    for number, (name, way) in enumerate(ways.items()):
        found = edited.rates(way, runs=runs if number == 0 else max(runs // 5, 1), seed=1)
        yield f"| {name} | {found.claims:.3f} | {found.srm:.3f} |"


def main() -> None:
    """One line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--world", default="", help="only worlds whose name holds this")
    parser.add_argument(
        "--table",
        choices=("claims", "split", "coverage", "edited", "tails", "rare"),
        help="only this one",
    )
    parser.add_argument(
        "--metrics", default=",".join(coverage.METRICS), help="of the coverage table, by comma"
    )
    chosen = parser.parse_args()
    tables: dict[str, Callable[[], Iterator[str]]] = {
        "claims": lambda: claims(
            runs=chosen.runs, looks=chosen.looks, units=chosen.units, word=chosen.world
        ),
        "split": lambda: split.lines(runs=SPLITS_A_RUN * chosen.runs),
        "coverage": lambda: coverage.lines(chosen.runs, chosen.metrics.split(",")),
        "edited": lambda: through_an_edit(runs=chosen.runs),
        "tails": lambda: tails.lines(chosen.runs),
        "rare": lambda: rare.lines(chosen.runs),
    }
    for name, lines in tables.items():
        if chosen.table in (None, name):
            for line in lines():
                print(line, flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
