"""An edit of a live rollout and what was still open: on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from controller.aggregation.exposures import Excluded
from controller.aggregation.statistics import Statistics
from controller.analysis.integrity import sample_ratio_report
from controller.assignment.ruleset import Ruleset
from controller.experiments.metrics import MetricType
from controller.flow.actors import MACHINE
from controller.flow.edit import edit as edit_rollout
from controller.flow.first_exposures import leave_test
from controller.flow.recount import recount
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import Database
from controller.storage.sql.maturation import MATURATIONS
from controller.storage.sql.schema.events import WatermarkRow
from controller.storage.sql.unit_of_work import SqlStore
from tests import worlds
from tests.traffic import EVEN, World, ago

QUICK = worlds.metric("quick", type=MetricType.MEAN, window_seconds=10.0)
SLOW = worlds.metric("slow", type=MetricType.MEAN, window_seconds=100.0)
EDITED = 200.0
"""Seconds ago at which the weights were edited."""
RETIRED = ((2000, 5000),)


@pytest.fixture
def world(database: Database) -> World:
    return World(database, [SLOW, QUICK])


def edit(world: World, retired: tuple[tuple[int, int], ...] = RETIRED, at: float = EDITED) -> None:
    world.open_allocation(EVEN, enrolled=1.0, retired=retired, opened_at=ago(at))


def exposed(world: World, units: Mapping[str, float], **fields: Any) -> list[dict[str, Any]]:
    """Exposures under the first ruleset, so many seconds ago."""
    first = {"allocation": 1, "ruleset": world.epochs[0][1]}
    return [
        world.exposure(unit, ago(seconds), **{**first, "arm": arm_of(world, unit), **fields})
        for unit, seconds in units.items()
    ]


def arm_of(world: World, unit: str) -> str:
    arm = world.target.bucket_arm(unit, 1)
    assert arm is not None
    return arm


def cells(seen: Statistics, metric: str) -> dict[tuple[int, str], int]:
    return {key[1:]: value.n for key, value in seen.moments.items() if key[0] == metric and value.n}


def agrees(world: World) -> bool:
    return recount(world.ingest, "default", "r1") == []


def shares(world: World, count: int = 60) -> tuple[list[str], list[str], list[str]]:
    """Champions that stay, champions whose bucket is going to be retired, challengers."""
    champions = world.units(3 * count, arm="champion")
    place = {unit: world.target.bucket_of(unit) for unit in champions}
    stays = [unit for unit in champions if place[unit] < 2000][:count]
    goes = [unit for unit in champions if place[unit] >= 2000][:count]
    return stays, goes, world.units(count, arm="challenger")


def test_what_had_closed_stays_and_what_was_open_leaves_or_counts_after(world: World) -> None:
    stays, goes, tried = shares(world, 30)
    early = dict.fromkeys((*stays[:10], *goes[:10], *tried[:10]), 400.0)
    late = dict.fromkeys((*stays[10:], *goes[10:], *tried[10:]), 250.0)
    world.send(exposed(world, early | late))
    world.drain()
    edit(world)
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "slow") == {
        (1, "champion"): 20,
        (1, "challenger"): 10,
        (2, "champion"): 20,
        (2, "challenger"): 20,
    }
    # The short window of the late units had closed before the edit as well: nothing is cut.
    assert cells(seen, "quick") == {(1, "champion"): 60, (1, "challenger"): 30}
    assert seen.excluded == {"retired": 20}
    assert set(seen.open_units.values()) == {0}
    assert agrees(world)


@pytest.mark.parametrize("matured_first", [False, True])
def test_it_does_not_matter_when_the_worker_gets_round_to_it(
    world: World, matured_first: bool
) -> None:
    """Windows that closed before the edit count as before it, matured by then or not."""
    stays, goes, tried = shares(world, 10)
    world.send(exposed(world, dict.fromkeys((*stays, *goes, *tried), 320.0)))
    world.drain()
    if matured_first:
        world.mature()
    edit(world)
    world.mature()
    assert cells(world.snapshot(), "slow") == {(1, "champion"): 20, (1, "challenger"): 10}
    assert agrees(world)


def test_the_boundary_is_the_instant_of_the_edit(world: World) -> None:
    _, goes, _ = shares(world, 2)
    at = ago(EDITED)
    window = timedelta(seconds=SLOW.window_seconds)
    instants = {goes[0]: at - window, goes[1]: at - window + timedelta(microseconds=1)}
    world.send(
        [
            world.exposure(unit, instant, allocation=1, arm="champion")
            for unit, instant in instants.items()
        ]
    )
    world.drain()
    world.open_allocation(EVEN, enrolled=1.0, retired=RETIRED, opened_at=at)
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "slow") == {(1, "champion"): 1}
    assert seen.excluded == {"retired": 1}
    assert agrees(world)


def test_exposures_that_arrive_after_the_edit_are_treated_alike(world: World) -> None:
    stays, goes, tried = shares(world, 10)
    edit(world)
    world.send(exposed(world, dict.fromkeys((*stays, *goes, *tried), 250.0)))
    world.drain()
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "slow") == {(2, "champion"): 10, (2, "challenger"): 10}
    assert seen.excluded == {"retired": 10}
    assert seen.exposed == {(1, "champion"): 20, (1, "challenger"): 10}
    assert agrees(world)


def test_an_sdk_that_has_not_heard_of_the_edit_brings_no_bias(world: World) -> None:
    """Exposures from after the edit under the old ruleset: the retired leave, the others count."""
    stays, goes, tried = shares(world, 10)
    edit(world)
    world.send(exposed(world, dict.fromkeys((*stays, *goes, *tried), 150.0)))
    world.drain()
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "quick") == {(2, "champion"): 10, (2, "challenger"): 10}
    assert seen.exposed == {(1, "champion"): 20, (1, "challenger"): 10}
    assert agrees(world)


def test_a_retired_units_first_exposure_is_frozen(world: World) -> None:
    _, goes, _ = shares(world, 1)
    world.send(exposed(world, {goes[0]: 250.0}))
    world.drain()
    edit(world)
    world.mature()
    world.send(exposed(world, {goes[0]: 500.0}, event_id="earlier"))
    world.drain()
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "slow") == {}
    assert seen.excluded == {"retired": 1, "repeat_exposure": 1}
    assert agrees(world)


def test_a_unit_that_then_meets_two_arms_is_not_taken_out_twice(world: World) -> None:
    _, goes, _ = shares(world, 1)
    world.send(exposed(world, {goes[0]: 250.0}))
    world.drain()
    edit(world)
    world.mature()
    with world.ingest.maturing() as work:
        target = work.targets.target("default", "r1")
        assert target is not None
        leave_test(work, target, 1, goes[0], Excluded.DOUBLE_EXPOSURE)
        work.units.count(target, {(1, "champion"): -1})
    assert set(world.snapshot().open_units.values()) <= {0}


def test_two_edits_in_a_row(world: World) -> None:
    """Each window belongs to the last edit it was open at; retired by any of them, it is gone."""
    stays, goes, tried = shares(world, 10)
    world.send(exposed(world, dict.fromkeys((*stays, *goes, *tried), 250.0)))
    world.drain()
    edit(world, at=240.0)
    edit(world, retired=(*RETIRED, (5000, 7500)), at=220.0)
    world.mature()
    seen = world.snapshot()
    kept = sum(world.target.bucket_of(unit) >= 7500 for unit in tried)
    assert cells(seen, "slow") == {(3, "champion"): 10, (3, "challenger"): kept}
    assert seen.excluded == {"retired": 10 + 10 - kept}
    assert agrees(world)


def test_the_split_is_still_tested_against_the_weights_of_each_epoch(world: World) -> None:
    stays, goes, tried = shares(world, 60)
    world.send(exposed(world, dict.fromkeys((*stays[:24], *goes[:36], *tried), 250.0)))
    world.drain()
    edit(world)
    fresh = world.units(70, prefix="new-")
    world.send([world.exposure(unit, ago(150.0)) for unit in fresh])
    world.drain()
    world.mature()
    seen = world.snapshot()
    assert seen.exposed[1, "champion"] == 60  # the retired were exposed: the split was right
    plan = worlds.plan(oec=SLOW)
    report, _ = sample_ratio_report(seen, plan, log_e_max=0.0)
    assert not report.alarm
    assert report.expected["champion"] == pytest.approx(60 + 70 * 2 / 7)


def test_no_unit_enters_between_the_instant_of_an_edit_and_its_commit(world: World) -> None:
    """What closes after the edit's instant has not been counted by anybody when it commits."""
    matured: list[int] = []

    def enter() -> None:
        with world.ingest.maturing() as work:
            matured.append(work.clock.advance(world.project))

    worker = threading.Thread(target=enter)
    with SqlStore(world.database).writing() as work:
        at = work.stop_maturing(world.project)
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
        assert matured == []
    worker.join(10)
    assert matured[0] >= to_micros(at)


