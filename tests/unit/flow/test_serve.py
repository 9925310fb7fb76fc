"""The ruleset a process holds: newer by whoever has it, never older, never damaged."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from controller.assignment.ruleset import Ruleset
from controller.errors import NotFound, Unavailable
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.serve import Rulesets
from controller.storage.redis.notes import RulesetCopy
from controller.storage.sql.base import Base
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.storage.sql.unit_of_work import SqlStore, SqlWork
from tests.processes import PATIENCE_SECONDS, wait_until


def body(version: int, deployment: str = "d") -> bytes:
    return Ruleset(project="p", deployment=deployment, version=version, slots={}).encode()


@dataclass
class Copies:
    """A copy in Redis, as this process would read it; raises while Redis is away."""

    copy: RulesetCopy | None = None
    away: bool = False
    subscribed: bool = False
    asked: list[str] = field(default_factory=list)

    def current(self, project: str) -> RulesetCopy | None:
        self.asked.append(project)
        if self.away:
            raise Unavailable("Redis is away.")
        return self.copy

    def follow(self, project: str, *, wait_seconds: float = 1.0) -> Iterator[object]:
        if self.subscribed:
            yield None
        raise Unavailable("no subscription here")


class World:
    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'main.db'}")
        Base.metadata.create_all(self.database.main)
        self.copies = Copies()
        self.now = 100.0
        self.rulesets = Rulesets(SqlStore(self.database), self.copies, clock=lambda: self.now)

    def publish(self, version: int, *, sha: str | None = None, raw: bytes | None = None) -> None:
        raw = body(version) if raw is None else raw
        row = PublishedRuleset(
            project="p",
            version=version,
            sha256=sha or sha256(raw).hexdigest(),
            body=raw,
            created_at=datetime.now(UTC),
        )
        with SqlStore(self.database).writing() as work:
            work.rulesets.add(row)

    def copy(self, version: int, deployment: str = "d") -> RulesetCopy:
        raw = body(version, deployment)
        return RulesetCopy(version=version, etag=sha256(raw).hexdigest(), body=raw)

    def break_sql(self) -> None:
        with self.database.begin() as connection:
            connection.exec_driver_sql("alter table rulesets rename to gone")

    def mend_sql(self) -> None:
        with self.database.begin() as connection:
            connection.exec_driver_sql("alter table gone rename to rulesets")

    def held(self) -> int:
        self.now += 2
        return self.rulesets.fresh("p").version


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.rulesets.close()
    made.database.dispose()


def test_a_project_without_a_ruleset_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="define a slot"):
        world.rulesets.current("p")


def test_the_newest_in_sql_is_served_with_its_digest_and_packed(world: World) -> None:
    world.publish(10)
    world.publish(11)
    served = world.rulesets.fresh("p")
    assert (served.version, served.sha256) == (11, sha256(served.body).hexdigest())
    assert gzip.decompress(served.packed) == served.body
    assert served.ruleset.version == 11


def test_a_newer_version_is_taken_over_at_once_when_asked_freshly(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    world.publish(12)
    assert world.held() == 12


def test_a_damaged_row_is_never_served(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    world.publish(11, sha="0" * 64)
    assert world.held() == 10
    world.publish(12, raw=b'{"schema": 99}')
    assert world.held() == 10


def test_what_is_held_stays_in_force_while_both_stores_are_away(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    world.break_sql()
    world.copies.away = True
    assert world.held() == 10


def test_the_copy_is_asked_while_sql_is_away_and_only_a_newer_one_counts(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    world.break_sql()
    world.copies.copy = world.copy(9)
    assert world.held() == 10
    world.copies.copy = world.copy(13)
    assert world.held() == 13
    world.copies.copy = replace(world.copy(14), etag="0" * 64)
    assert world.held() == 13


def test_a_process_may_start_on_the_copy_alone(world: World) -> None:
    world.break_sql()
    world.copies.copy = world.copy(7)
    assert world.held() == 7


def test_without_any_store_it_says_so(world: World) -> None:
    world.break_sql()
    world.copies.away = True
    with pytest.raises(Unavailable):
        world.rulesets.current("p")


def test_a_broken_store_is_not_asked_again_within_a_second(world: World) -> None:
    world.break_sql()
    world.copies.copy = world.copy(7)
    world.rulesets.fresh("p")
    asked = len(world.copies.asked)
    for _ in range(50):
        world.rulesets.fresh("p")
    assert len(world.copies.asked) == asked


def test_a_copy_of_another_deployment_is_refused(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    world.break_sql()
    world.copies.copy = world.copy(99, "somebody-elses")
    assert world.held() == 10


def test_sql_has_the_last_word_over_a_copy_this_process_started_on(world: World) -> None:
    world.publish(10)
    world.break_sql()
    world.copies.copy = world.copy(99, "somebody-elses")
    assert world.held() == 99
    world.mend_sql()
    assert world.held() == 10
    world.publish(11)
    assert world.held() == 11


def test_a_newer_copy_of_this_deployment_outlasts_an_older_sql(world: World) -> None:
    world.publish(10)
    world.break_sql()
    world.copies.copy = world.copy(12)
    assert world.held() == 12
    world.mend_sql()
    assert world.held() == 12
    world.publish(13)
    assert world.held() == 13


def test_a_crowd_shares_the_question_that_began_after_it_came(world: World) -> None:
    world.publish(10)
    assert world.held() == 10
    asked: list[float] = []
    is_asking, may_answer = threading.Event(), threading.Event()

    class Slow(SqlStore):
        @contextmanager
        def reading(self) -> Iterator[SqlWork]:
            asked.append(0)
            is_asking.set()
            may_answer.wait(PATIENCE_SECONDS)
            with super().reading() as work:
                yield work

    world.rulesets._store = Slow(world.database)
    came: list[float] = []

    def come() -> None:
        came.append(0)
        world.rulesets.fresh("p")

    crowd = [threading.Thread(target=come) for _ in range(12)]
    crowd[0].start()
    assert is_asking.wait(PATIENCE_SECONDS)
    for thread in crowd[1:]:
        thread.start()
    world.publish(11)
    wait_until(lambda: len(came) == len(crowd), "they come while the first asks")
    time.sleep(0.5)  # from coming to waiting is one step
    may_answer.set()
    for thread in crowd:
        thread.join()
    assert 2 <= len(asked) <= 6, "one of those who came later asks for all of them"
    assert world.rulesets._held["p"].version == 11
