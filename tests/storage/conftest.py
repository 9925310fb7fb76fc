"""One suite over both databases: every test that takes `database` runs on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables

BACKENDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


def create_tables(database: Database) -> None:
    """Every table, as the models say."""
    assert all_tables.__all__
    Base.metadata.create_all(database.main)
    InboxBase.metadata.create_all(database.inbox)


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with every table: a file, or PostgreSQL."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'main.db'}")
    else:
        opened = Database(request.getfixturevalue("postgres_url"))
    create_tables(opened)
    try:
        yield opened
    finally:
        opened.dispose()
