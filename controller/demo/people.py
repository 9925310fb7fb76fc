"""What the demo puts into its own database: its people, and repeatable salts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from controller.demo.scenario import APPROVERS, AUTHOR, salt_of
from controller.flow.actors import MACHINE, Role
from controller.flow.bootstrap import DEFAULT_PROJECT, write_private
from controller.flow.people import add_operator, make_token, set_password
from controller.settings import Settings
from controller.storage.sql.unit_of_work import SqlStore
from controller.wiring import database

ROLES: Final[dict[str, frozenset[Role]]] = {
    AUTHOR: frozenset({Role.VIEWER, Role.AUTHOR, Role.OPERATOR}),
    **{name: frozenset({Role.VIEWER, Role.APPROVER, Role.OPERATOR}) for name in APPROVERS},
}


def introduce(settings: Settings) -> dict[str, Any]:
    """Add the demo's operators and note them in `credentials.json`; its document.

    A second start finds them there and changes nothing.
    """
    path = settings.data_dir / "credentials.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in ROLES if name not in document["operators"]]
    if missing:
        opened = database(settings)
        try:
            store = SqlStore(opened)
            for name in missing:
                document["operators"][name] = _introduce(store, name)
        finally:
            opened.dispose()
        write_private(path, document)
    return document


def _introduce(store: SqlStore, name: str) -> dict[str, Any]:
    """One operator with a password and a token, made anew where an earlier start broke off."""
    password = secrets.token_urlsafe(12)
    with store.reading() as work:
        known = work.people.operator(name) is not None
    if known:
        set_password(store, name, password, actor=MACHINE)
    else:
        add_operator(store, name, ROLES[name], actor=MACHINE, password=password)
    return {
        "password": password,
        "token": make_token(store, name, actor=MACHINE),
        "roles": sorted(role.value for role in ROLES[name]),
    }


def seed_salts(settings: Settings, drafts: Mapping[str, str], seed: int) -> None:
    """Give drafts (ids by slot) the salts of a seed, so that their arms can be foretold.

    Salts are random, and no API sets one: whoever can foretell arms can choose units. The demo may,
    in a database of its own and before anybody is exposed.
    """
    opened = database(settings)
    try:
        with SqlStore(opened).writing() as work:
            for slot, draft in drafts.items():
                rollout = work.rollouts.get(DEFAULT_PROJECT, draft)
                assert rollout is not None
                work.rollouts.save(replace(rollout, salt=salt_of(slot, seed)))
    finally:
        opened.dispose()
