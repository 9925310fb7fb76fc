"""`controller audit | evidence`: who allowed what, on which evidence, and proof of both."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from controller.cli.client import ProblemAnswer, ServiceClient, segment
from controller.cli.exits import Exit
from controller.cli.output import print_json, print_table
from controller.cli.remote import Commands, add_noun, add_verb

PAGE = 500


def add(commands: Commands) -> None:
    """Add both nouns."""
    audit = add_noun(commands, "audit", "who did what, when")
    listed = add_verb(audit, "list", "entries in order", _list)
    listed.add_argument("--after", type=int, default=0)
    add_verb(audit, "verify", "recompute the hash chain", _verify)
    add_verb(audit, "export", "every entry, one JSON object a line", _export)
    evidence = add_noun(commands, "evidence", "what a look saw and concluded")
    add_verb(evidence, "show", "one snapshot", _show).add_argument("sha256")
    check = add_verb(evidence, "verify", "recompute a look byte for byte", _recompute)
    check.add_argument("sha256", help="sha256, or a file with the exported look")
    check.add_argument("--plan", help="the same for its plan (default: what the look names)")


def _list(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/audit", after=arguments.after)
    if arguments.json:
        print_json(document)
    else:
        print_table(document["entries"], ("seq", "at", "actor", "action", "object"))
    return Exit.OK


def _verify(client: ServiceClient, arguments: argparse.Namespace) -> int:
    document = client.get("/v1/audit/verify")
    if arguments.json:
        print_json(document)
    elif document["intact"]:
        print(f"{document['entries']} entries, intact; head {document['head']}")
    else:
        print(f"broken at entry {document['broken_at']}: {document['why']}")
    return Exit.OK if document["intact"] else Exit.FAILURE


def _export(client: ServiceClient, _arguments: argparse.Namespace) -> int:
    after = 0
    while True:
        entries = client.get("/v1/audit", after=after, limit=PAGE)["entries"]
        for entry in entries:
            print(json.dumps(entry, ensure_ascii=False))
            after = entry["seq"]
        if len(entries) < PAGE:
            return Exit.OK


def _show(client: ServiceClient, arguments: argparse.Namespace) -> int:
    print_json(client.get(f"/v1/evidence/{segment(arguments.sha256)}"))
    return Exit.OK


def _recompute(client: ServiceClient, arguments: argparse.Namespace) -> int:
    from controller.analysis.verification import verify_evidence

    evidence = _evidence(client, arguments.sha256)
    plan = _evidence(client, arguments.plan or evidence["plan_sha256"])

    def named(sha256: str) -> dict[str, Any] | None:
        try:
            return _evidence(client, sha256)
        except ProblemAnswer as problem:
            if problem.status == 404:
                return None
            raise

    from_file = Path(arguments.sha256).is_file()
    name = None if from_file else arguments.sha256
    finding = verify_evidence(evidence, plan, named, sha256=name)
    print(finding.sentence, file=sys.stdout if finding.intact else sys.stderr)
    return Exit.OK if finding.intact else Exit.FAILURE


def _evidence(client: ServiceClient, name: str) -> dict[str, Any]:
    path = Path(name)
    document: dict[str, Any] = (
        json.loads(path.read_text())
        if path.is_file()
        else client.get(f"/v1/evidence/{segment(name)}")
    )
    return document
