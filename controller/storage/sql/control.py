"""Outbox, lease and the deployment's own row in SQL."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from controller.errors import LeaseLost
from controller.flow.ports.control import Message
from controller.storage.sql.schema.control import DeploymentRow, LeaseRow, OutboxRow


class SqlOutbox:
    """Implements `flow.ports.control.Outbox` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, project: str, kind: str, document: Mapping[str, Any], *, at: datetime) -> str:
        """Queue a side effect; it becomes due when the transaction commits."""
        message = secrets.token_hex(12)
        self._connection.execute(
            insert(OutboxRow).values(
                project=project,
                id=message,
                kind=kind,
                document=dict(document),
                created_at=at,
                due_at=at,
                attempts=0,
            )
        )
        return message

    def due(self, now: datetime, *, most: int = 50) -> Sequence[Message]:
        """What is waiting and due, oldest first."""
        rows = self._connection.execute(
            select(OutboxRow.__table__)
            .where(OutboxRow.done_at.is_(None), OutboxRow.due_at <= now)
            .order_by(OutboxRow.due_at)
            .limit(most)
        )
        return [
            Message(
                project=row.project,
                id=row.id,
                kind=row.kind,
                document=row.document,
                attempts=row.attempts,
            )
            for row in rows
        ]

    def done(self, project: str, message: str, *, at: datetime) -> None:
        """It was carried out."""
        self._change(project, message, done_at=at, error=None)

    def failed(self, project: str, message: str, *, error: str, retry_at: datetime) -> None:
        """It was not; try again at `retry_at`."""
        self._change(
            project, message, error=error[:500], due_at=retry_at, attempts=OutboxRow.attempts + 1
        )

    def _change(self, project: str, message: str, **values: Any) -> None:
        self._connection.execute(
            update(OutboxRow)
            .where(OutboxRow.project == project, OutboxRow.id == message)
            .values(**values)
        )


class SqlLeases:
    """Implements `flow.ports.control.Leases` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, name: str, holder: str, *, now: datetime, seconds: float) -> int | None:
        """The fencing epoch where `holder` has or gets the lease; None where another has it.

        One that would last for more than twice `seconds` is of a clock that was set back since:
        its holder, were it alive, would have renewed it. The fencing epoch stops it if it is.
        """
        until = now + timedelta(seconds=seconds)
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        self._connection.execute(
            dialect.insert(LeaseRow)
            .values(name=name, holder=holder, epoch=1, expires_at=until)
            .on_conflict_do_nothing()
        )
        row = self._connection.execute(
            select(LeaseRow.__table__).where(LeaseRow.name == name).with_for_update()
        ).one()
        last = until + timedelta(seconds=seconds)
        if row.holder != holder and now < row.expires_at <= last:
            return None
        epoch: int = row.epoch if row.holder == holder else row.epoch + 1
        self._connection.execute(
            update(LeaseRow)
            .where(LeaseRow.name == name)
            .values(holder=holder, epoch=epoch, expires_at=until)
        )
        return epoch

    def check(self, name: str, holder: str, epoch: int) -> None:
        """Raise `LeaseLost` unless holder and epoch are still the stored ones; locks the row."""
        row = self._connection.execute(
            select(LeaseRow.holder, LeaseRow.epoch).where(LeaseRow.name == name).with_for_update()
        ).one_or_none()
        if row is None or row.holder != holder or row.epoch != epoch:
            raise LeaseLost


class SqlDeployments:
    """Implements `flow.ports.control.Deployments` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def id(self, *, at: datetime) -> str:
        """The deployment's id, created on first use."""
        known = self.known()
        if known is not None:
            return known
        born = secrets.token_hex(8)
        self._connection.execute(insert(DeploymentRow).values(id=born, created_at=at))
        return born

    def known(self) -> str | None:
        """The id, or None before its first use."""
        known = self._connection.scalar(select(DeploymentRow.id))
        return None if known is None else str(known)

    def restored(self, *, at: datetime) -> None:
        """Its database came out of a backup."""
        self._connection.execute(update(DeploymentRow).values(restored_at=at))

    def restored_at(self) -> datetime | None:
        """When that was noticed last; None where it never was."""
        return self._connection.scalar(select(DeploymentRow.restored_at))
