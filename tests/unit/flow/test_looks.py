"""Looks as they are stored: each follows from its evidence, none repeats the one before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from controller.analysis.history import memory_before
from controller.analysis.verification import verify_evidence
from controller.experiments.canonical import canonical_json, sha256_of
from controller.flow.ports.work import Work
from controller.rollout.judgement import Judgement, judged_at
from controller.rollout.record import Rollout
from controller.rollout.states import Verdict
from tests.unit.flow.desk import PROJECT, Desk


def grow(desk: Desk, n: int, *, worse: float = 0.0) -> None:
    """n complete units an arm, and a pass over them."""
    desk.see("on-time", epoch=1, champion=(n, 0.5), challenger=(n, 0.5 - worse))
    desk.see("complaints", epoch=1, champion=(n, 0.02), challenger=(n, 0.02))
    desk.ticks(1)


def evidence_of(work: Work, rollout: Rollout) -> list[Mapping[str, Any]]:
    found = [
        work.evidence.get(PROJECT, look.evidence_sha256)
        for look in work.evidence.looks(PROJECT, rollout.id)
    ]
    return [one for one in found if one is not None]


def test_every_look_of_a_chain_follows_from_its_evidence() -> None:
    desk = Desk()
    rollout = desk.started()
    for n in range(100, 2500, 200):
        grow(desk, n)
    with desk.store.reading() as work:
        fetch = partial(work.evidence.get, PROJECT)
        looks = evidence_of(work, rollout)
        assert [look["number"] for look in looks] == list(range(1, 13))
        for look in looks:
            plan = work.evidence.get(PROJECT, look["plan_sha256"])
            assert plan is not None
            assert verify_evidence(look, plan, fetch).intact
        last = memory_before(looks[-1], fetch)
        counted = [len(test["rows"]) for test in last["planned"].values()] if last else []
        assert min(counted) >= 5


def test_a_stored_look_has_the_rows_it_added_and_no_others() -> None:
    """So its size does not grow with the number of looks before it."""
    desk = Desk()
    rollout = desk.started()
    for n in range(100, 6100, 200):
        grow(desk, n)
    with desk.store.reading() as work:
        looks = evidence_of(work, rollout)
    for look in looks:
        assert all(len(test["rows"]) <= 1 for test in look["memory"]["planned"].values())
    sizes = [len(canonical_json(look)) for look in looks]
    assert sizes[-1] < 1.1 * sizes[len(sizes) // 2]


def test_a_look_altered_or_cut_off_from_its_chain_is_found() -> None:
    desk = Desk()
    rollout = desk.started()
    for n in range(100, 3100, 200):
        grow(desk, n)
    with desk.store.reading() as work:
        looks = evidence_of(work, rollout)
        plan = work.evidence.get(PROJECT, looks[-1]["plan_sha256"])
    assert plan is not None
    stored = {sha256_of(look): look for look in looks}

    cut = verify_evidence(looks[-1], plan, lambda _: None)
    assert not cut.intact
    assert "not there" in cut.sentence

    def forged(sha256: str) -> Mapping[str, Any] | None:
        """The look before with one bound lowered."""
        found = stored.get(sha256)
        if found is None or sha256 != looks[-1]["previous"]:
            return found
        planned = {
            key: {**test, "bound": 0.1, "size": test["size"] - 100.0}
            for key, test in found["memory"]["planned"].items()
        }
        return {**found, "memory": {**found["memory"], "planned": planned}}

    altered = verify_evidence(looks[-1], plan, forged)
    assert not altered.intact
    assert "altered" in altered.sentence


def test_a_forged_look_that_is_consistent_does_not_have_its_name() -> None:
    """Numbers exchanged with all that follows from them: only the sha256 tells."""
    desk = Desk()
    rollout = desk.started()
    grow(desk, 500)
    with desk.store.reading() as work:
        (look,) = evidence_of(work, rollout)
        plan = work.evidence.get(PROJECT, look["plan_sha256"])
    assert plan is not None
    statistics = {**look["statistics"], "watermark": look["statistics"]["taken_at"][:-6] + "Z"}
    forged = {**look, "statistics": statistics}
    name = sha256_of(look)
    assert verify_evidence(look, plan, lambda _: None, sha256=name).intact
    assert verify_evidence(forged, plan, lambda _: None).intact
    finding = verify_evidence(forged, plan, lambda _: None, sha256=name)
    assert not finding.intact
    assert name in finding.sentence


def test_a_look_of_another_schema_says_who_can_take_it_again() -> None:
    desk = Desk()
    rollout = desk.started()
    grow(desk, 500)
    with desk.store.reading() as work:
        (look,) = evidence_of(work, rollout)
        plan = work.evidence.get(PROJECT, look["plan_sha256"])
    assert plan is not None
    finding = verify_evidence({**look, "schema": 1}, plan, lambda _: None)
    assert not finding.intact
    assert "another version" in finding.sentence


def test_where_nothing_came_in_the_last_look_stands_and_is_judged_anew() -> None:
    desk = Desk()
    rollout = desk.started()
    grow(desk, 500)
    before = desk.get(rollout)
    desk.ticks(3)
    after = desk.get(rollout)
    assert (after.look_number, after.look_sha256) == (before.look_number, before.look_sha256)
    assert after.look_memory == before.look_memory
    assert after.generation == before.generation
    judged = [Judgement.from_document(one.judgement or {}) for one in (before, after)]
    assert judged_at(judged[1]) == judged_at(judged[0]) + timedelta(minutes=6)
    assert judged[1].evidence_sha256 == before.look_sha256
    assert (judged[0].verdict, judged[0].clauses[0]) == (judged[1].verdict, judged[1].clauses[0])
    with desk.store.reading() as work:
        assert len(work.evidence.looks(PROJECT, rollout.id)) == 1


def test_data_that_grow_old_are_a_look_of_their_own() -> None:
    """Nothing came in, and that is the news: UNKNOWN has evidence."""
    desk = Desk({"ramp": [{"enrolled": 0.5, "dwell": "10d"}, {"enrolled": 1.0}]})
    rollout = desk.started()
    grow(desk, 500)
    before = desk.get(rollout)
    desk.later(hours=3)
    desk.tick()
    after = desk.get(rollout)
    assert (after.state, after.epoch) == (before.state, before.epoch)
    assert after.look_number == before.look_number + 1
    assert after.verdict is Verdict.UNKNOWN
    assert after.look_sha256 != before.look_sha256


def test_a_correction_is_a_look_of_its_own_though_no_unit_was_added() -> None:
    desk = Desk()
    rollout = desk.started()
    grow(desk, 500)
    grow(desk, 500, worse=0.02)
    assert desk.get(rollout).look_number == 2
