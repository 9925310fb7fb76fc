"""A control desk in memory: the real SQL stores, a clock that tests turn, numbers they choose.

Only two things are not what runs in production: time moves when a test says so, and statistics are
written down by the test instead of being aggregated from events.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.assignment.ruleset import Ruleset
from controller.audit.chain import Verification, verify
from controller.experiments.metrics import Metric
from controller.flow import approve, define, reconcile, verbs
from controller.flow.actors import MACHINE, Actor, Role
from controller.flow.create import create_rollout
from controller.flow.ports.people import Operator
from controller.flow.ports.rollouts import Proposal
from controller.flow.ports.statistics import Observed
from controller.flow.publish import RULESET_MESSAGE
from controller.flow.status import status_document
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb
from controller.storage.sql.base import Base
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables
from controller.storage.sql.unit_of_work import SqlStore, SqlWork

PROJECT = "default"
SLOT = "late-flight-alert"
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

CHAMPION = {"name": "logit", "version": "1"}
CHALLENGER = {"name": "trees", "version": "7", "authors": ["mira"]}
PEOPLE: Mapping[str, frozenset[Role]] = {
    "ada": frozenset({Role.AUTHOR, Role.OPERATOR, Role.APPROVER}),
    "ben": frozenset({Role.OPERATOR, Role.APPROVER}),
    "cleo": frozenset({Role.APPROVER}),
    "mira": frozenset({Role.AUTHOR, Role.APPROVER}),
    "root": frozenset({Role.ADMIN, Role.POLICY_ADMIN}),
    "vic": frozenset({Role.VIEWER}),
}
STEPS: Sequence[Mapping[str, Any]] = (
    {"enrolled": 0.1, "dwell": "1h", "min_units": 100, "min_matured": 50},
    {"enrolled": 1.0, "dwell": "1h", "min_units": 100},
)
POLICY: Mapping[str, Any] = {
    "ramp": STEPS[:1],
    "oec": {"horizon": 10_000},
    "approvals": {"promote": {"quorum": 2}},
    "data": {"max_age": "1h", "missing_deadline": "12h"},
    "deadlines": {"ramping": "10d", "deciding": "10d"},
    "bake": {"duration": "2d"},
    "look_every": "1m",
}
METRICS: Mapping[str, Mapping[str, Any]] = {
    "on-time": {
        "type": "binary",
        "direction": "increase",
        "outcome": "on-time",
        "window_seconds": 60,
    },
    "complaints": {
        "type": "binary",
        "direction": "decrease",
        "outcome": "complaint",
        "window_seconds": 60,
    },
}

Arms = Mapping[str, tuple[int, float]]
"""Per arm, complete units and the share of them with value 1."""


class Numbers:
    """Implements `flow.ports.statistics.Measurements` with what the test wrote down."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def snapshot(self, rollout: Rollout, *, epochs: Sequence[Epoch]) -> Statistics:
        desk = self._desk
        numbers = {epoch.number for epoch in epochs}
        cells = {
            (metric, epoch, arm): value
            for (metric, epoch), arms in desk.outcomes.items()
            if epoch in numbers
            for arm, value in arms.items()
        }
        exposed: dict[tuple[int, str], int] = {}
        for (_, epoch, arm), (n, _) in cells.items():
            exposed[epoch, arm] = max(exposed.get((epoch, arm), 0), n)
        counted = {key: n for key, n in desk.exposed.items() if key[0] in numbers}
        now = desk.now.isoformat()
        return Statistics(
            watermark=now,
            taken_at=now,
            epochs=tuple(epochs),
            exposed=exposed | counted,
            moments={key: binary(*value) for key, value in cells.items()},
            grids={},
            open_units={},
            freshness={
                key: Freshness(age_seconds=desk.age(key)) for key in rollout.frozen_plan.metrics
            },
            excluded=dict(desk.excluded),
        )

    def observed(self, project: str, slot: str, metric: Metric) -> Observed | None:
        return self._desk.baseline

    def observed_days(self, project: str, slot: str) -> Sequence[int]:
        return self._desk.observed_days


