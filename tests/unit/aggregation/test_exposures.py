"""Which exposures are believed, in which epoch, in which series."""

from __future__ import annotations

from controller.aggregation.exposures import Opened, Placed, Split, Target, series_of
from controller.assignment.hashing import PPM, bucket, hash_unit
from controller.assignment.runs import build_runs, retire
from tests import worlds

EVEN = build_runs({"champion": 0.5, "challenger": 0.5})
BAKE = build_runs({"champion": 0.02, "challenger": 0.98})
SALT = "salt"


def target(*splits: Split, epochs: tuple[Opened, ...]) -> Target:
    metric = worlds.metric()
    return Target(
        project="default",
        rollout="r1",
        slot="slot",
        unit_type="customer",
        salt=SALT,
        metrics={metric.key: metric},
        arms=("champion", "challenger"),
        splits=splits,
        epochs=epochs,
    )


ONE = target(
    Split(number=1, runs=EVEN),
    epochs=(
        Opened(number=1, allocation=1, enrolled_ppm=100_000, ruleset=10),
        Opened(number=2, allocation=1, enrolled_ppm=PPM, ruleset=20),
    ),
)


def unit_with_bucket(least: int, most: int) -> str:
    return next(
        f"u{number}"
        for number in range(100_000)
        if least <= bucket(hash_unit(SALT, "customer", f"u{number}")[0], PPM) < most
    )


def test_the_epoch_is_that_of_the_ruleset() -> None:
    early = unit_with_bucket(0, 100_000)
    arm = ONE.bucket_arm(early, 1)
    assert arm is not None
    for ruleset, epoch in ((10, 1), (19, 1), (20, 2), (99, 2)):
        placed = ONE.place(early, allocation=1, arm=arm, ruleset=ruleset)
        assert placed == Placed(series=1, epoch=epoch, analysed=True)
    assert ONE.place(early, allocation=1, arm=arm, ruleset=9) is None


def test_a_unit_that_was_not_enrolled_then_is_not_believed() -> None:
    late = unit_with_bucket(100_000, PPM)
    arm = ONE.bucket_arm(late, 1)
    assert arm is not None
    assert ONE.place(late, allocation=1, arm=arm, ruleset=10) is None
    assert ONE.place(late, allocation=1, arm=arm, ruleset=20) is not None


def test_another_arm_or_allocation_is_not_believed() -> None:
    unit = unit_with_bucket(0, 100_000)
    arm = ONE.bucket_arm(unit, 1)
    other = "champion" if arm == "challenger" else "challenger"
    assert ONE.place(unit, allocation=1, arm=other, ruleset=20) is None
    assert ONE.place(unit, allocation=2, arm=str(arm), ruleset=20) is None
    assert ONE.place(unit, allocation=1, arm=other, ruleset=20, pinned=True) is not None


def test_a_retired_bucket_has_no_arm() -> None:
    retired = retire(EVEN, (), {"champion": 0.2, "challenger": 0.8})
    edited = target(
        Split(number=1, runs=EVEN),
        Split(number=2, runs=EVEN, retired=retired),
        epochs=(
            Opened(number=1, allocation=1, enrolled_ppm=PPM, ruleset=10),
            Opened(number=2, allocation=2, enrolled_ppm=PPM, ruleset=20),
        ),
    )
    gone = next(
        f"u{number}" for number in range(1000) if edited.bucket_arm(f"u{number}", 2) is None
    )
    assert edited.bucket_arm(gone, 1) == "champion"
    assert edited.place(gone, allocation=2, arm="champion", ruleset=20) is None
    assert edited.place(gone, allocation=1, arm="champion", ruleset=10) == Placed(1, 1, True)


def test_a_series_lasts_while_nobody_changes_arm() -> None:
    retired = retire(EVEN, (), {"champion": 0.2, "challenger": 0.8})
    splits = [
        Split(number=1, runs=EVEN, analysed=False),
        Split(number=2, runs=EVEN),
        Split(number=3, runs=EVEN, retired=retired),
        Split(number=4, runs=BAKE),
    ]
    assert series_of(splits) == {1: 1, 2: 2, 3: 2, 4: 4}
