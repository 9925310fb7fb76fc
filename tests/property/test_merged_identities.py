"""Aliases, exposures and outcomes in any order: one unit, its first arm, the ledger's sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import AliasConflict
from controller.flow.aliases import Statement, apply_aliases, state_alias
from controller.flow.recount import recount
from controller.storage.sql.unit_of_work import SqlStore
from tests.property.test_aggregation_ledger import (
    START,
    STORIES,
    UNITS,
    Story,
    batches,
    concluded,
    edit,
    events_of,
    new_world,
)
from tests.traffic import Event, World

Pair = tuple[int, int]


@dataclass(frozen=True)
class Told:
    """A story of events, and which of its units were stated to be one."""

    story: Story
    pairs: tuple[Pair, ...]


TOLD = st.builds(
    Told,
    story=STORIES,
    pairs=st.lists(
        st.tuples(st.integers(0, UNITS - 1), st.integers(0, UNITS - 1)).filter(
            lambda pair: pair[0] != pair[1]
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
)


def state(world: World, units: Sequence[str], pair: Pair) -> bool:
    one = Statement(unit_type="customer", unit=units[pair[0]], alias=units[pair[1]])
    try:
        state_alias(SqlStore(world.database), "default", one, actor="ada")
    except AliasConflict:
        return False
    return True


def accepted(pairs: tuple[Pair, ...]) -> list[Pair]:
    """Those that the service takes, whatever comes in between."""
    with new_world() as world:
        units = world.units(UNITS, prefix="x")
        return [pair for pair in pairs if state(world, units, pair)]


def honest(told: Told) -> Told:
    """Without merged ids that name another arm than their own.

    Only a pin gives them one, and that is written after the alias was applied: the service never
    sees such an exposure before it.
    """
    merged = {place for pair in told.pairs for place in pair}
    exposures = tuple(
        (place, second, epoch, other and place not in merged)
        for place, second, epoch, other in told.story.exposures
    )
    return Told(replace(told.story, exposures=exposures), told.pairs)


def told(world: World, told: Told, random: Random, *, check: bool, mature: bool) -> None:
    """Everything happens, in some order; aliases keep theirs, their application does not."""
    units = world.units(UNITS, prefix="x")  # those that take part before an edit
    waiting: list[list[Event] | Pair] = [*batches(events_of(told.story, world), random)]
    for pair in accepted_order(told.pairs, random, len(waiting)):
        waiting.insert(pair[0], pair[1])
    known = random.randint(0, len(waiting))
    for number, step in enumerate(waiting):
        if number == known:
            edit(told.story, world)
        if isinstance(step, tuple):
            assert state(world, units, step)
        else:
            world.send(step, batch_id=f"b{random.random()}")
        if random.random() < 0.5:
            world.drain(budget=random.choice([1, 10, 500]))
        if random.random() < 0.5:
            apply_aliases(world.ingest, most=random.choice([1, 2, 500]))
        # An edit opens when it is made: what has matured by then closed before it.
        may_mature = mature and (told.story.edit is None or number >= known)
        if may_mature and random.random() < 0.4:
            world.mature(budget=random.choice([1, 3, 500]))
        if check and random.random() < 0.3:
            assert recount(world.ingest, "default", "r1") == []
    if known == len(waiting):
        edit(told.story, world)
    world.drain()
    while apply_aliases(world.ingest, most=1):
        pass
    world.mature()


def accepted_order(pairs: tuple[Pair, ...], random: Random, places: int) -> list[tuple[int, Pair]]:
    """Where in the story each alias is stated: in order, at random places."""
    chosen = sorted((random.randint(0, places) for _ in pairs), reverse=True)
    return list(zip(chosen, reversed(pairs), strict=True))


@settings(max_examples=30)
@given(TOLD)
def test_the_sums_are_those_of_the_ledger_whenever_ids_are_merged(story: Told) -> None:
    kept = Told(story.story, tuple(accepted(story.pairs)))
    with new_world() as world:
        told(world, kept, Random(story.story.seed), check=True, mature=True)
        assert recount(world.ingest, "default", "r1") == []


@settings(max_examples=30)
@given(TOLD)
def test_no_result_depends_on_when_an_alias_is_stated_or_applied(story: Told) -> None:
    kept = honest(Told(story.story, tuple(accepted(story.pairs))))
    results = []
    for turn in range(2):
        with new_world() as world:
            told(world, kept, Random(story.story.seed + turn), check=False, mature=False)
            results.append(concluded(world.snapshot()))
            assert recount(world.ingest, "default", "r1") == []
    assert results[0] == results[1]


@settings(max_examples=25)
@given(TOLD)
def test_one_identity_is_one_unit_in_the_arm_it_met_first(story: Told) -> None:
    kept = tuple(accepted(story.pairs))
    with new_world() as world:
        units = world.units(UNITS, prefix="x")
        first = first_by_identity(story.story, kept, world)
        told(world, Told(story.story, kept), Random(story.story.seed), check=False, mature=False)
        with world.ingest.reading() as work:
            analysed = {
                state.first.unit: state.first
                for state in work.units.all(world.target)
                if state.left_for is None
            }
        assert len(analysed) == len(first)
        for members, (second, arms) in first.items():
            (mine,) = [analysed[units[place]] for place in members if units[place] in analysed]
            exposed = START + timedelta(seconds=second)
            assert abs(mine.exposed_us / 1e6 - exposed.timestamp()) < 1e-3
            assert mine.arm in arms


def first_by_identity(
    story: Story, pairs: tuple[Pair, ...], world: World
) -> Mapping[tuple[int, ...], tuple[int, set[str]]]:
    """Second and possible arms (ties) of the earliest true exposure of each identity that has one.

    Exposures that name the arm of no split are no part of it.
    """
    units = world.units(UNITS, prefix="x")
    group = {place: {place} for place in range(UNITS)}
    for one, other in pairs:
        whole = group[one] | group[other]
        group |= dict.fromkeys(whole, whole)
    met: dict[tuple[int, ...], list[tuple[int, str]]] = defaultdict(list)
    for place, second, _, other in story.exposures:
        if not other:
            met[tuple(sorted(group[place]))].append((second, world.arm(units[place])))
    return {
        members: (min(seen)[0], {arm for second, arm in seen if second == min(seen)[0]})
        for members, seen in met.items()
    }
