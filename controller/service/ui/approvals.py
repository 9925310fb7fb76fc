"""Where people decide: the list of proposals, and one proposal with all that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import ApprovalInvalid, GuardFailed, NotFound, NotPermitted
from controller.flow.approve import APPROVE, REJECT, vote
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.work import Work
from controller.rollout.proposal import gate_of
from controller.service.http.calls import Answer, Call
from controller.service.http.problems import status_of
from controller.service.http.refusals import NotConfirmed, RateLimited
from controller.service.http.router import Route
from controller.service.ui import words
from controller.service.ui.actions import DONE
from controller.service.ui.ballot import ballot_of, rollout_of, title_of
from controller.service.ui.console import (
    Console,
    asks_password,
    page_route,
    redirect,
    waiting_for,
)
from controller.service.ui.view import read_view
from controller.service.ui.words import Badge

LEAST_REASON = 3


class PageQuery(Struct, forbid_unknown_fields=True):
    """`done` names the form that led here."""

    done: Annotated[str, Meta(max_length=20)] = ""


class VoteForm(Struct, forbid_unknown_fields=True):
    """One person's answer to the content with this digest."""

    vote: Annotated[str, Meta(pattern="^(approve|reject)$")]
    digest: Annotated[str, Meta(max_length=64)]
    comment: Annotated[str, Meta(max_length=2000)] = ""
    password: Annotated[str, Meta(max_length=1024)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One proposal in the list."""

    id: str
    title: str
    rollout: str
    slot: str
    badge: Badge
    have: str
    opened_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    mine: str


def approval_routes(pages: Console) -> list[Route]:
    """The inbox and its proposals."""
    store = pages.runtime.store

    def inbox(call: Call) -> Answer:
        with store.reading() as work:
            return pages.page(
                call, "approvals.html", work=work, here="approvals", **_inbox(work, call)
            )

    def inbox_live(call: Call) -> Answer:
        with store.reading() as work:
            return pages.fragment(
                call, "_parts/approvals_live.html", now=work.now, **_inbox(work, call)
            )

    def waiting(call: Call) -> Answer:
        with store.reading() as work:
            return pages.fragment(call, "_parts/waiting.html", waiting=waiting_for(work, call))

    def show(call: Call) -> Answer:
        with store.reading() as work:
            told = DONE.get(call.query.done, "")
            context = _shown(work, call)
            return pages.page(
                call,
                "approval.html",
                work=work,
                here="approvals",
                told=told,
                error="",
                comment="",
                **context,
            )

    def live(call: Call) -> Answer:
        return _live(pages, call)

    def answer(call: Call) -> Answer:
        return _answered(pages, call)

    return [
        page_route("GET", "/approvals", "ui_approvals", "What waits for people", inbox),
        page_route(
            "GET", "/approvals/live", "ui_approvals_live", "The live part of it", inbox_live
        ),
        page_route(
            "GET", "/approvals/waiting", "ui_approvals_waiting", "How many wait for you", waiting
        ),
        page_route(
            "GET", "/approvals/<proposal>", "ui_approval", "One proposal", show, query=PageQuery
        ),
        page_route("GET", "/approvals/<proposal>/live", "ui_approval_live", "Its live part", live),
        page_route(
            "POST", "/approvals/<proposal>", "ui_vote", "Approve or reject", answer, body=VoteForm
        ),
    ]


def _live(pages: Console, call: Call) -> Answer:
    with pages.runtime.store.reading() as work:
        context = _shown(work, call)
        return pages.fragment(call, "_parts/approval_live.html", now=work.now, **context)


def _answered(pages: Console, call: Call) -> Answer:
    """Take somebody's answer; where it is refused, the page again with what they wrote."""
    given: VoteForm = call.body
    error, status = _refused(pages, call, given)
    if not error:
        return redirect(f"/approvals/{call.path['proposal']}?done={given.vote}")
    with pages.runtime.store.reading() as work:
        context = _shown(work, call)
        return pages.page(
            call,
            "approval.html",
            work=work,
            here="approvals",
            status=status,
            told="",
            error=error,
            comment=given.comment,
            **context,
        )


def _refused(pages: Console, call: Call, given: VoteForm) -> tuple[str, int]:
    """Why a vote did not count, and the status that says so; empty where it did."""
    if given.vote == REJECT and len(given.comment.strip()) < LEAST_REASON:
        return "Say why you reject it: the person who asked will read this.", 422
    try:
        if given.vote == APPROVE:
            pages.confirm(call, given.password)
        _vote(pages, call, given)
    except (NotConfirmed, RateLimited) as refusal:
        return refusal.message, status_of(type(refusal))
    except (ApprovalInvalid, GuardFailed, NotPermitted) as refusal:
        return refusal.message, 422
    return "", 200


def _vote(pages: Console, call: Call, given: VoteForm) -> None:
    vote(
        pages.runtime.store,
        call.project,
        call.path["proposal"],
        vote=given.vote,
        digest=given.digest,
        comment=given.comment.strip(),
        actor=call.actor,
    )


# ---------------------------------------------------------------- the list


def _inbox(work: Work, call: Call) -> dict[str, Any]:
    found = [_entry(work, call, one) for one in work.approvals.list(call.project)]
    return {
        "open": [one for one in found if one.closed_at is None],
        "closed": [one for one in found if one.closed_at is not None][:50],
    }


def _entry(work: Work, call: Call, proposal: Proposal) -> Entry:
    rollout = rollout_of(work, proposal)
    gate = gate_of(rollout.frozen_plan, proposal.gate)
    approving = sum(one.vote == APPROVE for one in proposal.votes)
    voted = next((one for one in proposal.votes if one.voter == call.actor.name), None)
    return Entry(
        id=proposal.id,
        title=title_of(rollout, proposal),
        rollout=rollout.id,
        slot=rollout.slot,
        badge=words.APPROVALS[proposal.status],
        have=f"{approving} of {gate.quorum}",
        opened_at=proposal.opened_at,
        expires_at=proposal.expires_at,
        closed_at=proposal.closed_at,
        mine="" if voted is None else f"you: {voted.vote}",
    )


# ---------------------------------------------------------------- one proposal


def _shown(work: Work, call: Call) -> dict[str, Any]:
    proposal = work.approvals.get(call.project, call.path["proposal"])
    if proposal is None:
        raise NotFound("There is no such proposal.")
    rollout = rollout_of(work, proposal)
    view = read_view(work, call.project, rollout.id)
    return {
        "proposal": proposal,
        "view": view,
        "ballot": ballot_of(work, call, proposal, rollout, view),
        "open": proposal.status == "open",
        "asks_password": asks_password(work, call),
    }
