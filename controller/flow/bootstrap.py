"""The first start: shipped policies, an administrator, two keys; nothing secret is shipped."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.experiments.shipped import SHIPPED_POLICIES
from controller.flow.actors import MACHINE, Bundle, Role, Scope
from controller.flow.people import (
    ADMIN_NAME,
    add_operator,
    create_key,
    make_token,
    set_password,
)
from controller.flow.ports.work import Store
from controller.flow.publish import publish

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What `credentials.json` holds, and the administrator's password if it was just made."""

    path: Path
    document: dict[str, Any]
    new_password: str | None


def seed_policies(store: Store, project: str = DEFAULT_PROJECT) -> None:
    """Store every shipped policy that the project does not have."""
    with store.writing() as work:
        # Several migrators may start at once: the lease's row makes them do this one by one.
        work.leases.take("seed", MACHINE.name, now=work.now, seconds=0)
        for policy in SHIPPED_POLICIES:
            if work.definitions.policy(project, policy.name) is None:
                work.definitions.add_policy(project, policy, actor=MACHINE.name, at=work.now)
        if work.rulesets.newest(project) is None:
            publish(work, project)


def first_credentials(store: Store, path: Path, *, url: str, shared: bool = False) -> Credentials:
    """Read the credentials file, or make operator `admin` and two keys and write it.

    The file is readable by its owner alone. Losing it loses nothing that `controller operator` and
    `controller key` cannot make anew.

    Parameters
    ----------
    shared : bool
        Whether other machines may use this database. One that comes after the first gets a file
        without credentials: a new password for `admin` would end the first one's.
    """
    if path.exists():
        document = json.loads(path.read_text())
        if document.get("url") != url:
            document["url"] = url
            write_private(path, document)
        return Credentials(path=path, document=document, new_password=None)
    if shared and _has_begun(store):
        document = {"url": url, "operators": {}, "keys": {}}
        write_private(path, document)
        return Credentials(path=path, document=document, new_password=None)
    password = _administrator(store)
    keys = {
        name: create_key(store, DEFAULT_PROJECT, name, [scope], actor=MACHINE)[1]
        for name, scope in (("sdk", Bundle.SDK), ("admin", Scope.ADMIN))
    }
    document = {
        "url": url,
        "operators": {
            ADMIN_NAME: {
                "password": password,
                "token": make_token(store, ADMIN_NAME, actor=MACHINE),
                "roles": sorted(role.value for role in Role),
            }
        },
        "keys": keys,
    }
    write_private(path, document)
    return Credentials(path=path, document=document, new_password=password)


def _has_begun(store: Store) -> bool:
    """Whether a first start went through: the keys are made after the administrator."""
    with store.reading() as work:
        return work.people.operator(ADMIN_NAME) is not None and bool(
            work.people.keys(DEFAULT_PROJECT)
        )


def _administrator(store: Store) -> str:
    """Make `admin`, or give it a new password where an earlier first start broke off half-way."""
    password = secrets.token_urlsafe(15)
    with store.reading() as work:
        known = work.people.operator(ADMIN_NAME) is not None
    if known:
        set_password(store, ADMIN_NAME, password, actor=MACHINE)
    else:
        add_operator(store, ADMIN_NAME, frozenset(Role), actor=MACHINE, password=password)
    return password


def write_private(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file that only its owner can read, whole or not at all."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    temporary.replace(path)
