"""Operators and service keys, for administrators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from controller.errors import Conflict, InvalidInput, NotFound, NotPermitted, Unauthenticated
from controller.experiments.document import parse_duration
from controller.flow import people as cases
from controller.flow.actors import Bundle, Role, Scope
from controller.flow.ports.people import Key, Operator
from controller.service.http.authentication import person
from controller.service.http.calls import Call
from controller.service.http.router import EVERY_ROLE, Route, people, public, service
from controller.service.http.runtime import WebRuntime

ADMINS = service(Scope.ADMIN, roles=(Role.ADMIN,))
AUDITORS = service(Scope.ADMIN, roles=(Role.ADMIN, Role.AUDITOR))

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Password = Annotated[str, Meta(max_length=1024)]
KeyScope = Literal["ruleset", "evaluate", "ingest", "read", "stop", "admin", "sdk", "client"]
"""The values of `Scope` and `Bundle`."""


class NewOperator(Struct, forbid_unknown_fields=True):
    """A person to add; without a password the answer holds a sign-in link."""

    name: Name
    roles: list[Role]
    password: Password | None = None


class OperatorChange(Struct, forbid_unknown_fields=True):
    """What to change of an operator."""

    roles: list[Role] | None = None
    active: bool | None = None


class NewPassword(Struct, forbid_unknown_fields=True):
    """A new password."""

    password: Password


class OperatorView(Struct):
    """An operator; `link` and its `expires_at` are there once, when it was just made."""

    name: str
    roles: list[str]
    active: bool
    has_password: bool
    created_at: datetime
    link: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType = msgspec.UNSET


class OperatorList(Struct):
    """Every operator."""

    operators: list[OperatorView]


class NewKey(Struct, forbid_unknown_fields=True):
    """A service key to create.

    `sdk` stands for ruleset, evaluate and ingest. `client` stands alone: evaluate, for slots with
    `clients: true`, at a client's rate; in browsers from `origins` alone, on phones without any.
    """

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    scopes: Annotated[list[KeyScope], Meta(min_length=1, max_length=8)]
    origins: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=50)] = []
    expires_in: str | None = None


class Rotation(Struct, forbid_unknown_fields=True):
    """How long the old key goes on working beside the new one."""

    overlap: str = "24h"


class KeyView(Struct):
    """A key; `key`, its text, is there once, when it was just made.

    `scopes` are those it holds, bundles unpacked; `client` says that it is a public one.
    """

    key_id: str
    name: str
    scopes: list[str]
    origins: list[str]
    client: bool
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    key: str | msgspec.UnsetType = msgspec.UNSET


class KeyList(Struct):
    """Every key of the project."""

    keys: list[KeyView]


class SignIn(Struct, forbid_unknown_fields=True):
    """A name and its password."""

    name: Name
    password: Password


class Token(Struct):
    """An operator's new token, shown once."""

    token: str


def people_routes(runtime: WebRuntime) -> list[Route]:
    """Operators, their links and tokens; keys."""
    return [*_operators(runtime), *_secrets(runtime), *_keys(runtime)]


