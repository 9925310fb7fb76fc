"""Exposures of units that an override, a holdout or a layer kept out are not believed."""

from __future__ import annotations

from controller.aggregation.exposures import Opened, Split, Target
from controller.aggregation.gates import GateHistory, Since
from controller.assignment.choice import Model, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM, keyed_hash
from controller.assignment.ruleset import (
    Gates,
    Layer,
    Overrides,
    RolloutRules,
    Ruleset,
    Share,
    SlotRules,
)
from controller.assignment.runs import build_runs
from tests import worlds

UNITS = [f"u{number}" for number in range(2000)]
RUNS = build_runs({"champion": 0.5, "challenger": 0.5})
HOLDOUT = Share(name="all", salt="h", ppm=100_000)
LAYER = Layer(name="shop", salt="l", ranges=((0, 2000), (7000, 9000)))


def by_hand(*units: str) -> Overrides:
    return Overrides(
        key="k", arms={keyed_hash("k", "customer", unit): "challenger" for unit in units}
    )


def target(*gates: Since) -> Target:
    metric = worlds.metric()
    return Target(
        project="default",
        rollout="r1",
        slot="slot",
        unit_type="customer",
        salt="salt",
        metrics={metric.key: metric},
        arms=("champion", "challenger"),
        splits=[Split(number=1, runs=RUNS)],
        epochs=[Opened(number=1, allocation=1, enrolled_ppm=PPM, ruleset=10)],
        gates=gates,
    )


def believed(one: Target, unit: str, ruleset: int, *, pinned: bool = False) -> bool:
    arm = one.bucket_arm(unit, 1)
    assert arm is not None
    placed = one.place(unit, allocation=1, arm=arm, ruleset=ruleset, pinned=pinned)
    return placed is not None


def test_the_history_says_what_the_evaluator_said() -> None:
    gates = Gates(overrides=by_hand("u1", "u2"), holdouts=(HOLDOUT,), layer=LAYER)
    history = GateHistory([Since(10, gates)], unit_type="customer")
    model = Model(name="rule", version="1")
    split = RolloutRules(
        id="r1",
        attempt=1,
        allocation=1,
        salt="salt",
        enrolled_ppm=PPM,
        runs=RUNS,
        arms={"champion": model, "challenger": model},
    )
    rules = SlotRules(
        slot="slot",
        unit_type="customer",
        champion=model,
        overrides=gates.overrides,
        holdouts=gates.holdouts,
        layer=gates.layer,
        rollout=split,
    )
    ruleset = Ruleset(project="default", deployment="d", version=10, slots={"slot": rules})
    said = {unit: evaluate(ruleset, "slot", unit).reason for unit in UNITS}
    assert {*said.values()} == {Reason.OVERRIDE, Reason.HOLDOUT, Reason.LAYER, Reason.SPLIT}
    for unit, reason in said.items():
        assert history.kept_out(unit, 10) == (None if reason is Reason.SPLIT else reason)


def test_without_gates_everybody_is_believed() -> None:
    one = target()
    assert all(believed(one, unit, 10) for unit in UNITS[:50])


def test_a_unit_set_by_hand_is_not_believed_even_with_the_arm_of_the_split() -> None:
    one = target(Since(10, Gates(overrides=by_hand("u1"))))
    assert not believed(one, "u1", 10)
    assert not believed(one, "u1", 10, pinned=True), "the override stands before the pin"
    assert believed(one, "u2", 10)
    assert one.gates.kept_out("u1", 10) is Reason.OVERRIDE


def test_gates_hold_from_their_ruleset_on() -> None:
    one = target(Since(20, Gates(holdouts=(HOLDOUT,))), Since(30, Gates()))
    held = next(unit for unit in UNITS if one.gates.kept_out(unit, 20))
    assert [believed(one, held, ruleset) for ruleset in (10, 19, 20, 29, 30)] == [
        True, True, False, False, True,
    ]  # fmt: skip


def test_a_unit_once_set_by_hand_stays_out_of_this_rollout() -> None:
    one = target(Since(5, Gates(overrides=by_hand("u1"))), Since(20, Gates()))
    assert one.gates.kept_out("u1", 99) is Reason.OVERRIDE
    earlier = target(Since(20, Gates(overrides=by_hand("u1"))), Since(30, Gates()))
    assert believed(earlier, "u1", 19), "what it was drawn before anybody chose stands"
    assert not believed(earlier, "u1", 31)


def test_gates_need_only_name_who_was_newly_set_by_hand() -> None:
    one = target(
        Since(5, Gates(overrides=by_hand("u1"))), Since(20, Gates(overrides=by_hand("u2")))
    )
    assert [believed(one, unit, 15) for unit in ("u1", "u2")] == [False, True]
    assert [believed(one, unit, 25) for unit in ("u1", "u2")] == [False, False]
