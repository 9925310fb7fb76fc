"""Tables of what people define: metrics, policies, slots."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, Instant, Json


class MetricRow(Base):
    """The current definition of one metric."""

    __tablename__ = "metrics"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    document: Mapped[Any] = mapped_column(Json)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    updated_by: Mapped[str] = mapped_column(String(128))


class PolicyRow(Base):
    """One immutable version of one policy."""

    __tablename__ = "policies"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    document: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(String(128))


class SlotRow(Base):
    """A slot: its definition, its past champion, and the kill switch."""

    __tablename__ = "slots"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    document: Mapped[Any] = mapped_column(Json)
    observe_salt: Mapped[str] = mapped_column(String(32))
    previous_champion: Mapped[Any | None] = mapped_column(Json)
    kill: Mapped[Any | None] = mapped_column(Json)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    updated_by: Mapped[str] = mapped_column(String(128))
