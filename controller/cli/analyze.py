"""`controller analyze`: what a recorded experiment shows (CONTRACT section 5)."""

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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; a wrong row or description is exit code 2 with place and rule."""
    from controller.analysis.offline.run import analyze

    bar = _Bar() if sys.stderr.isatty() else None
    analysis = analyze(args.data, args.spec, progress=bar)
    if bar is not None:
        bar.clear()
    if args.json:
        print_json(analysis.document)
    else:
        print(analysis)
    return Exit.OK


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
