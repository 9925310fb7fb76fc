"""Operators, their tokens and sessions, service keys, and replayed requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from controller.flow.actors import Role, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person. `password_hash` is argon2id, or None until the sign-in link was used."""

    name: str
    roles: frozenset[Role]
    password_hash: str | None
    active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A service key: the secret itself is never stored.

    `auth_hash` is the SHA-256 of the authentication half, `signing_key` the derived half that
    signs rulesets for this key's holder. A `client` key is public: it lies in a browser, where it
    works from `origins` alone, or, without any, on phones.
    """

    project: str
    key_id: str
    name: str
    auth_hash: str
    signing_key: str
    scopes: frozenset[Scope]
    origins: tuple[str, ...] = ()
    client: bool = False
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in browser: `id_hash` is the SHA-256 of the cookie.

    `authenticated_at` is when its operator last gave their password.
    """

    id_hash: str
    operator: str
    csrf: str
    created_at: datetime
    seen_at: datetime
    authenticated_at: datetime


class People(Protocol):
    """Who may sign in, and with what."""

    def operator(self, name: str) -> Operator | None: ...
    def operators(self) -> Sequence[Operator]: ...
    def put_operator(self, operator: Operator) -> None: ...

    def add_token(self, token_hash: str, operator: str, *, at: datetime) -> None: ...
    def by_token(self, token_hash: str) -> Operator | None: ...
    def end_tokens(self, operator: str) -> None: ...

    def add_link(self, link_hash: str, operator: str, *, expires_at: datetime) -> None: ...
    def use_link(self, link_hash: str, *, at: datetime) -> str | None:
        """The operator of an unexpired, unused link, which is used up by this call."""
        ...

    def add_session(self, session: Session) -> None: ...
    def session(self, id_hash: str) -> Session | None: ...
    def touch_session(self, id_hash: str, *, at: datetime) -> None: ...
    def confirm_session(self, id_hash: str, *, at: datetime) -> None: ...
    def end_sessions(self, operator: str) -> None: ...
    def end_session(self, id_hash: str) -> None: ...
    def forget_sessions(self, *, seen_before: datetime) -> None: ...

    def add_key(self, key: Key) -> None: ...
    def key(self, key_id: str) -> Key | None: ...
    def keys(self, project: str) -> Sequence[Key]: ...
    def revoke_key(self, project: str, key_id: str, *, at: datetime) -> None: ...
    def origins(self) -> frozenset[str]:
        """Every website that an unrevoked key may be used from."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The stored answer to one Idempotency-Key."""

    request_sha256: str
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Replays(Protocol):
    """Answers kept so that a repeated request changes nothing."""

    def get(self, project: str, key: str) -> Replay | None:
        """What is known of a key: `status` 0 while its request is being carried out."""
        ...

    def reserve(
        self, project: str, key: str, request_sha256: str, *, at: datetime
    ) -> Replay | None:
        """None where the key is ours now; else what is known of the request that had it first."""
        ...

    def finish(
        self,
        project: str,
        key: str,
        *,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
    ) -> None: ...
    def drop(self, project: str, key: str) -> None:
        """Forget a reservation whose request did nothing."""
        ...

    def forget(self, *, before: datetime) -> None: ...
