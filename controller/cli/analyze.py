"""`controller analyze`: what a recorded experiment shows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from controller.cli.exits import Exit
from controller.cli.output import print_json

_BAR = 30


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "analyze",
        help="analyse a recorded experiment",
        description="Analyse unit rows, event rows or cumulative statistics (CSV, Parquet).",
    )
    parser.add_argument("data", type=Path, help="CSV or Parquet")
    parser.add_argument("--spec", type=Path, required=True, help="YAML or JSON description")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument(
        "--aa",
        type=int,
        nargs="?",
        const=1000,
        metavar="RUNS",
        help="calibrate: draw the arms anew RUNS times (1000) and count false alarms",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the redraws (0)")
    parser.add_argument(
        "--drawn-by", metavar="COLUMN", help="what is randomised, if coarser than the unit"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; a wrong row or description is exit code 2 with place and rule.

    With `--aa` the exit code is 1 if a metric is not calibrated, so that a pipeline may refuse it.
    """
    from controller.analysis.offline.calibration import Calibration, calibrate
    from controller.analysis.offline.run import Analysis, analyze

    bar = _Bar() if sys.stderr.isatty() else None
    found: Analysis | Calibration
    if args.aa is None:
        found = analyze(args.data, args.spec, progress=bar)
    else:
        found = calibrate(
            args.data,
            args.spec,
            runs=args.aa,
            seed=args.seed,
            drawn_by=args.drawn_by,
            progress=bar,
        )
    if bar is not None:
        bar.clear()
    if args.json:
        print_json(found.document)
    else:
        print(found)
    trusted = not isinstance(found, Calibration) or found.trusted
    return Exit.OK if trusted else Exit.FAILURE


class _Bar:
    """A progress bar on the terminal."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, what: str, share: float) -> None:
        filled = int(_BAR * min(max(share, 0.0), 1.0))
        line = f"{what:<20.20} [{'#' * filled}{'.' * (_BAR - filled)}] {100 * share:3.0f} %"
        if line != self._shown:
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
            self._shown = line

    def clear(self) -> None:
        """Leave an empty line."""
        print("\r" + " " * len(self._shown) + "\r", end="", file=sys.stderr, flush=True)
