"""Online backup and restore of the SQLite files: main before inbox.

In that order the copy of the inbox is never older than the position stored in the copy of main: a
request that main has not seen yet is in the inbox, and is aggregated after a restore. PostgreSQL
brings its own tools (pg_dump, base backups): there both live in one database.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from controller.errors import SetupFailed
from controller.events.times import format_time
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import lineage, rename_lineage
from controller.storage.sql.queue import Queue
from controller.storage.sql.schema.inbox import InboxRow

MANIFEST: Final = "backup.json"
FILES: Final = ("main.db", "inbox.db")
_PAGES_AT_ONCE: Final = 256


def backup(database: Database, folder: Path) -> Path:
    """Copy a running database into a new folder; the service goes on.

    Returns
    -------
    Path
        The manifest that makes the folder a backup; it is written last.

    Raises
    ------
    SetupFailed
        If this is not a SQLite file, or the folder holds a backup already.
    """
    sources = _files(database.url)
    if (folder / MANIFEST).exists():
        raise SetupFailed(f"{folder} already holds a backup; name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(sources, FILES, strict=True):
        _copy(source, folder / name)
        _check(folder / name)
    manifest = folder / MANIFEST
    document = {"schema": 1, "taken_at": format_time(datetime.now(UTC)), "files": list(FILES)}
    manifest.write_text(json.dumps(document, indent=2) + "\n")
    return manifest


def restore(folder: Path, url: str) -> None:
    """Put a backup in the place of a database that is not there (any more).

    Raises
    ------
    SetupFailed
        If the folder is no backup, a copy is damaged, or a database stands in the way.
    """
    if not (folder / MANIFEST).is_file():
        raise SetupFailed(f"{folder} is not a finished backup: it has no {MANIFEST}.")
    targets = _files(url)
    for target in targets:
        for standing in (target, *target.parent.glob(f"{target.name}-*")):
            if standing.exists():
                raise SetupFailed(
                    f"{standing} stands in the way. Stop the service, move it away and try again."
                )
    for target, name in zip(targets, FILES, strict=True):
        _check(folder / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(folder / name, target)
    database = Database(url)
    try:
        _name_again(database)
    finally:
        database.dispose()


def _files(url: str) -> tuple[Path, Path]:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise SetupFailed(
            "This command copies SQLite files; back PostgreSQL up with its own tools, like pg_dump."
        )
    main = Path(parsed.database)
    return main, main.with_name("inbox.db")


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise SetupFailed(f"{source} does not exist.")
    try:
        with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as new:
            reading.backup(new, pages=_PAGES_AT_ONCE, sleep=0.01)
    except sqlite3.Error as problem:
        raise SetupFailed(f"{source} cannot be copied to {target}: {problem}.") from problem


def _check(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as copied:
            (answer,) = copied.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as problem:
        raise SetupFailed(f"{path} is damaged: {problem}.") from problem
    if answer != "ok":
        raise SetupFailed(f"{path} is damaged: {answer}.")


def _name_again(database: Database) -> None:
    """An inbox older than main's position would hand out numbers that count as consumed."""
    lineage(database)
    with database.read() as connection:
        position = Queue(database, connection).position
    with database.begin_inbox() as inbox:
        newest = inbox.scalar(select(func.max(InboxRow.seq))) or 0
        if newest < position:
            rename_lineage(inbox)
