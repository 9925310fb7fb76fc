"""Who may come in: operators with passwords, links and tokens, and the keys of services."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from controller.assignment.signature import format_key, split_key, stored_hash
from controller.errors import Conflict, InvalidInput, NotFound, NotPermitted, Unauthenticated
from controller.experiments.document import check_key
from controller.flow.actors import BUNDLES, MACHINE, Actor, Bundle, Role, Scope
from controller.flow.passwords import check_password, hash_password, new_secret, secret_hash
from controller.flow.ports.people import Key, Operator
from controller.flow.ports.work import Store, Work

LINK_LIFE: Final = timedelta(hours=1)
ROTATION_OVERLAP: Final = timedelta(hours=24)
TOKEN_PREFIX: Final = "op_"  # noqa: S105 - a prefix, not a secret
DEPLOYMENT_PROJECT: Final = "default"
"""Operators belong to the deployment: what happens to them is audited here."""

ADMIN_NAME: Final = "admin"
WRONG: Final = "The name or the password is wrong."


# ---------------------------------------------------------------- operators


def add_operator(
    store: Store,
    name: str,
    roles: Iterable[Role],
    *,
    actor: Actor,
    password: str | None = None,
) -> Operator:
    """Add a person; without a password they come in by a sign-in link.

    Raises
    ------
    InvalidInput
        If the name, a role or the password cannot be used.
    Conflict
        If there is such an operator.
    NotPermitted
        If the actor is no administrator.
    """
    _require_administrator(actor)
    check_key(name, "name")
    if name == MACHINE.name:
        raise InvalidInput(f"name: {name!r} is how the log names the service itself.", field="name")
    hashed = None if password is None else hash_password(password, name=name)
    with store.writing() as work:
        if work.people.operator(name) is not None:
            raise Conflict(f"There is an operator {name!r} already.")
        operator = Operator(
            name=name,
            roles=frozenset(roles),
            password_hash=hashed,
            active=True,
            created_at=work.now,
        )
        work.people.put_operator(operator)
        _audit(work, actor, "operator_added", operator)
    return operator


def change_operator(
    store: Store,
    name: str,
    *,
    actor: Actor,
    roles: Iterable[Role] | None = None,
    active: bool | None = None,
) -> Operator:
    """Change an operator's roles, or let them in or out; either ends their sessions.

    Raises
    ------
    NotFound
        If there is no such operator.
    Conflict
        If no active administrator would remain.
    """
    _require_administrator(actor)
    with store.writing() as work:
        before = _operator(work, name)
        after = replace(
            before,
            roles=before.roles if roles is None else frozenset(roles),
            active=before.active if active is None else active,
        )
        if after == before:
            return before
        work.people.put_operator(after)
        if not any(one.active and Role.ADMIN in one.roles for one in work.people.operators()):
            raise Conflict("At least one active operator must hold the role admin.")
        work.people.end_sessions(name)
        if not after.active:
            work.people.end_tokens(name)
        _audit(work, actor, "operator_changed", after)
    return after


def operators(store: Store, *, actor: Actor) -> Sequence[Operator]:
    """Every operator, by name."""
    actor.require(*Role)
    with store.reading() as work:
        return work.people.operators()


def set_password(store: Store, name: str, password: str, *, actor: Actor) -> None:
    """Give an operator a new password, sign them out everywhere and end their tokens.

    Raises
    ------
    NotPermitted
        Unless it is the operator's own, or the actor an administrator.
    """
    if not (actor.is_person and actor.name == name):
        _require_administrator(actor)
    hashed = hash_password(password, name=name)
    with store.writing() as work:
        operator = replace(_operator(work, name), password_hash=hashed)
        work.people.put_operator(operator)
        _end_access(work, name)
        _audit(work, actor, "password_set", operator)


def _end_access(work: Work, name: str) -> None:
    """What was given out under the old password: whoever had it may have made tokens with it."""
    work.people.end_sessions(name)
    work.people.end_tokens(name)


def verify_password(store: Store, name: str, password: str) -> Operator:
    """The active operator of this name and password.

    Raises
    ------
    Unauthenticated
        With the same words, after the same time, whatever was wrong.
    """
    with store.reading() as work:
        operator = work.people.operator(name)
    usable = operator if operator is not None and operator.active else None
    if check_password(usable.password_hash if usable else None, password) and usable:
        return usable
    raise Unauthenticated(WRONG)


def _require_administrator(actor: Actor) -> None:
    """A person or the service itself: a key that could make people could vote as them."""
    if actor.kind == "key":
        raise NotPermitted("Only a person may do this: use an operator's token.")
    actor.require(Role.ADMIN)


# ---------------------------------------------------------------- links and tokens


def make_link(
    store: Store, name: str, *, actor: Actor, life: timedelta = LINK_LIFE
) -> tuple[str, datetime]:
    """A one-use secret that lets an operator choose a password, and when it ends.

    The console takes it at `/link/SECRET`.
    """
    _require_administrator(actor)
    secret = new_secret("")
    with store.writing() as work:
        operator = _operator(work, name)
        if not operator.active:
            raise Conflict(f"The operator {name!r} is not active.")
        expires_at = work.now + life
        work.people.add_link(secret_hash(secret), name, expires_at=expires_at)
        _audit(work, actor, "link_made", operator)
    return secret, expires_at


def use_link(store: Store, secret: str, password: str) -> Operator:
    """Set the password of the operator whose link this is; the link is used up.

    Raises
    ------
    Unauthenticated
        If the link is unknown, used or expired.
    """
    with store.writing() as work:
        name = work.people.use_link(secret_hash(secret), at=work.now)
        if name is None:
            raise Unauthenticated("This sign-in link is unknown, used or expired; ask for another.")
        operator = replace(_operator(work, name), password_hash=hash_password(password, name=name))
        work.people.put_operator(operator)
        _end_access(work, name)
        actor = Actor(name=name, kind="operator", roles=operator.roles, method="link")
        _audit(work, actor, "password_set", operator)
    return operator


def make_token(store: Store, name: str, *, actor: Actor) -> str:
    """A token that acts as the operator: shown once, only its hash is kept.

    Raises
    ------
    NotPermitted
        Unless it is the operator's own, or the service itself makes it.
    """
    if actor.kind != "machine" and not (actor.is_person and actor.name == name):
        raise NotPermitted("A token acts as its operator, so only they can make it.")
    token = new_secret(TOKEN_PREFIX)
    with store.writing() as work:
        operator = _operator(work, name)
        work.people.add_token(secret_hash(token), name, at=work.now)
        _audit(work, actor, "token_made", operator)
    return token


def revoke_tokens(store: Store, name: str, *, actor: Actor) -> None:
    """End every token of an operator."""
    if not (actor.is_person and actor.name == name):
        _require_administrator(actor)
    with store.writing() as work:
        operator = _operator(work, name)
        work.people.end_tokens(name)
        _audit(work, actor, "tokens_revoked", operator)


# ---------------------------------------------------------------- keys


def create_key(
    store: Store,
    project: str,
    name: str,
    scopes: Iterable[Scope | Bundle],
    *,
    actor: Actor,
    origins: Sequence[str] = (),
    life: timedelta | None = None,
) -> tuple[Key, str]:
    """A service key and its text, which is shown once and stored nowhere.

    Parameters
    ----------
    scopes : iterable of Scope or Bundle
        `Bundle.CLIENT` stands alone and makes a client's key: slots with `clients` alone, and a
        rate of its own. Scopes are kept, bundles are not.
    origins : sequence of str
        Where a browser may use it from. A key with origins is a client's, however it was asked
        for; a client's without any is for applications that send none, as on phones.

    Raises
    ------
    InvalidInput
        If it has no scope, or is a client's beside a scope that the public must not hold.
    NotPermitted
        If the actor is no administrator.
    """
    actor.require(Role.ADMIN)
    asked = frozenset(scopes)
    client = Bundle.CLIENT in asked or bool(origins)
    wanted = _scopes(asked)
    _check_scopes(asked, wanted, origins)
    if not name.strip() or len(name) > 128:
        raise InvalidInput("A key has a name of 1 to 128 characters.", field="name")
    with store.writing() as work:
        key, text = _new_key(
            work,
            project,
            name,
            actor=actor,
            scopes=wanted,
            origins=tuple(origins),
            client=client,
            life=life,
        )
        _audit_key(work, actor, "key_created", key)
    return key, text


def rotate_key(
    store: Store,
    project: str,
    key_id: str,
    *,
    actor: Actor,
    overlap: timedelta = ROTATION_OVERLAP,
) -> tuple[Key, str]:
    """A new key in place of a living one, which goes on working for the overlap.

    Raises
    ------
    NotFound, Conflict
        If there is no such key in the project, or it has ended.
    """
    actor.require(Role.ADMIN)
    with store.writing() as work:
        old = _key(work, project, key_id)
        if ended(old, work.now):
            raise Conflict("This key has ended; create a new one.")
        key, text = _new_key(
            work,
            project,
            old.name,
            actor=actor,
            scopes=old.scopes,
            origins=old.origins,
            client=old.client,
        )
        work.people.revoke_key(project, key_id, at=work.now + overlap)
        _audit_key(work, actor, "key_rotated", key, replaces=key_id)
    return key, text


def revoke_key(store: Store, project: str, key_id: str, *, actor: Actor) -> None:
    """End a key now; every process refuses it within five seconds.

    Raises
    ------
    NotFound
        If there is no such key in the project.
    """
    actor.require(Role.ADMIN)
    with store.writing() as work:
        key = _key(work, project, key_id)
        work.people.revoke_key(project, key_id, at=work.now)
        _audit_key(work, actor, "key_revoked", key)


def keys(store: Store, project: str, *, actor: Actor) -> Sequence[Key]:
    """Every key of a project, oldest first."""
    actor.require(Role.ADMIN, Role.AUDITOR)
    with store.reading() as work:
        return work.people.keys(project)


def ended(key: Key, now: datetime) -> bool:
    """Whether the key is revoked or expired at `now`."""
    return any(end is not None and end <= now for end in (key.revoked_at, key.expires_at))


# ---------------------------------------------------------------- details


def _scopes(asked: Iterable[Scope | Bundle]) -> frozenset[Scope]:
    """The scopes themselves, with every bundle unpacked."""
    each = (BUNDLES[one] if isinstance(one, Bundle) else {one} for one in asked)
    return frozenset[Scope]().union(*each)


def _check_scopes(
    asked: frozenset[Scope | Bundle], scopes: frozenset[Scope], origins: Sequence[str]
) -> None:
    if not scopes:
        raise InvalidInput("A key has at least one scope.", field="scopes")
    if Bundle.CLIENT in asked and len(asked) > 1:
        raise InvalidInput(
            "A client's key is seen by everybody; the scope client stands alone.", field="scopes"
        )
    if origins and scopes != {Scope.EVALUATE}:
        raise InvalidInput(
            "A key with origins is seen by everybody; it may hold the scope evaluate alone.",
            field="scopes",
        )
    if any(not origin.startswith(("https://", "http://")) for origin in origins):
        raise InvalidInput("An origin looks like https://shop.example.", field="origins")


def _new_key(
    work: Work,
    project: str,
    name: str,
    *,
    actor: Actor,
    scopes: frozenset[Scope],
    origins: tuple[str, ...],
    client: bool,
    life: timedelta | None = None,
) -> tuple[Key, str]:
    text = format_key(secrets.token_hex(6), secrets.token_urlsafe(32))
    key_id, authentication, signing = split_key(text)
    key = Key(
        project=project,
        key_id=key_id,
        name=name,
        auth_hash=stored_hash(authentication),
        signing_key=signing.hex(),
        scopes=scopes,
        origins=origins,
        client=client,
        created_by=actor.name,
        created_at=work.now,
        expires_at=None if life is None else work.now + life,
    )
    work.people.add_key(key)
    return key, text


def _operator(work: Work, name: str) -> Operator:
    operator = work.people.operator(name)
    if operator is None:
        raise NotFound(f"There is no operator {name!r:.80}.")
    return operator


def _key(work: Work, project: str, key_id: str) -> Key:
    key = work.people.key(key_id)
    if key is None or key.project != project:
        raise NotFound(f"There is no key {key_id!r:.80}.")
    return key


def _audit(work: Work, actor: Actor, action: str, operator: Operator) -> None:
    work.audit.append(
        DEPLOYMENT_PROJECT,
        at=work.now,
        actor=actor.name,
        action=action,
        object=f"operator/{operator.name}",
        roles=sorted(role.value for role in operator.roles),
        active=operator.active,
    )


def _audit_key(work: Work, actor: Actor, action: str, key: Key, **details: str) -> None:
    work.audit.append(
        key.project,
        at=work.now,
        actor=actor.name,
        action=action,
        object=f"key/{key.key_id}",
        name=key.name,
        scopes=sorted(scope.value for scope in key.scopes),
        **({"client": True, "origins": list(key.origins)} if key.client else {}),
        **details,
    )