def binary(n: int, share: float) -> Moments:
    ones = round(n * share)
    mean = ones / n if n else 0.0
    return Moments(n=n, nonzero=ones, mean=mean, m2=n * mean * (1.0 - mean))


_FREE: list[Database] = []
"""Databases of desks that are gone: their engines have compiled every statement already."""


@cache
def _pristine() -> Database:
    assert all_tables.__all__
    database = Database("sqlite://")
    Base.metadata.create_all(database.main)
    return database


def _blank() -> Database:
    """A database in memory with empty tables."""
    database = _FREE.pop() if _FREE else Database("sqlite://")
    source, target = _pristine().main.raw_connection(), database.main.raw_connection()
    source.driver_connection.backup(target.driver_connection)  # type: ignore[union-attr]
    return database


class DeskWork(SqlWork):
    """One transaction at the desk's own time."""

    desk: Desk

    @cached_property
    def now(self) -> datetime:
        return self.desk.now

    @cached_property
    def measurements(self) -> Any:
        return Numbers(self.desk)


class DeskStore(SqlStore):
    """The real store, whose units of work carry the desk's clock and numbers."""

    def __init__(self, database: Database, desk: Desk) -> None:
        super().__init__(database)
        self.desk = desk

    @contextmanager
    def writing(self) -> Iterator[SqlWork]:
        with self.database.begin() as connection:
            yield self._work(connection)

    @contextmanager
    def reading(self) -> Iterator[SqlWork]:
        with self.database.read() as connection:
            yield self._work(connection)

    def _work(self, connection: Any) -> DeskWork:
        work = DeskWork(connection)
        work.desk = self.desk
        return work


