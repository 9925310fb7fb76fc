"""One process of the crash test: `python -m tests.crashing accept|aggregate URL SEED`.

`accept` sends batches and prints each batch's number once it was told that it is accepted;
`aggregate` drains and matures for ever. Both are killed without warning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from controller.flow.aggregate import drain
from controller.flow.mature import mature
from controller.flow.record import accept
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import Database
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.ingest import SqlIngest
from controller.storage.sql.targets import SqlTargets, TargetCache
from tests.traffic import FIRST_RULESET, PROJECT, ROLLOUT, Event, outcome

PER_BATCH = 10


def batch(number: int, arms: dict[str, str], at: datetime) -> list[Event]:
    """Exposures and outcomes of ten units; every third batch repeats an event of the one before."""
    events: list[Event] = []
    for place in range(PER_BATCH):
        unit = f"u{number * PER_BATCH + place}"
        moment = (at + timedelta(milliseconds=number)).isoformat()
        events.append(
            {
                "type": "exposure",
                "event_id": f"e-{unit}",
                "occurred_at": moment,
                "slot": "slot",
                "unit": unit,
                "rollout": ROLLOUT,
                "allocation": 1,
                "arm": arms[unit],
                "ruleset": FIRST_RULESET,
                "reason": "SPLIT",
            }
        )
        value = (number * 7 + place) / 8
        events.append(outcome(unit, at, "cost", value=value) | {"occurred_at": moment})
    if number % 3 == 0 and number:
        unit = f"u{number * PER_BATCH - 1}"
        value = ((number - 1) * 7 + PER_BATCH - 1) / 8
        before = (at + timedelta(milliseconds=number - 1)).isoformat()
        events.append(outcome(unit, at, "cost", value=value) | {"occurred_at": before})
    return events


def accepting(database: Database, first: int, at: datetime) -> Iterator[int]:
    inbox = SqlInbox(database)
    with database.read() as connection:
        target = SqlTargets(connection, TargetCache(), to_micros(datetime.now(UTC))).target(
            PROJECT, ROLLOUT
        )
    assert target is not None
    number = first
    while True:
        arms = {
            f"u{unit}": str(target.bucket_arm(f"u{unit}", 1))
            for unit in range(number * PER_BATCH, (number + 1) * PER_BATCH)
        }
        body = json.dumps({"batch_id": f"b{number}", "events": batch(number, arms, at)}).encode()
        accept(inbox, PROJECT, "key", None, body, datetime.now(UTC))
        yield number
        number += 1


def aggregating(database: Database) -> Iterator[int]:
    ingest = SqlIngest(database)
    while True:
        drained = drain(ingest, budget=200)
        matured = mature(ingest, budget=300)
        yield drained.new + matured.entered


def main(role: str, url: str, first: str, at: str) -> None:
    database = Database(url)
    steps = (
        accepting(database, int(first), datetime.fromisoformat(at))
        if role == "accept"
        else aggregating(database)
    )
    for step in steps:
        print(step, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
