"""One furnished world a worker, and a console over a copy of it for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.corners import corners, nothing_yet
from tests.browser.serving import served
from tests.browser.world import World, furnished
from tests.processes import PATIENCE_SECONDS

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


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


@pytest.fixture(scope="session")
def odd_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """A console over the odd cases, which tests only read."""
    folder = tmp_path_factory.mktemp("corners")
    world = corners(folder)
    with served(world, folder) as address:
        yield address, world
    world.close()


@pytest.fixture(scope="session")
def empty_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """A console in which nothing has happened yet."""
    folder = tmp_path_factory.mktemp("empty")
    world = nothing_yet(folder)
    with served(world, folder) as address:
        yield address, world
    world.close()