class Desk:
    """One deployment with a slot, its metrics, a policy and people."""

    def __init__(
        self,
        policy: Mapping[str, Any] | None = None,
        *,
        slot: Mapping[str, Any] | None = None,
        people: Mapping[str, frozenset[Role]] = PEOPLE,
        database: Database | None = None,
    ) -> None:
        self.now = START
        self.outcomes: dict[tuple[str, int], Arms] = {}
        self.exposed: dict[tuple[int, str], int] = {}
        self.excluded: dict[str, int] = {}
        self.last_outcome: datetime | None = None
        self.silent: set[str] = set()
        self.baseline: Observed | None = None
        self.observed_days: Sequence[int] = ()
        self.database = database or _blank()
        if database is None:
            weakref.finalize(self, _FREE.append, self.database)
        self.store = DeskStore(self.database, self)
        self._people(people)
        for key, metric in METRICS.items():
            define.put_metric(self.store, PROJECT, metric, key=key, actor=MACHINE)
        self.policy(policy or {})
        define.put_slot(
            self.store,
            PROJECT,
            {
                "unit": "departure",
                "champion": CHAMPION,
                "oec": {"metric": "on-time"},
                "guardrails": [{"metric": "complaints", "margin": 0.02}],
                "policy": "house",
                **(slot or {}),
            },
            key=SLOT,
            actor=MACHINE,
        )

    def _people(self, people: Mapping[str, frozenset[Role]]) -> None:
        with self.store.writing() as work:
            for name, roles in people.items():
                work.people.put_operator(
                    Operator(
                        name=name, roles=roles, password_hash=None, active=True, created_at=self.now
                    )
                )

    # ------------------------------------------------------------ asking

    def policy(self, changes: Mapping[str, Any], *, name: str = "house", by: str = "root") -> None:
        document = {**POLICY, **changes}
        actor = self.person(by)
        define.put_policy(self.store, PROJECT, document, name=name, actor=actor)

    def person(self, name: str) -> Actor:
        with self.store.reading() as work:
            found = work.people.operator(name)
        assert found is not None
        return Actor(name=name, kind="operator", roles=found.roles)

    def create(self, by: str = "ada", **wanted: Any) -> Rollout:
        wanted = {"slot": SLOT, "challengers": [CHALLENGER], **wanted}
        return create_rollout(self.store, PROJECT, actor=self.person(by), **wanted)

    def do(self, rollout: Rollout, verb: Verb | str, by: str = "ada", **options: Any) -> Rollout:
        verb = Verb(verb)
        if verb.raises_exposure:
            options.setdefault("if_match", self.get(rollout).generation)
        return verbs.act(self.store, PROJECT, rollout.id, verb, actor=self.person(by), **options)

    def started(self, **wanted: Any) -> Rollout:
        rollout = self.create(**wanted)
        self.do(rollout, Verb.SUBMIT)
        return self.do(rollout, Verb.START)

    def vote(self, proposal: Proposal, by: str, vote: str = "approve", **options: Any) -> Proposal:
        options.setdefault("digest", proposal.digest)
        return approve.vote(
            self.store, PROJECT, proposal.id, vote=vote, actor=self.person(by), **options
        )

    # ------------------------------------------------------------ what happens

    def later(self, **step: float) -> None:
        self.now += timedelta(**step)

    def age(self, metric: str) -> float | None:
        if self.last_outcome is None or metric in self.silent:
            return None
        return (self.now - self.last_outcome).total_seconds()

    def see(self, metric: str = "on-time", *, epoch: int, **arms: tuple[int, float]) -> None:
        """From now on these complete units are in the numbers, and outcomes are fresh."""
        self.outcomes[metric, epoch] = arms
        self.last_outcome = self.now

    def tick(self, *, sent: bool = True) -> None:
        reconcile.tick(self.store, holder="worker-1")
        if sent:
            self.send()

    def ticks(self, count: int, **step: float) -> None:
        """`count` passes with time between them, and outcomes that keep arriving."""
        for _ in range(count):
            self.later(**(step or {"minutes": 2}))
            if self.last_outcome is not None:
                self.last_outcome = self.now
            self.tick()

    def send(self) -> None:
        """What the worker's sender does: every due note goes out."""
        with self.store.writing() as work:
            for message in work.outbox.due(work.now, most=1000):
                work.outbox.done(message.project, message.id, at=work.now)

    # ------------------------------------------------------------ what is

    def get(self, rollout: Rollout) -> Rollout:
        with self.store.reading() as work:
            found = work.rollouts.get(PROJECT, rollout.id)
        assert found is not None
        return found

    def state(self, rollout: Rollout) -> State:
        return self.get(rollout).state

    def open_proposal(self, rollout: Rollout) -> Proposal | None:
        with self.store.reading() as work:
            return work.approvals.open_for(PROJECT, rollout.id)

    def proposals(self, rollout: Rollout) -> Sequence[Proposal]:
        with self.store.reading() as work:
            return work.approvals.list(PROJECT, rollout=rollout.id)

    def ruleset(self) -> Ruleset:
        with self.store.reading() as work:
            newest = work.rulesets.newest(PROJECT)
        assert newest is not None
        return Ruleset.from_bytes(newest.body)

    def champion(self) -> str:
        with self.store.reading() as work:
            stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        return stored.slot.champion.label

    def status(self, rollout: Rollout) -> dict[str, Any]:
        with self.store.reading() as work:
            return status_document(work, PROJECT, rollout.id)

    def log(self, rollout: Rollout) -> list[str]:
        with self.store.reading() as work:
            return [entry.action for entry in work.decisions.since(PROJECT, rollout.id)]

    def audit(self) -> Verification:
        with self.store.reading() as work:
            return verify(work.audit.entries(PROJECT, most=100_000))

    def notes_waiting(self) -> int:
        with self.store.reading() as work:
            due = work.outbox.due(self.now, most=1000)
        return sum(message.kind == RULESET_MESSAGE for message in due)
