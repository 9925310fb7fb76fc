"""The reads behind list pages, in SQL: only the columns that a list shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, select

from controller.flow.ports.views import Indexed, Listed
from controller.rollout.record import Draft
from controller.rollout.states import State, Verdict
from controller.storage.sql.schema.rollouts import LookRow, RolloutRow


class SqlViews:
    """Implements `flow.ports.views.Views` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def index(self, project: str) -> Sequence[Indexed]:
        """Every rollout of a project, the newest first."""
        rows = self._connection.execute(
            select(
                RolloutRow.id,
                RolloutRow.slot,
                RolloutRow.state,
                RolloutRow.verdict,
                RolloutRow.document,
                RolloutRow.entered_at,
                RolloutRow.created_at,
                RolloutRow.ended_at,
            )
            .where(RolloutRow.project == project)
            .order_by(RolloutRow.created_at.desc(), RolloutRow.id.desc())
        )
        return [
            Indexed(
                id=row.id,
                slot=row.slot,
                state=State(row.state),
                verdict=Verdict(row.verdict),
                draft=Draft.from_document(row.document),
                entered_at=row.entered_at,
                created_at=row.created_at,
                ended_at=row.ended_at,
            )
            for row in rows
        ]

    def listed(self, project: str, rollouts: Sequence[str]) -> Mapping[str, Listed]:
        """By id, for the rollouts that one page shows."""
        newest = and_(
            LookRow.project == RolloutRow.project,
            LookRow.rollout == RolloutRow.id,
            LookRow.number == RolloutRow.look_number,
        )
        rows = self._connection.execute(
            select(RolloutRow.id, RolloutRow.plan, LookRow.summary)
            .join(LookRow, newest, isouter=True)
            .where(RolloutRow.project == project, RolloutRow.id.in_(rollouts))
        )
        return {row.id: Listed(plan=row.plan, look=row.summary) for row in rows}
