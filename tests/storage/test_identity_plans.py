"""Look-ups of a few ids read a few rows, however many identities and exceptions there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from controller.aggregation.exposures import Target
from controller.flow.ports.ingest import First
from controller.storage.sql.exceptions import SqlExceptions
from controller.storage.sql.identities import SqlAliases, SqlIdentities
from controller.storage.sql.schema.identities import SideBlockRow, SideDocumentRow
from controller.storage.sql.side_documents import SqlSideDocuments
from tests.property.test_aggregation_ledger import new_world

Look = Callable[[Connection, Target], Any]
NAME = ("default", "r1")
TYPED = ("default", "customer")

LOOKS: dict[str, tuple[Look, str]] = {
    "bearers": (
        lambda c, target: SqlIdentities(c).bearers(target, ["a", "b"]),
        (
            "exceptions USING COVERING INDEX ix_exceptions_project_rollout_stands_for_reason "
            "(project=? AND rollout=? AND stands_for=? AND reason=?)"
        ),
    ),
    "excepted": (
        lambda c, target: SqlIdentities(c).excepted(target, ["a", "b"]),
        "exceptions USING PRIMARY KEY (project=? AND rollout=? AND unit=?)",
    ),
    "groups": (
        lambda c, _: SqlIdentities(c).groups(*TYPED, ["a", "b"]),
        (
            "identities USING COVERING INDEX ix_identities_project_unit_type_identity "
            "(project=? AND unit_type=? AND identity=?)"
        ),
    ),
    "states": (
        lambda c, target: SqlIdentities(c).states(target, ["a", "b"]),
        "units USING PRIMARY KEY (project=? AND rollout=? AND series=? AND unit=?)",
    ),
    "entered": (
        lambda c, target: SqlIdentities(c).entered(target, ["a", "b"]),
        (
            "maturations USING PRIMARY KEY "
            "(project=? AND rollout=? AND metric=? AND series=? AND unit=?)"
        ),
    ),
    "leave": (
        lambda c, target: SqlIdentities(c).leave(target, [First(1, "a", 1, "champion", 1)]),
        (
            "maturations USING PRIMARY KEY "
            "(project=? AND rollout=? AND metric=? AND series=? AND unit=?)"
        ),
    ),
    "sizes": (
        lambda c, _: SqlAliases(c).sizes(*TYPED, ["a", "b"]),
        (
            "aliases USING COVERING INDEX ix_aliases_project_unit_type_root "
            "(project=? AND unit_type=? AND root=?)"
        ),
    ),
    "waiting": (
        lambda c, _: SqlIdentities(c).waiting(1),
        "aliases USING INDEX ix_aliases_waiting",
    ),
    "unpinned": (
        lambda c, _: SqlExceptions(c).unpinned(*NAME, 2, most=5),
        (
            "exceptions USING INDEX ix_exceptions_project_rollout_pinned "
            "(project=? AND rollout=? AND pinned<?)"
        ),
    ),
    "unnamed": (
        lambda c, _: SqlSideDocuments(c).unnamed(*NAME, most=5),
        (
            "exceptions USING COVERING INDEX ix_exceptions_project_rollout_hash "
            "(project=? AND rollout=? AND hash=?)"
        ),
    ),
    "wanted": (
        lambda c, _: SqlSideDocuments(c).wanted(*NAME, bytes(8), most=5),
        (
            "exceptions USING COVERING INDEX ix_exceptions_project_rollout_hash "
            "(project=? AND rollout=? AND hash>?)"
        ),
    ),
    "stale": (
        lambda c, _: SqlSideDocuments(c).stale(*NAME, most=5),
        (
            "side_blocks USING INDEX ix_side_blocks_project_rollout_until_low "
            "(project=? AND rollout=? AND until=?)"
        ),
    ),
    "document": (
        lambda c, _: SqlSideDocuments(c).in_force(*NAME),
        (
            "side_documents USING INDEX ix_side_documents_project_rollout_number "
            "(project=? AND rollout=?)"
        ),
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_up_is_a_search_by_its_own_index(name: str) -> None:
    look, plan = LOOKS[name]
    with new_world() as world:
        database, target = world.database, world.target
    with database.begin() as connection:
        connection.exec_driver_sql(
            "insert into identities values ('default', 'customer', 'a', 'a')"
        )
        seen: list[tuple[str, Any]] = []

        def note(_c: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
            seen.append((statement, values))

        event.listen(database.main, "before_cursor_execute", note)
        try:
            look(connection, target)
        finally:
            event.remove(database.main, "before_cursor_execute", note)
        plans = [
            row[3]
            for statement, values in seen
            if statement.startswith("SELECT")
            for row in connection.exec_driver_sql(f"explain query plan {statement}", values)
        ]
    assert [step for step in plans if step.endswith(plan)], plans
    about = plan.split()[0]
    short = "(project=? AND rollout=?)"
    if name != "document":
        assert not [step for step in plans if f" {about} " in step and step.endswith(short)], plans


def test_the_long_body_of_a_side_document_is_its_last_column() -> None:
    assert SideDocumentRow.__table__.columns.keys()[-1] == "body"
    assert SideBlockRow.__table__.columns.keys()[-2:] == ["hashes", "packed"]
