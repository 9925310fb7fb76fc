"""On SQLite a change of control goes before the next heap of events."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.ingest import SqlIngest
from controller.storage.sql.right_of_way import LONGEST_SECONDS, RightOfWay
from controller.storage.sql.schema import all_tables
from controller.storage.sql.unit_of_work import SqlStore

HOLDER = """
import sys, time
from pathlib import Path
from controller.storage.sql.right_of_way import RightOfWay
with RightOfWay(Path(sys.argv[1])).claimed():
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    assert all_tables.__all__
    made = Database(f"sqlite:///{tmp_path / 'main.db'}")
    Base.metadata.create_all(made.main)
    InboxBase.metadata.create_all(made.inbox)
    yield made
    made.dispose()


def test_a_heap_waits_for_another_process_and_only_so_long(tmp_path: Path) -> None:
    way = RightOfWay(tmp_path / "turn")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "turn")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        started = time.monotonic()
        way.give()
        assert time.monotonic() - started >= LONGEST_SECONDS
        holder.kill()
        holder.wait()
    started = time.monotonic()
    way.give()
    assert time.monotonic() - started < LONGEST_SECONDS, "the kernel let go of it"


def test_two_changes_of_control_hold_each_other_up_no_more_than_sql_does(tmp_path: Path) -> None:
    first, second = RightOfWay(tmp_path / "turn"), RightOfWay(tmp_path / "turn")
    started = time.monotonic()
    with first.claimed(), second.claimed():
        waited = time.monotonic() - started
    assert waited < LONGEST_SECONDS, "neither waits for the other to let go"


def test_a_worker_that_matures_without_a_pause_lets_a_change_in(database: Database) -> None:
    ingest, store, stop = SqlIngest(database), SqlStore(database), threading.Event()
    order: list[str] = []

    def heap_after_heap() -> None:
        while not stop.is_set():
            with ingest.maturing() as work:
                assert work.now_us
                time.sleep(0.02)
                order.append("heap")

    worker = threading.Thread(target=heap_after_heap)
    worker.start()
    try:
        for _ in range(5):
            while not order or order[-1] != "heap":
                time.sleep(0.001)
            before = len(order)
            with store.writing() as work:
                work.audit.append("p", at=work.now, actor="a", action="x", object="y")
                order.append("change")
            assert order.index("change", before) - before <= 2, "it stood in line too long"
    finally:
        stop.set()
        worker.join()


def test_without_a_file_nobody_queues() -> None:
    way = RightOfWay(None)
    with way.claimed():
        way.give()
    assert Database("sqlite://").right_of_way._file is None
