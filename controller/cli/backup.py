"""`controller backup` and `controller restore`: the SQLite data directory, while it runs or not.

PostgreSQL is copied by its own tools; `restore` without a folder makes SDKs follow what those
brought back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from controller.cli.exits import Exit
from controller.errors import InvalidInput
from controller.settings import from_environment


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    made = commands.add_parser("backup", help="copy the databases to a folder; the service may run")
    made.add_argument("folder", type=Path, help="where the backup is")
    made.set_defaults(run=_backup)
    brought = commands.add_parser("restore", help="bring a backup back; stop the service first")
    brought.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="where the backup is; none where PostgreSQL was restored by its own tools",
    )
    brought.set_defaults(run=_restore)


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
    if arguments.folder is None:
        if not settings.database_url:
            raise InvalidInput("Name the folder of the backup.", field="folder")
        follow_restore(settings)
        return Exit.OK
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with only_one(settings.data_dir):
        restore(arguments.folder, settings.effective_database_url)
        follow_restore(settings)
    print(settings.data_dir)
    return Exit.OK