def test_no_exposure_is_aggregated_while_a_condition_changes(world: World) -> None:
    """Every unit that met an arm is seen, and keeps it, or finds that the condition has changed."""
    world.send(exposed(world, dict.fromkeys(world.units(1), 250.0)))
    worker = threading.Thread(target=world.drain)
    with SqlStore(world.database).writing() as work:
        work.stop_maturing(world.project, and_aggregating=True)
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
    worker.join(10)
    assert sum(world.snapshot().exposed.values()) == 1


def test_the_instant_of_an_edit_is_never_behind_the_watermark(world: World) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    with world.database.begin() as connection:
        connection.execute(
            insert(WatermarkRow).values(project="default", instant_us=to_micros(ahead))
        )
    with SqlStore(world.database).writing() as work:
        assert work.stop_maturing("default") == ahead


def test_a_value_in_the_wrong_epoch_is_found(world: World) -> None:
    stays, _, tried = shares(world, 5)
    world.send(exposed(world, dict.fromkeys((*stays, *tried), 250.0)))
    world.drain()
    edit(world)
    world.mature()
    with world.database.begin() as connection:
        connection.execute(
            update(MATURATIONS).where(MATURATIONS.c.unit == stays[0]).values(epoch=1)
        )
    found = recount(world.ingest, "default", "r1")
    assert f"unit {stays[0]!r} of series 1 counts in the wrong epoch" in found


