"""`controller rollout`: create, watch and move rollouts."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from controller.cli.client import ProblemAnswer, ServiceClient, segment
from controller.cli.definitions import read_document
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb
from controller.rollout.states import State, Verb

_EFFECTS: Final[Mapping[Verb, str]] = {
    Verb.SUBMIT: "freeze the plan of a draft and go on",
    Verb.START: "begin to split traffic, or ask for it",
    Verb.ADVANCE: "raise the share to the next stage, or ask for it",
    Verb.PROMOTE: "promote the challenger, or ask for it",
    Verb.PAUSE: "raise nothing until it is resumed",
    Verb.RESUME: "go on from where it was paused",
    Verb.ROLLBACK: "roll back: everybody gets the champion",
    Verb.ABORT: "end it, whatever its state",
    Verb.UNDO: "undo a promotion: the previous champion serves again",
    Verb.EDIT: "change the split or who may take part",
    Verb.RETRY: "draft a new attempt with the same models",
}
COLUMNS = ("id", "slot", "challenger", "state", "enrolled", "verdict", "reason")


def add(commands: Commands) -> None:
    """Add the noun."""
    verbs = add_noun(commands, "rollout", "attempts to replace a champion")
    listed = add_verb(verbs, "list", "list rollouts, newest first", _list)
    listed.add_argument("--slot")
    listed.add_argument("--state")
    add_verb(
        verbs, "show", "where it stands, in a sentence (--json: the status document)", _show
    ).add_argument("id")
    watch = add_verb(verbs, "watch", "follow until it ends or needs a person", _watch)
    watch.add_argument("id")
    watch.add_argument("--timeout", type=float, default=86400.0, help="seconds")
    create = add_verb(verbs, "create", "make a draft in a slot", _create)
    create.add_argument("slot")
    create.add_argument("--challenger", action="append", required=True, metavar="NAME@VERSION|FILE")
    create.add_argument("--policy")
    create.add_argument("--hypothesis", default="")
    create.add_argument("--weights", type=_weights, metavar="ARM=SHARE,...")
    create.add_argument("--eligible", type=Path, metavar="FILE", help="a condition, JSON or YAML")
    create.add_argument("--submit", action="store_true", help="freeze the plan and go on")
    _add_acceptance(create)
    for verb in Verb:
        parser = add_verb(verbs, verb.value, _EFFECTS[verb], _act)
        parser.add_argument("id")
        parser.add_argument("--note", default="")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen")
        if verb is Verb.EDIT:
            _add_edits(parser)
        if verb is Verb.SUBMIT:
            _add_acceptance(parser)


def _add_acceptance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-infeasible",
        action="store_true",
        help="submit a plan that cannot be relied on to decide; the log keeps it",
    )


def _add_edits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=_weights,
        metavar="ARM=SHARE,...",
        help="the share of the enrolled traffic that each arm keeps; 0 drops a challenger",
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--eligible", type=Path, metavar="FILE", help="a condition, JSON or YAML")
    who.add_argument("--everybody", action="store_true", help="lift the condition")


def _list(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/rollouts", slot=arguments.slot, state=arguments.state)
    if arguments.json:
        print_json(document)
    else:
        print_table([_row(rollout) for rollout in document["rollouts"]], COLUMNS)
    return Exit.OK


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """One rollout as a line: its status document, flattened."""
    models = [f"{model['name']} {model['version']}" for model in document["spec"]["challengers"]]
    status = document["status"]
    return {
        "id": document["metadata"]["id"],
        "slot": document["metadata"]["slot"],
        "challenger": ", ".join(models),
        "state": status["state"],
        "enrolled": f"{status['enrolled']:.0%}",
        "verdict": status["verdict"]["value"],
        "reason": status["verdict"].get("reason"),
    }


def _show(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get(f"/v1/rollouts/{segment(arguments.id)}")
    if arguments.json:
        print_json(document)
    else:
        print(_headline(document))
    return _outcome(document)


def _watch(client: ServiceClient, arguments: argparse.Namespace) -> int:
    until, after, said = time.monotonic() + arguments.timeout, None, ""
    while True:
        document = client.get(f"/v1/rollouts/{segment(arguments.id)}", watch=1, after=after)
        headline = _headline(document)
        if arguments.json:
            print_json(document)
        elif headline != said:
            print(headline, flush=True)
        said, after = headline, document["metadata"].get("seq")
        code = _outcome(document)
        if code != Exit.OK or State(document["status"]["state"]).terminal:
            return code
        if time.monotonic() > until:
            print("controller: still running when the time was over", file=sys.stderr)
            return 124


def _create(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document, etag = client.call(
        "POST",
        "/v1/rollouts",
        body={
            "slot": arguments.slot,
            "challengers": [_model(text) for text in arguments.challenger],
            "hypothesis": arguments.hypothesis,
        }
        | ({"policy": arguments.policy} if arguments.policy else {})
        | _edits(arguments),
    )
    rollout = document["metadata"]["id"]
    if arguments.submit:
        document, _ = _verb(
            client, rollout, "submit", note="", if_match=etag, more=_acceptance(arguments)
        )
    print_json(document) if arguments.json else print(_headline(document))
    return Exit.OK


def _act(client: ServiceClient, arguments: argparse.Namespace) -> int:
    verb = Verb(arguments.verb)
    path = f"/v1/rollouts/{segment(arguments.id)}"
    etag = _version(client, path) if verb.raises_exposure else None
    document, _ = _verb(
        client,
        arguments.id,
        verb.value,
        note=arguments.note,
        if_match=etag,
        dry=arguments.dry_run,
        more=_more(verb, arguments),
    )
    if arguments.json or arguments.dry_run:
        print_json(document)
    else:
        print(_headline(document))
    return Exit.OK


def _version(client: ServiceClient, path: str) -> str | None:
    """The version there is; None for a key that may stop and not read, which needs none for it."""
    try:
        return client.call("GET", path)[1]
    except ProblemAnswer as refused:
        if refused.exit is not Exit.NOT_PERMITTED:
            raise
        return None


def _more(verb: Verb, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a verb says beside its note."""
    if verb is Verb.EDIT:
        return _edits(arguments)
    return _acceptance(arguments) if verb is Verb.SUBMIT else {}


