"""On PostgreSQL an edit waits for running heaps of events, no longer, and holds up no kill."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from controller.flow.actors import Actor, Role
from controller.flow.kill import kill
from controller.flow.verbs import act
from controller.rollout.states import Verb
from controller.storage.sql.database import Database
from controller.storage.sql.ingest import INGEST_LOCK, SqlIngest
from controller.storage.sql.unit_of_work import SqlStore
from tests import worlds
from tests.storage.conftest import create_tables
from tests.traffic import PROJECT, ROLLOUT, World

ADA = Actor(name="ada", kind="operator", roles=frozenset(Role))
NORTH = {"attribute": "region", "op": "eq", "value": "north"}
TIMEOUT_SECONDS = 5.0
"""How long any other lock is waited for."""

pytestmark = pytest.mark.postgres


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    database = Database(postgres_url)
    create_tables(database)
    yield World(database, [worlds.metric("cost", window_seconds=10.0)])
    database.dispose()


@contextmanager
def a_long_heap(world: World, seconds: float) -> Iterator[None]:
    """A transaction that aggregates for so long."""
    begun = threading.Event()

    def aggregate() -> None:
        with world.database.begin() as connection:
            connection.execute(text(f"select pg_advisory_xact_lock_shared({INGEST_LOCK})"))
            begun.set()
            time.sleep(seconds)

    thread = threading.Thread(target=aggregate)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        thread.join()


def edit(world: World) -> float:
    """Seconds that an edit of the eligibility took."""
    began = time.monotonic()
    act(
        SqlStore(world.database),
        PROJECT,
        ROLLOUT,
        Verb.EDIT,
        actor=ADA,
        if_match=world.rollout.generation,
        edits={"eligible": NORTH},
    )
    return time.monotonic() - began


def test_an_edit_outlasts_a_heap_that_is_longer_than_any_other_wait(world: World) -> None:
    with a_long_heap(world, TIMEOUT_SECONDS + 1.0):
        assert edit(world) > TIMEOUT_SECONDS
    assert world.rollout.allocation == 2


def test_a_kill_does_not_stand_behind_an_edit_that_waits(world: World) -> None:
    with a_long_heap(world, 3.0):
        editing = threading.Thread(target=edit, args=(world,))
        editing.start()
        time.sleep(0.5)
        began = time.monotonic()
        kill(SqlStore(world.database), PROJECT, "slot", to="champion", note="", actor=ADA)
        assert time.monotonic() - began < 1.5
        assert editing.is_alive()
        editing.join()


def test_an_edit_waits_for_one_worker_and_not_for_each(world: World) -> None:
    """Eight workers that mature without a pause, 0.2 s a heap: in line they are 1.6 s."""
    stop, heap = threading.Event(), 0.2

    def heap_after_heap() -> None:
        ingest = SqlIngest(world.database)
        while not stop.is_set():
            with ingest.maturing():
                time.sleep(heap)

    workers = [threading.Thread(target=heap_after_heap) for _ in range(8)]
    for worker in workers:
        worker.start()
    try:
        time.sleep(1.0)
        waits = []
        for _ in range(4):
            began = time.monotonic()
            with SqlStore(world.database).writing() as work:
                work.stop_maturing(PROJECT, and_aggregating=True)
                waits.append(time.monotonic() - began)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert max(waits) < 4 * heap, waits


def test_a_shared_wait_is_over_after_the_lock_was_given(world: World) -> None:
    """The longer wait is for that one lock: whatever comes after waits as briefly as ever."""
    with SqlStore(world.database).writing() as work:
        work.stop_maturing(PROJECT)
        assert work.connection.scalar(text("show lock_timeout")) == "5s"
