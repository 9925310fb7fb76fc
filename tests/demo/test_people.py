"""The demo's people come in like anybody, and a second start changes nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from controller.demo.models import Models
from controller.demo.people import introduce, seed_salts
from controller.demo.scenario import (
    APPROVERS,
    AUTHOR,
    FLIGHTS_SLOT,
    metrics,
    policies,
    rollouts,
    salt_of,
)
from controller.flow.actors import MACHINE, Actor, Role
from controller.flow.bootstrap import DEFAULT_PROJECT, first_credentials
from controller.flow.create import create_rollout
from controller.flow.define import put_metric, put_policy, put_slot
from controller.flow.people import verify_password
from controller.settings import Settings
from controller.storage.sql.unit_of_work import SqlStore
from controller.wiring import database, migrate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path)
    migrate(settings)
    opened = database(settings)
    first_credentials(SqlStore(opened), tmp_path / "credentials.json", url=settings.url)
    opened.dispose()
    return settings


def test_people_can_sign_in_and_a_second_start_keeps_them(settings: Settings) -> None:
    document = introduce(settings)
    assert introduce(settings) == document
    path = settings.data_dir / "credentials.json"
    assert json.loads(path.read_text()) == document
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    opened = database(settings)
    for name in (AUTHOR, *APPROVERS):
        known = verify_password(SqlStore(opened), name, document["operators"][name]["password"])
        assert (Role.APPROVER in known.roles) == (name in APPROVERS)
    opened.dispose()


def test_a_seed_fixes_the_salt_of_a_draft(settings: Settings, models: Models) -> None:
    introduce(settings)
    opened = database(settings)
    store = SqlStore(opened)
    for key, metric in metrics().items():
        put_metric(store, DEFAULT_PROJECT, metric, key=key, actor=MACHINE)
    for name, policy in policies().items():
        put_policy(store, DEFAULT_PROJECT, policy, name=name, actor=MACHINE)
    wanted = rollouts(models)[0]
    put_slot(store, DEFAULT_PROJECT, dict(wanted.definition), key=wanted.slot, actor=MACHINE)
    author = Actor(name=AUTHOR, kind="operator", roles=frozenset({Role.AUTHOR}))
    draft = create_rollout(
        store,
        DEFAULT_PROJECT,
        slot=FLIGHTS_SLOT,
        challengers=wanted.request["challengers"],
        actor=author,
    )
    seed_salts(settings, {FLIGHTS_SLOT: draft.id}, 7)
    with store.reading() as work:
        stored = work.rollouts.get(DEFAULT_PROJECT, draft.id)
    opened.dispose()
    assert stored is not None
    assert stored.salt == salt_of(FLIGHTS_SLOT, 7) != draft.salt