def _acceptance(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"accept_infeasible": True} if arguments.accept_infeasible else {}


def _edits(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the options say of weights and eligibility."""
    edits: dict[str, Any] = {}
    if arguments.weights is not None:
        edits["weights"] = arguments.weights
    if arguments.eligible is not None:
        edits["eligible"] = read_document(arguments.eligible)
    if getattr(arguments, "everybody", False):
        edits["eligible"] = None
    return edits


def _weights(text: str) -> dict[str, float | str]:
    """`champion=0.2,challenger=80%` as an object; the service checks the shares."""
    weights: dict[str, float | str] = {}
    for part in text.split(","):
        arm, equals, share = part.partition("=")
        if not (arm.strip() and equals and share.strip()):
            raise argparse.ArgumentTypeError(f"expected ARM=SHARE,..., not {text!r}")
        shown = share.strip()
        try:
            weights[arm.strip()] = shown if shown.endswith("%") else float(shown)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{shown!r} is no share") from error
    return weights


def _verb(
    client: ServiceClient,
    rollout: str,
    verb: str,
    *,
    note: str,
    if_match: str | None,
    dry: bool = False,
    more: dict[str, Any] | None = None,
) -> tuple[Any, str | None]:
    return client.call(
        "POST",
        f"/v1/rollouts/{segment(rollout)}/actions/{verb}",
        body={"note": note, **(more or {})},
        query={"dry_run": 1 if dry else None},
        headers={"Idempotency-Key": secrets.token_hex(16)}
        | ({"If-Match": if_match} if if_match else {}),
    )


def _model(text: str) -> dict[str, Any]:
    name, at, version = text.rpartition("@")
    if at and name and version and not Path(text).exists():
        return {"name": name, "version": version}
    return read_document(Path(text))


def _headline(document: dict[str, Any]) -> str:
    metadata, status = document["metadata"], document["status"]
    return f"{metadata['id']}  {status['state']}  {status['sentence']}"


def _outcome(document: dict[str, Any]) -> Exit:
    status = document["status"]
    if status["state"] in (State.ROLLED_BACK, State.ROLLING_BACK):
        return Exit.ROLLED_BACK
    if any(approval.get("state") == "open" for approval in status.get("approvals", [])):
        return Exit.NEEDS_APPROVAL
    return Exit.HELD if status.get("paused") else Exit.OK
