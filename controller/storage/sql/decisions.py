"""Each rollout's gap-free log in SQL: what `events` and `watch` replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from controller.flow.ports.rollouts import Decision
from controller.storage.sql.schema.rollouts import DecisionRow, RolloutRow


class SqlDecisions:
    """Implements `flow.ports.rollouts.Decisions` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        project: str,
        rollout: str,
        *,
        at: datetime,
        actor: str,
        action: str,
        from_state: str | None = None,
        to_state: str | None = None,
        document: Mapping[str, Any],
    ) -> int:
        """Append and return the sequence number, from 1 without gaps."""
        self._lock(project, rollout)
        seq = 1 + (
            self._connection.scalar(
                select(func.max(DecisionRow.seq)).where(
                    DecisionRow.project == project, DecisionRow.rollout == rollout
                )
            )
            or 0
        )
        self._connection.execute(
            insert(DecisionRow).values(
                project=project,
                rollout=rollout,
                seq=seq,
                at=at,
                actor=actor,
                action=action,
                from_state=from_state,
                to_state=to_state,
                document=dict(document),
            )
        )
        return seq

    def since(self, project: str, rollout: str, after: int = 0) -> Sequence[Decision]:
        """What came after a sequence number, in order."""
        rows = self._connection.execute(
            select(DecisionRow.__table__)
            .where(
                DecisionRow.project == project,
                DecisionRow.rollout == rollout,
                DecisionRow.seq > after,
            )
            .order_by(DecisionRow.seq)
        )
        return [
            Decision(**{name: getattr(row, name) for name in Decision.__slots__}) for row in rows
        ]

    def last(self, project: str, rollout: str) -> Decision | None:
        """The newest entry, or None."""
        row = self._connection.execute(
            select(DecisionRow.__table__)
            .where(DecisionRow.project == project, DecisionRow.rollout == rollout)
            .order_by(DecisionRow.seq.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        return Decision(**{name: getattr(row, name) for name in Decision.__slots__})

    def _lock(self, project: str, rollout: str) -> None:
        """One writer at a time per rollout, so that a number is never taken twice or skipped."""
        self._connection.execute(
            select(RolloutRow.id)
            .where(RolloutRow.project == project, RolloutRow.id == rollout)
            .with_for_update()
        )
