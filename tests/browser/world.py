"""A small world for the console: real use cases over a real SQLite file, a clock we can turn.

Rollouts here are created, submitted, looked at, proposed and moved by the product's own functions;
looks are taken by the real analysis. Only two things are rehearsed: what time it is, and what the
events would have summed to, which is drawn here instead of being sent event by event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.flow.actors import MACHINE, Actor, Role
from controller.flow.approve import vote
from controller.flow.create import create_rollout
from controller.flow.define import put_metric, put_policy, put_slot
from controller.flow.people import add_operator
from controller.flow.reconcile import reconcile
from controller.flow.verbs import act
from controller.rollout.record import Rollout
from controller.storage.sql.base import Base
from controller.storage.sql.database import Database
from controller.storage.sql.measurements import SqlMeasurements
from controller.storage.sql.schema import all_tables  # noqa: F401 - registers every table
from controller.storage.sql.unit_of_work import SqlStore, SqlWork

PROJECT: Final = "default"
PASSWORD: Final = "a calm and quiet harbour"
ADMIN: Final = Actor(name="admin", kind="operator", roles=frozenset(Role))
ROLES: Final = {
    "admin": frozenset({Role.ADMIN, Role.POLICY_ADMIN, Role.VIEWER}),
    "dana": frozenset({Role.VIEWER, Role.AUTHOR, Role.OPERATOR}),
    "omar": frozenset({Role.VIEWER, Role.APPROVER, Role.OPERATOR}),
    "ruth": frozenset({Role.VIEWER, Role.APPROVER, Role.OPERATOR}),
    "vera": frozenset({Role.VIEWER}),
}
DANA: Final = Actor(name="dana", kind="operator", roles=ROLES["dana"])

Draw = Callable[[str, int], Mapping[str, NDArray[np.float64]]]
"""Values of so many new units of an arm, by metric."""


@dataclass
class Clock:
    """The time, real or turned back."""

    behind: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The instant that every transaction reads."""
        return datetime.now(UTC) - self.behind


@dataclass
class Feed:
    """What the events of one rollout have summed to so far."""

    metrics: tuple[str, ...]
    draw: Draw
    age_seconds: float = 4.0
    exposed: dict[tuple[int, str], int] = field(default_factory=dict)
    values: dict[tuple[str, int, str], list[NDArray[np.float64]]] = field(default_factory=dict)

    def grow(self, epoch: int, units: Mapping[str, int]) -> None:
        """So many more complete units of each arm, in this epoch."""
        for arm, number in units.items():
            self.exposed[epoch, arm] = self.exposed.get((epoch, arm), 0) + number
            for metric, drawn in self.draw(arm, number).items():
                self.values.setdefault((metric, epoch, arm), []).append(drawn)

    def statistics(self, epochs: Sequence[Epoch], at: datetime) -> Statistics:
        """One snapshot."""
        numbers = {epoch.number for epoch in epochs}
        exposed = {key: n for key, n in self.exposed.items() if key[0] in numbers}
        arms = {arm for _, arm in exposed}
        return Statistics(
            watermark=(at - timedelta(minutes=2)).isoformat(),
            taken_at=at.isoformat(),
            epochs=tuple(epochs),
            exposed=exposed,
            moments={
                key: _moments(np.concatenate(drawn))
                for key, drawn in self.values.items()
                if key[1] in numbers
            },
            grids={},
            open_units={(metric, arm): 41 for metric in self.metrics for arm in arms},
            freshness={metric: Freshness(age_seconds=self.age_seconds) for metric in self.metrics},
            excluded={},
        )


def _moments(values: NDArray[np.float64]) -> Moments:
    mean = float(values.mean())
    return Moments(
        n=len(values),
        nonzero=int(np.count_nonzero(values)),
        mean=mean,
        m2=float(((values - mean) ** 2).sum()),
    )


class RehearsedMeasurements(SqlMeasurements):
    """Sums from the feeds, everything else from SQL."""

    feeds: dict[str, Feed]
    at: datetime

    def snapshot(self, rollout: Rollout, *, epochs: Sequence[Epoch]) -> Statistics:
        """The feed of this rollout's slot, now."""
        return self.feeds[rollout.id].statistics(epochs, self.at)


