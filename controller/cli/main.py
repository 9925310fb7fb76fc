"""One parser, one exit code, no traceback for anything expected."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import TypeAlias

from controller.cli import (
    analyze,
    approvals,
    backup,
    definitions,
    doctor,
    people,
    plan,
    processes,
    records,
    rollouts,
    traffic,
    up,
)
from controller.cli.exits import Exit, exit_code
from controller.errors import ControllerError

Add: TypeAlias = "Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None]"

COMMANDS: tuple[Add, ...] = (
    up.add,
    processes.add,
    doctor.add,
    backup.add,
    analyze.add,
    plan.add,
    definitions.add,
    traffic.add,
    rollouts.add,
    approvals.add,
    people.add,
    records.add,
)


def run_command(argv: Sequence[str], *, on_top: Iterable[Add] = ()) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str
        Arguments without the program's name.
    on_top : iterable of callables
        Add further commands, from rooms above this one.

    Returns
    -------
    int
        The exit code, see `cli/exits.py`.
    """
    arguments = build_parser(on_top).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ControllerError as problem:
        print(f"controller: {problem.message}", file=sys.stderr)
        return int(exit_code(problem))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return int(Exit.OK)


def build_parser(on_top: Iterable[Add] = ()) -> argparse.ArgumentParser:
    """The parser with every command."""
    parser = argparse.ArgumentParser(
        prog="controller",
        description="A/B experiments and safe rollouts for machine-learning models.",
    )
    version = metadata.version("rollout-controller")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (*on_top, *COMMANDS):
        add(commands)
    return parser
