"""The record of a look: the split, the same bytes again, the chain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from controller.aggregation.statistics import Statistics
from controller.analysis import trails
from controller.analysis.history import memory_before
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, MetricVerdict
from controller.analysis.verification import verify_evidence
from controller.experiments.canonical import canonical_json
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, OecRules
from tests.unit.analysis.looking import ERRORS, counts, verdict, walk
from tests.worlds import (
    EVEN,
    binary,
    plan,
    shelve,
    statistics,
)


def test_a_wrong_split_raises_an_alarm_that_stays() -> None:
    cells = {
        ("conversion", 0, "champion"): binary(5000, 500),
        ("conversion", 0, "challenger"): binary(5600, 560),
    }
    healed = {key: binary(20_000, 2000) for key in cells}
    wrong, later = walk(plan(), statistics(cells), statistics(healed))
    assert wrong.srm.alarm
    assert wrong.srm.p <= 0.001
    assert wrong.srm.expected == {"champion": 5300.0, "challenger": 5300.0}
    assert later.srm.alarm
    assert later.srm.p == wrong.srm.p


def test_the_split_is_judged_by_each_epochs_weights() -> None:
    uneven = {"champion": 0.9, "challenger": 0.1}
    cells = {
        ("conversion", 0, "champion"): binary(9000, 900),
        ("conversion", 0, "challenger"): binary(1000, 100),
        ("conversion", 1, "champion"): binary(5000, 500),
        ("conversion", 1, "challenger"): binary(5000, 500),
    }
    assert not walk(plan(), statistics(cells, weights=(uneven, EVEN)))[0].srm.alarm
    assert walk(plan(), statistics(cells, weights=(EVEN, EVEN)))[0].srm.alarm


def test_before_the_first_unit_the_split_has_no_evidence() -> None:
    report = walk(plan(), statistics({}, ages={}))[0]
    assert (report.srm.alarm, report.srm.e_value) == (False, 1.0)
    assert verdict(report) == (MetricVerdict.UNKNOWN, "no_data")


def test_a_look_taken_again_gives_the_same_bytes() -> None:
    rules = OecRules(futility=Futility.NON_BINDING, gamma=-2.0)
    chosen = Plan.from_document(plan(guardrails=ERRORS, rules=rules).document())
    snapshots = [
        counts(n, 0.1, 0.11, errors=(0.05, 0.052)) for n in (100, 400, 1000, 1700, 2600, 5000)
    ]
    shelf: dict[str, Any] = {}
    previous: dict[str, Any] | None = None
    for number, seen in enumerate(snapshots, start=1):
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=previous)
        report = take_look(look)
        previous = shelve(shelf, report)
        assert report.sha256 == previous["looked"]
    for stored in shelf.values():
        trails.forget()
        again = take_look(
            LookInput(
                plan=Plan.from_document(chosen.document()),
                statistics=Statistics.from_document(stored["statistics"]),
                number=stored["number"],
                previous=memory_before(stored, shelf.get),
            )
        )
        assert canonical_json(again.document()) == canonical_json(stored)


def test_a_memory_from_before_there_was_a_chain_is_stored_whole_once() -> None:
    """A rollout that was under way when looks began to name each other goes on."""
    chosen = Plan.from_document(plan().document())
    early = walk(chosen, counts(400, 0.1, 0.1), counts(800, 0.1, 0.1))[-1]
    old = json.loads(canonical_json(early.memory))
    for test in old["planned"].values():
        del test["rows_at"]
    shelf: dict[str, Any] = {}
    seen = [counts(n, 0.1, 0.1) for n in (1200, 1600)]
    first = take_look(LookInput(plan=chosen, statistics=seen[0], number=3, previous=old))
    memory = shelve(shelf, first)
    last = take_look(LookInput(plan=chosen, statistics=seen[1], number=4, previous=memory))
    shelve(shelf, last)
    (rows,) = [test["rows"] for test in first.document()["memory"]["planned"].values()]
    assert len(rows) == 3
    assert verify_evidence(last.document(), chosen.document(), shelf.get).intact


def test_a_slot_without_an_oec_still_watches_its_guardrails() -> None:
    chosen = plan(guardrails=ERRORS)
    chosen = replace(chosen, slot=replace(chosen.slot, oec=None))
    report = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert [each.key for each in report.metrics] == ["errors"]
