"""`controller demo`: options only, so that no other command loads what the demo needs."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from controller.cli.up import add_options
from controller.errors import SetupFailed

DEFAULT_SEED: Final = 9
"""Ends as the others do, and asks for the promotion early: in August, not in autumn."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", help="show real models being assigned, judged, approved, promoted and rolled back"
    )
    add_options(parser)
    parser.add_argument("--headless", action="store_true", help="end when every rollout has ended")
    parser.add_argument(
        "--auto-approve", action="store_true", help="let the demo's operators decide"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a JSON report")
    parser.add_argument(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        help=f"of the assignment; the same seed, the same arms (default {DEFAULT_SEED})",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="end after S seconds in any case; exit code 1 if a rollout was still on its way",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo.

    Raises
    ------
    SetupFailed
        If the packages of the demo are not installed, or whatever keeps the service from starting.
    """
    if find_spec("sklearn") is None:
        raise SetupFailed(
            "The demo trains real models and needs scikit-learn; in a checkout: "
            'pip install ".[demo]"'
        )
    # Batches are small: threads that wait for each other would take the service's core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from controller.demo.run import run_demo

    return run_demo(options)
