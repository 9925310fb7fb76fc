"""What the demo's people do, through the same API as anybody: define, ask, read, vote.

`dana` asks for the rollouts. `omar` and `ruth` read each proposal as it stands and answer for the
digest that they read; the service accepts their votes because they are two other people.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from controller.cli.client import ProblemAnswer, ServiceClient, segment
from controller.demo.scenario import DemoRollout, metrics, policies

COMMENT: Final = "Evidence read: the boundary is crossed and no guardrail objects."


def define(
    admin: ServiceClient, rollouts: Sequence[DemoRollout], *, deciding: str | None = None
) -> None:
    """Put the metrics, the policies (see `scenario.policies`) and the slots in place."""
    for key, metric in metrics().items():
        admin.call("PUT", f"/v1/metrics/{segment(key)}", body=metric)
    for name, policy in policies(deciding=deciding).items():
        admin.call("PUT", f"/v1/policies/{segment(name)}", body=policy)
    for rollout in rollouts:
        admin.call("PUT", f"/v1/slots/{segment(rollout.slot)}", body=dict(rollout.definition))


def ask(author: ServiceClient, rollouts: Sequence[DemoRollout]) -> dict[str, str]:
    """Create a draft of every rollout; their ids by slot."""
    return {
        rollout.slot: str(
            author.call("POST", "/v1/rollouts", body=dict(rollout.request))[0]["metadata"]["uid"]
        )
        for rollout in rollouts
    }


def submit(author: ServiceClient, rollout: str) -> None:
    """Freeze the plan of a draft and let it begin."""
    path = f"/v1/rollouts/{segment(rollout)}"
    _, etag = author.call("GET", path)
    author.call(
        "POST",
        f"{path}/actions/submit",
        body={},
        headers={"Idempotency-Key": secrets.token_hex(16), "If-Match": etag or ""},
    )


def existing(reader: ServiceClient, slots: Sequence[str]) -> dict[str, str]:
    """Ids by slot of rollouts that an earlier start of the demo asked for."""
    found = [one["metadata"] for one in reader.get("/v1/rollouts")["rollouts"]]
    return {one["slot"]: str(one["uid"]) for one in reversed(found) if one["slot"] in slots}


def approve_open(approvers: Sequence[ServiceClient]) -> int:
    """Every approver approves every open proposal once; the number of votes given.

    A proposal may close between being read and being answered, and nobody votes twice: such
    refusals are the service at work.
    """
    given = 0
    for approver in approvers:
        for proposal in approver.get("/v1/approvals", status="open")["approvals"]:
            given += _approve(approver, str(proposal["id"]))
    return given


def _approve(approver: ServiceClient, proposal: str) -> int:
    path = f"/v1/approvals/{segment(proposal)}"
    try:
        read = approver.get(path)
        body = {"vote": "approve", "digest": read["digest"], "comment": COMMENT}
        approver.call("POST", f"{path}/votes", body=body)
    except ProblemAnswer as problem:
        if problem.status in {404, 409, 412, 422}:
            return 0
        raise
    return 1
