"""Alembic's entry: runs one family of revisions (`main` or `inbox`) on the connection it is given.

Only `controller.storage.sql.migrate` calls it; there is no alembic.ini, because the database's
address comes from the settings and nowhere else.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.types import TypeDecorator

from controller.storage.sql.migrate import METADATA, VERSION_TABLE


def render_item(kind: str, item: Any, _autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column types as what the database stores: revisions outlive the code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        stored = item.impl_instance
        plain = repr(stored).replace("BigInteger", "sa.BigInteger").replace("Text", "sa.Text")
        variant = ".with_variant(sa.Integer(), 'sqlite')" if "BigInteger" in plain else ""
        return plain + variant
    return False


config = context.config
family = config.attributes["family"]

context.configure(
    connection=config.attributes["connection"],
    target_metadata=METADATA[family],
    version_table=VERSION_TABLE[family],
    transactional_ddl=True,
    render_as_batch=False,
    compare_type=True,
    render_item=render_item,
)
context.run_migrations()
