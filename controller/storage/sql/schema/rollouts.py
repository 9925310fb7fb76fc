"""Tables of rollouts: the attempt, its allocations and epochs, the rulesets they made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, BigInt, Instant, Json

_LIVE = text("state not in ('Draft', 'Promoted', 'RolledBack', 'Cancelled', 'Superseded')")
_OPEN = text("status = 'open'")


class RolloutRow(Base):
    """One attempt to replace a slot's champion.

    `generation` rises with every change and is the If-Match version; a writer names the one it
    read, so two writers can never both win.
    """

    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint("enrolled_ppm between 0 and 1000000", name="enrolled"),
        Index(None, "project", "slot", "state"),
        # One rollout lives in a slot at a time, whoever submits at once.
        Index(
            "uq_rollouts_live",
            "project",
            "slot",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[int]
    retry_of: Mapped[str | None] = mapped_column(String(32))
    generation: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    stage: Mapped[int]
    document: Mapped[Any] = mapped_column(Json)
    plan: Mapped[Any | None] = mapped_column(Json)
    plan_sha256: Mapped[str | None] = mapped_column(String(64))
    salt: Mapped[str] = mapped_column(String(32))
    enrolled_ppm: Mapped[int]
    allocation: Mapped[int]
    epoch: Mapped[int]
    paused: Mapped[Any] = mapped_column(Json)
    paused_since: Mapped[datetime | None] = mapped_column(Instant)
    paused_seconds: Mapped[float]
    entered_at: Mapped[datetime] = mapped_column(Instant)
    stage_entered_at: Mapped[datetime] = mapped_column(Instant)
    deadline_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    verdict: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(64))
    judgement: Mapped[Any | None] = mapped_column(Json)
    look_number: Mapped[int]
    look_sha256: Mapped[str | None] = mapped_column(String(64))
    look_memory: Mapped[Any | None] = mapped_column(Json)
    next_look_at: Mapped[datetime | None] = mapped_column(Instant)
    replaced: Mapped[Any | None] = mapped_column(Json)


class AllocationRow(Base):
    """A numbered period with constant arms, weights and eligibility."""

    __tablename__ = "allocations"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    weights: Mapped[Any] = mapped_column(Json)
    runs: Mapped[Any] = mapped_column(Json)
    retired: Mapped[Any] = mapped_column(Json)
    analysed: Mapped[bool]
    opened_at: Mapped[datetime] = mapped_column(Instant)
    eligible: Mapped[Any | None] = mapped_column(Json)
    dropped: Mapped[Any | None] = mapped_column(Json)


class EpochRow(Base):
    """One enrolled share of one allocation; opened by one ruleset version."""

    __tablename__ = "epochs"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    allocation: Mapped[int]
    enrolled_ppm: Mapped[int]
    ruleset: Mapped[int] = mapped_column(BigInt)
    opened_at: Mapped[datetime] = mapped_column(Instant)


class RulesetRow(Base):
    """One published ruleset: the truth that Redis and SDKs hold copies of.

    The row stays for ever; `body` is empty once it was dropped for its age (`flow/retention.py`).
    """

    __tablename__ = "rulesets"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)


class LookRow(Base):
    """One look: its number, its evidence, and the short form that charts are drawn from."""

    __tablename__ = "looks"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    evidence_sha256: Mapped[str] = mapped_column(String(64))
    taken_at: Mapped[datetime] = mapped_column(Instant)
    summary: Mapped[Any] = mapped_column(Json)


class EvidenceRow(Base):
    """An immutable document named by its sha256 (zlib-compressed canonical JSON)."""

    __tablename__ = "evidence"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)


class ProposalRow(Base):
    """One transition put before people, bound to evidence and a content digest."""

    __tablename__ = "proposals"
    __table_args__ = (
        Index(None, "project", "rollout", "status"),
        Index(
            "uq_proposals_open",
            "project",
            "rollout",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32))
    gate: Mapped[str] = mapped_column(String(64))
    transition: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    document: Mapped[Any] = mapped_column(Json)
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class VoteRow(Base):
    """One person's answer to one proposal."""

    __tablename__ = "votes"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    proposal: Mapped[str] = mapped_column(String(32), primary_key=True)
    voter: Mapped[str] = mapped_column(String(128), primary_key=True)
    vote: Mapped[str] = mapped_column(String(8))
    digest: Mapped[str] = mapped_column(String(64))
    comment: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(16))
    voted_at: Mapped[datetime] = mapped_column(Instant)


class DecisionRow(Base):
    """One step of a rollout's life: who moved it, from where to where, on which evidence."""

    __tablename__ = "decisions"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(32))
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str | None] = mapped_column(String(16))
    document: Mapped[Any] = mapped_column(Json)
