"""A console over a small world, called without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from controller.flow.actors import Actor
from controller.flow.approve import vote
from controller.service.web.app import create_app
from tests.browser.corners import corners, nothing_yet
from tests.browser.serving import runtime_of
from tests.browser.world import PASSWORD, PROJECT, ROLES, World, waiting_world


@dataclass(kw_only=True)
class Browser:
    """Somebody with a session, who reads pages and sends forms."""

    client: FlaskClient
    world: World

    def sign_in(self, name: str) -> None:
        answer = self.client.post("/login", data={"name": name, "password": PASSWORD, "next": "/"})
        assert answer.status_code == 303, answer.text

    def get(self, path: str, status: int = 200, **options: Any) -> str:
        answer = self.client.get(path, **options)
        assert answer.status_code == status, answer.text
        return answer.text

    def send(self, page: str, action: str, **fields: str) -> Any:
        """Sends the form of a page with the hidden fields it came with."""
        form = next(one for one in forms(self.get(page)) if f'action="{action}"' in one)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        return self.client.post(action, data={**hidden, **fields})


def forms(page: str) -> list[str]:
    return re.findall(r"<form.*?</form>", page, re.DOTALL)


def approve(world: World, name: str, how: str = "approve") -> None:
    with world.store.reading() as work:
        proposal = work.approvals.open_for(PROJECT, world.rollouts["waiting"])
    assert proposal is not None
    actor = Actor(name=name, kind="operator", roles=ROLES[name])
    vote(
        world.store,
        PROJECT,
        proposal.id,
        vote=how,
        digest=proposal.digest,
        comment="Seen.",
        actor=actor,
    )


@pytest.fixture(scope="session")
def original_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = waiting_world(tmp_path_factory.mktemp("waiting"))
    yield world
    world.close()


@pytest.fixture
def world(original_world: World, tmp_path: Path) -> Iterator[World]:
    copied = World.copied(original_world, tmp_path)
    yield copied
    copied.close()


@pytest.fixture
def stranger(world: World, tmp_path: Path) -> Iterator[Browser]:
    """Nobody yet."""
    runtime = runtime_of(world, tmp_path)
    app = create_app(runtime)
    yield Browser(client=app.test_client(use_cookies=True), world=world)
    runtime.close()


@pytest.fixture
def omar(stranger: Browser) -> Browser:
    """An approver who has no interest in the rollout."""
    stranger.sign_in("omar")
    return stranger


# ---------------------------------------------------------------- odd cases, and nothing yet


@pytest.fixture(scope="module")
def odd_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = corners(tmp_path_factory.mktemp("corners"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def odd(odd_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from signed_in(odd_world, tmp_path_factory.mktemp("odd"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Browser]:
    world = nothing_yet(tmp_path)
    yield from signed_in(world, tmp_path)
    world.close()


def signed_in(world: World, folder: Path) -> Iterator[Browser]:
    runtime = runtime_of(world, folder)
    browser = Browser(client=create_app(runtime).test_client(use_cookies=True), world=world)
    browser.sign_in("admin")
    yield browser
    runtime.close()