class RehearsedWork(SqlWork):
    """A unit of work in which it is as late as the world's clock says."""

    world: World

    @cached_property
    def now(self) -> datetime:
        """The world's time."""
        return self.world.clock.now()

    @cached_property
    def measurements(self) -> SqlMeasurements:
        """The world's sums."""
        found = RehearsedMeasurements(self.connection)
        found.feeds, found.at = self.world.feeds, self.now
        return found


class RehearsedStore(SqlStore):
    """The SQL store of a world."""

    def __init__(self, database: Database, world: World) -> None:
        super().__init__(database)
        self._world = world

    def _work(self, connection: Any) -> RehearsedWork:
        work = RehearsedWork(connection)
        work.world = self._world
        return work

    @contextmanager
    def writing(self) -> Iterator[SqlWork]:
        """As the real one."""
        with self.database.begin() as connection:
            yield self._work(connection)

    @contextmanager
    def reading(self) -> Iterator[SqlWork]:
        """As the real one."""
        with self.database.read() as connection:
            yield self._work(connection)


class World:
    """A database with operators, slots and rollouts in every kind of state."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        url = "sqlite://" if folder is None else f"sqlite:///{folder / 'main.db'}"
        self.database = Database(url)
        Base.metadata.create_all(self.database.main)
        self.clock = Clock()
        self.feeds: dict[str, Feed] = {}
        self.store = RehearsedStore(self.database, self)
        self.rollouts: dict[str, str] = {}

    @classmethod
    def copied(cls, source: World, folder: Path) -> World:
        """The same world in a folder of its own, so that a test may change it."""
        assert source.folder is not None
        with (
            closing(sqlite3.connect(source.folder / "main.db")) as original,
            closing(sqlite3.connect(folder / "main.db")) as copy,
        ):
            original.backup(copy)
        world = cls(folder)
        world.rollouts = dict(source.rollouts)
        return world

    def close(self) -> None:
        """Let go of the database."""
        self.database.dispose()

    # ------------------------------------------------------------ steps

    def people(self, *names: str) -> None:
        """Operators who can sign in."""
        for name in names or ROLES:
            add_operator(self.store, name, ROLES[name], actor=MACHINE, password=PASSWORD)

    def ask(self, name: str, slot: str, challenger: Mapping[str, Any], draw: Draw) -> str:
        """A rollout that has been submitted; its id, also kept under `name`."""
        metrics = self._metrics(slot)
        draft = create_rollout(
            self.store, PROJECT, slot=slot, challengers=[dict(challenger)], actor=DANA,
            hypothesis="The newer model costs less.",
        )  # fmt: skip
        self.feeds[draft.id] = Feed(metrics=metrics, draw=draw)
        act(self.store, PROJECT, draft.id, "submit", actor=DANA, if_match=draft.generation)
        self.rollouts[name] = draft.id
        return draft.id

    def _metrics(self, slot: str) -> tuple[str, ...]:
        with self.store.reading() as work:
            stored = work.definitions.slot(PROJECT, slot)
            assert stored is not None
            return stored.slot.metrics

    def rollout(self, rollout: str) -> Rollout:
        """A rollout as it is stored."""
        with self.store.reading() as work:
            found = work.rollouts.get(PROJECT, rollout)
        assert found is not None
        return found

    def live(self, rollout: str, *, passes: int, minutes: float, units: int) -> None:
        """Let time pass: so many passes of the reconciler, each with so many new units at 100 %."""
        for _ in range(passes):
            self.clock.behind -= timedelta(minutes=minutes)
            found = self.rollout(rollout)
            if found.state.terminal:
                continue
            if found.state.exposed and found.enrolled:
                self._grow(found, units)
            self._settle_outbox()
            reconcile(self.store, PROJECT, rollout)

    def _grow(self, rollout: Rollout, units: int) -> None:
        with self.store.reading() as work:
            allocations = work.rollouts.allocations(PROJECT, rollout.id)
        weights = next(one for one in allocations if one.number == rollout.allocation).weights
        share = rollout.enrolled * units
        self.feeds[rollout.id].grow(
            rollout.epoch, {arm: round(share * weight) for arm, weight in weights.items()}
        )

    def _settle_outbox(self) -> None:
        """What the outbox's worker does: every note of a ruleset has gone out."""
        with self.store.writing() as work:
            for message in work.outbox.due(work.now, most=200):
                work.outbox.done(message.project, message.id, at=work.now)

    def open_proposal(self, rollout: str) -> str:
        """The id of the open proposal."""
        with self.store.reading() as work:
            found = work.approvals.open_for(PROJECT, rollout)
        assert found is not None
        return found.id

    def approve(self, rollout: str, *names: str) -> None:
        """These people approve what is open."""
        proposal = self.open_proposal(rollout)
        for name in names:
            with self.store.reading() as work:
                found = work.approvals.get(PROJECT, proposal)
            assert found is not None
            voter = Actor(name=name, kind="operator", roles=ROLES[name], channel="console")
            vote(
                self.store, PROJECT, proposal, vote="approve", digest=found.digest,
                comment="The lead has held for weeks.", actor=voter,
            )  # fmt: skip


