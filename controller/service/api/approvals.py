"""Proposals and votes: what is put before people, and their answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import ApprovalInvalid, GuardFailed, InvalidInput, NotFound, NotPermitted
from controller.flow.actors import Role, Scope
from controller.flow.approve import vote
from controller.flow.ports.rollouts import Proposal
from controller.service.http.calls import Call
from controller.service.http.router import Route, people, service
from controller.service.http.runtime import WebRuntime


class ApprovalQuery(Struct, forbid_unknown_fields=True):
    """Which proposals."""

    status: Annotated[str, Meta(max_length=16)] | None = None
    rollout: Annotated[str, Meta(max_length=64)] | None = None


class NewVote(Struct, forbid_unknown_fields=True):
    """One person's answer; `digest` is that of the proposal they read."""

    vote: Annotated[str, Meta(pattern="^(approve|reject)$")]
    digest: Annotated[str, Meta(min_length=1, max_length=64)]
    comment: Annotated[str, Meta(max_length=2000)] = ""


class VoteView(Struct):
    """A vote that was given, and how its person had come in."""

    voter: str
    vote: str
    comment: str
    channel: str
    method: str
    voted_at: datetime


class ProposalView(Struct):
    """One transition put before people; `document` is what its digest was computed over."""

    id: str
    rollout: str
    gate: str
    transition: str
    status: str
    reason: str | None
    digest: str
    opened_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    votes: list[VoteView]
    document: dict[str, Any]


class ProposalList(Struct):
    """Proposals, newest first."""

    approvals: list[ProposalView]


def approval_routes(runtime: WebRuntime) -> list[Route]:
    """List, show, vote."""
    store = runtime.store

    def every(call: Call) -> Any:
        asked: ApprovalQuery = call.query
        with store.reading() as work:
            found = work.approvals.list(call.project, status=asked.status, rollout=asked.rollout)
        return ProposalList(approvals=[shown(one) for one in found])

    def get(call: Call) -> Any:
        with store.reading() as work:
            found = work.approvals.get(call.project, call.path["proposal"])
        if found is None:
            raise NotFound("There is no such proposal.")
        return shown(found)

    def answer_it(call: Call) -> Any:
        given: NewVote = call.body
        return shown(
            vote(
                store,
                call.project,
                call.path["proposal"],
                vote=given.vote,
                digest=given.digest,
                comment=given.comment,
                actor=call.actor,
            )
        )

    return [
        Route(
            method="GET",
            path="/v1/approvals",
            name="list_approvals",
            summary="What was put before people, newest first",
            access=service(Scope.READ),
            handler=every,
            query=ApprovalQuery,
            answer=ProposalList,
        ),
        Route(
            method="GET",
            path="/v1/approvals/<proposal>",
            name="get_approval",
            summary="One proposal with its content, claim and votes",
            access=service(Scope.READ),
            handler=get,
            answer=ProposalView,
            errors=(NotFound,),
        ),
        Route(
            method="POST",
            path="/v1/approvals/<proposal>/votes",
            name="vote",
            summary="Approve or reject what you read; for people alone",
            access=people(Role.APPROVER),
            handler=answer_it,
            reads="json",
            body=NewVote,
            answer=ProposalView,
            idempotent=True,
            errors=(NotFound, NotPermitted, ApprovalInvalid, GuardFailed, InvalidInput),
        ),
    ]


def shown(proposal: Proposal) -> ProposalView:
    """A proposal on the wire."""
    return ProposalView(
        id=proposal.id,
        rollout=proposal.rollout,
        gate=proposal.gate,
        transition=proposal.transition,
        status=proposal.status,
        reason=proposal.reason,
        digest=proposal.digest,
        opened_at=proposal.opened_at,
        expires_at=proposal.expires_at,
        closed_at=proposal.closed_at,
        votes=[
            VoteView(
                voter=one.voter,
                vote=one.vote,
                comment=one.comment,
                channel=one.channel,
                method=one.method,
                voted_at=one.voted_at,
            )
            for one in proposal.votes
        ],
        document=dict(proposal.document),
    )
