"""Holdouts, layers, overrides and gates on both databases, and what the tables refuse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from controller.experiments.holdouts import Holdout
from controller.experiments.layers import Layer
from controller.storage.sql.database import Database
from controller.storage.sql.schema.traffic import GatesRow, LayerRangeRow, PublishedOverrideRow
from controller.storage.sql.traffic import SqlTraffic

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
P = "default"


def put_layer(traffic: SqlTraffic, layer: Layer, salt: str = "s1", **ranges: object) -> None:
    traffic.put_layer(P, layer, ranges=ranges, salt=salt, actor="ada", at=AT)  # type: ignore[arg-type]


def test_a_holdout_keeps_its_salt_until_it_is_deleted(database: Database) -> None:
    first = Holdout(name="all", unit="customer", share=0.1 + 0.2, tag="t", description="why")
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        traffic.put_holdout(P, first, salt="s1", actor="ada", at=AT)
        traffic.put_holdout("other", first, salt="s9", actor="ada", at=AT)
        second = Holdout(name="all", unit="customer", share=0.5)
        traffic.put_holdout(P, second, salt="s2", actor="ben", at=AT)
    with database.read() as connection:
        traffic = SqlTraffic(connection)
        (stored,) = traffic.holdouts(P)
        assert (stored.holdout, stored.salt, stored.updated_by) == (second, "s1", "ben")
        other = traffic.holdout("other", "all")
        assert other is not None
        assert (other.holdout, other.updated_at) == (first, AT)
    with database.begin() as connection:
        SqlTraffic(connection).delete_holdout(P, "all")
        assert SqlTraffic(connection).holdout(P, "all") is None
        assert SqlTraffic(connection).holdout("other", "all") is not None


def test_a_layer_keeps_its_salt_and_its_newest_ranges(database: Database) -> None:
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        layer = Layer(name="shop", unit="customer", slots={"a": 0.2, "b": 0.3})
        put_layer(traffic, layer, a=((0, 2000),), b=((2000, 5000),))
        layer = Layer(name="shop", unit="customer", slots={"b": 0.4}, description="d")
        put_layer(traffic, layer, salt="s2", b=((2000, 5000), (7000, 8000)))
    with database.read() as connection:
        traffic = SqlTraffic(connection)
        (stored,) = traffic.layers(P)
        assert (stored.layer, stored.salt) == (layer, "s1")
        assert stored.ranges == {"b": ((2000, 5000), (7000, 8000))}
        assert (traffic.layer_of(P, "a"), traffic.layer_of(P, "b")) == (None, "shop")
        assert traffic.layers("other") == []
    with database.begin() as connection:
        SqlTraffic(connection).delete_layer(P, "shop")
        assert SqlTraffic(connection).layer(P, "shop") is None
        assert SqlTraffic(connection).layer_of(P, "b") is None


def test_the_tables_refuse_a_slot_in_two_layers_and_a_range_outside(database: Database) -> None:
    with database.begin() as connection:
        one = Layer(name="one", unit="customer", slots={"a": 0.2})
        put_layer(SqlTraffic(connection), one, a=((0, 2000),))
    two = Layer(name="two", unit="customer", slots={"a": 0.2})
    with pytest.raises(IntegrityError), database.begin() as connection:
        put_layer(SqlTraffic(connection), two, a=((0, 2000),))
    for first, past in ((5, 5), (-1, 5), (0, 10_001)):
        row = {"project": P, "layer": "one", "first": first, "past": past, "slot": "a"}
        with pytest.raises(IntegrityError), database.begin() as connection:
            connection.execute(insert(LayerRangeRow).values(**row))


def test_overrides_are_replaced_counted_and_deleted_by_slot(database: Database) -> None:
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        assert traffic.override_key(P, "a") is None
        traffic.set_override_key(P, "a", "key")
        for arm in ("champion", "challenger"):
            traffic.put_override(P, "a", "0" * 16, arm, actor="ben", at=AT)
        traffic.put_override(P, "b", "0" * 16, "champion", actor="ben", at=AT)
    with database.read() as connection:
        traffic = SqlTraffic(connection)
        (stored,) = traffic.overrides(P, "a")
        assert (stored.arm, stored.set_by, stored.set_at) == ("challenger", "ben", AT)
        assert (traffic.override_key(P, "a"), traffic.count_overrides(P, "a")) == ("key", 1)
        assert len(traffic.overrides(P)) == 2
        assert traffic.override(P, "a", "0" * 16) == stored
        assert traffic.override(P, "a", "1" * 16) is None
    with database.begin() as connection:
        SqlTraffic(connection).delete_override(P, "a", "0" * 16)
        assert [one.slot for one in SqlTraffic(connection).overrides(P)] == ["b"]


def test_the_newest_gates_of_each_slot_are_read(database: Database) -> None:
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        for ruleset, document in ((10, {"holdouts": []}), (2**41, {}), (20, {"layer": None})):
            traffic.add_gates(P, "a", document, ruleset=ruleset)
        traffic.add_gates(P, "b", {"layer": None}, ruleset=15)
        traffic.add_gates("other", "a", {"layer": 1}, ruleset=2**42)
        assert traffic.gates(P) == {"a": {}, "b": {"layer": None}}


def given(**arms: str) -> dict[str, object]:
    return {"overrides": {"key": "k", "arms": arms}}


def test_an_override_is_stored_once_however_often_gates_are_published(database: Database) -> None:
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        for number in range(1, 21):
            arms = {f"{unit:016x}": "challenger" for unit in range(number)}
            traffic.add_gates(P, "a", given(**arms), ruleset=number)
            assert traffic.gates(P) == {"a": given(**arms)}
        count = select(func.count()).select_from(PublishedOverrideRow)
        assert connection.scalar(count) == 20
        longest = connection.scalar(select(func.max(func.length(GatesRow.document))))
        assert longest < 60, "no document says an override again"


def test_an_override_that_changes_or_ends_keeps_its_versions(database: Database) -> None:
    with database.begin() as connection:
        traffic = SqlTraffic(connection)
        traffic.add_gates(P, "a", given(u="challenger", v="champion"), ruleset=1)
        traffic.add_gates(P, "a", given(u="champion", v="champion"), ruleset=2)
        traffic.add_gates(P, "b", given(u="challenger"), ruleset=2)
        traffic.add_gates(P, "a", {}, ruleset=3)
        traffic.add_gates(P, "a", given(u="champion"), ruleset=4)
        assert traffic.gates(P) == {"a": given(u="champion"), "b": given(u="challenger")}
        rows = connection.execute(
            select(
                PublishedOverrideRow.unit_hash,
                PublishedOverrideRow.arm,
                PublishedOverrideRow.since,
                PublishedOverrideRow.until,
            )
            .where(PublishedOverrideRow.slot == "a")
            .order_by(PublishedOverrideRow.since, PublishedOverrideRow.unit_hash)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("u", "challenger", 1, 2),
        ("v", "champion", 1, 3),
        ("u", "champion", 2, 3),
        ("u", "champion", 4, None),
    ]
