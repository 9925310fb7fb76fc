"""`controller slot | metric | policy`: what counts, and how it must be shown."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from controller.cli.client import ServiceClient, segment
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb
from controller.cli.traffic import add_overrides
from controller.errors import InvalidInput
from controller.experiments.policies import Policy
from controller.plain_yaml import read_yaml

COLUMNS = {
    "slots": ("key", "unit", "champion.name", "champion.version", "policy"),
    "metrics": ("key", "type", "direction", "outcome"),
    "policies": ("name", "version", "autonomy", "description"),
}


def add(commands: Commands) -> None:
    """Add the three nouns."""
    slot = add_noun(commands, "slot", "where models serve, and what counts there")
    metric = add_noun(commands, "metric", "how outcomes become a number")
    policy = add_noun(commands, "policy", "how it must be shown, and who must agree")
    for verbs, collection in ((slot, "slots"), (metric, "metrics"), (policy, "policies")):
        add_verb(verbs, "list", f"list {collection}", _lister(collection))
        shown = add_verb(verbs, "show", "show one", _shower(collection))
        shown.add_argument("key")
        put = add_verb(
            verbs, "apply", "create or change from a YAML or JSON file", _applier(collection)
        )
        put.add_argument("file", type=Path)
        put.add_argument("--key", help="name, where the file does not give one")
    kill = add_verb(slot, "kill", "one model for everybody, now", _kill)
    kill.add_argument("key", nargs="?", help="slot; every slot where absent")
    kill.add_argument("--to", choices=("champion", "previous", "fallback"), default="champion")
    kill.add_argument("--note", default="")
    add_verb(slot, "unkill", "lift the kill switch", _unkill).add_argument("key")
    add_overrides(slot)
    lint = policy.add_parser("lint", help="check a policy file without a service")
    lint.add_argument("file", type=Path)
    lint.set_defaults(run=_lint)
    diff = add_verb(policy, "diff", "what a file would change", _diff)
    diff.add_argument("file", type=Path)
    diff.add_argument("--key", help="name, where the file does not give one")


def read_document(path: Path) -> dict[str, Any]:
    """A YAML or JSON object that JSON can say.

    Raises
    ------
    InvalidInput
        If it cannot be read or is something else.
    """
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidInput(f"{path}: {' '.join(str(problem).split())}.") from problem
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: expected an object.")
    return document


def _lister(collection: str) -> Any:
    def act(client: ServiceClient, arguments: argparse.Namespace) -> int:
        document = client.get(f"/v1/{collection}")
        if arguments.json:
            print_json(document)
        else:
            print_table(document[collection], COLUMNS[collection])
        return Exit.OK

    return act


def _shower(collection: str) -> Any:
    def act(client: ServiceClient, arguments: argparse.Namespace) -> int:
        print_json(client.get(f"/v1/{collection}/{segment(arguments.key)}"))
        return Exit.OK

    return act


def _applier(collection: str) -> Any:
    def act(client: ServiceClient, arguments: argparse.Namespace) -> int:
        document = read_document(arguments.file)
        key = _key(document, arguments)
        stored, _ = client.call("PUT", f"/v1/{collection}/{segment(key)}", body=document)
        print_json(stored)
        return Exit.OK

    return act


def _key(document: dict[str, Any], arguments: argparse.Namespace) -> str:
    key = arguments.key or document.get("key") or document.get("name")
    if not isinstance(key, str):
        raise InvalidInput(f"{arguments.file}: give its name with --key.")
    return key


def _kill(client: ServiceClient, arguments: argparse.Namespace) -> int:
    path = f"/v1/slots/{segment(arguments.key)}/kill" if arguments.key else "/v1/kill"
    body = {"note": arguments.note} | ({"to": arguments.to} if arguments.key else {})
    answer, _ = client.call("POST", path, body=body)
    print_json(answer)
    return Exit.OK


def _unkill(client: ServiceClient, arguments: argparse.Namespace) -> int:
    client.call("DELETE", f"/v1/slots/{segment(arguments.key)}/kill")
    print(f"The kill switch of {arguments.key} is lifted.", file=sys.stderr)
    return Exit.OK


def _lint(arguments: argparse.Namespace) -> int:
    policy = Policy.from_document(read_document(arguments.file))
    print(f"{policy.name}: {len(policy.ramp)} stages, autonomy {policy.autonomy.value}, fits.")
    return Exit.OK


def _diff(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = read_document(arguments.file)
    key = _key(document, arguments)
    stored = client.get(f"/v1/policies/{segment(key)}")
    mine = Policy.from_document(document, name=key).document() | {"version": stored.get("version")}
    before, after = (
        json.dumps(side, indent=2, sort_keys=True).splitlines() for side in (stored, mine)
    )
    lines = list(difflib.unified_diff(before, after, "stored", str(arguments.file), lineterm=""))
    print("\n".join(lines) if lines else "no difference")
    return Exit.OK
