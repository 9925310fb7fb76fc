"""How fast events are accepted durably, and how fast they reach the sums, on SQLite.

Accepting is measured in batches of 500 through the whole use case (decode, check, commit with
`synchronous=FULL`), beside two floors: decoding the same bytes into plain objects, and committing
them untouched, one row a batch, into a bare SQLite file with the same pragmas. From end to end an
exposure and an outcome of every unit go through `drain` and `mature` under two metrics; the floor
beside it inserts the same number of bare rows (four text columns, one unique key) in transactions
of 2,000. CPU figures are process time of one core and hold on a busy machine; wall figures do not.

    python -m tests.benchmarks.bench_ingest [--events 100000] [--threads 8] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from controller.events.ids import EventIds
from controller.events.times import format_time
from controller.experiments.metrics import MetricType
from controller.flow.aggregate import drain
from controller.flow.mature import mature
from controller.flow.record import accept
from controller.flow.recount import recount
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables
from tests import worlds
from tests.traffic import FIRST_RULESET, PROJECT, ROLLOUT, Event, World, ago

BATCH = 500
METRICS = [
    worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0),
    worlds.metric("alerted", window_seconds=10.0),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Events a second, by wall clock and by processor time of one core."""

    what: str
    events: int
    wall: float
    cpu: float

    def line(self, floor: Rate | None = None) -> str:
        """One line of the report, with the ratio to a floor by processor time."""
        ratio = f"  {self.cpu / floor.cpu:6.2f} x {floor.what}" if floor else ""
        return f"{self.what:<34} {self.wall:>11,.0f}/s wall {self.cpu:>11,.0f}/s core{ratio}"


def timed(what: str, events: int, work: Callable[[], object]) -> Rate:
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Rate(what=what, events=events, wall=events / wall, cpu=events / max(cpu, 1e-9))


def bodies(world: World, events: int) -> list[bytes]:
    """An exposure and an outcome of each unit, in time order, as an SDK sends them."""
    target, ids, start = world.target, EventIds(), ago(600)
    batch: list[Event] = []
    sent: list[bytes] = []
    for number in range(events // 2):
        unit = str(100_000 + number)
        moment = format_time(start + timedelta(microseconds=100 * number))
        batch.append(
            {
                "type": "exposure",
                "event_id": ids(),
                "occurred_at": moment,
                "slot": "slot",
                "unit": unit,
                "rollout": ROLLOUT,
                "allocation": 1,
                "arm": target.bucket_arm(unit, 1),
                "ruleset": FIRST_RULESET,
                "reason": "SPLIT",
            }
        )
        batch.append(
            {
                "type": "outcome",
                "event_id": ids(),
                "occurred_at": moment,
                "unit": unit,
                "name": "cost",
                "value": float(number % 6),
                "slot": "slot",
                "attributes": {"date": "2013-04-01"},
            }
        )
        if len(batch) == BATCH:
            name = f"b{len(sent)}"
            sent.append(json.dumps({"batch_id": name, "events": batch}).encode())
            batch = []
    return sent


def new_world(folder: Path) -> World:
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'main.db'}")
    assert all_tables.__all__
    Base.metadata.create_all(database.main)
    InboxBase.metadata.create_all(database.inbox)
    return World(database, METRICS)


def accepting(world: World, sent: Sequence[bytes], *, threads: int) -> Callable[[], object]:
    def one(body: bytes) -> None:
        receipt = accept(world.inbox, PROJECT, "key", None, body, datetime.now(UTC))
        assert receipt.accepted == BATCH

    def all_of_them() -> None:
        if threads == 1:
            for body in sent:
                one(body)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, sent))

    return all_of_them


def bare_commits(folder: Path, sent: Sequence[bytes]) -> None:
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare:
        bare.execute("pragma journal_mode=wal")
        bare.execute("pragma synchronous=full")
        bare.execute("create table inbox (seq integer primary key autoincrement, body blob)")
        for body in sent:
            bare.execute("begin immediate")
            bare.execute("insert into inbox (body) values (?)", (body,))
            bare.execute("commit")


def bare_rows(folder: Path, events: int) -> None:
    with closing(sqlite3.connect(folder / "rows.db", isolation_level=None)) as bare:
        bare.execute("pragma journal_mode=wal")
        bare.execute("pragma synchronous=full")
        bare.execute("create table t (id text primary key, a text, b text, c text) without rowid")
        ids = EventIds()
        for _ in range(0, events, 2000):
            bare.execute("begin immediate")
            rows = [(ids(), "default", "unit", "cost") for _ in range(2000)]
            bare.executemany("insert into t values (?, ?, ?, ?) on conflict do nothing", rows)
            bare.execute("commit")


def until_done(world: World) -> None:
    while drain(world.ingest).requests:
        pass
    while mature(world.ingest).full:
        pass


def measure(folder: Path, events: int, threads: int) -> list[str]:
    world, crowd = new_world(folder / "one"), new_world(folder / "many")
    sent = bodies(world, events)
    size = len(sent) * BATCH
    decoder = msgspec.json.Decoder()
    decoded = timed("decode alone", size, lambda: [decoder.decode(body) for body in sent])
    committed = timed("commit alone", size, lambda: bare_commits(folder, sent))
    single = timed("accept, one thread", size, accepting(world, sent, threads=1))
    many = timed(f"accept, {threads} threads", size, accepting(crowd, sent, threads=threads))
    rows = timed("bare rows", size, lambda: bare_rows(folder, size))
    whole = timed("aggregate and mature", size, lambda: until_done(world))
    seen = world.snapshot()
    assert sum(part.n for part in seen.moments.values()) == len(METRICS) * size // 2
    checked = timed(
        "recount from the ledger", size, lambda: recount(world.ingest, PROJECT, ROLLOUT)
    )
    rates = [decoded, committed, single, many, rows, whole, checked]
    floors = [None, None, committed, committed, None, rows, None]
    (folder / "rates.json").write_text(json.dumps([asdict(rate) for rate in rates], indent=2))
    return [rate.line(floor) for rate, floor in zip(rates, floors, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in measure(Path(folder), options.events, options.threads):
            print(line)
        if options.json:
            options.json.write_text((Path(folder) / "rates.json").read_text())


if __name__ == "__main__":
    main()
