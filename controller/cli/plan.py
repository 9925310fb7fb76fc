"""`controller plan`: how long a rollout takes and what it can find, before it starts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from controller.cli.client import ServiceClient
from controller.cli.definitions import read_document
from controller.cli.exits import Exit
from controller.cli.output import print_json
from controller.cli.plan_page import page
from controller.cli.remote import Commands, calls_service
from controller.errors import InvalidInput


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="calendar, power and feasibility of a rollout, before it starts",
        description="When a rollout would decide, what it can find, and what would make it "
        "feasible. Exit code 6 where it cannot decide within its limits.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="the body of POST /v1/plans: YAML, JSON")
    parser.add_argument("--slot", help="where the rollout would live")
    parser.add_argument("--policy", help="one of the slot's policies; its default where absent")
    parser.add_argument("--challengers", type=int, help="how many models; 1 where absent")
    parser.add_argument(
        "--traffic",
        help="new eligible units a day, 2000 or LOW,EXPECTED,HIGH; what the slot at rest has shown "
        "where absent",
    )
    parser.add_argument("--start", help="date that the calendar counts from, 2026-12-01; today")
    parser.add_argument(
        "--history", type=Path, help="CSV or Parquet of past units, for the baselines"
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="METRIC=COLUMN",
        help="column of --history, or NUMERATOR/DENOMINATOR of a ratio; repeat for each metric",
    )
    calls_service(parser, _plan)


def _plan(client: ServiceClient, arguments: argparse.Namespace) -> int:
    answer, _ = client.call("POST", "/v1/plans", body=_question(arguments))
    if arguments.json:
        print_json(answer)
    else:
        print(page(answer))
    return Exit.OK if answer["feasible"] else Exit.HELD


def _question(arguments: argparse.Namespace) -> dict[str, Any]:
    """The body of the request: the file, and over it what the options say."""
    body = {} if arguments.file is None else read_document(arguments.file)
    for name in ("slot", "policy", "challengers", "start"):
        if getattr(arguments, name) is not None:
            body[name] = getattr(arguments, name)
    if arguments.traffic is not None:
        body["traffic"] = _traffic(arguments.traffic)
    if arguments.history is not None:
        stated = body.get("baselines", {})
        if not isinstance(stated, dict):
            raise InvalidInput("baselines: expected an object.", field="baselines")
        body["baselines"] = {**stated, **_history(arguments.history, arguments.column)}
    elif arguments.column:
        raise InvalidInput("--column: name the file too, with --history.", field="column")
    if "slot" not in body:
        raise InvalidInput("plan: name the slot, with --slot or in the file.", field="slot")
    return body


def _traffic(text: str) -> float | dict[str, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 3:
        return dict(zip(("low", "expected", "high"), numbers, strict=True))
    raise InvalidInput(
        f"--traffic: a number, or three as LOW,EXPECTED,HIGH, not {text!r:.60}.", field="traffic"
    )


def _history(path: Path, columns: list[str]) -> dict[str, dict[str, float]]:
    from controller.analysis.offline.history import baselines

    named = dict(column.split("=", 1) for column in columns if column.find("=") > 0)
    if len(named) != len(columns) or not named:
        raise InvalidInput("--column: METRIC=COLUMN, once for each metric.", field="column")
    found = baselines(path, named)
    return {metric: {"mean": one.mean, "sd": one.sd} for metric, one in found.items()}
