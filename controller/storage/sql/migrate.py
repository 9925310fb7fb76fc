"""Bring a database to this version's schema, one migrator at a time, or say why not.

Two families of revisions: `main`, and `inbox`, which on SQLite is a file of its own. Each runs in
one transaction: a crash in the middle leaves the schema as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, inspect, text

import controller
from controller.errors import SetupFailed
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata

Family = Literal["main", "inbox"]
FAMILIES: tuple[Family, ...] = ("main", "inbox")
METADATA: dict[Family, MetaData] = {"main": Base.metadata, "inbox": InboxBase.metadata}
VERSION_TABLE: dict[Family, str] = {"main": "schema_version", "inbox": "inbox_schema_version"}
_LOCK = 0x726F6C6C


def upgrade(database: Database) -> None:
    """Run every revision that is missing. Safe to call from several processes at once.

    Raises
    ------
    SetupFailed
        If the database was written by a newer version.
    """
    for family in FAMILIES:
        begin = database.begin if family == "main" else database.begin_inbox
        with begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _refuse_newer(connection, family)
            command.upgrade(_config(family, connection), "head")


def missing(database: Database) -> str | None:
    """Why the schema does not fit this version, or None where it does."""
    for family in FAMILIES:
        engine = database.main if family == "main" else database.inbox
        with engine.connect() as connection:
            current = _current(connection, family)
            lacking = _lacking(connection, family)
        head = _scripts(family).get_current_head()
        if current != head:
            return (
                f"The {family} database is at revision {current or 'none'}, this version needs "
                f"{head}: run `controller migrate`."
            )
        if lacking is not None:
            return (
                f"The {family} database says that it is at revision {current} and lacks {lacking}: "
                "it was changed by hand or by a version that was never released. Restore a backup."
            )
    return None


def revise(database: Database, family: Family, message: str) -> None:
    """Write a new revision from the difference between tables and database (for maintainers)."""
    with database.begin() if family == "main" else database.begin_inbox() as connection:
        config = _config(family, connection)
        number = 1 + len(list(ScriptDirectory.from_config(config).walk_revisions()))
        command.revision(config, message, autogenerate=True, rev_id=f"{family}_{number:04d}")


def _refuse_newer(connection: Connection, family: Family) -> None:
    current = _current(connection, family)
    if current is None:
        return
    try:
        known = _scripts(family).get_revision(current) is not None
    except CommandError:
        known = False
    if not known:
        raise SetupFailed(
            f"The {family} database is at revision {current}, which this version does not "
            "know: it was written by a newer version. Install that version, or restore a "
            "backup made before."
        )


def _lacking(connection: Connection, family: Family) -> str | None:
    """A column of this version's tables that the database does not have."""
    found = {
        name: {column["name"] for column in columns}
        for (_, name), columns in inspect(connection).get_multi_columns().items()
    }
    return next(
        (
            f"{table.name}.{column.name}"
            for table in METADATA[family].sorted_tables
            for column in table.columns
            if column.name not in found.get(table.name, ())
        ),
        None,
    )


def _current(connection: Connection, family: Family) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE[family]})
    return context.get_current_revision()


def _scripts(family: Family) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(family, None))


def _config(family: Family, connection: Connection | None) -> Config:
    home = _home()
    config = Config()
    config.set_main_option("script_location", str(home).replace("%", "%%"))
    config.set_main_option("version_locations", str(home / family).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["family"] = family
    config.attributes["connection"] = connection
    return config


def _home() -> Path:
    """The revisions: inside an installed package, or beside it in a checkout."""
    package = Path(controller.__file__).parent
    for candidate in (package / "_migrations", package.parent / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise SetupFailed("The package was installed without its migrations; install it again.")