def _operators(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def add(call: Call) -> Any:
        wanted: NewOperator = call.body
        operator = cases.add_operator(
            store, wanted.name, wanted.roles, actor=call.actor, password=wanted.password
        )
        view = _operator(operator)
        if not wanted.password:
            view.link, view.expires_at = _link(call, operator.name)
        return view

    def _link(call: Call, name: str) -> tuple[str, datetime]:
        secret, expires_at = cases.make_link(store, name, actor=call.actor)
        return f"{runtime.settings.url}/link/{secret}", expires_at

    def every(call: Call) -> Any:
        found = cases.operators(store, actor=call.actor)
        return OperatorList(operators=[_operator(one) for one in found])

    def change(call: Call) -> Any:
        asked: OperatorChange = call.body
        return _operator(
            cases.change_operator(
                store,
                call.path["name"],
                actor=call.actor,
                roles=asked.roles,
                active=asked.active,
            )
        )

    def link(call: Call) -> Any:
        address, expires_at = _link(call, call.path["name"])
        return {"link": address, "expires_at": expires_at.isoformat()}

    return [
        Route(
            method="POST",
            path="/v1/operators",
            name="add_operator",
            summary="Add an operator",
            access=people(Role.ADMIN),
            handler=add,
            reads="json",
            body=NewOperator,
            answer=OperatorView,
            status=201,
            errors=(Conflict, InvalidInput),
        ),
        Route(
            method="GET",
            path="/v1/operators",
            name="list_operators",
            summary="Every operator",
            access=service(Scope.ADMIN),
            handler=every,
            answer=OperatorList,
        ),
        Route(
            method="PUT",
            path="/v1/operators/<name>",
            name="change_operator",
            summary="Change an operator's roles, or let them in or out",
            access=people(Role.ADMIN),
            handler=change,
            reads="json",
            body=OperatorChange,
            answer=OperatorView,
            errors=(Conflict, NotFound),
        ),
        Route(
            method="POST",
            path="/v1/operators/<name>/link",
            name="make_sign_in_link",
            summary="A one-use link with which an operator chooses a password",
            access=people(Role.ADMIN),
            handler=link,
            answer=dict[str, str],
            status=201,
            errors=(Conflict, NotFound),
        ),
    ]


def _secrets(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def password(call: Call) -> None:
        cases.set_password(store, call.path["name"], call.body.password, actor=call.actor)

    def token(call: Call) -> Any:
        return Token(token=cases.make_token(store, call.path["name"], actor=call.actor))

    def sign_in(call: Call) -> Any:
        asked: SignIn = call.body
        operator = runtime.sessions.verified(call.request, asked.name, asked.password)
        actor = person(operator, method="password")
        return Token(token=cases.make_token(store, operator.name, actor=actor))

    def revoke(call: Call) -> None:
        cases.revoke_tokens(store, call.path["name"], actor=call.actor)

    mine = people(*EVERY_ROLE)
    return [
        Route(
            method="PUT",
            path="/v1/operators/<name>/password",
            name="set_password",
            summary="Set a password: one's own, or anybody's as an administrator",
            access=mine,
            handler=password,
            status=204,
            reads="json",
            body=NewPassword,
            errors=(NotFound, InvalidInput),
        ),
        Route(
            method="POST",
            path="/v1/tokens",
            name="sign_in",
            summary="A token for a name and its password, shown once; guessing is slowed down",
            access=public(),
            handler=sign_in,
            reads="json",
            body=SignIn,
            answer=Token,
            status=201,
            errors=(Unauthenticated,),
        ),
        Route(
            method="POST",
            path="/v1/operators/<name>/tokens",
            name="make_token",
            summary="A token that acts as oneself, shown once",
            access=mine,
            handler=token,
            answer=Token,
            status=201,
            errors=(NotFound, NotPermitted),
        ),
        Route(
            method="DELETE",
            path="/v1/operators/<name>/tokens",
            name="revoke_tokens",
            summary="End every token of an operator",
            access=mine,
            handler=revoke,
            status=204,
            errors=(NotFound,),
        ),
    ]


def _keys(runtime: WebRuntime) -> list[Route]:
    store = runtime.store

    def create(call: Call) -> Any:
        wanted: NewKey = call.body
        seconds = wanted.expires_in and parse_duration(wanted.expires_in, "expires_in")
        key, text = cases.create_key(
            store,
            call.project,
            wanted.name,
            [_asked(scope) for scope in wanted.scopes],
            actor=call.actor,
            origins=wanted.origins,
            life=timedelta(seconds=seconds) if seconds else None,
        )
        return _key(key, text)

    def every(call: Call) -> Any:
        found = cases.keys(store, call.project, actor=call.actor)
        return KeyList(keys=[_key(one) for one in found])

    def rotate(call: Call) -> Any:
        overlap = timedelta(seconds=parse_duration(call.body.overlap, "overlap"))
        key, text = cases.rotate_key(
            store, call.project, call.path["key_id"], actor=call.actor, overlap=overlap
        )
        return _key(key, text)

    def revoke(call: Call) -> None:
        cases.revoke_key(store, call.project, call.path["key_id"], actor=call.actor)
        if runtime.checked is not None:
            runtime.checked.forget(call.path["key_id"])

    return [
        Route(
            method="POST",
            path="/v1/keys",
            name="create_key",
            summary="Create a service key; its text is shown once",
            access=ADMINS,
            handler=create,
            reads="json",
            body=NewKey,
            answer=KeyView,
            status=201,
            errors=(InvalidInput,),
        ),
        Route(
            method="GET",
            path="/v1/keys",
            name="list_keys",
            summary="Every key of the project, without its text",
            access=AUDITORS,
            handler=every,
            answer=KeyList,
        ),
        Route(
            method="POST",
            path="/v1/keys/<key_id>/rotate",
            name="rotate_key",
            summary="A new key in place of one that ends after the overlap",
            access=ADMINS,
            handler=rotate,
            reads="json",
            body=Rotation,
            answer=KeyView,
            status=201,
            errors=(NotFound, Conflict),
        ),
        Route(
            method="DELETE",
            path="/v1/keys/<key_id>",
            name="revoke_key",
            summary="End a key now",
            access=ADMINS,
            handler=revoke,
            status=204,
            errors=(NotFound,),
        ),
    ]


def _operator(operator: Operator) -> OperatorView:
    return OperatorView(
        name=operator.name,
        roles=sorted(role.value for role in operator.roles),
        active=operator.active,
        has_password=operator.password_hash is not None,
        created_at=operator.created_at,
    )


def _asked(name: KeyScope) -> Scope | Bundle:
    return Bundle(name) if name in {"sdk", "client"} else Scope(name)


def _key(key: Key, text: str | None = None) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        name=key.name,
        scopes=sorted(scope.value for scope in key.scopes),
        origins=list(key.origins),
        client=key.client,
        created_by=key.created_by,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        key=msgspec.UNSET if text is None else text,
    )
