"""A slot with a running rollout and an application that sends events: real parts, small numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.aggregation.exposures import Target
from controller.aggregation.statistics import Epoch, Statistics
from controller.assignment.hashing import PPM, bucket, hash_unit
from controller.assignment.runs import arm_shares, build_runs
from controller.events.times import format_time
from controller.experiments.metrics import Metric
from controller.experiments.plans import Plan
from controller.experiments.slots import Hash
from controller.flow.aggregate import Drained, drain
from controller.flow.mature import Matured, mature
from controller.flow.ports_pins import Pins
from controller.flow.record import Receipt, accept
from controller.rollout.record import Allocation, Draft, Rollout
from controller.rollout.states import State
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import Database
from controller.storage.sql.definitions import SqlDefinitions
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.ingest import SqlIngest
from controller.storage.sql.measurements import SqlMeasurements
from controller.storage.sql.rollouts import SqlRollouts
from controller.storage.sql.targets import SqlTargets, TargetCache
from tests import worlds

PROJECT = "default"
ROLLOUT = "r1"
SALT = "salt-of-r1"
FIRST_RULESET = 1000
EVEN = {"champion": 0.5, "challenger": 0.5}

Event = dict[str, Any]


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def outcome(unit: str, at: datetime, name: str, **fields: Any) -> Event:
    event = {
        "type": "outcome",
        "event_id": f"o-{name}-{unit}",
        "occurred_at": format_time(at),
        "unit": unit,
        "name": name,
    }
    return event | fields


class World:
    """One slot, one rollout, and everything between `accept` and `snapshot`."""

    def __init__(
        self,
        database: Database,
        metrics: Sequence[Metric],
        *,
        project: str = PROJECT,
        rollout: str = ROLLOUT,
        slot: str = "slot",
        enrolled: float = 1.0,
        weights: Mapping[str, float] = EVEN,
        analysed: bool = True,
        split_by: Hash = Hash.SHA256,
    ) -> None:
        self.database = database
        self.project, self.rollout_id = project, rollout
        self.ingest = SqlIngest(database)
        self.inbox = SqlInbox(database)
        plan = worlds.plan(oec=metrics[0], weights=weights)
        self.plan = replace(
            plan,
            project=project,
            slot=replace(plan.slot, key=slot, hash=split_by),
            metrics={metric.key: metric for metric in metrics},
        )
        self._target: Target | None = None
        self.allocations: list[Allocation] = []
        self.epochs: list[tuple[Epoch, int]] = []
        self._store(self.plan)
        self.open_allocation(weights, enrolled=enrolled, analysed=analysed)

    def adopt(self, database: Database) -> None:
        """Go on with another database that holds the same rollout."""
        self.database = database
        self.ingest, self.inbox = SqlIngest(database), SqlInbox(database)

    # ------------------------------------------------------------ the rollout

    def _store(self, plan: Plan) -> None:
        now = datetime.now(UTC)
        draft = Draft(
            challengers=(plan.arms["challenger"],), policy="plain", owner="ada", requested_by="ada"
        )
        self._record = Rollout(
            project=self.project,
            id=self.rollout_id,
            slot=plan.slot.key,
            state=State.RAMPING,
            draft=draft,
            plan=plan,
            salt=SALT,
            entered_at=now,
            stage_entered_at=now,
            created_at=now,
        )
        with self.database.begin() as connection:
            SqlDefinitions(connection).put_slot(
                self.project, plan.slot, observe_salt="observe", actor="ada", at=now
            )
            SqlRollouts(connection).add(self._record)

    def open_allocation(
        self,
        weights: Mapping[str, float],
        *,
        enrolled: float,
        analysed: bool = True,
        retired: tuple[tuple[int, int], ...] = (),
        opened_at: datetime | None = None,
    ) -> None:
        runs = build_runs(weights)
        allocation = Allocation(
            number=len(self.allocations) + 1,
            weights={arm: float(share) for arm, share in arm_shares(runs, retired).items()},
            runs=runs,
            retired=retired,
            analysed=analysed,
            opened_at=opened_at or datetime.now(UTC),
        )
        self.allocations.append(allocation)
        with self.database.begin() as connection:
            SqlRollouts(connection).add_allocation(self.project, self.rollout_id, allocation)
        self.ramp(enrolled)

    def ramp(self, enrolled: float) -> int:
        """Open the next epoch; its ruleset version."""
        allocation = self.allocations[-1]
        epoch = Epoch(
            number=len(self.epochs) + 1,
            allocation=allocation.number,
            enrolled=enrolled,
            weights=allocation.weights,
        )
        ruleset = FIRST_RULESET + 10 * len(self.epochs)
        self.epochs.append((epoch, ruleset))
        now = datetime.now(UTC)
        self._target = None
        with self.database.begin() as connection:
            rollouts = SqlRollouts(connection)
            rollouts.add_epoch(self.project, self.rollout_id, epoch, ruleset=ruleset, at=now)
            self._record = rollouts.save(
                replace(
                    self._record,
                    allocation=allocation.number,
                    epoch=epoch.number,
                    enrolled_ppm=round(enrolled * PPM),
                )
            )
        return ruleset

    @property
    def rollout(self) -> Rollout:
        with self.database.read() as connection:
            found = SqlRollouts(connection).get(self.project, self.rollout_id)
        assert found is not None
        return found

    @property
    def target(self) -> Target:
        if self._target is None:
            with self.database.read() as connection:
                now_us = to_micros(datetime.now(UTC))
                targets = SqlTargets(connection, TargetCache(), now_us)
                self._target = targets.target(self.project, self.rollout_id)
        assert self._target is not None
        return self._target

    # ------------------------------------------------------------ the application

    def arm(self, unit: str) -> str:
        """What the split says in the newest allocation."""
        arm = self.target.bucket_arm(unit, self.allocations[-1].number)
        assert arm is not None
        return arm

    def units(self, count: int, *, arm: str | None = None, prefix: str = "u") -> list[str]:
        """Units that are enrolled now, of one arm where it is named."""
        target, ppm = self.target, self.rollout.enrolled_ppm
        found: list[str] = []
        number = 0
        while len(found) < count:
            unit = f"{prefix}{number}"
            number += 1
            hi, _ = hash_unit(SALT, target.unit_type, unit, algo=self.plan.slot.hash.algo)
            inside = bucket(hi, PPM) < ppm
            mine = target.bucket_arm(unit, self.allocations[-1].number)
            if inside and mine is not None and arm in {None, mine}:
                found.append(unit)
        return found

    def exposure(self, unit: str, at: datetime, **fields: Any) -> Event:
        event = {
            "type": "exposure",
            "event_id": f"e-{unit}",
            "occurred_at": format_time(at),
            "slot": self.plan.slot.key,
            "unit": unit,
            "rollout": self.rollout_id,
            "allocation": self.allocations[-1].number,
            "arm": fields["arm"] if "arm" in fields else self.arm(unit),
            "ruleset": self.epochs[-1][1],
            "reason": "SPLIT",
        }
        return event | fields

    def outcome(self, unit: str, at: datetime, name: str | None = None, **fields: Any) -> Event:
        return outcome(unit, at, name or next(iter(self.plan.metrics.values())).outcome, **fields)

    def send(
        self,
        events: Sequence[Event],
        *,
        batch_id: str | None = None,
        received_at: datetime | None = None,
    ) -> Receipt:
        document: dict[str, Any] = {"events": list(events)}
        return accept(
            self.inbox,
            self.project,
            "key",
            batch_id,
            json.dumps(document).encode(),
            received_at or datetime.now(UTC),
        )

    def drain(self, *, pins: Pins | None = None, budget: int = 2000) -> Drained:
        """Until nothing waits; everything added up."""
        done = Drained()
        while (step := drain(self.ingest, pins=pins, budget=budget)).requests:
            done = Drained(
                requests=done.requests + step.requests,
                events=done.events + step.events,
                new=done.new + step.new,
                problems=done.problems + step.problems,
            )
        return done

    def mature(self, *, budget: int = 5000) -> Matured:
        """Until nothing is due."""
        entered = missing = 0
        while True:
            step = mature(self.ingest, budget=budget)
            entered += step.entered
            missing += step.missing
            if not step.full:
                return Matured(entered=entered, missing=missing)

    def watermark_rises(self) -> None:
        """Store the watermark of this moment, without waiting for a second to pass."""
        with self.ingest.maturing() as work:
            work.clock.advance(self.project)

    def snapshot(self) -> Statistics:
        rollout = self.rollout
        with self.database.read() as connection:
            epochs = SqlRollouts(connection).epochs(self.project, self.rollout_id)
            return SqlMeasurements(connection).snapshot(rollout, epochs=epochs)

    def run(self, events: Sequence[Event]) -> Statistics:
        """Send, drain, mature, read."""
        self.send(events)
        self.drain()
        self.mature()
        return self.snapshot()