# ---------------------------------------------------------------- definitions

POLICY: Final = {
    "description": "Ramp by itself, roll back by itself, promote only with two people.",
    "autonomy": "L3",
    "ramp": [
        {"enrolled": 0.1, "dwell": "20m", "min_units": 300, "min_matured": 100},
        {"enrolled": 0.5, "dwell": "20m", "min_units": 1500, "min_matured": 300},
        {"enrolled": 1.0, "dwell": "20m"},
    ],
    "oec": {"mode": "planned", "alpha": 0.05, "horizon": 80_000, "futility": "none"},
    "guardrails": {"mode": "planned", "horizon": 20_000},
    "approvals": {"promote": {"quorum": 2, "expires": "3d"}},
    "deadlines": {"validating": "1h", "ramping": "12h", "deciding": "2d"},
    "bake": {"duration": "2h", "holdback": 0.05, "undo_window": "30d"},
    "look_every": "90s",
}
CLICKS_POLICY: Final = {
    "description": "One stage and a deadline that ends it long before its horizon.",
    "autonomy": "L3",
    "ramp": [{"enrolled": 1.0, "dwell": "5m"}],
    "oec": {"mode": "planned", "alpha": 0.05, "horizon": 80_000, "futility": "none"},
    "approvals": {"promote": {"quorum": 2, "expires": "3d"}},
    "deadlines": {"validating": "1h", "ramping": "170m", "deciding": "170m"},
    "look_every": "90s",
}
LOGISTIC: Final = {"name": "logistic", "version": "2013.1"}
WEATHER: Final = {"name": "weather-boost", "version": "2013.4", "authors": ["dana"]}


def define(world: World) -> None:
    """Metrics, policies and slots of the world."""
    store = world.store
    cost = {"direction": "decrease", "outcome": "cost", "window_seconds": 3600}
    put_metric(store, PROJECT, {"type": "mean", **cost}, key="cost-per-departure", actor=ADMIN)
    put_metric(store, PROJECT, {"type": "binary", **cost}, key="costly-departures", actor=ADMIN)
    click = {"type": "binary", "direction": "increase", "outcome": "click", "window_seconds": 3600}
    put_metric(store, PROJECT, click, key="clicks-per-visit", actor=ADMIN)
    put_policy(store, PROJECT, POLICY, name="flights", actor=ADMIN)
    put_policy(store, PROJECT, CLICKS_POLICY, name="clicks", actor=ADMIN)
    flights = {
        "unit": "departure",
        "champion": LOGISTIC,
        "oec": {"metric": "cost-per-departure"},
        "guardrails": [{"metric": "costly-departures", "margin": 0.03}],
        "policy": "flights",
    }
    places = {
        "late-flight-alert": "Warn passengers of late flights",
        "gate-screen-alert": "Warn passengers on the screens at the gate",
        "crew-planning": "Call spare crews for late flights",
        "hotel-vouchers": "Hold hotel rooms for stranded passengers",
    }
    for key, description in places.items():
        document = {**flights, "description": description}
        put_slot(store, PROJECT, document, key=key, actor=ADMIN)
    put_slot(
        store,
        PROJECT,
        {
            "unit": "visit",
            "champion": {"name": "uniform-random", "version": "1"},
            "oec": {"metric": "clicks-per-visit"},
            "policy": "clicks",
            "description": "Choose which garment a visitor sees first",
        },
        key="recommendation",
        actor=ADMIN,
    )


