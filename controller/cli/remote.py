"""The noun-verb commands: what the API can do, from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TypeAlias

from controller.cli.client import ProblemAnswer, ServiceClient, connect
from controller.cli.output import print_json

Act = Callable[[ServiceClient, argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_noun(commands: Commands, noun: str, what: str) -> Commands:
    """A noun whose verbs follow."""
    parser = commands.add_parser(noun, help=what)
    return parser.add_subparsers(dest="verb", required=True, metavar="VERB")


def add_verb(verbs: Commands, name: str, what: str, act: Act) -> argparse.ArgumentParser:
    """A verb that calls the service; `act(client, arguments)` gives the exit code."""
    parser = verbs.add_parser(name, help=what)
    calls_service(parser, act)
    return parser


def calls_service(parser: argparse.ArgumentParser, act: Act) -> None:
    """Give a command the options that all such commands share, and what it does."""
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--project", default="default")
    parser.add_argument("--as", dest="operator", help="operator of credentials.json")
    parser.set_defaults(run=lambda arguments: _run(act, arguments))


def _run(act: Act, arguments: argparse.Namespace) -> int:
    """Call the service; a refusal is a sentence and an exit code."""
    client = connect(project=arguments.project, operator=arguments.operator)
    try:
        return act(client, arguments)
    except ProblemAnswer as problem:
        if arguments.json:
            print_json(problem.document)
        print(f"controller: {problem}", file=sys.stderr)
        for failed in problem.document.get("failed", []):
            print(f"  {failed.get('guard', '')}: {failed.get('detail', failed)}", file=sys.stderr)
        if problem.document.get("allowed"):
            print(f"  allowed now: {', '.join(problem.document['allowed'])}", file=sys.stderr)
        return int(problem.exit)
