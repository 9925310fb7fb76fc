"""What lists read, on both databases: narrow rows, and only the newest look of each rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.experiments.models import Model
from controller.flow.ports.rollouts import LookEntry
from controller.rollout.record import Draft, Rollout
from controller.rollout.states import State, Verdict
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database)


def rollout(name: str, *, minutes: int, state: State = State.ROLLED_BACK) -> Rollout:
    at = NOW + timedelta(minutes=minutes)
    return Rollout(
        project="default",
        id=name,
        slot="late-flight-alert",
        state=state,
        verdict=Verdict.NO_DIFFERENCE,
        draft=Draft(
            challengers=(Model(name="trees", version=name),),
            policy="house",
            owner="ada",
            requested_by="ada",
        ),
        salt="5a17",
        entered_at=at,
        stage_entered_at=at,
        created_at=at,
        ended_at=at + timedelta(minutes=30),
    )


def look(number: int) -> LookEntry:
    return LookEntry(
        number=number,
        evidence_sha256=f"{number:064d}",
        taken_at=NOW + timedelta(minutes=number),
        summary={"number": number},
    )


def test_the_index_lists_the_newest_first_and_nothing_of_other_projects(store: SqlStore) -> None:
    with store.writing() as work:
        work.rollouts.add(rollout("r-old", minutes=0))
        work.rollouts.add(rollout("r-new", minutes=9))
        work.rollouts.add(replace(rollout("r-other", minutes=5), project="elsewhere"))
    with store.reading() as work:
        found = work.views.index("default")
    assert [one.id for one in found] == ["r-new", "r-old"]
    newest = found[0]
    assert newest.state is State.ROLLED_BACK
    assert newest.verdict is Verdict.NO_DIFFERENCE
    assert newest.draft.challengers[0].label == "trees r-new"
    assert newest.changed_at == NOW + timedelta(minutes=39)


def test_each_is_listed_with_its_newest_look_or_none(store: SqlStore) -> None:
    with store.writing() as work:
        work.rollouts.add(replace(rollout("r-seen", minutes=0), look_number=2))
        work.rollouts.add(rollout("r-unseen", minutes=1))
        for number in (1, 2):
            work.evidence.add_look("default", "r-seen", look(number))
    with store.reading() as work:
        found = work.views.listed("default", ["r-seen", "r-unseen", "r-unknown"])
    assert set(found) == {"r-seen", "r-unseen"}
    assert found["r-seen"].look == {"number": 2}
    assert found["r-unseen"].look is None
    assert found["r-unseen"].plan is None
