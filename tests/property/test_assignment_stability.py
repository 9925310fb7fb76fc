"""No ramp, edit, rollback or pin store fault moves a unit between arms (invariant I3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.assignment.choice import Model, Reason
from controller.assignment.evaluate import Evaluator
from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit
from controller.assignment.ruleset import RolloutRules, Ruleset, SlotRules
from controller.assignment.runs import (
    Ranges,
    arm_of,
    arm_shares,
    build_runs,
    living,
    moves,
    retire,
)
from controller.errors import InvalidInput

MODEL = Model(name="m", version="1")
UNITS = [f"unit-{number}" for number in range(300)]
MILLION = 1_000_000

weights = st.dictionaries(
    st.sampled_from(["champion", "challenger", "challenger-2", "challenger-3"]),
    st.floats(0.001, 1.0),
    min_size=2,
).map(lambda found: {"champion": found.pop("champion", 0.5), **found})
salts = st.text("0123456789abcdef", min_size=16, max_size=16)
ramps = st.lists(st.integers(0, PPM), min_size=1, max_size=8)


def rules(salt: str, arms: dict[str, float], **changes: object) -> SlotRules:
    rollout = RolloutRules(
        id="r",
        attempt=1,
        allocation=1,
        salt=salt,
        enrolled_ppm=PPM,
        runs=build_runs(arms),
        arms=dict.fromkeys(arms, MODEL),
    )
    return SlotRules(
        slot="s",
        unit_type="u",
        champion=MODEL,
        rollout=replace(rollout, **changes),  # type: ignore[arg-type]
    )


@given(salts, weights, ramps)
@settings(max_examples=60)
def test_any_ramp_up_and_down_returns_every_unit_to_the_same_arm(
    salt: str, arms: dict[str, float], ramp: list[int]
) -> None:
    first = {unit: Evaluator(rules(salt, arms), 1).evaluate(unit).arm for unit in UNITS}
    for enrolled in ramp:
        evaluator = Evaluator(rules(salt, arms, enrolled_ppm=enrolled), 1)
        for unit in UNITS:
            choice = evaluator.evaluate(unit)
            inside = bucket(hash_unit(salt, "u", unit)[0], PPM) < enrolled
            assert (choice.reason is Reason.SPLIT) == inside
            assert choice.arm == (first[unit] if inside else "champion")


@given(weights, st.lists(weights, min_size=1, max_size=5))
def test_no_history_of_edits_moves_a_living_bucket(
    arms: dict[str, float], edits: list[dict[str, float]]
) -> None:
    runs = build_runs(arms)
    retired: Ranges = ()
    for edit in edits:
        try:
            after = retire(runs, retired, edit)
        except InvalidInput:
            continue
        before = living(runs, retired)
        assert moves(before, living(runs, after)) == []
        assert all(
            arm_of(living(runs, after), cut) is None
            for low, high in retired
            for cut in (low, high - 1)
        )
        shares = arm_shares(runs, after)
        assert not shares or sum(shares.values()) == 1
        retired = after


@given(weights)
def test_runs_are_within_one_bucket_of_their_weights(arms: dict[str, float]) -> None:
    total = sum(arms.values())
    for arm, share in arm_shares(build_runs(arms)).items():
        assert abs(share * BUCKETS - arms[arm] / total * BUCKETS) <= 1


@given(salts, weights, st.integers(0, PPM), st.integers(0, 9000))
@settings(max_examples=60)
def test_the_document_carries_every_answer(
    salt: str, arms: dict[str, float], enrolled: int, start: int
) -> None:
    made = rules(salt, arms, enrolled_ppm=enrolled, retired=((start, start + 500),))
    whole = Ruleset(project="p", deployment="d", version=3, slots={"s": made})
    again = Ruleset.from_bytes(whole.encode())
    assert again == whole
    there, here = Evaluator(again.slots["s"], 3), Evaluator(made, 3)
    assert [there.evaluate(unit) for unit in UNITS] == [here.evaluate(unit) for unit in UNITS]


def test_a_million_units_over_random_ramps_never_change_arm() -> None:
    """Exact over every unit: arms of a million real hashes at every step of 40 random ramps."""
    random = np.random.default_rng(20260601)
    salt = "9f86d081884c7d65"
    pairs = np.array([hash_unit(salt, "u", str(unit)) for unit in range(MILLION)], dtype=np.uint64)
    enrolment = (pairs[:, 0] * np.uint64(PPM)) >> np.uint64(32)
    buckets = (pairs[:, 1] * np.uint64(BUCKETS)) >> np.uint64(32)
    for _ in range(4):
        shares = random.dirichlet([2.0, 1.0, 1.0])
        runs = build_runs(dict(zip(["champion", "a", "b"], shares.tolist(), strict=True)))
        ends = np.array([end for end, _ in runs], dtype=np.uint64)
        arm = np.searchsorted(ends, buckets, side="right")
        met: NDArray[np.intp] = np.full(MILLION, -1)
        for enrolled in random.integers(0, PPM, size=10):
            inside = enrolment < np.uint64(enrolled)
            moved = inside & (met >= 0) & (met != arm)
            assert not moved.any()
            met = np.where(inside, arm, met)
            assert abs(inside.mean() - enrolled / PPM) < 0.0025


def test_arms_of_two_rollouts_are_independent() -> None:
    """Two salts split the same units independently: the 2x2 table's z stays small."""
    one = Evaluator(rules("a" * 16, {"champion": 0.5, "challenger": 0.5}), 1)
    two = Evaluator(rules("b" * 16, {"champion": 0.5, "challenger": 0.5}), 1)
    units = [str(number) for number in range(40_000)]
    same = sum(one.evaluate(unit).arm == two.evaluate(unit).arm for unit in units)
    assert abs(same - 20_000) < 4 * 100
