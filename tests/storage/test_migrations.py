"""The revisions make exactly the tables that the code declares, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from controller.errors import SetupFailed
from controller.storage.sql.database import Database
from controller.storage.sql.migrate import (
    FAMILIES,
    METADATA,
    VERSION_TABLE,
    Family,
    missing,
    upgrade,
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'main.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.mark.parametrize(
    ("family", "column"), [("main", "rollouts.state"), ("inbox", "inbox.body")]
)
def test_a_column_that_is_not_there_is_named(url: str, family: Family, column: str) -> None:
    database = Database(url)
    upgrade(database)
    assert missing(database) is None
    table, _, name = column.partition(".")
    with database.begin() if family == "main" else database.begin_inbox() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME COLUMN {name} TO gone"))
    assert f"lacks {column}" in (missing(database) or "")
    database.dispose()


@pytest.mark.parametrize("family", FAMILIES)
def test_revisions_make_the_declared_tables(url: str, family: Family) -> None:
    database = Database(url)
    upgrade(database)
    others = {table for other in FAMILIES if other != family for table in METADATA[other].tables}
    engine = database.main if family == "main" else database.inbox
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE[family],
                "compare_type": True,
                "include_name": lambda name, kind, _parents: (
                    kind != "table" or name not in others | set(VERSION_TABLE.values())
                ),
            },
        )
        assert compare_metadata(context, METADATA[family]) == []
    database.dispose()


def test_a_second_upgrade_changes_nothing(url: str) -> None:
    database = Database(url)
    assert "run `controller migrate`" in (missing(database) or "")
    upgrade(database)
    upgrade(database)
    assert missing(database) is None
    database.dispose()


def test_several_migrators_at_once_leave_one_schema(url: str) -> None:
    command = [sys.executable, "-m", "controller", "migrate"]
    started = [
        subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url}, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    database = Database(url)
    assert missing(database) is None
    database.dispose()


def test_a_newer_schema_is_refused_and_left_alone(url: str) -> None:
    database = Database(url)
    upgrade(database)
    with database.begin() as connection:
        connection.execute(text("update schema_version set version_num = 'main_9999'"))
    with pytest.raises(SetupFailed, match="newer version"):
        upgrade(database)
    with database.read() as connection:
        assert connection.scalar(text("select version_num from schema_version")) == "main_9999"
    database.dispose()
