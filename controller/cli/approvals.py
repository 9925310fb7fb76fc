"""`controller approval`: read what is asked, and answer."""

from __future__ import annotations

import argparse

from controller.cli.client import ServiceClient, segment
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb

COLUMNS = ("id", "rollout", "transition", "status", "expires_at")


def add(commands: Commands) -> None:
    """Add the noun."""
    verbs = add_noun(commands, "approval", "what waits for people")
    listed = add_verb(verbs, "list", "list proposals, newest first", _list)
    listed.add_argument("--status", default="open", help="open (default), executed, … or all")
    add_verb(verbs, "show", "one proposal with what it binds", _show).add_argument("id")
    vote = add_verb(verbs, "vote", "approve or reject, as yourself", _vote)
    vote.add_argument("id")
    vote.add_argument("vote", choices=("approve", "reject"))
    vote.add_argument("--comment", required=True)
    vote.add_argument("--digest", help="what you read; default: what stands there now")


def _list(client: ServiceClient, arguments: argparse.Namespace) -> int:
    status = None if arguments.status == "all" else arguments.status
    document = client.get("/v1/approvals", status=status)
    if arguments.json:
        print_json(document)
    else:
        print_table(document["approvals"], COLUMNS)
    return Exit.OK


def _show(client: ServiceClient, arguments: argparse.Namespace) -> int:
    print_json(client.get(f"/v1/approvals/{segment(arguments.id)}"))
    return Exit.OK


def _vote(client: ServiceClient, arguments: argparse.Namespace) -> int:
    path = f"/v1/approvals/{segment(arguments.id)}"
    digest = arguments.digest or client.get(path)["digest"]
    document, _ = client.call(
        "POST",
        f"{path}/votes",
        body={"vote": arguments.vote, "digest": digest, "comment": arguments.comment},
    )
    print_json(document)
    return Exit.OK
