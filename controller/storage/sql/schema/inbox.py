"""Tables of the inbox: requests as they were accepted, and the verdicts that outlive them.

On SQLite these live in a file of their own, so that accepting never waits for aggregating.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import BigInt, InboxBase, Json


class InboxRow(InboxBase):
    """One accepted request, waiting or done.

    `seq` never repeats within a lineage. On PostgreSQL `done_us` is set in the transaction that
    aggregates the row; on SQLite the consumed position in the main file plays that part, and
    `done_us` is set when the body is swept away.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        Index(
            "ix_inbox_open",
            "seq",
            sqlite_where=text("done_us is null"),
            postgresql_where=text("done_us is null"),
        ),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    project: Mapped[str] = mapped_column(String(64))
    batch_id: Mapped[str] = mapped_column(String(128))
    key_id: Mapped[str] = mapped_column(String(64))
    received_us: Mapped[int] = mapped_column(BigInt)
    events: Mapped[int]
    done_us: Mapped[int | None] = mapped_column(BigInt)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


class BatchRow(InboxBase):
    """What was answered to one batch id: outlives the body, so that a retry changes nothing."""

    __tablename__ = "batches"
    __table_args__ = {"sqlite_with_rowid": False}

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    received_us: Mapped[int] = mapped_column(BigInt)
    verdict: Mapped[Any] = mapped_column(Json)


class LineageRow(InboxBase):
    """One row: which inbox this is. A restored inbox gets a new name and is read from its start."""

    __tablename__ = "inbox_lineage"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_us: Mapped[int] = mapped_column(BigInt)
