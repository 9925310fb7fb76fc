"""`controller backup` and `controller restore`: the SQLite data directory, while it runs or not."""

from __future__ import annotations

import argparse
from pathlib import Path

from controller.cli.exits import Exit
from controller.settings import from_environment


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    for name, run, what in (
        ("backup", _backup, "copy the databases to a folder; the service may run"),
        ("restore", _restore, "bring a backup back; the service must be stopped"),
    ):
        parser = commands.add_parser(name, help=what)
        parser.add_argument("folder", type=Path, help="where the backup is")
        parser.set_defaults(run=run)


def _backup(arguments: argparse.Namespace) -> int:
    from controller.storage.sql.backup import backup
    from controller.wiring import database

    settings = from_environment()
    opened = database(settings)
    try:
        print(backup(opened, arguments.folder))
    finally:
        opened.dispose()
    return Exit.OK


def _restore(arguments: argparse.Namespace) -> int:
    from controller.cli.up import only_one
    from controller.storage.sql.backup import restore
    from controller.wiring import follow_restore

    settings = from_environment()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with only_one(settings.data_dir):
        restore(arguments.folder, settings.effective_database_url)
        follow_restore(settings)
    print(settings.data_dir)
    return Exit.OK
