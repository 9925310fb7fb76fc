"""Proposals and votes in SQL."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from controller.errors import ApprovalInvalid
from controller.flow.ports.rollouts import Proposal, Vote
from controller.storage.sql.schema.rollouts import ProposalRow, VoteRow

OPEN = "open"


class SqlApprovals:
    """Implements `flow.ports.rollouts.Approvals` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project: str, proposal: str) -> Proposal | None:
        """One proposal with its votes, or None."""
        found = self._read(ProposalRow.project == project, ProposalRow.id == proposal)
        return found[0] if found else None

    def open_for(self, project: str, rollout: str) -> Proposal | None:
        """The open proposal of a rollout; there is at most one."""
        found = self._read(
            ProposalRow.project == project,
            ProposalRow.rollout == rollout,
            ProposalRow.status == OPEN,
        )
        return found[0] if found else None

    def list(
        self, project: str, *, status: str | None = None, rollout: str | None = None
    ) -> Sequence[Proposal]:
        """Newest first."""
        conditions = [ProposalRow.project == project]
        if status is not None:
            conditions.append(ProposalRow.status == status)
        if rollout is not None:
            conditions.append(ProposalRow.rollout == rollout)
        return self._read(*conditions)

    def add(self, proposal: Proposal) -> None:
        """Open a proposal."""
        names = (column.name for column in ProposalRow.__table__.columns)
        values = {name: getattr(proposal, name) for name in names}
        self._connection.execute(
            insert(ProposalRow).values(**values | {"document": dict(proposal.document)})
        )

    def add_vote(self, project: str, proposal: str, vote: Vote) -> None:
        """Record one person's answer.

        Raises
        ------
        ApprovalInvalid
            If that person has answered already.
        """
        values = {name: getattr(vote, name) for name in vote.__slots__}
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    insert(VoteRow).values(project=project, proposal=proposal, **values)
                )
        except IntegrityError as problem:
            raise ApprovalInvalid(f"{vote.voter} has voted on this proposal already.") from problem

    def close(
        self, project: str, proposal: str, *, status: str, reason: str | None, at: datetime
    ) -> bool:
        """Close an open proposal; False where it was closed already (consumed once, I7)."""
        closed = self._connection.execute(
            update(ProposalRow)
            .where(
                ProposalRow.project == project,
                ProposalRow.id == proposal,
                ProposalRow.status == OPEN,
            )
            .values(status=status, reason=reason, closed_at=at)
        )
        return closed.rowcount == 1

    def _read(self, *conditions: Any) -> builtins.list[Proposal]:
        rows = self._connection.execute(
            select(ProposalRow.__table__)
            .where(*conditions)
            .order_by(ProposalRow.opened_at.desc(), ProposalRow.id.desc())
        ).all()
        votes = self._votes(rows)
        return [Proposal(**row._mapping, votes=tuple(votes.get(row.id, ()))) for row in rows]

    def _votes(self, rows: Sequence[Row[Any]]) -> dict[str, builtins.list[Vote]]:
        """Votes of these proposals, which belong to one project, in the order they were given."""
        found: dict[str, list[Vote]] = {}
        if not rows:
            return found
        query = (
            select(VoteRow.__table__)
            .where(
                VoteRow.project == rows[0].project, VoteRow.proposal.in_([row.id for row in rows])
            )
            .order_by(VoteRow.voted_at, VoteRow.voter)
        )
        for row in self._connection.execute(query):
            values = {name: getattr(row, name) for name in Vote.__slots__}
            found.setdefault(row.proposal, []).append(Vote(**values))
        return found
