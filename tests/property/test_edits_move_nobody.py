"""A million units through random histories of ramps, edits and drops: not one changes arm (I3).

The allocations are those that `rollout/edits.py` opens. One history is evaluated by the column path
that batch scorers use; many more are read off the same million hashes by bisection. Seconds, on one
core of an ordinary machine: ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.assignment.choice import Model
from controller.assignment.evaluate import Evaluator
from controller.assignment.hashing import BUCKETS, PPM, XXH3, bucket, hash_unit
from controller.assignment.ruleset import RolloutRules, Ruleset, SlotRules
from controller.assignment.runs import build_runs, living
from controller.errors import InvalidInput
from controller.rollout.edits import dropping, next_allocation, read_edit, survivors
from controller.rollout.record import Allocation
from controller.sdk.bulk import assign_array
from tests import worlds

MILLION = 1_000_000
HISTORIES = 20
STEPS = 10
THREE = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
PLAN = worlds.plan(weights=THREE)
ARMS = list(THREE)
OUTSIDE = -1  # the champion, not analysed: not enrolled, or retired
NOW = datetime(2026, 1, 5, tzinfo=UTC)
MODEL = Model(name="m", version="1")
SALT = "5a17"

Places = NDArray[np.int64]


def history(rng: np.random.Generator) -> Iterator[tuple[int, Allocation]]:
    """Enrolled parts per million and allocation after each step; edits that are refused are not."""
    current = Allocation(number=1, weights=THREE, runs=build_runs(THREE), opened_at=NOW)
    enrolled = int(rng.integers(1, PPM))
    yield enrolled, current
    for _ in range(STEPS):
        kind = rng.random()
        if kind < 0.4:
            enrolled = int(rng.integers(0, PPM + 1))
        elif kind < 0.9:
            arms = ["champion", *survivors(PLAN, current)]
            shares = rng.dirichlet(np.ones(len(arms)))
            wanted = dict(zip(arms, np.maximum(shares, 0.01).tolist(), strict=True))
            total = sum(wanted.values())
            asked = {arm: share / total for arm, share in wanted.items()}
            current = attempted(current, read_edit(PLAN, current, weights=asked))
        else:
            loser = str(rng.choice(ARMS[1:]))
            if loser not in current.dropped:
                current = attempted(current, dropping({loser: "oec_worse"}))
        yield enrolled, current


def attempted(current: Allocation, edit: object) -> Allocation:
    try:
        return next_allocation(PLAN, current, edit, opened_at=NOW)  # type: ignore[arg-type]
    except InvalidInput:
        return current


def places(enrolled: int, current: Allocation, enrol: Places, place: Places) -> Places:
    """Index of each unit's arm, OUTSIDE where it takes no part."""
    runs = living(current.runs, current.retired)
    ends = np.array([end for end, _ in runs])
    codes = np.array([OUTSIDE if arm is None else ARMS.index(arm) for _, arm in runs])
    mine = codes[np.searchsorted(ends, place, side="right")]
    return np.where(enrol < enrolled, mine, OUTSIDE)


def moved(first: Places, now: Places) -> int:
    """Units that are in another arm than the one they first met."""
    both = (first != OUTSIDE) & (now != OUTSIDE)
    return int(np.count_nonzero(both & (first != now)))


@pytest.fixture(scope="module")
def hashed() -> tuple[Places, Places]:
    """Enrolment bucket and arm bucket of a million units."""
    pairs = np.array(
        [hash_unit(SALT, "u", f"unit-{number}") for number in range(MILLION)], dtype=np.uint64
    )
    enrol = (pairs[:, 0] * np.uint64(PPM)) >> np.uint64(32)
    place = (pairs[:, 1] * np.uint64(BUCKETS)) >> np.uint64(32)
    return enrol.astype(np.int64), place.astype(np.int64)


def test_the_arrays_are_the_hash(hashed: tuple[Places, Places]) -> None:
    for number in (0, 1, 77_777, MILLION - 1):
        hi, lo = hash_unit(SALT, "u", f"unit-{number}")
        assert (bucket(hi, PPM), bucket(lo, BUCKETS)) == tuple(part[number] for part in hashed)


def test_no_history_moves_one_of_a_million_units(hashed: tuple[Places, Places]) -> None:
    rng = np.random.default_rng(20_26)
    retired = 0
    for _ in range(HISTORIES):
        first = np.full(MILLION, OUTSIDE)
        for enrolled, current in history(rng):
            now = places(enrolled, current, *hashed)
            assert moved(first, now) == 0
            first = np.where(first == OUTSIDE, now, first)
        retired += bool(current.retired)
    assert retired > HISTORIES / 2  # the histories did edit


def test_the_column_path_and_the_evaluator_agree_with_it() -> None:
    rng = np.random.default_rng(7)
    units = [f"unit-{number}" for number in range(MILLION)]
    first = np.full(MILLION, OUTSIDE)
    for version, (enrolled, current) in enumerate(history(rng), start=1):
        rules = SlotRules(
            slot="s",
            unit_type="u",
            champion=MODEL,
            rollout=RolloutRules(
                id="r",
                attempt=1,
                allocation=current.number,
                salt=SALT,
                algo=XXH3,
                enrolled_ppm=enrolled,
                runs=current.runs,
                retired=current.retired,
                arms=dict.fromkeys(ARMS, MODEL),
            ),
        )
        if enrolled in (0, PPM) or version % 3 == 1:
            ruleset = Ruleset(project="p", deployment="d", version=version, slots={"s": rules})
            answers = assign_array(ruleset, "s", units)
            inside = np.array([choice.rollout is not None for choice in answers.choices])
            codes = np.array([ARMS.index(choice.arm) for choice in answers.choices])
            now = np.where(inside[answers.codes], codes[answers.codes], OUTSIDE)
            assert moved(first, now) == 0
            first = np.where(first == OUTSIDE, now, first)
            evaluator = Evaluator(replace(rules), version)
            for number in rng.integers(0, MILLION, 200):
                choice = evaluator.evaluate(units[number])
                arm = ARMS.index(choice.arm) if choice.rollout is not None else OUTSIDE
                assert arm == now[number]
    assert np.count_nonzero(first != OUTSIDE) > MILLION / 10
