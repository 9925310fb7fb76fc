"""Whatever arrives, in whatever order: the stored sums are those of the ledger, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.aggregation.statistics import Statistics
from controller.experiments.metrics import Closes, Metric, MetricType, Winsorize, ZeroMeans
from controller.flow.recount import recount
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables
from tests import worlds
from tests.traffic import EVEN, Event, World

METRICS: list[Metric] = [
    worlds.metric("spend", type=MetricType.MEAN, window_seconds=30.0, lookback_seconds=3600.0),
    worlds.metric("bought", outcome="spend", window_seconds=20.0),
    worlds.metric("visits", type=MetricType.COUNT, window_seconds=30.0, lateness_seconds=5.0),
    worlds.metric("basket", type=MetricType.RATIO, outcome="spend", denominator="visits"),
    worlds.metric(
        "price",
        type=MetricType.RATIO,
        outcome="spend",
        denominator="visits",
        window_seconds=20.0,
        lookback_seconds=3600.0,
    ),
    worlds.metric(
        "label",
        type=MetricType.MEAN,
        closes=Closes.FIRST_OUTCOME,
        zero_means=ZeroMeans.UNKNOWN,
        winsorize=Winsorize(value=3.0),
    ),
]
METRICS.append(
    worlds.metric(
        "wait",
        type=MetricType.QUANTILE,
        q=0.5,
        outcome="visits",
        window_seconds=30.0,
        zero_means=ZeroMeans.UNKNOWN,
    )
)
NAMES = ("spend", "visits", "label")
UNITS = 6
START = datetime.now(UTC) - timedelta(hours=2)


@dataclass(frozen=True)
class Story:
    """Events, the order in which batches of them arrive, and which steps run in between."""

    exposures: tuple[tuple[int, int, int, bool], ...]  # unit, second, epoch, other arm
    outcomes: tuple[tuple[int, int, str, float | None], ...]  # unit, second, name, value
    corrections: tuple[tuple[int, int, float], ...]  # index of outcome, second, value
    edit: tuple[int, int, int] | None  # retired buckets from, to; the second of the edit
    seed: int


VALUES = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e-9, 1e15, -3.0]),
    st.floats(-1e15, 1e15, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-200),
)
STORIES = st.builds(
    Story,
    exposures=st.lists(
        st.tuples(
            st.integers(0, UNITS - 1),
            st.integers(0, 120),
            st.integers(0, 1),
            st.integers(0, 9).map(lambda draw: draw == 0),
        ),
        min_size=1,
        max_size=14,
    ).map(tuple),
    outcomes=st.lists(
        st.tuples(
            st.integers(0, UNITS - 1), st.integers(-300, 200), st.sampled_from(NAMES), VALUES
        ),
        max_size=24,
    ).map(tuple),
    corrections=st.lists(
        st.tuples(st.integers(0, 30), st.integers(-100, 200), st.sampled_from([0.0, 7.5, 1e-3])),
        max_size=6,
    ).map(tuple),
    edit=st.one_of(
        st.none(),
        st.tuples(
            st.sampled_from([0, 2500, 4000]), st.sampled_from([4999, 7000]), st.integers(0, 150)
        ),
    ),
    seed=st.integers(0, 2**32 - 1),
)


@cache
def tables() -> Database:
    database = Database("sqlite://")
    assert all_tables.__all__
    Base.metadata.create_all(database.main)
    InboxBase.metadata.create_all(database.inbox)
    return database


@contextmanager
def new_world() -> Iterator[World]:
    """Empty tables: one in-memory database serves every example."""
    database = tables()
    for engine, metadata in (
        (database.main, Base.metadata),
        (database.inbox, InboxBase.metadata),
    ):
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(table.delete())
    world = World(database, METRICS, enrolled=0.5)
    world.ramp(1.0)
    yield world


def events_of(story: Story, world: World) -> list[Event]:
    units = world.units(UNITS, prefix="x")
    first_epoch = {unit for unit in units if _enrolled_at_first(world, unit)}
    events: list[Event] = []
    for number, (place, second, epoch, other) in enumerate(story.exposures):
        unit = units[place]
        arm = world.arm(unit)
        if other:
            arm = "challenger" if arm == "champion" else "champion"
        ruleset = world.epochs[epoch if unit in first_epoch else 1][1]
        at = START + timedelta(seconds=second)
        names = {"arm": arm, "ruleset": ruleset, "allocation": 1}
        events.append(world.exposure(unit, at, event_id=f"e{number}", **names))
    for number, (place, second, name, value) in enumerate(story.outcomes):
        at = START + timedelta(seconds=second)
        fields: dict[str, Any] = {} if value is None else {"value": value}
        events.append(world.outcome(units[place], at, name, event_id=f"o{number}", **fields))
    for number, (place, second, value) in enumerate(story.corrections):
        at = START + timedelta(seconds=second)
        unit, name = units[place % UNITS], NAMES[place % 3]
        if story.outcomes:
            unit = units[story.outcomes[place % len(story.outcomes)][0]]
            name = story.outcomes[place % len(story.outcomes)][2]
        replaced = f"o{place % max(1, len(story.outcomes))}"
        events.append(
            world.outcome(unit, at, name, event_id=f"c{number}", value=value, corrects=replaced)
        )
    return events


def edit(story: Story, world: World) -> None:
    """Retire some buckets at a moment of the past; nothing has matured by then."""
    if story.edit is not None:
        start, end, second = story.edit
        at = START + timedelta(seconds=second)
        world.open_allocation(EVEN, enrolled=1.0, retired=((start, end),), opened_at=at)


def _enrolled_at_first(world: World, unit: str) -> bool:
    arm = world.arm(unit)
    placed = world.target.place(unit, allocation=1, arm=arm, ruleset=world.epochs[0][1])
    return placed is not None


def batches(events: list[Event], random: Random) -> list[list[Event]]:
    """The events in some order, some of them twice, cut into requests."""
    sent = [*events, *random.sample(events, k=random.randint(0, len(events)))]
    random.shuffle(sent)
    cut: list[list[Event]] = []
    while sent:
        size = random.randint(1, 8)
        cut.append(sent[:size])
        sent = sent[size:]
    return cut


def concluded(seen: Statistics) -> dict[str, Any]:
    """What may not depend on when things happened."""
    document = seen.document()
    kept = ("exposed", "moments", "grids", "open_units", "excluded")
    return {name: document[name] for name in kept}


@settings(max_examples=40)
@given(STORIES)
def test_the_sums_are_those_of_the_ledger_at_every_moment(story: Story) -> None:
    random = Random(story.seed)
    with new_world() as world:
        arriving = batches(events_of(story, world), random)
        edit(story, world)
        for batch in arriving:
            world.send(batch, batch_id=f"b{random.random()}")
            if random.random() < 0.6:
                world.drain(budget=random.choice([1, 10, 500]))
            if random.random() < 0.4:
                world.mature(budget=random.choice([1, 3, 500]))
            if random.random() < 0.2:
                assert recount(world.ingest, "default", "r1") == []
        world.drain()
        world.mature()
        assert recount(world.ingest, "default", "r1") == []


@settings(max_examples=25)
@given(STORIES)
def test_no_result_depends_on_the_order_of_arrival(story: Story) -> None:
    results = []
    for turn in range(2):
        random = Random(story.seed + turn)
        with new_world() as world:
            arriving = batches(events_of(story, world), random)
            known = random.randint(0, len(arriving))
            for number, batch in enumerate(arriving):
                if number == known:
                    edit(story, world)
                world.send(batch, batch_id=f"b{random.random()}")
                if random.random() < 0.5:
                    world.drain()
            if known == len(arriving):
                edit(story, world)
            world.drain()
            world.mature()
            assert recount(world.ingest, "default", "r1") == []
            seen = concluded(world.snapshot())
            results.append(seen)
    assert results[0] == results[1]


@settings(max_examples=20)
@given(STORIES)
def test_an_outcome_that_comes_late_counts_as_if_it_had_come_in_time(story: Story) -> None:
    results = []
    for late in (False, True):
        random = Random(story.seed)
        with new_world() as world:
            events = events_of(story, world)
            edit(story, world)
            exposures = [event for event in events if event["type"] == "exposure"]
            outcomes = [event for event in events if event["type"] == "outcome"]
            for batch in batches(exposures, random):
                world.send(batch, batch_id=f"e{random.random()}")
            world.drain()
            if late:
                world.mature()
            if outcomes:
                for batch in batches(outcomes, random):
                    world.send(batch, batch_id=f"o{random.random()}")
            world.drain()
            world.mature()
            results.append(concluded(world.snapshot()))
    assert results[0] == results[1]
