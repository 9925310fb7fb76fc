"""Evidence snapshots and looks in SQL: immutable documents named by their sha256."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from controller.experiments.canonical import canonical_json, sha256_of
from controller.flow.ports.rollouts import LookEntry
from controller.storage.sql.schema.rollouts import EvidenceRow, LookRow


class SqlEvidence:
    """Implements `flow.ports.rollouts.Evidence` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, project: str, rollout: str, document: Mapping[str, Any], *, at: datetime) -> str:
        """Store and return the sha256; the same document is stored once."""
        sha256 = sha256_of(document)
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        self._connection.execute(
            dialect.insert(EvidenceRow)
            .values(
                project=project,
                sha256=sha256,
                rollout=rollout,
                body=zlib.compress(canonical_json(document)),
                created_at=at,
            )
            .on_conflict_do_nothing()
        )
        return sha256

    def get(self, project: str, sha256: str) -> Mapping[str, Any] | None:
        """The document, or None."""
        body = self._connection.scalar(
            select(EvidenceRow.body).where(
                EvidenceRow.project == project, EvidenceRow.sha256 == sha256
            )
        )
        return None if body is None else cast("dict[str, Any]", json.loads(zlib.decompress(body)))

    def add_look(self, project: str, rollout: str, look: LookEntry) -> None:
        """Append one look to the rollout's history."""
        self._connection.execute(
            insert(LookRow).values(
                project=project,
                rollout=rollout,
                number=look.number,
                evidence_sha256=look.evidence_sha256,
                taken_at=look.taken_at,
                summary=dict(look.summary),
            )
        )

    def looks(self, project: str, rollout: str, *, most: int = 500) -> Sequence[LookEntry]:
        """In order of number; thinned evenly, the newest always kept, where there are more."""
        mine = (LookRow.project == project, LookRow.rollout == rollout)
        first = self._connection.scalar(select(func.min(LookRow.number)).where(*mine))
        last = self._connection.scalar(select(func.max(LookRow.number)).where(*mine))
        if first is None or last is None:
            return []
        step = -(-(last - first + 1) // most)
        rows = self._connection.execute(
            select(LookRow.__table__)
            .where(*mine, (last - LookRow.number) % step == 0)
            .order_by(LookRow.number)
        )
        return [_entry(row) for row in rows]

    def looks_after(
        self, project: str, rollout: str, *, after: int, most: int
    ) -> Sequence[LookEntry]:
        """One page, in order of number."""
        rows = self._connection.execute(
            select(LookRow.__table__)
            .where(LookRow.project == project, LookRow.rollout == rollout, LookRow.number > after)
            .order_by(LookRow.number)
            .limit(most)
        )
        return [_entry(row) for row in rows]


def _entry(row: Row[Any]) -> LookEntry:
    return LookEntry(
        number=row.number,
        evidence_sha256=row.evidence_sha256,
        taken_at=row.taken_at,
        summary=row.summary,
    )