def test_a_late_correction_of_a_value_stays_in_its_epoch(world: World) -> None:
    stays, _, tried = shares(world, 5)
    units = dict.fromkeys((*stays, *tried), 250.0)
    outcomes = [world.outcome(unit, ago(249.0), "slow", value=1.0) for unit in units]
    world.send([*exposed(world, units), *outcomes])
    world.drain()
    edit(world)
    world.mature()
    world.send([corrected(world, stays[0], ago(248.0))])
    world.drain()
    seen = world.snapshot()
    assert seen.moments["slow", 2, "champion"].mean == pytest.approx((4 * 1.0 + 5.0) / 5)
    assert agrees(world)


def corrected(world: World, unit: str, at: datetime) -> dict[str, Any]:
    changed = world.outcome(unit, at, "slow", value=5.0, corrects=f"o-slow-{unit}")
    return changed | {"event_id": f"c-{unit}"}


NORTH = {"attribute": "region", "op": "eq", "value": "north"}


def test_the_verb_itself_retires_and_keeps_in_one_transaction(world: World) -> None:
    """The use case over the same database: allocation, epoch, ruleset, exceptions, strata."""
    stays, goes, tried = shares(world, 5)
    units = (*stays, *goes, *tried)
    world.send(exposed(world, dict.fromkeys(units, 50.0)))
    world.drain()
    with SqlStore(world.database).writing() as work:
        rollout = work.rollouts.get("default", "r1")
        assert rollout is not None
        asked = {"weights": {"champion": 0.2, "challenger": 0.8}, "eligible": NORTH}
        edit_rollout(work, rollout, asked, actor=MACHINE)
        last = work.decisions.last("default", "r1")
        newest = work.rulesets.newest("default")
        (_, opened) = work.rollouts.allocations("default", "r1")
    assert last is not None
    assert last.document["keep_their_arm"] is True
    assert newest is not None
    rules = Ruleset.from_bytes(newest.body).slots["slot"].rollout
    assert rules is not None
    assert (rules.eligible, rules.retired, rules.keeps) == (NORTH, RETIRED, (1,))
    world.mature()
    seen = world.snapshot()
    assert cells(seen, "quick") == {(1, "champion"): 10, (1, "challenger"): 5}
    assert seen.open_units["slow", "champion"] == 10
    with world.ingest.reading() as ingest:
        target = ingest.targets.target("default", "r1")
        assert target is not None
        closes = to_micros(opened.opened_at) + 1
        strata = {
            state.first.unit: target.stratum(state.first, closes)
            for state in ingest.units.all(target)
        }
    assert strata == dict.fromkeys((*stays, *tried), 2) | dict.fromkeys(goes)
    assert agrees(world)
