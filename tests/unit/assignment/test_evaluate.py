from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from controller.assignment.choice import Choice, Pin, Reason
from controller.assignment.evaluate import Evaluator, evaluate
from controller.assignment.explain import explain
from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit, keyed_hash
from controller.assignment.ruleset import Kill, Layer, Overrides, Share
from controller.assignment.runs import arm_of, retire
from tests.unit.assignment.rulesets import CHALLENGER, CHAMPION, PREVIOUS, rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(4000)]


def answer(rules: Any, unit: str = "flight-1", **options: Any) -> Choice:
    return evaluate(ruleset(rules), "alert", unit, **options)


def unit_with(reason: Reason, rules: Any, arm: str | None = None) -> str:
    return next(
        unit
        for unit in UNITS
        if (choice := answer(rules, unit)).reason is reason and arm in {None, choice.arm}
    )


def test_the_compiled_comparisons_equal_the_integer_definition() -> None:
    live = rollout(enrolled_ppm=333_333, retired=((1000, 1500), (9000, 9100)))
    rules = slot(live)
    for unit in UNITS:
        hi, lo = hash_unit(live.salt, "departure", unit)
        choice = answer(rules, unit)
        if bucket(hi, PPM) >= 333_333:
            assert choice.reason is Reason.NOT_ENROLLED
            continue
        owner = (
            None if 1000 <= bucket(lo, BUCKETS) < 1500 else arm_of(live.runs, bucket(lo, BUCKETS))
        )
        owner = None if 9000 <= bucket(lo, BUCKETS) < 9100 else owner
        assert choice.arm == (owner or "champion")
        assert choice.reason is (Reason.SPLIT if owner else Reason.RETIRED)


def test_a_split_unit_meets_its_arms_model() -> None:
    rules = slot(rollout())
    mine = answer(rules, unit_with(Reason.SPLIT, rules, "challenger"))
    assert (mine.model, mine.payload, mine.rollout, mine.allocation, mine.ruleset) == (
        CHALLENGER,
        ["x", 1],
        "r-1",
        1,
        7,
    )
    assert mine.exposed


def test_who_is_not_enrolled_belongs_to_no_rollout_and_is_not_logged() -> None:
    rules = slot(rollout(enrolled_ppm=0))
    mine = answer(rules)
    assert (mine.arm, mine.model, mine.reason) == ("champion", CHAMPION, Reason.NOT_ENROLLED)
    assert (mine.rollout, mine.allocation, mine.exposed) == (None, None, False)


def test_all_enrolled_means_everybody() -> None:
    rules = slot(rollout(enrolled_ppm=PPM))
    arms = Counter(answer(rules, unit).arm for unit in UNITS)
    assert arms.total() == len(UNITS)
    assert abs(arms["challenger"] - 2000) < 4 * 32


def test_equal_answers_are_one_object() -> None:
    rules = ruleset(slot(rollout(enrolled_ppm=PPM)))
    assert len({id(evaluate(rules, "alert", unit)) for unit in UNITS}) == 2


@pytest.mark.parametrize("to", ["champion", "previous", "fallback"])
def test_kill_comes_before_everything(to: Any) -> None:
    everything = slot(
        rollout(enrolled_ppm=PPM),
        kill=Kill(to=to, model=PREVIOUS),
        overrides=Overrides(key="k", arms={keyed_hash("k", "departure", "flight-1"): "challenger"}),
        holdouts=(Share(salt="h", ppm=PPM),),
    )
    mine = answer(everything, pin=Pin(allocation=1, arm="challenger", bucket=0))
    assert (mine.arm, mine.model, mine.reason) == ("champion", PREVIOUS, Reason.KILLED)
    assert not mine.exposed


def test_a_killed_slot_at_rest_is_killed_too() -> None:
    mine = answer(slot(kill=Kill(to="previous", model=PREVIOUS)))
    assert (mine.model, mine.reason) == (PREVIOUS, Reason.KILLED)


def test_override_beats_holdout_and_is_never_analysed() -> None:
    rules = slot(
        rollout(enrolled_ppm=0),
        overrides=Overrides(key="k", arms={keyed_hash("k", "departure", "flight-1"): "challenger"}),
        holdouts=(Share(salt="h", ppm=PPM),),
    )
    mine = answer(rules)
    assert (mine.arm, mine.model, mine.reason) == ("challenger", CHALLENGER, Reason.OVERRIDE)
    assert (mine.rollout, mine.exposed) == ("r-1", False)
    assert answer(rules, "flight-2").reason is Reason.HOLDOUT


def test_an_override_to_an_arm_that_is_gone_answers_champion() -> None:
    rules = slot(
        rollout(),
        overrides=Overrides(key="k", arms={keyed_hash("k", "departure", "flight-1"): "other"}),
    )
    assert (answer(rules).arm, answer(rules).reason) == ("champion", Reason.ERROR)


