"""Engines: SQLite in WAL mode with full durability, or PostgreSQL, behind one small class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from controller.errors import SetupFailed, Unavailable
from controller.storage.sql.right_of_way import RightOfWay

BUSY_TIMEOUT_MS = 5000


class Database:
    """The main database and the inbox: one engine each on SQLite, the same one on PostgreSQL.

    Parameters
    ----------
    url : str
        `sqlite:///path/main.db`, `sqlite://` (in memory, one process) or a PostgreSQL URL.
    """

    def __init__(self, url: str) -> None:
        self.url = _normalised(url)
        parsed = _parsed(self.url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.main = _engine(self.url)
        self.right_of_way = RightOfWay(None)
        if not self.is_sqlite:
            self.inbox = self.main
        elif parsed.database and parsed.database != ":memory:":
            file = Path(parsed.database)
            self.inbox = _engine(f"sqlite:///{file.with_name('inbox.db')}")
            self.right_of_way = RightOfWay(file.with_name(f"{file.stem}.turn"))
        else:
            self.inbox = _engine("sqlite://")

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A writing transaction on the main database.

        Raises
        ------
        Unavailable
            If the database does not answer or stays locked.
        """
        with _transaction(self.main) as connection:
            yield connection

    @contextmanager
    def begin_inbox(self) -> Iterator[Connection]:
        """A writing transaction on the inbox."""
        with _transaction(self.inbox) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction on the main database: one consistent snapshot, never committed."""
        try:
            with self.main.connect() as connection:
                if self.is_sqlite:
                    connection = connection.execution_options(reading=True)
                else:
                    connection = connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                yield connection
                connection.rollback()
        except OperationalError as problem:
            raise Unavailable(f"The database does not answer: {problem.orig}.") from problem

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.main.dispose()
        self.inbox.dispose()


def database_now(connection: Connection) -> datetime:
    """The database's clock: what every window, dwell and deadline is measured by."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as problem:
        raise SetupFailed(
            "DATABASE_URL is no address; use postgresql://USER:PASSWORD@HOST/NAME, or leave it "
            "empty for SQLite."
        ) from problem


def _normalised(url: str) -> str:
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url[len(prefix) :]
    return url


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        in_memory = parsed.database in (None, "", ":memory:")
        options: dict[str, Any] = {"poolclass": StaticPool} if in_memory else {"pool_size": 8}
        engine = create_engine(
            url,
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
            hide_parameters=True,  # an error that is logged names no unit
            **options,
        )
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": 5,
                "options": "-c lock_timeout=5000 -c statement_timeout=60000",
            },
        )
    raise SetupFailed(
        f"DATABASE_URL names {parsed.get_backend_name()!r}; use sqlite:///FILE or postgresql://…"
    )


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    """Writers take the lock at once: a deferred transaction that upgrades can fail half-way."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as problem:
        raise Unavailable(f"The database does not answer: {problem.orig}.") from problem
    except DatabaseError as problem:
        if "malformed" in str(problem.orig) or "not a database" in str(problem.orig):
            raise SetupFailed(
                f"The database file is damaged ({problem.orig}). Stop the service "
                "and restore a backup with `controller restore`."
            ) from problem
        raise
