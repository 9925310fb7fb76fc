"""A slot's `hash` splits the rollouts that are submitted after it, and never one that lives."""

from __future__ import annotations

from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import SHA256, XXH3, hash_unit
from controller.assignment.ruleset import RolloutRules
from controller.errors import InvalidInput
from controller.experiments.slots import Hash, Slot
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.rollout.states import Verb
from tests.unit.flow.desk import PROJECT, SLOT, Desk


def rules_of(desk: Desk) -> RolloutRules:
    rules = desk.ruleset().slots[SLOT].rollout
    assert rules is not None
    return rules


def put(desk: Desk, **changes: Any) -> None:
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
    assert stored is not None
    document = {name: part for name, part in stored.slot.document().items() if name != "hash"}
    define.put_slot(desk.store, PROJECT, {**document, **changes}, key=SLOT, actor=MACHINE)


def test_the_default_is_sha256_and_leaves_documents_as_they_were() -> None:
    desk = Desk()
    desk.started()
    assert rules_of(desk).algo == SHA256
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
    assert stored is not None
    assert stored.slot.hash is Hash.SHA256
    assert "hash" not in stored.slot.document()


def test_a_rollout_keeps_the_hash_it_was_submitted_with() -> None:
    desk = Desk(slot={"hash": "xxh3"})
    first = desk.started()
    assert rules_of(desk).algo == XXH3
    assert desk.get(first).frozen_plan.slot.hash is Hash.XXH3
    before = desk.get(first).frozen_plan.sha256

    put(desk, hash="sha256")
    assert rules_of(desk).algo == XXH3, "nobody moves while it lives"
    assert desk.get(first).frozen_plan.sha256 == before

    desk.do(first, Verb.ABORT)
    desk.ticks(3)
    desk.started()
    assert rules_of(desk).algo == SHA256


def test_the_published_rollout_splits_by_the_published_salt_under_its_hash() -> None:
    desk = Desk(slot={"hash": "xxh3"})
    desk.started()
    rules = rules_of(desk)
    split = 0
    for unit in map(str, range(500)):
        hi, _ = hash_unit(rules.salt, "departure", unit, algo=XXH3)
        inside = (hi * 1_000_000) >> 32 < rules.enrolled_ppm
        reason = evaluate(desk.ruleset(), SLOT, unit).reason
        assert reason is (Reason.SPLIT if inside else Reason.NOT_ENROLLED)
        split += inside
    assert split


def test_other_hashes_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="sha256, xxh3") as refused:
        Desk(slot={"hash": "md5"})
    assert refused.value.field == "slot.hash"
    champion = {"name": "m", "version": "1"}
    made = Slot.from_document({"key": "s", "unit": "u", "champion": champion, "hash": "xxh3"})
    assert Slot.from_document(made.document()) == made