def test_a_holdout_holds_its_share_independently_of_the_split() -> None:
    rules = slot(rollout(enrolled_ppm=PPM), holdouts=(Share(salt="global", ppm=100_000),))
    reasons = Counter(answer(rules, unit).reason for unit in UNITS)
    assert abs(reasons[Reason.HOLDOUT] - 400) < 4 * 19
    held = [unit for unit in UNITS if answer(rules, unit).reason is Reason.HOLDOUT]
    would = Counter(answer(slot(rollout(enrolled_ppm=PPM)), unit).arm for unit in held)
    assert abs(would["challenger"] - len(held) / 2) < 4 * len(held) ** 0.5 / 2


def test_layers_exclude_each_other() -> None:
    first = Layer(name="checkout", salt="l", ranges=((0, 5000),))
    second = replace(first, ranges=((5000, 10_000),))
    for unit in UNITS[:500]:
        reasons = [
            answer(slot(rollout(enrolled_ppm=PPM), layer=layer), unit).reason
            for layer in (first, second)
        ]
        assert sorted(reasons) == [Reason.LAYER, Reason.SPLIT]


def test_a_pin_supplies_bucket_and_arm_and_skips_eligibility() -> None:
    closed = {"attribute": "x", "op": "eq", "value": "never"}
    rules = slot(rollout(eligible=closed, enrolled_ppm=300_000))
    unit = unit_with(Reason.NOT_ELIGIBLE, rules)
    pinned = answer(rules, unit, pin=Pin(allocation=1, arm="challenger", bucket=299_999))
    assert (pinned.arm, pinned.reason, pinned.exposed) == ("challenger", Reason.PINNED, True)


@pytest.mark.parametrize("enrolled", [0, 250_000])
def test_ramp_down_and_rollback_reach_pinned_units(enrolled: int) -> None:
    rules = slot(rollout(enrolled_ppm=enrolled))
    mine = answer(rules, pin=Pin(allocation=1, arm="challenger", bucket=250_000))
    assert (mine.arm, mine.reason) == ("champion", Reason.NOT_ENROLLED)


def test_a_pin_of_another_allocation_does_not_count() -> None:
    rules = slot(rollout(allocation=2, enrolled_ppm=PPM))
    unit = unit_with(Reason.SPLIT, rules, "champion")
    assert answer(rules, unit, pin=Pin(allocation=1, arm="challenger", bucket=0)).arm == "champion"


def test_a_pin_to_an_arm_that_is_gone_answers_champion() -> None:
    mine = answer(slot(rollout()), pin=Pin(allocation=1, arm="challenger-9", bucket=0))
    assert (mine.arm, mine.reason) == ("champion", Reason.NOT_ENROLLED)


def test_missing_attributes_are_not_eligible() -> None:
    rules = slot(
        rollout(enrolled_ppm=PPM, eligible={"attribute": "origin", "op": "eq", "value": "EWR"})
    )
    assert answer(rules).reason is Reason.NOT_ELIGIBLE
    assert answer(rules, attributes={"origin": "JFK"}).reason is Reason.NOT_ELIGIBLE
    assert answer(rules, attributes={"origin": "EWR"}).reason is Reason.SPLIT


def test_an_unknown_operator_is_not_eligible_for_anybody() -> None:
    tree = {
        "or": [
            {"attribute": "x", "op": "semver", "value": "1"},
            {"attribute": "x", "op": "exists", "value": True},
        ]
    }
    rules = ruleset(slot(rollout(enrolled_ppm=PPM, eligible=tree)))
    assert evaluate(rules, "alert", "1", {"x": 1}).reason is Reason.NOT_ELIGIBLE
    assert "semver" in rules.unreadable["alert"]


def test_a_retired_bucket_sees_champion_and_is_not_analysed() -> None:
    live = rollout(enrolled_ppm=PPM)
    edited = replace(
        live, allocation=2, retired=retire(live.runs, (), {"champion": 0.1, "challenger": 0.9})
    )
    for unit in UNITS[:1000]:
        before, after = answer(slot(live), unit), answer(slot(edited), unit)
        if after.reason is Reason.RETIRED:
            assert (before.arm, after.arm, after.exposed) == ("champion", "champion", False)
        else:
            assert before.arm == after.arm


def test_aa_serves_the_champion_in_both_arms() -> None:
    rules = slot(rollout(aa=True, enrolled_ppm=PPM))
    mine = answer(rules, unit_with(Reason.SPLIT, rules, "challenger"))
    assert (mine.arm, mine.model, mine.exposed) == ("challenger", CHAMPION, True)


def test_a_slot_at_rest_observes_its_share() -> None:
    choices = [answer(slot(), unit) for unit in UNITS]
    assert {choice.reason for choice in choices} == {Reason.NO_ROLLOUT}
    observed = sum(choice.exposed for choice in choices)
    assert abs(observed - 200) < 4 * 14
    assert not any(answer(slot(observe=None), unit).exposed for unit in UNITS[:100])


@pytest.mark.parametrize("unit", ["", "a\x1fb", "\ud800", "x" * 257, None, 7, 1.5, b"x", ["a"]])
def test_an_invalid_unit_gets_the_champion_and_of_a_killed_slot_what_everybody_gets(
    unit: Any,
) -> None:
    for rules in (slot(rollout()), slot()):
        mine = answer(rules, unit)
        assert (mine.arm, mine.model, mine.reason) == ("champion", CHAMPION, Reason.INVALID_UNIT)
    mine = answer(slot(rollout(), kill=Kill(to="previous", model=PREVIOUS)), unit)
    assert (mine.arm, mine.model, mine.reason) == ("champion", PREVIOUS, Reason.KILLED)


