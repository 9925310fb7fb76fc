"""Operators, their tokens, links and sessions, and service keys in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from controller.flow.actors import Role, Scope
from controller.flow.ports.people import Key, Operator, Session
from controller.storage.sql.schema.people import (
    KeyRow,
    LinkRow,
    OperatorRow,
    SessionRow,
    TokenRow,
)


class SqlPeople:
    """Implements `flow.ports.people.People` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # ------------------------------------------------------------ operators

    def operator(self, name: str) -> Operator | None:
        """One operator, or None."""
        row = self._connection.execute(
            select(OperatorRow.__table__).where(OperatorRow.name == name)
        ).one_or_none()
        return None if row is None else _operator(row)

    def operators(self) -> Sequence[Operator]:
        """Every operator, by name."""
        rows = self._connection.execute(select(OperatorRow.__table__).order_by(OperatorRow.name))
        return [_operator(row) for row in rows]

    def put_operator(self, operator: Operator) -> None:
        """Create or replace."""
        values = {
            "roles": sorted(role.value for role in operator.roles),
            "password_hash": operator.password_hash,
            "active": operator.active,
        }
        changed = self._connection.execute(
            update(OperatorRow).where(OperatorRow.name == operator.name).values(**values)
        )
        if changed.rowcount == 0:
            self._connection.execute(
                insert(OperatorRow).values(
                    name=operator.name, created_at=operator.created_at, **values
                )
            )

    # ------------------------------------------------------------ tokens and links

    def add_token(self, token_hash: str, operator: str, *, at: datetime) -> None:
        """Let the holder of this token act as the operator."""
        self._connection.execute(
            insert(TokenRow).values(token_hash=token_hash, operator=operator, created_at=at)
        )

    def by_token(self, token_hash: str) -> Operator | None:
        """The active operator of a token, or None."""
        row = self._connection.execute(
            select(OperatorRow.__table__)
            .join(TokenRow, TokenRow.operator == OperatorRow.name)
            .where(TokenRow.token_hash == token_hash, OperatorRow.active.is_(True))
        ).one_or_none()
        return None if row is None else _operator(row)

    def end_tokens(self, operator: str) -> None:
        """Revoke every token of an operator."""
        self._connection.execute(delete(TokenRow).where(TokenRow.operator == operator))

    def add_link(self, link_hash: str, operator: str, *, expires_at: datetime) -> None:
        """Keep a one-use sign-in link."""
        self._connection.execute(
            insert(LinkRow).values(link_hash=link_hash, operator=operator, expires_at=expires_at)
        )

    def use_link(self, link_hash: str, *, at: datetime) -> str | None:
        """The operator of an unexpired, unused link, which is used up by this call."""
        return self._connection.execute(
            update(LinkRow)
            .where(
                LinkRow.link_hash == link_hash,
                LinkRow.used_at.is_(None),
                LinkRow.expires_at > at,
            )
            .values(used_at=at)
            .returning(LinkRow.operator)
        ).scalar_one_or_none()

    # ------------------------------------------------------------ sessions

    def add_session(self, session: Session) -> None:
        """Keep a signed-in browser."""
        self._connection.execute(
            insert(SessionRow).values(
                id_hash=session.id_hash,
                operator=session.operator,
                csrf=session.csrf,
                created_at=session.created_at,
                seen_at=session.seen_at,
                authenticated_at=session.authenticated_at,
            )
        )

    def session(self, id_hash: str) -> Session | None:
        """One session, or None."""
        row = self._connection.execute(
            select(SessionRow.__table__).where(SessionRow.id_hash == id_hash)
        ).one_or_none()
        return None if row is None else Session(**row._mapping)

    def touch_session(self, id_hash: str, *, at: datetime) -> None:
        """The browser was seen now."""
        self._connection.execute(
            update(SessionRow).where(SessionRow.id_hash == id_hash).values(seen_at=at)
        )

    def confirm_session(self, id_hash: str, *, at: datetime) -> None:
        """Its operator gave their password again."""
        self._connection.execute(
            update(SessionRow).where(SessionRow.id_hash == id_hash).values(authenticated_at=at)
        )

    def end_sessions(self, operator: str) -> None:
        """Sign an operator out everywhere."""
        self._connection.execute(delete(SessionRow).where(SessionRow.operator == operator))

    def end_session(self, id_hash: str) -> None:
        """Sign one browser out."""
        self._connection.execute(delete(SessionRow).where(SessionRow.id_hash == id_hash))

    def forget_sessions(self, *, seen_before: datetime) -> None:
        """Drop sessions that have been idle since `seen_before`."""
        self._connection.execute(delete(SessionRow).where(SessionRow.seen_at < seen_before))

    # ------------------------------------------------------------ keys

    def add_key(self, key: Key) -> None:
        """Keep a service key."""
        self._connection.execute(
            insert(KeyRow).values(
                project=key.project,
                key_id=key.key_id,
                name=key.name,
                auth_hash=key.auth_hash,
                signing_key=key.signing_key,
                scopes=sorted(scope.value for scope in key.scopes),
                origins=list(key.origins),
                client=key.client,
                created_by=key.created_by,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            )
        )

    def key(self, key_id: str) -> Key | None:
        """One key by its id, whatever its project, or None."""
        row = self._connection.execute(
            select(KeyRow.__table__).where(KeyRow.key_id == key_id)
        ).one_or_none()
        return None if row is None else _key(row)

    def keys(self, project: str) -> Sequence[Key]:
        """Every key of a project, oldest first."""
        rows = self._connection.execute(
            select(KeyRow.__table__)
            .where(KeyRow.project == project)
            .order_by(KeyRow.created_at, KeyRow.key_id)
        )
        return [_key(row) for row in rows]

    def revoke_key(self, project: str, key_id: str, *, at: datetime) -> None:
        """Revoke from `at` on; an earlier revocation stands."""
        self._connection.execute(
            update(KeyRow)
            .where(KeyRow.project == project, KeyRow.key_id == key_id)
            .where(KeyRow.revoked_at.is_(None) | (KeyRow.revoked_at > at))
            .values(revoked_at=at)
        )

    def origins(self) -> frozenset[str]:
        """Every website that an unrevoked key may be used from."""
        rows = self._connection.scalars(
            select(KeyRow.origins).where(KeyRow.revoked_at.is_(None)).distinct()
        )
        return frozenset(origin for origins in rows for origin in origins)


def _operator(row: Row[Any]) -> Operator:
    return Operator(
        name=row.name,
        roles=frozenset(Role(role) for role in row.roles),
        password_hash=row.password_hash,
        active=row.active,
        created_at=row.created_at,
    )


def _key(row: Row[Any]) -> Key:
    return Key(
        project=row.project,
        key_id=row.key_id,
        name=row.name,
        auth_hash=row.auth_hash,
        signing_key=row.signing_key,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        origins=tuple(row.origins),
        client=bool(row.origins) if row.client is None else row.client,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
