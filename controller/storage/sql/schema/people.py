"""Tables of people and keys: operators, what they sign in with, and what services call with.

No secret stands here. A password is an argon2id hash; a token, a sign-in link and a session cookie
are 256 random bits of which only the SHA-256 is kept; of a key only the hash of one derived half.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, Instant, Json


class OperatorRow(Base):
    """A person. Operators belong to the deployment, not to a project."""

    __tablename__ = "operators"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    roles: Mapped[Any] = mapped_column(Json)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    active: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Instant)


class TokenRow(Base):
    """A token that acts as its operator."""

    __tablename__ = "operator_tokens"
    __table_args__ = (Index(None, "operator"),)

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    operator: Mapped[str] = mapped_column(ForeignKey("operators.name"))
    created_at: Mapped[datetime] = mapped_column(Instant)


class LinkRow(Base):
    """A one-use sign-in link."""

    __tablename__ = "sign_in_links"

    link_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    operator: Mapped[str] = mapped_column(ForeignKey("operators.name"))
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)


class SessionRow(Base):
    """A signed-in browser."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "operator"),)

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    operator: Mapped[str] = mapped_column(ForeignKey("operators.name"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    authenticated_at: Mapped[datetime] = mapped_column(Instant)


class KeyRow(Base):
    """A service key of one project."""

    __tablename__ = "service_keys"
    __table_args__ = (Index(None, "key_id", unique=True),)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    auth_hash: Mapped[str] = mapped_column(String(64))
    signing_key: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[Any] = mapped_column(Json)
    origins: Mapped[Any] = mapped_column(Json)
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    client: Mapped[bool | None] = mapped_column()
    """None where the key was made before clients could be without origins: those tell."""
