"""Thousands of rows in one statement, on either database.

SQLite runs a prepared statement over tuples; PostgreSQL gets one array a column and unnests them.
Both take rows as tuples in the order of the columns named, with plain values: text, bytes, whole
numbers, floats, None.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, TypeDecorator, TypeEngine

Row = tuple[Any, ...]


SKIP: Final = " on conflict do nothing"


def json_text(document: Any) -> str:
    """A document as a `Json` column keeps it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def among(connection: Connection, column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """`column` is one of many texts, passed as one parameter."""
    wanted = sorted(set(values))
    if connection.dialect.name == "sqlite":
        listed = func.json_each(bindparam(None, json.dumps(wanted), Text)).table_valued("value")
        inside: ColumnElement[bool] = column.in_(select(listed.c.value))
        return inside
    equal: ColumnElement[bool] = column == any_(bindparam(None, wanted, ARRAY(Text)))
    return equal


def insert(connection: Connection, table: Table, rows: Sequence[Row], *, tail: str = "") -> None:
    """Insert whole rows, in table order; `tail` says what becomes of those whose key is taken."""
    if not rows:
        return
    names = ", ".join(column.name for column in table.columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(table.columns))
        statement = f"insert into {table.name} ({names}) values ({marks}){tail}"
        connection.exec_driver_sql(statement, list(rows))
        return
    values = f"select * from {_unnest(table.columns)} where true"
    statement = f"insert into {table.name} ({names}) {values}{tail}"
    connection.exec_driver_sql(statement, _arrays(rows))


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Row], key: Column[Any]
) -> set[str]:
    """Insert the rows whose primary key is free, each key once; the keys that were taken before.

    Parameters
    ----------
    key : column
        The last column of the primary key, a text; all rows agree in the columns before it.
    """
    if not rows:
        return set()
    place = list(table.columns).index(key)
    by_key = {row[place]: row for row in rows}
    if connection.dialect.name != "sqlite":
        ordered = [by_key[name] for name in sorted(by_key)]
        return set(by_key) - _insert_returning(connection, table, ordered, key)
    # One writer at a time: what is not there now is not there when it is inserted.
    taken = _taken(connection, table, rows[0], key, by_key)
    new = [row for name, row in by_key.items() if name not in taken] if taken else by_key.values()
    insert(connection, table, list(new))
    return taken


def update(
    connection: Connection,
    table: Table,
    key: Sequence[Any],
    changed: Sequence[Any],
    rows: Sequence[Row],
) -> None:
    """Set the `changed` columns of rows named by `key`; each row is key values, then new values."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        settings = ", ".join(f"{column.name} = ?" for column in changed)
        where = " and ".join(f"{column.name} = ?" for column in key)
        width = len(key)
        connection.exec_driver_sql(
            f"update {table.name} set {settings} where {where}",
            [row[width:] + row[:width] for row in rows],
        )
        return
    columns = [*key, *changed]
    settings = ", ".join(f"{column.name} = new.{column.name}" for column in changed)
    where = " and ".join(f"{table.name}.{column.name} = new.{column.name}" for column in key)
    names = ", ".join(column.name for column in columns)
    connection.exec_driver_sql(
        f"update {table.name} set {settings} from {_unnest(columns)} as new({names}) where {where}",
        _arrays(rows),
    )


def add(connection: Connection, table: Table, key: Sequence[Any], rows: Sequence[Row]) -> None:
    """Add `n` to counters named by `key`, in the order of the keys so that nobody deadlocks."""
    if not rows:
        return
    names = ", ".join(column.name for column in key)
    columns = [*key, table.c.n]
    tail = f" on conflict ({names}) do update set n = {table.name}.n + excluded.n"
    into = f"insert into {table.name} ({names}, n)"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"{into} values ({marks}){tail}", sorted(rows))
        return
    connection.exec_driver_sql(
        f"{into} select * from {_unnest(columns)} where true{tail}", _arrays(sorted(rows))
    )


def _taken(
    connection: Connection, table: Table, like: Row, key: Column[Any], names: Iterable[str]
) -> set[str]:
    before = [
        column == like[place]
        for place, column in enumerate(table.columns)
        if column.primary_key and column is not key
    ]
    found = connection.scalars(select(key).where(*before, among(connection, key, names)))
    return set(found.all())


def _insert_returning(
    connection: Connection, table: Table, rows: Sequence[Row], key: Column[Any]
) -> set[str]:
    names = ", ".join(column.name for column in table.columns)
    result = connection.exec_driver_sql(
        f"insert into {table.name} ({names}) select * from {_unnest(table.columns)} "
        f"on conflict do nothing returning {key.name}",
        _arrays(rows),
    )
    return set(result.scalars())


def _arrays(rows: Sequence[Row]) -> Row:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _unnest(columns: Iterable[Column[Any]]) -> str:
    return f"unnest({', '.join(f'%s::{_array_type(column.type)}[]' for column in columns)})"


def _array_type(kind: TypeEngine[Any]) -> str:
    """The widest type of the family: a cast to varchar(64) would cut without a word."""
    inner = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    for family, name in (
        (BigInteger, "bigint"),
        (Boolean, "boolean"),
        (Integer, "bigint"),
        (Float, "float8"),
        (LargeBinary, "bytea"),
    ):
        if isinstance(inner, family):
            return name
    return "text"
