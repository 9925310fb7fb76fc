"""Tables of who is who: stated aliases, the identities made of them, and each rollout's exceptions.

Unit ids stand here as they stand in the ledger; audit, evidence and ruleset never hold them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, Text, text
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
    for which the pin was last written to the pin store, 0 for none. `hash` is the name under which
    the side document holds the unit, eight bytes; empty until it was computed.
    """

    __tablename__ = "exceptions"
    __table_args__ = (
        Index(None, "project", "rollout", "stands_for", "reason"),
        Index(None, "project", "rollout", "pinned"),
        Index(None, "project", "rollout", "hash"),
        _CLUSTERED,
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    stands_for: Mapped[str] = mapped_column(String(256))
    reason: Mapped[str] = mapped_column(String(32))
    pinned: Mapped[int]
    hash: Mapped[bytes | None] = mapped_column(LargeBinary(8))


class ArmKeepingRow(Base):
    """An edit's standing order: every unit that met its arm under an earlier condition keeps it.

    Carried out in batches after the edit: `after_unit` is the last unit that was looked at. Of the
    units of `series` those count whose first exposure is of an epoch below `before_epoch`. The row
    goes with the last batch.
    """

    __tablename__ = "arm_keepings"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    allocation: Mapped[int] = mapped_column(primary_key=True)
    series: Mapped[int]
    before_epoch: Mapped[int]
    after_unit: Mapped[str] = mapped_column(String(256))


class SideDocumentRow(Base):
    """A side document: the hashes of one rollout's exceptions, as SDKs fetch them by name.

    `body` is empty where the document is made of blocks, see `SideSealRow`. It comes last, for it
    may be long: SQLite would read it to get at what stands behind it.
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


class SideSealRow(Base):
    """What is known of a side document beside its blocks: enough to send it as one gzip member.

    `head` is the text before the first hash, `crc` the CRC-32 of the whole text, `packed_bytes`
    what its compressed blocks take together.
    """

    __tablename__ = "side_seals"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    crc: Mapped[int] = mapped_column(BigInt)
    packed_bytes: Mapped[int] = mapped_column(BigInt)
    head: Mapped[str] = mapped_column(Text)


class SideBlockRow(Base):
    """The hashes of one rollout's side documents from `low` to the next block's, in order.

    It belongs to the documents numbered `since` to before `until`, which is empty while it is in
    use. `stale` says that hashes of its range have come or gone. The long values come last.
    """

    __tablename__ = "side_blocks"
    __table_args__ = (Index(None, "project", "rollout", "until", "low"),)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    low: Mapped[bytes] = mapped_column(LargeBinary(8), primary_key=True)
    since: Mapped[int] = mapped_column(primary_key=True)
    until: Mapped[int | None]
    stale: Mapped[bool]
    units: Mapped[int]
    crc: Mapped[int] = mapped_column(BigInt)
    packed_bytes: Mapped[int]
    hashes: Mapped[bytes] = mapped_column(LargeBinary)
    packed: Mapped[bytes] = mapped_column(LargeBinary)


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
