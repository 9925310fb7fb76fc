"""`controller plan`: how long a rollout takes and what it can find, before it starts."""

from __future__ import annotations

import argparse
from pathlib import Path

from controller.cli.client import ServiceClient
from controller.cli.definitions import read_document
from controller.cli.exits import Exit
from controller.cli.output import print_json
from controller.cli.remote import Commands, calls_service


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan", help="duration, power and feasibility of a rollout, before it starts"
    )
    parser.add_argument("file", type=Path, help="the body of POST /v1/plans, as YAML or JSON")
    calls_service(parser, _plan)


def _plan(client: ServiceClient, arguments: argparse.Namespace) -> int:
    answer, _ = client.call("POST", "/v1/plans", body=read_document(arguments.file))
    print_json(answer)
    return Exit.OK if answer.get("feasible", True) else Exit.HELD
