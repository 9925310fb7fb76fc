"""Holdouts and layers over random histories of edits: nested, disjoint, and moved no more than due.

Layers are edited by `allot`, the function that the service calls, and by the use case itself, whose
published rulesets are read back; holdouts are evaluated through rulesets.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.assignment.choice import Model, Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import BUCKETS, PPM
from controller.assignment.layers import allot, buckets_of
from controller.assignment.ruleset import Layer, RolloutRules, Ruleset, Share, SlotRules
from controller.assignment.runs import Ranges, build_runs
from controller.errors import Conflict, NotFound
from controller.experiments.layers import LEAST_SHARE
from controller.flow.actors import MACHINE
from controller.flow.define import put_slot
from controller.flow.layers import delete_layer, put_layer
from tests.unit.flow.desk import CHAMPION, PROJECT, Desk

SLOTS = ("search", "checkout", "pricing", "banner")
UNITS = [f"unit-{number}" for number in range(400)]
MODEL = Model(name="rule", version="1")


@st.composite
def shares(draw: st.DrawFn) -> dict[str, float]:
    """Shares of some of the slots that add up to at most 1."""
    members = draw(st.lists(st.sampled_from(SLOTS), unique=True))
    left, found = BUCKETS, {}
    for slot in members:
        if left < 1:
            break
        size = draw(st.integers(1, left))
        left -= size
        found[slot] = size / BUCKETS
    return found


def buckets(ranges: Ranges) -> set[int]:
    return {bucket for start, end in ranges for bucket in range(start, end)}


@settings(max_examples=60, deadline=None)
@given(st.lists(shares(), min_size=1, max_size=8))
def test_layers_never_overlap_and_kept_buckets_stay(history: list[dict[str, float]]) -> None:
    held: dict[str, Ranges] = {}
    for wanted in history:
        counts = {slot: buckets_of(share) for slot, share in wanted.items()}
        edited = allot(held, counts)
        owned = {slot: buckets(ranges) for slot, ranges in edited.items()}
        assert {slot: len(mine) for slot, mine in owned.items()} == counts
        assert len(set().union(*owned.values())) == sum(counts.values()), "no bucket has two owners"
        for slot in set(held) & set(edited):
            before, after = buckets(held[slot]), owned[slot]
            assert before <= after or after <= before, "a slot keeps what its size allows"
        held = edited


@settings(max_examples=60, deadline=None)
@given(st.integers(1, BUCKETS - 1), st.integers(0, 100))
def test_a_size_that_comes_back_owns_the_same_buckets(size: int, shrunk: int) -> None:
    first = allot({}, {"search": size})
    smaller = allot(first, {"search": min(size, shrunk)})
    assert allot(smaller, {"search": size}) == first


def ruleset(
    version: int, *, holdouts: tuple[Share, ...] = (), layer: Layer | None = None
) -> Ruleset:
    rules = SlotRules(
        slot="search",
        unit_type="customer",
        champion=MODEL,
        holdouts=holdouts,
        layer=layer,
        rollout=RolloutRules(
            id="r1",
            attempt=1,
            allocation=1,
            salt="5a17",
            enrolled_ppm=PPM,
            runs=build_runs({"champion": 0.5, "challenger": 0.5}),
            arms={"champion": MODEL, "challenger": MODEL},
        ),
    )
    return Ruleset(project="default", deployment="d", version=version, slots={"search": rules})


def with_reason(rules: Ruleset, reason: Reason) -> set[str]:
    return {unit for unit in UNITS if evaluate(rules, "search", unit).reason is reason}


@settings(max_examples=40, deadline=None)
@given(
    st.text("0123456789abcdef", min_size=16, max_size=16), st.lists(st.integers(0, PPM), max_size=6)
)
def test_a_larger_holdout_keeps_everybody_that_it_held(salt: str, history: list[int]) -> None:
    arms = {unit: evaluate(ruleset(1), "search", unit).arm for unit in UNITS}
    held: set[str] = set()
    last = 0
    for version, ppm in enumerate(history, start=2):
        rules = ruleset(version, holdouts=(Share(name="all", salt=salt, ppm=ppm),))
        now = with_reason(rules, Reason.HOLDOUT)
        assert held <= now if ppm >= last else now <= held
        free = with_reason(rules, Reason.SPLIT)
        assert free | now == set(UNITS)
        assert {unit: evaluate(rules, "search", unit).arm for unit in free} == {
            unit: arms[unit] for unit in free
        }, "nobody who takes part changes arm"
        held, last = now, ppm


@settings(max_examples=40, deadline=None)
@given(st.lists(shares(), min_size=1, max_size=5))
def test_no_unit_takes_part_in_two_slots_of_a_layer(history: list[dict[str, float]]) -> None:
    held: dict[str, Ranges] = {}
    for version, wanted in enumerate(history, start=1):
        held = allot(held, {slot: buckets_of(share) for slot, share in wanted.items()})
        seen = [
            with_reason(
                ruleset(version, layer=Layer(name="shop", salt="c0de", ranges=ranges)),
                Reason.SPLIT,
            )
            for ranges in held.values()
        ]
        assert sum(map(len, seen)) == len(set().union(*seen))
    assert LEAST_SHARE == 1 / BUCKETS


def test_who_is_kept_out_says_nothing_about_the_arm() -> None:
    """20 salts by 5,000 units: among held-out and other-layer units the arms stay even.

    The arm that the split would give is compared between those who are kept out and all others; the
    z of a difference of two shares is standard normal where both are drawn independently.
    """
    units = [f"unit-{number}" for number in range(5000)]
    split = {unit: evaluate(ruleset(1), "search", unit).arm == "challenger" for unit in units}
    scores = []
    for number in range(20):
        holdout = (Share(name="all", salt=f"holdout-{number}", ppm=300_000),)
        layer = Layer(name="shop", salt=f"layer-{number}", ranges=((1000, 6000),))
        for rules in (ruleset(2, holdouts=holdout), ruleset(2, layer=layer)):
            kept = [evaluate(rules, "search", unit).reason is not Reason.SPLIT for unit in units]
            inside = [split[unit] for unit, out in zip(units, kept, strict=True) if not out]
            outside = [split[unit] for unit, out in zip(units, kept, strict=True) if out]
            difference = sum(inside) / len(inside) - sum(outside) / len(outside)
            scores.append(difference / (0.25 / len(inside) + 0.25 / len(outside)) ** 0.5)
    assert max(map(abs, scores)) < 4.0, "chance 0.0025 over 40 scores"
    assert abs(sum(scores)) / len(scores) ** 0.5 < 3.5
    assert 0.4 < sum(score * score for score in scores) / len(scores) < 1.9


EDITS = st.lists(
    st.tuples(st.sampled_from(("shop", "home")), st.one_of(st.none(), shares())),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(EDITS)
def test_what_is_published_never_overlaps_whatever_is_edited(
    history: list[tuple[str, dict[str, float] | None]],
) -> None:
    desk = Desk()
    for slot in SLOTS:
        document = {"unit": "departure", "champion": CHAMPION, "policy": "house"}
        put_slot(desk.store, PROJECT, document, key=slot, actor=MACHINE)
    salts: dict[str, str] = {}
    before: dict[str, Layer] = {}
    for name, wanted in history:
        try:
            if wanted is None:
                delete_layer(desk.store, PROJECT, name, actor=MACHINE)
                salts.pop(name, None)
            else:
                document = {"unit": "departure", "slots": wanted}
                put_layer(desk.store, PROJECT, document, name=name, actor=MACHINE)
        except (Conflict, NotFound):
            continue  # a slot of the other layer, or no such layer: nothing may have changed
        found = {slot: rules.layer for slot, rules in desk.ruleset().slots.items()}
        now = {slot: layer for slot, layer in found.items() if layer is not None}
        for each in ("shop", "home"):
            mine = [layer for layer in now.values() if layer.name == each]
            owned = [buckets(layer.ranges) for layer in mine]
            assert sum(map(len, owned)) == len(set().union(*owned))
            for layer in mine:
                assert salts.setdefault(each, layer.salt) == layer.salt
        for slot in set(now) & set(before):
            if now[slot].salt == before[slot].salt:
                first, second = buckets(before[slot].ranges), buckets(now[slot].ranges)
                assert first <= second or second <= first
        before = now