# ---------------------------------------------------------------- what units do

_COSTS: Final = np.array([0.0, 1.0, 2.0, 5.0])
_CHAMPION: Final = [0.544, 0.20, 0.13, 0.126]


def flight_costs(challenger: Sequence[float], *, seed: int) -> Draw:
    """Costs of departures; the champion's always from the same distribution."""
    rng = np.random.default_rng(seed)

    def draw(arm: str, number: int) -> Mapping[str, NDArray[np.float64]]:
        chances = _CHAMPION if arm == "champion" else list(challenger)
        costs = rng.choice(_COSTS, size=number, p=chances)
        return {"cost-per-departure": costs, "costly-departures": (costs > 0).astype(np.float64)}

    return draw


def logged_clicks() -> Draw:
    """The clicks that two policies of a fashion site really got, in time order."""
    from controller.demo.bandit import load_bandit

    log = load_bandit()
    queues = {"champion": log.champion_clicks, "challenger": log.challenger_clicks}
    taken = {"champion": 0, "challenger": 0}

    def draw(arm: str, number: int) -> Mapping[str, NDArray[np.float64]]:
        clicks = queues[arm][taken[arm] : taken[arm] + number].astype(np.float64)
        taken[arm] += number
        return {"clicks-per-visit": clicks}

    return draw


BETTER: Final = (0.560, 0.195, 0.135, 0.110)
WORSE: Final = (0.500, 0.20, 0.13, 0.170)
ALIKE: Final = _CHAMPION


# ---------------------------------------------------------------- a whole day


def furnished(folder: Path | None) -> World:
    """Rollouts that wait, run, were promoted, were rolled back, and showed no difference."""
    world = World(folder)
    world.people()
    world.clock.behind = timedelta(hours=9)
    define(world)
    broken = world.ask("broken", "gate-screen-alert", {**WEATHER, "version": "nightly"},
                       flight_costs(WORSE, seed=3))  # fmt: skip
    world.live(broken, passes=24, minutes=3, units=900)
    clicks = world.ask(
        "clicks", "recommendation", {"name": "thompson-sampling", "version": "1"}, logged_clicks()
    )
    world.live(clicks, passes=48, minutes=4, units=430)
    promoted = world.ask("promoted", "hotel-vouchers", WEATHER, flight_costs(BETTER, seed=5))
    world.live(promoted, passes=24, minutes=4, units=2600)
    world.approve(promoted, "omar", "ruth")
    world.live(promoted, passes=10, minutes=2, units=900)
    waiting = world.ask("waiting", "late-flight-alert", WEATHER, flight_costs(BETTER, seed=7))
    step = world.clock.behind.total_seconds() / 60 / 40
    world.live(waiting, passes=32, minutes=step, units=1700)
    fresh = world.ask("fresh", "crew-planning", WEATHER, flight_costs(ALIKE, seed=9))
    for _ in range(8):
        world.live(waiting, passes=1, minutes=step, units=1700)
        world.live(fresh, passes=1, minutes=0, units=600)
    world.live(promoted, passes=1, minutes=0, units=900)
    world.approve(waiting, "ruth")
    world.clock.behind = timedelta(0)
    return world


def waiting_world(folder: Path | None) -> World:
    """One rollout whose promotion waits for two people, and one whose time ran out."""
    world = World(folder)
    world.people()
    world.clock.behind = timedelta(hours=8)
    define(world)
    clicks = world.ask(
        "clicks", "recommendation", {"name": "thompson-sampling", "version": "1"}, logged_clicks()
    )
    world.live(clicks, passes=26, minutes=8, units=820)
    waiting = world.ask("waiting", "late-flight-alert", WEATHER, flight_costs(BETTER, seed=7))
    world.live(waiting, passes=16, minutes=11, units=4000)
    world.clock.behind = timedelta(0)
    world.live(waiting, passes=1, minutes=0, units=4000)
    return world
