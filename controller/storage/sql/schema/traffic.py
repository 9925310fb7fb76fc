"""Tables of what keeps units out of rollouts: holdouts, layers, overrides, and since when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, BigInt, Instant, Json


class HoldoutRow(Base):
    """A share of units that no rollout reaches; the salt never changes."""

    __tablename__ = "holdouts"
    __table_args__ = (CheckConstraint("share >= 0 and share <= 1", name="share"),)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit: Mapped[str] = mapped_column(String(64))
    share: Mapped[float]
    tag: Mapped[str | None] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text)
    salt: Mapped[str] = mapped_column(String(32))
    updated_at: Mapped[datetime] = mapped_column(Instant)
    updated_by: Mapped[str] = mapped_column(String(128))


class LayerRow(Base):
    """Slots that share out their units; the salt never changes."""

    __tablename__ = "layers"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text)
    salt: Mapped[str] = mapped_column(String(32))
    updated_at: Mapped[datetime] = mapped_column(Instant)
    updated_by: Mapped[str] = mapped_column(String(128))


class LayerSlotRow(Base):
    """A slot's share of its layer: by its key, a slot is in one layer at most."""

    __tablename__ = "layer_slots"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    layer: Mapped[str] = mapped_column(String(64))
    share: Mapped[float]


class LayerRangeRow(Base):
    """Buckets [first, past) of 10,000 that a slot owns in its layer."""

    __tablename__ = "layer_ranges"
    __table_args__ = (
        CheckConstraint("first >= 0 and first < past and past <= 10000", name="range"),
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    layer: Mapped[str] = mapped_column(String(64), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    past: Mapped[int]
    slot: Mapped[str] = mapped_column(String(64))


class OverrideKeyRow(Base):
    """What a slot's overridden units are hashed with."""

    __tablename__ = "override_keys"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(32))


class OverrideRow(Base):
    """An arm given by hand to one unit, which only its keyed hash names."""

    __tablename__ = "overrides"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit_hash: Mapped[str] = mapped_column(String(16), primary_key=True)
    arm: Mapped[str] = mapped_column(String(32))
    set_at: Mapped[datetime] = mapped_column(Instant)
    set_by: Mapped[str] = mapped_column(String(128))


class GatesRow(Base):
    """What kept units out of a slot's rollouts from one ruleset version on; never changed.

    The overrides that it says stand in `published_overrides`, so that each is stored once.
    """

    __tablename__ = "slot_gates"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    ruleset: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    document: Mapped[Any] = mapped_column(Json)


class PublishedOverrideRow(Base):
    """The arm that a ruleset gave one unit, and the versions that did: [since, until)."""

    __tablename__ = "published_overrides"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit_hash: Mapped[str] = mapped_column(String(16), primary_key=True)
    since: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    until: Mapped[int | None] = mapped_column(BigInt)
    arm: Mapped[str] = mapped_column(String(32))