def test_an_unknown_slot_has_no_model() -> None:
    mine = evaluate(ruleset(slot()), "elsewhere", "1")
    assert (mine.arm, mine.model, mine.reason, mine.ruleset) == (
        "champion",
        None,
        Reason.UNKNOWN_SLOT,
        7,
    )


def test_the_pin_of_a_choice_reproduces_it() -> None:
    evaluator = Evaluator(slot(rollout(enrolled_ppm=PPM)), 7)
    for unit in UNITS[:200]:
        choice = evaluator.evaluate(unit)
        pin = evaluator.pin_for(unit, choice)
        assert pin is not None
        again = evaluator.evaluate(unit, None, pin)
        assert (again.arm, again.reason) == (choice.arm, Reason.PINNED)


def test_only_a_split_unit_can_be_pinned() -> None:
    evaluator = Evaluator(slot(rollout(enrolled_ppm=0)), 7)
    assert evaluator.pin_for("1", evaluator.evaluate("1")) is None
    assert evaluator.reaches_pin("1")
    assert not evaluator.reaches_pin("")
    assert not Evaluator(slot(), 7).reaches_pin("1")
    held = slot(rollout(), holdouts=(Share(salt="h", ppm=PPM),))
    assert not Evaluator(held, 7).reaches_pin("1")


def test_explain_shows_every_step_and_ends_with_the_answer() -> None:
    rules = slot(
        rollout(enrolled_ppm=PPM, eligible={"attribute": "x", "op": "exists", "value": True}),
        overrides=Overrides(key="k", arms={}),
        holdouts=(Share(name="global", salt="h", ppm=10),),
        layer=Layer(name="checkout", salt="l", ranges=((0, 10_000),)),
    )
    steps = explain(
        ruleset(rules), "alert", "1", {"x": 1}, Pin(allocation=9, arm="champion", bucket=1)
    )
    assert [step["step"] for step in steps] == [
        "kill",
        "override",
        "holdout",
        "layer",
        "pin",
        "enrolment",
        "eligibility",
        "arm",
        "answer",
    ]
    assert steps[-1]["arm"] == steps[-2]["arm"] == answer(rules, "1", attributes={"x": 1}).arm
    assert [step["step"] for step in explain(ruleset(slot()), "alert", "1")] == [
        "kill",
        "rollout",
        "answer",
    ]
    assert [step["step"] for step in explain(ruleset(slot()), "nowhere", "1")] == ["answer"]


def test_explain_ends_with_the_answer_that_the_machine_gave_and_says_that_it_was_its_own() -> None:
    rules = ruleset(slot(rollout()))
    ruled = evaluate(rules, "alert", "1")
    assert explain(rules, "alert", "1", given=ruled) == explain(rules, "alert", "1")
    forced = replace(ruled, arm="champion", reason=Reason.KILLED)
    steps = explain(rules, "alert", "1", given=forced)
    assert steps[0] == {"step": "machine", "reason": "KILLED"}
    assert steps[-1] == {"step": "answer", "arm": "champion", "reason": "KILLED"}
    assert steps[1:-1] == explain(rules, "alert", "1")[:-1]


def test_explain_says_that_a_pin_of_an_earlier_allocation_counts_where_it_does() -> None:
    rules = ruleset(slot(rollout(allocation=3, keeps=(2,))))
    for allocation, counts in ((3, True), (2, True), (1, False)):
        pin = Pin(allocation=allocation, arm="champion", bucket=0)
        steps = {
            step["step"]: step for step in explain(rules, "alert", "1", pin=pin) if "step" in step
        }
        assert steps["pin"]["counts"] is counts
        assert (steps["answer"]["reason"] == "PINNED") is counts


def test_a_pin_from_before_another_condition_keeps_its_arm_unless_its_bucket_is_retired() -> None:
    north = {"attribute": "region", "op": "eq", "value": "north"}
    before = slot(rollout())
    after = slot(rollout(allocation=3, eligible=north, retired=((8000, 10000),), keeps=(2, 1)))
    reasons: Counter[Reason] = Counter()
    for unit in UNITS[:1000]:
        met = answer(before, unit)
        if met.reason is not Reason.SPLIT:
            continue
        pin = Evaluator(before, 7).pin_for(unit, met)
        assert pin is not None
        again = answer(after, unit, pin=pin)
        reasons[again.reason] += 1
        assert again.arm in (met.arm, "champion")
        assert again.reason is Reason.RETIRED or (again.arm, again.allocation) == (met.arm, 3)
        assert answer(after, unit).reason is Reason.NOT_ELIGIBLE
        stale = replace(pin, allocation=4)
        assert answer(after, unit, pin=stale).reason is Reason.NOT_ELIGIBLE
    assert reasons.keys() == {Reason.PINNED, Reason.RETIRED}
