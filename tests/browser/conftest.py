"""One furnished world a worker, and a console over a copy of it for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.serving import served
from tests.browser.world import World, furnished


@pytest.fixture(scope="session")
def furnished_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = furnished(tmp_path_factory.mktemp("furnished"))
    yield world
    world.close()


@pytest.fixture
def world(furnished_world: World, tmp_path: Path) -> Iterator[World]:
    copied = World.copied(furnished_world, tmp_path)
    yield copied
    copied.close()


@pytest.fixture
def console(world: World, tmp_path: Path) -> Iterator[str]:
    """The address of the console."""
    with served(world, tmp_path) as address:
        yield address
