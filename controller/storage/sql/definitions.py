"""Metrics, policies and slots in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from controller.experiments.metrics import Metric
from controller.experiments.models import Model
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot
from controller.flow.ports.definitions import StoredSlot
from controller.storage.sql.schema.definitions import MetricRow, PolicyRow, SlotRow


class SqlDefinitions:
    """Implements `flow.ports.definitions.Definitions` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def metric(self, project: str, key: str) -> Metric | None:
        """One metric, or None."""
        document = self._connection.scalar(
            select(MetricRow.document).where(MetricRow.project == project, MetricRow.key == key)
        )
        return None if document is None else Metric.from_document(document)

    def metrics(self, project: str) -> Sequence[Metric]:
        """Every metric, by key."""
        rows = self._connection.scalars(
            select(MetricRow.document).where(MetricRow.project == project).order_by(MetricRow.key)
        )
        return [Metric.from_document(document) for document in rows]

    def put_metric(self, project: str, metric: Metric, *, actor: str, at: datetime) -> None:
        """Create or replace."""
        values = {"document": metric.document(), "updated_at": at, "updated_by": actor}
        changed = self._connection.execute(
            update(MetricRow)
            .where(MetricRow.project == project, MetricRow.key == metric.key)
            .values(version=MetricRow.version + 1, **values)
        )
        if changed.rowcount == 0:
            self._connection.execute(
                insert(MetricRow).values(project=project, key=metric.key, version=1, **values)
            )

    def policy(self, project: str, name: str, version: int | None = None) -> Policy | None:
        """One version of a policy, the newest where none is named; None if there is none."""
        query = select(PolicyRow.document).where(
            PolicyRow.project == project, PolicyRow.name == name
        )
        if version is not None:
            query = query.where(PolicyRow.version == version)
        document = self._connection.scalar(query.order_by(PolicyRow.version.desc()).limit(1))
        return None if document is None else Policy.from_document(document)

    def policies(self, project: str) -> Sequence[Policy]:
        """The newest version of each policy, by name."""
        newest = (
            select(PolicyRow.name, func.max(PolicyRow.version).label("version"))
            .where(PolicyRow.project == project)
            .group_by(PolicyRow.name)
            .subquery()
        )
        rows = self._connection.scalars(
            select(PolicyRow.document)
            .join(
                newest,
                (PolicyRow.name == newest.c.name) & (PolicyRow.version == newest.c.version),
            )
            .where(PolicyRow.project == project)
            .order_by(PolicyRow.name)
        )
        return [Policy.from_document(document) for document in rows]

    def policy_editor(self, project: str, name: str, version: int | None = None) -> str | None:
        """Who wrote this version, or the newest."""
        query = select(PolicyRow.created_by).where(
            PolicyRow.project == project, PolicyRow.name == name
        )
        if version is not None:
            query = query.where(PolicyRow.version == version)
        return self._connection.scalar(query.order_by(PolicyRow.version.desc()).limit(1))

    def add_policy(self, project: str, policy: Policy, *, actor: str, at: datetime) -> Policy:
        """Store as the next version and return it with its number."""
        last = self._connection.scalar(
            select(func.max(PolicyRow.version)).where(
                PolicyRow.project == project, PolicyRow.name == policy.name
            )
        )
        stored = replace(policy, version=(last or 0) + 1)
        self._connection.execute(
            insert(PolicyRow).values(
                project=project,
                name=stored.name,
                version=stored.version,
                sha256=stored.sha256,
                document=stored.document(),
                created_at=at,
                created_by=actor,
            )
        )
        return stored

    def slot(self, project: str, key: str) -> StoredSlot | None:
        """One slot, or None."""
        row = self._connection.execute(
            select(SlotRow.__table__).where(SlotRow.project == project, SlotRow.key == key)
        ).one_or_none()
        return None if row is None else _stored(row)

    def slots(self, project: str) -> Sequence[StoredSlot]:
        """Every slot, by key."""
        rows = self._connection.execute(
            select(SlotRow.__table__).where(SlotRow.project == project).order_by(SlotRow.key)
        )
        return [_stored(row) for row in rows]

    def put_slot(
        self, project: str, slot: Slot, *, observe_salt: str, actor: str, at: datetime
    ) -> None:
        """Create or replace the definition; the salt counts only on creation."""
        values = {"document": slot.document(), "updated_at": at, "updated_by": actor}
        changed = self._connection.execute(
            update(SlotRow)
            .where(SlotRow.project == project, SlotRow.key == slot.key)
            .values(version=SlotRow.version + 1, **values)
        )
        if changed.rowcount == 0:
            self._connection.execute(
                insert(SlotRow).values(
                    project=project, key=slot.key, version=1, observe_salt=observe_salt, **values
                )
            )

    def set_champion(
        self, project: str, key: str, champion: Model, *, previous: Model | None, at: datetime
    ) -> None:
        """Change the champion and remember the one before; the rest of the definition stays."""
        stored = self.slot(project, key)
        if stored is None:
            return
        self._connection.execute(
            update(SlotRow)
            .where(SlotRow.project == project, SlotRow.key == key)
            .values(
                version=SlotRow.version + 1,
                document=stored.slot.with_champion(champion).document(),
                previous_champion=None if previous is None else previous.document(),
                updated_at=at,
            )
        )

    def set_kill(self, project: str, key: str, kill: Mapping[str, Any] | None) -> None:
        """Set or lift the slot's kill switch."""
        self._connection.execute(
            update(SlotRow)
            .where(SlotRow.project == project, SlotRow.key == key)
            .values(kill=None if kill is None else dict(kill))
        )

    def projects(self) -> Sequence[str]:
        """Every project that has a slot."""
        return list(
            self._connection.scalars(select(SlotRow.project).distinct().order_by(SlotRow.project))
        )


def _stored(row: Row[Any]) -> StoredSlot:
    return StoredSlot(
        slot=Slot.from_document(row.document),
        version=row.version,
        observe_salt=row.observe_salt,
        previous_champion=Model.from_document(row.previous_champion)
        if row.previous_champion
        else None,
        kill=row.kill,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
