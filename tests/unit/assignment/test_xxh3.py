"""XXH3-64 in plain Python against the `xxhash` package, and what a rollout does with it."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import xxhash

from controller.assignment import xxh3
from controller.assignment.choice import Reason
from controller.assignment.evaluate import Evaluator, evaluate
from controller.assignment.explain import explain
from controller.assignment.hashing import (
    ALGORITHMS,
    BUCKETS,
    PPM,
    SHA256,
    XXH3,
    bucket,
    hash_unit,
    hasher,
    keyed_hash,
)
from controller.assignment.ruleset import Layer, Overrides, Share
from controller.errors import InvalidInput
from tests.unit.assignment.rulesets import rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(2000)]


def test_every_length_from_nothing_to_several_blocks_agrees_with_the_package() -> None:
    chance = random.Random(20260601)
    for length in [*range(1025), 1087, 1088, 1089, 2047, 2048, 2049, 4096, 9999]:
        for data in (chance.randbytes(length), bytes(length), b"\xff" * length):
            assert xxh3.pure_hash(data) == xxhash.xxh3_64_intdigest(data), length
            assert xxh3.pure_digest(data) == xxhash.xxh3_64_digest(data)


def test_the_package_is_used_where_it_is_installed() -> None:
    assert xxh3.xxh3_digest is xxhash.xxh3_64_digest


def test_without_the_package_the_answers_are_the_same() -> None:
    """A fresh interpreter in which `import xxhash` fails."""
    program = (
        "import sys; sys.modules['xxhash'] = None\n"
        "from controller.assignment import xxh3\n"
        "from controller.assignment.hashing import hash_unit\n"
        "assert xxh3.xxh3_digest is xxh3.pure_digest\n"
        "print(hash_unit('5a17', 'departure', 'flight-7', algo=2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    whole = xxhash.xxh3_64_intdigest(b"5a17\x1fdeparture\x1fflight-7")
    assert done.stdout.strip() == str((whole >> 32, whole & 0xFFFFFFFF))
    assert hash_unit("5a17", "departure", "flight-7", algo=XXH3) == (whole >> 32, whole % 2**32)


@pytest.mark.parametrize(("algo", "loaded"), [(SHA256, False), (XXH3, True)])
def test_an_application_pays_for_it_only_where_a_rollout_uses_it(algo: int, loaded: bool) -> None:
    document = ruleset(slot(rollout(algo=algo))).document()
    program = (
        "import sys\nfrom controller.sdk import Client\n"
        f"client = Client(bootstrap={document!r})\n"
        "print(client.assign('alert', 'flight-7').reason)\n"
        "print('controller.assignment.xxh3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    reason, found = done.stdout.split()
    assert reason == evaluate(ruleset(slot(rollout(algo=algo))), "alert", "flight-7").reason
    assert found == str(loaded)


def test_algorithms_split_differently_and_an_unknown_one_is_refused() -> None:
    assert ALGORITHMS == (SHA256, XXH3) == (1, 2)
    assert hash_unit("s", "u", "1") == hash_unit("s", "u", "1", algo=SHA256)
    assert hash_unit("s", "u", "1") != hash_unit("s", "u", "1", algo=XXH3)
    with pytest.raises(InvalidInput, match="not known"):
        hasher(3)


def test_a_rollout_of_algorithm_2_splits_by_it() -> None:
    live = rollout(algo=XXH3, enrolled_ppm=600_000)
    evaluator = Evaluator(slot(live), 1)
    for unit in UNITS:
        choice = evaluator.evaluate(unit)
        hi, lo = hash_unit(live.salt, "departure", unit, algo=XXH3)
        inside = bucket(hi, PPM) < 600_000
        assert (choice.reason is Reason.SPLIT) == inside
        if inside:
            mine = bucket(lo, BUCKETS)
            assert choice.arm == next(arm for end, arm in live.runs if mine < end)
            pin = evaluator.pin_for(unit, choice)
            assert pin is not None
            assert pin.bucket == bucket(hi, PPM)


def test_what_slots_share_is_hashed_alike_whatever_a_rollout_splits_with() -> None:
    """The same holdout, layer, override and observed share, beside either algorithm."""
    named = {keyed_hash("k", "departure", "flight-7"): "challenger"}
    one, two = (
        Evaluator(
            slot(
                rollout(algo=algo, enrolled_ppm=PPM),
                overrides=Overrides(key="k", arms=named),
                holdouts=(Share(salt="h", ppm=200_000),),
                layer=Layer(name="l", salt="l", ranges=((0, 7000),)),
            ),
            1,
        )
        for algo in ALGORITHMS
    )
    reasons = [(one.evaluate(unit).reason, two.evaluate(unit).reason) for unit in UNITS]
    assert {reason for reason, _ in reasons} == {
        Reason.SPLIT, Reason.HOLDOUT, Reason.LAYER, Reason.OVERRIDE,
    }  # fmt: skip
    assert all(mine is other for mine, other in reasons)
    assert any(one.evaluate(unit).arm != two.evaluate(unit).arm for unit in UNITS)


def test_the_explanation_shows_the_buckets_that_decide() -> None:
    rules = ruleset(slot(rollout(algo=XXH3, enrolled_ppm=PPM)))
    for unit in UNITS[:50]:
        steps = {step["step"]: step for step in explain(rules, "alert", unit)}
        assert steps["arm"]["arm"] == evaluate(rules, "alert", unit).arm


def test_two_rollouts_split_independently_also_across_algorithms() -> None:
    """Shares of the arms and the 2x2 table of two salts, each within four standard errors."""
    units = [str(number) for number in range(40_000)]
    for algos in ((XXH3, XXH3), (XXH3, SHA256)):
        one, two = (
            Evaluator(slot(rollout(salt=salt * 16, algo=algo, enrolled_ppm=PPM)), 1)
            for salt, algo in zip("ab", algos, strict=True)
        )
        first = [one.evaluate(unit).arm for unit in units]
        same = sum(arm == two.evaluate(unit).arm for unit, arm in zip(units, first, strict=True))
        assert abs(same - 20_000) < 4 * 100
        assert abs(first.count("champion") - 20_000) < 4 * 100
