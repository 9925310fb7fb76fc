"""The inbox: one row a request, dead letters, sweeping, lineage, backup and restore."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from controller.errors import SetupFailed
from controller.experiments.metrics import MetricType
from controller.flow.recount import recount
from controller.storage.sql.backup import backup, restore
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import lineage, rename_lineage
from controller.storage.sql.ledger import LEDGER
from controller.storage.sql.problems import LETTERS
from controller.storage.sql.queue import Queue
from controller.storage.sql.schema.inbox import BatchRow, InboxRow
from tests import worlds
from tests.storage.conftest import create_tables
from tests.traffic import World, ago

COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [COST])


@pytest.fixture
def filed(tmp_path: Path) -> World:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'main.db'}")
    (tmp_path / "data").mkdir()
    create_tables(database)
    return World(database, [COST])


def waiting(world: World) -> int:
    with world.database.read() as connection:
        return Queue(world.database, connection).size()


def ledger_ids(world: World) -> set[str]:
    with world.database.read() as connection:
        return set(connection.scalars(select(LEDGER.c.event_id)))


def test_a_request_waits_until_it_is_aggregated(world: World) -> None:
    units = world.units(6)
    for unit in units:
        world.send([world.exposure(unit, ago(100))])
    assert waiting(world) == 6
    assert world.ingest.waiting()
    world.drain(budget=2)
    assert waiting(world) == 0
    assert not world.ingest.waiting()


def test_the_watermark_stops_at_the_oldest_request_that_waits(world: World) -> None:
    received = ago(40)
    world.send([world.exposure(world.units(1)[0], ago(100))], received_at=received)
    world.watermark_rises()
    with world.ingest.reading() as work:
        assert work.clock.watermark("default") == to_micros(received)
    world.drain()
    world.watermark_rises()
    with world.ingest.reading() as work:
        risen = work.clock.watermark("default")
    assert risen > to_micros(ago(30))
    world.send([world.exposure(world.units(2)[1], ago(100))], received_at=received)
    world.watermark_rises()
    with world.ingest.reading() as work:
        assert work.clock.watermark("default") == risen


def test_a_body_that_cannot_be_read_any_more_becomes_a_dead_letter(world: World) -> None:
    unit = world.units(1)[0]
    world.send([world.exposure(unit, ago(100))], batch_id="broken")
    with world.database.begin_inbox() as connection:
        connection.execute(update(InboxRow).values(body=b"\xff\x00 not json"))
    world.send([world.exposure(unit, ago(100))], batch_id="good")
    drained = world.drain()
    assert (drained.requests, drained.new) == (2, 1)
    with world.database.read() as connection:
        (letter,) = connection.execute(select(LETTERS)).all()
    assert (letter.batch_id, letter.code) == ("broken", "unreadable")
    assert bytes(letter.body) == b"\xff\x00 not json"
    assert waiting(world) == 0


def test_a_reused_id_is_kept_as_it_came(world: World) -> None:
    unit = world.units(1)[0]
    world.send([world.outcome(unit, ago(100), value=1.0)])
    world.send([world.outcome(unit, ago(100), value=2.0)])
    world.drain()
    with world.database.read() as connection:
        (letter,) = connection.execute(select(LETTERS)).all()
    assert (letter.code, letter.event_id) == ("id_reuse", f"o-cost-{unit}")
    assert b'"value":2.0' in bytes(letter.body)


def test_ids_and_verdicts_outlive_the_body(world: World) -> None:
    units = world.units(2)
    events = [world.exposure(units[0], ago(3 * 86_400))]
    world.send(events, batch_id="b", received_at=ago(3 * 86_400))
    assert world.ingest.sweep() == 0
    world.drain()
    world.send([world.exposure(units[1], ago(100))])
    world.drain()
    assert world.ingest.sweep() == 1
    with world.database.begin_inbox() as connection:
        bodies = connection.scalars(select(InboxRow.body).order_by(InboxRow.seq)).all()
        assert [body is None for body in bodies] == [True, False]
    assert world.send(events, batch_id="b").duplicates == 1


def test_another_inbox_is_read_from_its_start(filed: World) -> None:
    units = filed.units(3)
    filed.run([filed.exposure(units[0], ago(100))])
    with filed.database.begin_inbox() as connection:
        rename_lineage(connection)
    filed.run([filed.exposure(units[1], ago(100))])
    assert ledger_ids(filed) == {f"e-{unit}" for unit in units[:2]}
    assert recount(filed.ingest, "default", "r1") == []
    assert filed.snapshot().excluded == {}


def test_a_backup_of_a_running_service_restores(filed: World, tmp_path: Path) -> None:
    units = filed.units(6)
    filed.run([filed.exposure(unit, ago(100)) for unit in units[:2]])
    filed.send([filed.exposure(unit, ago(100)) for unit in units[2:4]])
    backup(filed.database, tmp_path / "copy")
    filed.run([filed.exposure(unit, ago(100)) for unit in units[4:]])
    with pytest.raises(SetupFailed, match="stands in the way"):
        restore(tmp_path / "copy", filed.database.url)
    filed.database.dispose()
    shutil.move(tmp_path / "data", tmp_path / "old")
    restore(tmp_path / "copy", f"sqlite:///{tmp_path / 'data' / 'main.db'}")
    again = Database(f"sqlite:///{tmp_path / 'data' / 'main.db'}")
    filed.adopt(again)
    assert ledger_ids(filed) == {f"e-{unit}" for unit in units[:2]}
    filed.drain()
    assert ledger_ids(filed) == {f"e-{unit}" for unit in units[:4]}
    filed.run([filed.exposure(unit, ago(100)) for unit in units])
    assert ledger_ids(filed) == {f"e-{unit}" for unit in units}
    assert recount(filed.ingest, "default", "r1") == []
    again.dispose()


def test_an_inbox_older_than_main_gets_a_new_name(filed: World, tmp_path: Path) -> None:
    units = filed.units(3)
    filed.run([filed.exposure(units[0], ago(100))])
    backup(filed.database, tmp_path / "early")
    filed.run([filed.exposure(units[1], ago(100))])
    backup(filed.database, tmp_path / "later")
    shutil.copy(tmp_path / "early" / "inbox.db", tmp_path / "later" / "inbox.db")
    before = lineage(filed.database)
    restore(tmp_path / "later", f"sqlite:///{tmp_path / 'new' / 'main.db'}")
    again = Database(f"sqlite:///{tmp_path / 'new' / 'main.db'}")
    filed.database.dispose()
    filed.adopt(again)
    assert lineage(again) != before
    filed.run([filed.exposure(units[2], ago(100))])
    assert ledger_ids(filed) == {f"e-{unit}" for unit in units}
    again.dispose()


def test_a_folder_that_is_no_backup_is_refused(filed: World, tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="not a finished backup"):
        restore(tmp_path, f"sqlite:///{tmp_path / 'new' / 'main.db'}")
    backup(filed.database, tmp_path / "copy")
    with pytest.raises(SetupFailed, match="already holds"):
        backup(filed.database, tmp_path / "copy")
    (tmp_path / "copy" / "main.db").write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    with pytest.raises(SetupFailed, match="damaged"):
        restore(tmp_path / "copy", f"sqlite:///{tmp_path / 'new' / 'main.db'}")
    with pytest.raises(SetupFailed, match="pg_dump"):
        restore(tmp_path / "copy", "postgresql://localhost/x")
    filed.database.dispose()


def test_a_request_committed_by_another_wins(world: World) -> None:
    events = [world.exposure(world.units(1)[0], ago(100))]
    world.send(events, batch_id="b")
    with world.database.begin_inbox() as connection:
        rows = connection.execute(select(BatchRow.__table__)).all()
        assert len(rows) == 1
        connection.execute(
            insert(BatchRow).values(
                project="other",
                batch_id="b",
                digest="0" * 64,
                received_us=1,
                verdict={"accepted": 1, "duplicates": 0, "rejected": []},
            )
        )
    assert world.send(events, batch_id="b").duplicates == 1


def refuse_units_named_poison(database: Database) -> None:
    """Make the database refuse one event, as a damaged or foreign one would be."""
    if database.is_sqlite:
        statement = (
            "create trigger refuse before insert on ledger when new.unit = 'poison' "
            "begin select raise(abort, 'no poison'); end"
        )
    else:
        statement = "alter table ledger add constraint refuse check (unit <> 'poison')"
    with database.begin() as connection:
        connection.execute(text(statement))


def test_a_request_that_the_database_refuses_holds_nobody_up(world: World) -> None:
    refuse_units_named_poison(world.database)
    units = world.units(4)
    for unit in units[:2]:
        world.send([world.exposure(unit, ago(100))])
    world.send([world.outcome("poison", ago(100))], batch_id="bad")
    for unit in units[2:]:
        world.send([world.exposure(unit, ago(100))])
    world.drain()
    assert waiting(world) == 0
    assert ledger_ids(world) == {f"e-{unit}" for unit in units}
    with world.database.read() as connection:
        (letter,) = connection.execute(select(LETTERS)).all()
    assert (letter.batch_id, letter.code) == ("bad", "indigestible")
    with world.ingest.reading() as work:
        (problem,) = work.problems.list("default")
    assert problem.code == "indigestible"
