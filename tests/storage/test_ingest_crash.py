"""kill -9 of the accepting and the aggregating process: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from controller.experiments.metrics import MetricType
from controller.flow.recount import recount
from controller.storage.sql.database import Database
from controller.storage.sql.ledger import LEDGER
from tests import crashing, worlds
from tests.traffic import World, ago

ROOT = Path(__file__).parents[2]
ROUNDS = 6
COST = worlds.metric("cost", type=MetricType.MEAN, window_seconds=10.0)


class Process:
    """One child, killed without warning."""

    def __init__(self, role: str, url: str, *, first: int, at: datetime) -> None:
        command = [sys.executable, "-m", "tests.crashing", role, url, str(first), at.isoformat()]
        self.child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.said: list[int] = []

    def listen(self, lines: int) -> None:
        """Wait until it has said so much."""
        assert self.child.stdout is not None
        for _ in range(lines):
            line = self.child.stdout.readline()
            assert line.endswith("\n"), "the child ended by itself"
            self.said.append(int(line))

    def kill(self) -> list[int]:
        """Kill it; everything it said, a line cut short left out."""
        os.kill(self.child.pid, signal.SIGKILL)
        assert self.child.stdout is not None
        rest = self.child.stdout.read()
        self.child.wait()
        self.child.stdout.close()
        self.said += [int(line) for line in rest.split("\n")[:-1]]
        return self.said


@pytest.mark.timeout(300)
def test_what_was_told_accepted_is_in_the_ledger_once(database: Database) -> None:
    random = Random(7)
    world = World(database, [COST])
    url = database.main.url.render_as_string(hide_password=False)
    at = ago(3600)
    told: set[int] = set()
    asked = 0
    for turn in range(ROUNDS):
        # Every second incarnation first sends its predecessor's last batch again: a retry.
        first = asked if turn % 2 or not asked else asked - 1
        acceptor = Process("accept", url, first=first, at=at)
        aggregator = Process("aggregate", url, first=0, at=at)
        acceptor.listen(random.randint(5, 60))
        aggregator.listen(random.randint(1, 8))
        told |= set(acceptor.kill())
        aggregator.kill()
        asked = max(told) + 2  # the batch after the last one told may be on disk or not
    world.drain()
    world.mature()
    with database.read() as connection:
        ledger = connection.scalars(select(LEDGER.c.event_id)).all()
    sent = {
        event["event_id"]
        for number in told
        for event in crashing.batch(number, _any_arm(number), at)
    }
    possible = {
        event["event_id"]
        for number in range(asked)
        for event in crashing.batch(number, _any_arm(number), at)
    }
    assert len(ledger) == len(set(ledger))
    assert sent <= set(ledger) <= possible
    seen = world.snapshot()
    assert sum(seen.exposed.values()) == len({name for name in ledger if name.startswith("e-")})
    assert sum(part.n for part in seen.moments.values()) == sum(seen.exposed.values())
    assert set(seen.excluded) == set()
    assert recount(world.ingest, "default", "r1") == []


def _any_arm(number: int) -> dict[str, str]:
    units = range(number * crashing.PER_BATCH, (number + 1) * crashing.PER_BATCH)
    return dict.fromkeys((f"u{unit}" for unit in units), "champion")
