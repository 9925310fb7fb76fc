"""Rollouts, evidence, approvals and decisions on both databases, also when two write at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from controller.aggregation.statistics import Epoch
from controller.assignment.runs import build_runs
from controller.errors import ApprovalInvalid, Conflict, ControllerError, StaleVersion
from controller.experiments.models import Model
from controller.experiments.plans import Plan
from controller.flow.kill import kill
from controller.flow.look import take_due_look
from controller.flow.ports.rollouts import LookEntry, Proposal, Vote
from controller.rollout.record import Allocation, Draft, Rollout
from controller.rollout.states import Pause, State, Verb, Verdict
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore
from tests import worlds
from tests.unit.flow.desk import SLOT, Desk

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database)


def rollout(name: str = "r-1", **changes: Any) -> Rollout:
    plain = Rollout(
        project="default",
        id=name,
        slot="late-flight-alert",
        draft=Draft(
            challengers=(Model(name="trees", version="7", payload={"depth": 3}),),
            policy="house",
            owner="ada",
            requested_by="ada",
            hypothesis="trees see weather",
        ),
        salt="5a17",
        entered_at=NOW,
        stage_entered_at=NOW,
        created_at=NOW,
    )
    return replace(plain, **changes)


def add(store: SqlStore, one: Rollout) -> Rollout:
    with store.writing() as work:
        work.rollouts.add(one)
    return one


def proposal(name: str = "p-1", **changes: Any) -> Proposal:
    plain = Proposal(
        project="default",
        id=name,
        rollout="r-1",
        gate="promote",
        transition="promote",
        digest="d" * 64,
        document={"schema": 1},
        opened_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )
    return replace(plain, **changes)


def ballot(voter: str, vote: str = "approve") -> Vote:
    return Vote(
        voter=voter,
        vote=vote,
        digest="d" * 64,
        comment="",
        channel="api",
        method="token",
        voted_at=NOW,
    )


# ---------------------------------------------------------------- rollouts


def test_a_rollout_comes_back_as_it_was_written(store: SqlStore) -> None:
    full = rollout(
        state=State.RAMPING,
        stage=1,
        plan=Plan.from_document(worlds.plan().document()),
        enrolled_ppm=500_000,
        allocation=1,
        epoch=2,
        paused=(Pause.OPERATOR, Pause.SRM),
        paused_since=NOW,
        paused_seconds=12.5,
        deadline_at=NOW + timedelta(days=3),
        verdict=Verdict.KEEP_GOING,
        reason="keep_collecting",
        judgement={"verdict": "KEEP_GOING", "lead": {"challenger": 0.1}},
        look_number=4,
        look_sha256="e" * 64,
        look_memory={"schema": 1, "z": [0.1, None]},
        next_look_at=NOW + timedelta(seconds=5),
    )
    add(store, full)
    with store.reading() as work:
        assert work.rollouts.get("default", "r-1") == full
        assert work.rollouts.get("other", "r-1") is None
        assert work.rollouts.live_in("default", full.slot) == full
        assert work.rollouts.live() == [full]


def test_drafts_and_ended_rollouts_do_not_live(store: SqlStore) -> None:
    add(store, rollout("r-1"))
    add(store, rollout("r-2", state=State.ROLLED_BACK, created_at=NOW + timedelta(seconds=1)))
    with store.reading() as work:
        assert work.rollouts.live("default") == []
        assert work.rollouts.live_in("default", "late-flight-alert") is None
        in_slot = work.rollouts.in_slot("default", "late-flight-alert")
        assert [one.id for one in in_slot] == ["r-2", "r-1"]


def test_a_writer_that_read_an_older_generation_is_refused(store: SqlStore) -> None:
    read = add(store, rollout())
    with store.writing() as work:
        saved = work.rollouts.save(replace(read, state=State.VALIDATING))
    assert saved.generation == 2
    with store.writing() as work, pytest.raises(StaleVersion):
        work.rollouts.save(replace(read, state=State.CANCELLED))
    with store.reading() as work:
        assert work.rollouts.get("default", "r-1") == saved


def test_a_look_without_news_leaves_the_generation_and_still_fences_writers(
    store: SqlStore,
) -> None:
    read = add(store, rollout(state=State.RAMPING))
    with store.writing() as work:
        looked = work.rollouts.save_look(replace(read, look_number=1), news=False)
    assert looked.generation == read.generation
    with store.writing() as work, pytest.raises(StaleVersion):
        work.rollouts.save(replace(read, stage=1))
    with store.writing() as work, pytest.raises(StaleVersion):
        work.rollouts.save_look(replace(read, look_number=1), news=True)
    with store.writing() as work:
        assert work.rollouts.save_look(replace(looked, look_number=2), news=True).generation == 2


def test_a_slot_holds_one_living_rollout_whoever_writes(store: SqlStore) -> None:
    add(store, rollout("r-1", state=State.RAMPING))
    second = add(store, rollout("r-2"))
    with pytest.raises(Conflict), store.writing() as work:
        work.rollouts.save(replace(second, state=State.VALIDATING))
    with store.reading() as work:
        assert work.rollouts.get("default", "r-2") == second


def test_allocations_and_epochs_keep_their_order_and_weights(store: SqlStore) -> None:
    add(store, rollout())
    weights = {"champion": 0.5, "challenger": 0.5}
    allocation = Allocation(
        number=1,
        weights=weights,
        runs=build_runs(weights),
        retired=((10, 20),),
        analysed=False,
        opened_at=NOW,
    )
    epochs = [
        Epoch(number=number, allocation=1, enrolled=enrolled, weights=weights)
        for number, enrolled in ((1, 0.1), (2, 0.123456))
    ]
    with store.writing() as work:
        work.rollouts.add_allocation("default", "r-1", allocation)
        for epoch in reversed(epochs):
            work.rollouts.add_epoch("default", "r-1", epoch, ruleset=7, at=NOW)
    with store.reading() as work:
        assert work.rollouts.allocations("default", "r-1") == [allocation]
        assert work.rollouts.epochs("default", "r-1") == epochs


# ---------------------------------------------------------------- evidence and looks


def test_the_same_evidence_is_stored_once_and_read_back_whole(store: SqlStore) -> None:
    document = {"z": [1.5, None], "a": {"b": "é"}}
    with store.writing() as work:
        first = work.evidence.put("default", "r-1", document, at=NOW)
        again = work.evidence.put("default", "r-1", {"a": {"b": "é"}, "z": [1.5, None]}, at=NOW)
    assert first == again
    with store.reading() as work:
        assert work.evidence.get("default", first) == document
        assert work.evidence.get("other", first) is None


@pytest.mark.parametrize(("taken", "most"), [(0, 10), (7, 10), (10, 10), (101, 10), (250, 100)])
def test_looks_are_thinned_evenly_and_the_newest_stays(
    store: SqlStore, taken: int, most: int
) -> None:
    with store.writing() as work:
        for number in range(1, taken + 1):
            look = LookEntry(
                number=number, evidence_sha256="e" * 64, taken_at=NOW, summary={"n": number}
            )
            work.evidence.add_look("default", "r-1", look)
    with store.reading() as work:
        numbers = [look.number for look in work.evidence.looks("default", "r-1", most=most)]
    assert len(numbers) == min(taken, most) or taken > most >= len(numbers)
    assert numbers[-1:] == ([taken] if taken else [])
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    assert len(steps) <= 1
    with store.reading() as work:
        page = work.evidence.looks_after("default", "r-1", after=3, most=most)
    assert [look.number for look in page] == list(range(4, taken + 1))[:most]


# ---------------------------------------------------------------- approvals and decisions


def test_a_proposal_is_closed_once(store: SqlStore) -> None:
    with store.writing() as work:
        work.approvals.add(proposal())
        work.approvals.add_vote("default", "p-1", ballot("ben"))
    with store.writing() as work:
        assert work.approvals.close("default", "p-1", status="executed", reason=None, at=NOW)
        assert not work.approvals.close("default", "p-1", status="voided", reason="x", at=NOW)
    with store.reading() as work:
        assert work.approvals.open_for("default", "r-1") is None
        stored = work.approvals.get("default", "p-1")
    assert stored == replace(proposal(), status="executed", closed_at=NOW, votes=(ballot("ben"),))


def test_a_person_votes_once_and_the_transaction_goes_on(store: SqlStore) -> None:
    with store.writing() as work:
        work.approvals.add(proposal())
        work.approvals.add_vote("default", "p-1", ballot("ben"))
        with pytest.raises(ApprovalInvalid):
            work.approvals.add_vote("default", "p-1", ballot("ben", "reject"))
        work.approvals.add_vote("default", "p-1", ballot("cleo"))
    with store.reading() as work:
        stored = work.approvals.get("default", "p-1")
    assert stored is not None
    assert [vote.voter for vote in stored.votes] == ["ben", "cleo"]


def test_lists_are_newest_first_and_filtered(store: SqlStore) -> None:
    later = NOW + timedelta(minutes=1)
    with store.writing() as work:
        work.approvals.add(proposal("p-1", status="vetoed"))
        work.approvals.add(proposal("p-2", opened_at=later))
        work.approvals.add(proposal("p-3", rollout="r-2"))
        work.approvals.add_vote("default", "p-3", ballot("ben"))
    with store.reading() as work:
        mine = work.approvals.list("default", rollout="r-1")
        still_open = work.approvals.list("default", status="open")
    assert [one.id for one in mine] == ["p-2", "p-1"]
    assert [(one.id, len(one.votes)) for one in still_open] == [("p-2", 0), ("p-3", 1)]


def test_decisions_are_numbered_without_gaps_for_each_rollout(store: SqlStore) -> None:
    add(store, rollout("r-1"))
    add(store, rollout("r-2", slot="other"))
    with store.writing() as work:
        numbers = [
            work.decisions.add("default", name, at=NOW, actor="ada", action="x", document={})
            for name in ("r-1", "r-2", "r-1", "r-1")
        ]
        last = work.decisions.last("default", "r-1")
        assert [one.seq for one in work.decisions.since("default", "r-1", 1)] == [2, 3]
        assert work.decisions.last("default", "r-none") is None
    assert numbers == [1, 1, 2, 3]
    assert last is not None
    assert last.seq == 3


# ---------------------------------------------------------------- two at once


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run these in threads that start together; each one's result, or the refusal it met."""
    gate = threading.Barrier(len(actions))
    results: list[object] = [None] * len(actions)

    def run(index: int, action: Callable[[], object]) -> None:
        gate.wait()
        try:
            results[index] = action()
        except ControllerError as refusal:
            results[index] = refusal

    threads = [
        threading.Thread(target=run, args=(index, action)) for index, action in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def waiting(desk: Desk) -> tuple[Rollout, Proposal]:
    started = desk.started()
    desk.see("on-time", epoch=1, champion=(2000, 0.50), challenger=(2000, 0.60))
    desk.see("complaints", epoch=1, champion=(2000, 0.02), challenger=(2000, 0.02))
    desk.ticks(2)
    found = desk.open_proposal(started)
    assert found is not None
    return started, found


def test_the_whole_path_runs_on_this_database(database: Database) -> None:
    desk = Desk(database=database)
    started, found = waiting(desk)
    desk.vote(found, "ben")
    desk.vote(found, "cleo")
    desk.ticks(2)
    desk.see("on-time", epoch=2, champion=(40, 0.5), challenger=(2000, 0.6))
    desk.see("complaints", epoch=2, champion=(40, 0.02), challenger=(2000, 0.02))
    desk.ticks(2, days=1)
    assert desk.state(started) is State.PROMOTED
    assert desk.champion() == "trees 7"
    assert desk.audit().intact


def test_two_votes_at_once_promote_once(database: Database) -> None:
    desk = Desk(database=database)
    started, found = waiting(desk)
    at_once(lambda: desk.vote(found, "ben"), lambda: desk.vote(found, "cleo"))
    desk.ticks(1)
    assert desk.log(started).count("promote") == 1
    assert desk.proposals(started)[0].status == "executed"
    assert len(desk.proposals(started)[0].votes) == 2
    assert desk.audit().intact


def test_a_rollback_at_the_moment_of_the_last_vote_always_ends_at_the_champion(
    database: Database,
) -> None:
    desk = Desk(database=database)
    started, found = waiting(desk)
    desk.vote(found, "ben")
    results = at_once(
        lambda: desk.vote(found, "cleo"), lambda: desk.do(started, Verb.ROLLBACK, by="ben")
    )
    assert isinstance(results[1], Rollout), "retreat is repeated until it wins"
    after = desk.get(started)
    assert (after.state, after.enrolled_ppm) == (State.ROLLING_BACK, 0)
    assert desk.open_proposal(started) is None
    assert desk.audit().intact


def test_two_drafts_submitted_at_once_leave_one_living(database: Database) -> None:
    desk = Desk(database=database)
    drafts = [desk.create(), desk.create()]
    results = at_once(*(lambda one=one: desk.do(one, Verb.SUBMIT) for one in drafts))
    assert sorted(isinstance(result, Rollout) for result in results) == [False, True]
    states = sorted(desk.state(one) for one in drafts)
    assert states == [State.DRAFT, State.VALIDATING]


def test_two_passes_at_once_take_a_look_once(database: Database) -> None:
    desk = Desk(database=database)
    started = desk.started()
    desk.see("on-time", epoch=1, champion=(200, 0.5), challenger=(200, 0.5))
    at_once(*(lambda: take_due_look(desk.store, "default", started.id) for _ in range(3)))
    with desk.store.reading() as work:
        looks = [look.number for look in work.evidence.looks("default", started.id)]
    assert looks == list(range(1, desk.get(started).look_number + 1))


def test_a_kill_a_rollback_and_a_vote_at_once_all_get_through(database: Database) -> None:
    desk = Desk(database=database)
    started, found = waiting(desk)
    ben = desk.person("ben")
    results = at_once(
        lambda: kill(desk.store, "default", SLOT, actor=ben),
        lambda: desk.do(started, Verb.ROLLBACK, by="ben"),
        lambda: desk.vote(found, "cleo"),
    )
    assert results[0] == [SLOT]
    assert isinstance(results[1], Rollout)
    assert desk.get(started).enrolled_ppm == 0
    rules = desk.ruleset().slots[SLOT]
    assert rules.kill is not None
    assert rules.rollout is not None
    assert rules.rollout.enrolled_ppm == 0, "the newest ruleset shows both"
    assert desk.audit().intact
