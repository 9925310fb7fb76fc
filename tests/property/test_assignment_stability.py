"""No ramp, edit, rollback or pin store fault moves a unit between arms (invariant I3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.assignment.choice import Model, Reason
from controller.assignment.evaluate import Evaluator
from controller.assignment.hashing import BUCKETS, PPM, SHA256, XXH3, bucket, hash_unit
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
from controller.sdk.bulk import assign_array

MODEL = Model(name="m", version="1")
UNITS = [f"unit-{number}" for number in range(300)]
MILLION = 1_000_000
ARMS = ["champion", "challenger", "challenger-2"]

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


def answered(
    made: SlotRules, units: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Each unit's arm as a number, and whether the split gave it, as an application is told."""
    whole = Ruleset(project="p", deployment="d", version=1, slots={"s": made})
    bulk = assign_array(whole, "s", units)
    arm = np.array([ARMS.index(choice.arm) for choice in bulk.choices], dtype=np.int8)
    split = np.array([choice.reason is Reason.SPLIT for choice in bulk.choices])
    return arm[bulk.codes], split[bulk.codes]


@pytest.mark.parametrize(("algo", "histories", "steps"), [(XXH3, 4, 8), (SHA256, 1, 4)])
def test_a_million_units_over_random_ramps_never_change_arm(
    algo: int, histories: int, steps: int
) -> None:
    """Exact over every unit at every step, up and down, each history with weights of its own.

    A history ends with an edit: what it moves is retired, and nobody else is touched.
    """
    random = np.random.default_rng(20260601)
    units = np.arange(MILLION)
    for history in range(histories):
        shares = dict(zip(ARMS, random.dirichlet([2.0, 1.0, 1.0]).tolist(), strict=True))
        made = rules(f"{history:016x}", shares, algo=algo)
        assert made.rollout is not None
        first, everybody = answered(made, units)
        assert everybody.all()
        for enrolled in random.integers(0, PPM, size=steps).tolist():
            ramped = replace(made, rollout=replace(made.rollout, enrolled_ppm=enrolled))
            arm, split = answered(ramped, units)
            assert np.array_equal(arm[split], first[split]), "a unit met another arm"
            assert not arm[~split].any(), "who is outside sees the champion"
            assert abs(split.mean() - enrolled / PPM) < 0.0025
        edit = dict(zip(ARMS, random.dirichlet([1.0, 1.0, 1.0]).tolist(), strict=True))
        retired = retire(made.rollout.runs, (), edit)
        arm, split = answered(replace(made, rollout=replace(made.rollout, retired=retired)), units)
        assert np.array_equal(arm[split], first[split])
        assert not arm[~split].any()
        share = sum(end - start for start, end in retired) / BUCKETS
        assert abs((~split).mean() - share) < 0.0025


def test_arms_of_two_rollouts_are_independent() -> None:
    """Two salts split the same units independently: the 2x2 table's z stays small."""
    one = Evaluator(rules("a" * 16, {"champion": 0.5, "challenger": 0.5}), 1)
    two = Evaluator(rules("b" * 16, {"champion": 0.5, "challenger": 0.5}), 1)
    units = [str(number) for number in range(40_000)]
    same = sum(one.evaluate(unit).arm == two.evaluate(unit).arm for unit in units)
    assert abs(same - 20_000) < 4 * 100
