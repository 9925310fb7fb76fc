"""Tables of who is who: stated aliases, the identities made of them, and each rollout's exceptions.

Unit ids stand here as they stand in the ledger; audit, evidence and ruleset never hold them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, BigInt, Instant

_CLUSTERED = {"sqlite_with_rowid": False}


class AliasRow(Base):
    """One stated fact: `alias` and `unit` are one. Each id is an alias once, of one unit.

    `root` is the end of the chain, which is nobody's alias. `applied_us` is empty until what both
    ids have met is counted as one.
    """

    __tablename__ = "aliases"
    __table_args__ = (
        Index(
            "ix_aliases_waiting",
            "project",
            "unit_type",
            "alias",
            sqlite_where=text("applied_us is null"),
            postgresql_where=text("applied_us is null"),
        ),
        Index(None, "project", "unit_type", "root"),
        _CLUSTERED,
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit_type: Mapped[str] = mapped_column(String(64), primary_key=True)
    alias: Mapped[str] = mapped_column(String(256), primary_key=True)
    unit: Mapped[str] = mapped_column(String(256))
    root: Mapped[str] = mapped_column(String(256))
    stated_us: Mapped[int] = mapped_column(BigInt)
    actor: Mapped[str] = mapped_column(String(128))
    applied_us: Mapped[int | None] = mapped_column(BigInt)


class IdentityRow(Base):
    """One id of an identity that has several: what aggregation knows of aliases.

    Rows change only in the transaction that applies an alias to every rollout.
    """

    __tablename__ = "identities"
    __table_args__ = (Index(None, "project", "unit_type", "identity"), _CLUSTERED)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit_type: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    identity: Mapped[str] = mapped_column(String(256))


class ExceptionRow(Base):
    """A unit whose answer in one rollout the pure function of its own id does not give.

    It is answered as `stands_for` is: another id of the same identity (reason `merged`), or itself
    without being asked whether it is eligible (reason `eligibility`). `pinned` is the allocation
    for which the pin was last written to the pin store, 0 for none.
    """

    __tablename__ = "exceptions"
    __table_args__ = (
        Index(None, "project", "rollout", "stands_for", "reason"),
        Index(None, "project", "rollout", "pinned"),
        _CLUSTERED,
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    stands_for: Mapped[str] = mapped_column(String(256))
    reason: Mapped[str] = mapped_column(String(32))
    pinned: Mapped[int]


class SideDocumentRow(Base):
    """A side document: the hashes of one rollout's exceptions, as SDKs fetch them by name.

    The long body comes last: SQLite would read it to get at what stands behind it.
    """

    __tablename__ = "side_documents"
    __table_args__ = (Index(None, "project", "rollout", "number"),)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    units: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Instant)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class TallyRow(Base):
    """A number that only grows: `subject` is a rollout, a key, or empty for the project."""

    __tablename__ = "tallies"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(BigInt)
    grown_at: Mapped[datetime] = mapped_column(Instant)


class ProcessRow(Base):
    """What one running process last said of its pin store; silent ones are forgotten."""

    __tablename__ = "processes"

    process: Mapped[str] = mapped_column(String(160), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    pins_waiting: Mapped[int]
    pins_available: Mapped[bool]
