"""`controller doctor`: checks settings, stores, migrations and clocks, and says what is wrong."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from controller.cli.exits import Exit
from controller.errors import ControllerError, SetupFailed
from controller.settings import Settings, from_environment

LARGEST_SKEW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is good, and the sentence."""

    check: str
    good: bool
    sentence: str


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="check settings, stores, migrations and clocks")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line a check; exit 1 if any is bad."""
    settings = from_environment()
    findings = [
        _attempt(name, check, settings)
        for name, check in (
            ("settings", _settings),
            ("database", _database),
            ("migrations", _migrations),
            ("clock", _clock),
            ("redis", _redis),
        )
    ]
    if arguments.json:
        json.dump([asdict(finding) for finding in findings], sys.stdout)
        print()
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.good else 'BAD '} {finding.check}: {finding.sentence}")
    return Exit.OK if all(finding.good for finding in findings) else Exit.FAILURE


def _attempt(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, True, check(settings))
    except ControllerError as problem:
        return Finding(name, False, problem.message)


def _settings(settings: Settings) -> str:
    if settings.database_url:
        settings.require_secret()
    return f"data directory {settings.data_dir}, listening on {settings.host}:{settings.port}."


def _database(settings: Settings) -> str:
    from controller.wiring import database

    opened = database(settings)
    kind = "SQLite" if opened.is_sqlite else "PostgreSQL"
    opened.dispose()
    return f"{kind} answers."


def _migrations(settings: Settings) -> str:
    from controller.storage.sql.migrate import missing
    from controller.wiring import database

    opened = database(settings)
    why = missing(opened)
    opened.dispose()
    if why is not None:
        raise SetupFailed(why)
    return "the schema fits this version."


def _clock(settings: Settings) -> str:
    from controller.storage.sql.database import database_now
    from controller.wiring import database

    opened = database(settings)
    with opened.read() as connection:
        skew = abs((database_now(connection) - datetime.now(UTC)).total_seconds())
    opened.dispose()
    if skew > LARGEST_SKEW_SECONDS:
        raise SetupFailed(f"this machine and the database differ by {skew:.0f} s: set both by NTP.")
    return f"within {max(skew, 0.1):.1f} s of the database."


def _redis(settings: Settings) -> str:
    from controller.wiring import check_redis, claim_redis

    if not settings.redis_url:
        return "embedded (REDIS_URL is empty): `controller up` starts it."
    check_redis(settings)
    claim_redis(settings)
    return "answers, and its keys are this deployment's alone."
