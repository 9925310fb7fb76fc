"""`controller holdout | layer | slot override`: which units no rollout, or only one, may reach."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from controller.cli.client import ServiceClient, segment
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb
from controller.errors import InvalidInput

HOLDOUTS = ("name", "unit", "share", "tag", "reaches")
LAYERS = ("name", "unit", "slots", "free")
OVERRIDES = ("unit_hash", "arm", "meets", "set_by", "set_at")


def add(commands: Commands) -> None:
    """Add the two nouns."""
    holdout = add_noun(commands, "holdout", "units that no rollout may reach")
    add_verb(holdout, "list", "list holdouts and the slots they reach", _list_holdouts)
    put = _named(holdout, "holdout", _put_holdout, "create one, or change its share")
    put.add_argument("--unit", required=True, help="unit type")
    put.add_argument("--share", required=True, help='share of the units, 0.05 or "5%%"')
    put.add_argument("--tag", help="only slots with this tag; every slot where absent")
    put.add_argument("--description", default="")
    layer = add_noun(commands, "layer", "slots whose rollouts may not meet the same units")
    add_verb(layer, "list", "list layers and the shares of their slots", _list_layers)
    put = _named(layer, "layer", _put_layer, "create one, or change its slots and shares")
    put.add_argument("--unit", required=True, help="unit type of the slots")
    put.add_argument(
        "--slot",
        action="append",
        default=[],
        metavar="SLOT=SHARE",
        help="once for every slot that is in it",
    )
    put.add_argument("--description", default="")


def add_overrides(verbs: Commands) -> None:
    """Add `override` below `slot`."""
    override = add_noun(verbs, "override", "arms given to single units by hand, for testing")
    listed = add_verb(override, "list", "list a slot's overrides, units as hashes", _list_overrides)
    listed.add_argument("slot")
    put = add_verb(override, "put", "show one unit one arm", _put_override)
    put.add_argument("slot")
    put.add_argument("unit")
    put.add_argument("arm", help="champion, challenger or challenger-N")
    drop = add_verb(override, "delete", "let a unit take part again", _delete_override)
    drop.add_argument("slot")
    drop.add_argument("unit")
    drop.add_argument("--hash", action="store_true", help="UNIT is a hash from the list")


def _named(verbs: Commands, noun: str, put: Any, what: str) -> argparse.ArgumentParser:
    """The verbs `show`, `delete` and `put`; the last one for more arguments."""
    add_verb(verbs, "show", "show one", _shower(f"{noun}s")).add_argument("name")
    add_verb(verbs, "delete", "forget one", _deleter(noun)).add_argument("name")
    parser = add_verb(verbs, "put", what, put)
    parser.add_argument("name")
    return parser


def _shower(collection: str) -> Any:
    def act(client: ServiceClient, arguments: argparse.Namespace) -> int:
        print_json(client.get(f"/v1/{collection}/{segment(arguments.name)}"))
        return Exit.OK

    return act


def _deleter(noun: str) -> Any:
    def act(client: ServiceClient, arguments: argparse.Namespace) -> int:
        client.call("DELETE", f"/v1/{noun}s/{segment(arguments.name)}")
        print(f"The {noun} {arguments.name} is gone.", file=sys.stderr)
        return Exit.OK

    return act


def _list_holdouts(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/holdouts")
    if arguments.json:
        print_json(document)
        return Exit.OK
    lines = [
        {**one, "reaches": ", ".join(one["status"]["slots"]) or "no slot"}
        for one in document["holdouts"]
    ]
    print_table(lines, HOLDOUTS)
    return Exit.OK


def _put_holdout(client: ServiceClient, arguments: argparse.Namespace) -> int:
    body = {
        "unit": arguments.unit,
        "share": _share(arguments.share),
        "tag": arguments.tag,
        "description": arguments.description,
    }
    stored, _ = client.call("PUT", f"/v1/holdouts/{segment(arguments.name)}", body=body)
    print_json(stored)
    return Exit.OK


def _list_layers(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/layers")
    if arguments.json:
        print_json(document)
        return Exit.OK
    lines = [
        {
            **one,
            "slots": ", ".join(f"{slot}={share:g}" for slot, share in one["slots"].items()),
            "free": f"{one['status']['free']:g}",
        }
        for one in document["layers"]
    ]
    print_table(lines, LAYERS)
    return Exit.OK


def _put_layer(client: ServiceClient, arguments: argparse.Namespace) -> int:
    body = {
        "unit": arguments.unit,
        "slots": dict(_member(text) for text in arguments.slot),
        "description": arguments.description,
    }
    stored, _ = client.call("PUT", f"/v1/layers/{segment(arguments.name)}", body=body)
    print_json(stored)
    return Exit.OK


def _member(text: str) -> tuple[str, float | str]:
    slot, equals, share = text.partition("=")
    if not equals:
        raise InvalidInput(f"{text}: expected SLOT=SHARE, such as checkout=0.5.")
    return slot, _share(share)


def _share(text: str) -> float | str:
    """A number, or the text for the service to judge (it reads percentages)."""
    try:
        return float(text)
    except ValueError:
        return text


def _list_overrides(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get(f"/v1/slots/{segment(arguments.slot)}/overrides")
    if arguments.json:
        print_json(document)
    else:
        print_table(document["overrides"], OVERRIDES)
    return Exit.OK


def _put_override(client: ServiceClient, arguments: argparse.Namespace) -> int:
    body = {"units": [arguments.unit], "arm": arguments.arm}
    answer, _ = client.call("POST", f"/v1/slots/{segment(arguments.slot)}/overrides", body=body)
    (stored,) = answer["overrides"]
    print_json(stored)
    if stored["analysed"]:
        print(
            "The unit took part before: it stays in the analysis with the arm that it drew.",
            file=sys.stderr,
        )
    return Exit.OK


def _delete_override(client: ServiceClient, arguments: argparse.Namespace) -> int:
    path = f"/v1/slots/{segment(arguments.slot)}/overrides"
    if arguments.hash:
        client.call("DELETE", f"{path}/{segment(arguments.unit)}", query={"by": "hash"})
    else:
        client.call("POST", path, body={"units": [arguments.unit], "arm": None})
    print("The unit takes part again; the live rollout will not analyse it.", file=sys.stderr)
    return Exit.OK
