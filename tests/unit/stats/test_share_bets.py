"""Exact evidence from counts of units that are hit or not."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.share_bets import STAKES, EpochHits, share_log_e


def hits(treatment: int, control: int, *, units: int = 1000, share: float = 0.5) -> EpochHits:
    return EpochHits(
        control=units,
        control_hits=control,
        treatment=units,
        treatment_hits=treatment,
        share=share,
    )


def mean_e(
    *,
    units: int,
    share: float,
    p1: float,
    p0: float,
    scale: float,
    shift: float,
    alternative: str,
) -> float:
    """Exact mean of the e-value over every assignment and outcome of `units` units."""
    law: dict[tuple[int, int], float] = {
        (1, 1): share * p1,
        (1, 0): share * (1 - p1),
        (0, 1): (1 - share) * p0,
        (0, 0): (1 - share) * (1 - p0),
    }
    total = 0.0
    for path in product(law, repeat=units):
        chance = math.prod([law[step] for step in path])
        treated = [hit for arm, hit in path if arm]
        rest = [hit for arm, hit in path if not arm]
        seen = EpochHits(
            control=len(rest),
            control_hits=sum(rest),
            treatment=len(treated),
            treatment_hits=sum(treated),
            share=share,
        )
        total += chance * math.exp(
            share_log_e([seen], alternative=alternative, scale=scale, shift=shift)  # type: ignore[arg-type]
        )
    return total


@pytest.mark.parametrize("share", [0.5, 0.1, 0.8])
@pytest.mark.parametrize(
    ("alternative", "scale", "shift"),
    [("larger", 1.2, 0.0), ("larger", 1.0, 0.05), ("smaller", 0.8, 0.0), ("smaller", 1.0, -0.1)],
)
def test_mean_e_value_is_one_at_the_margin(
    share: float, alternative: str, scale: float, shift: float
) -> None:
    p0 = 0.3
    mean = mean_e(
        units=5,
        share=share,
        p1=scale * p0 + shift,
        p0=p0,
        scale=scale,
        shift=shift,
        alternative=alternative,
    )
    assert mean == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("alternative", "p1"), [("larger", 0.2), ("smaller", 0.4)])
def test_mean_e_value_falls_inside_the_null(alternative: str, p1: float) -> None:
    mean = mean_e(units=5, share=0.3, p1=p1, p0=0.3, scale=1.0, shift=0.0, alternative=alternative)
    assert mean < 0.999


def test_without_a_shift_only_the_hits_count() -> None:
    few, many = hits(7, 2, units=10), hits(7, 2, units=100_000)
    of_few = share_log_e([few], alternative="larger", scale=1.1)
    assert of_few == pytest.approx(share_log_e([many], alternative="larger", scale=1.1), abs=1e-12)


def test_at_even_shares_it_is_a_mixture_of_coins() -> None:
    """Each hit is heads with probability one half; a stake c bets on (1 + c) / 2."""
    wanted = sum((1 + c) ** 12 * (1 - c) ** 3 for c in STAKES) / len(STAKES)
    found = share_log_e([hits(12, 3)], alternative="larger")
    assert found == pytest.approx(math.log(wanted), rel=1e-12)


def test_a_small_absolute_margin_counts_units_that_were_spared() -> None:
    many = share_log_e([hits(12, 0, units=5000)], alternative="larger", shift=0.01)
    few = share_log_e([hits(12, 0, units=200)], alternative="larger", shift=0.01)
    assert many < 0.0 < few


def test_epochs_multiply_within_each_stake() -> None:
    """Two epochs of one share are one epoch."""
    parts = [hits(4, 1, units=300), hits(5, 2, units=700)]
    whole = [hits(9, 3, units=1000)]
    assert share_log_e(parts, alternative="larger", shift=0.002) == pytest.approx(
        share_log_e(whole, alternative="larger", shift=0.002), rel=1e-12
    )


def test_more_harm_is_more_evidence_and_labels_swap() -> None:
    rising = [share_log_e([hits(k, 2)], alternative="larger") for k in range(2, 40)]
    assert np.all(np.diff(rising) > 0.0)
    mirrored = share_log_e([hits(2, 20)], alternative="smaller")
    assert mirrored == pytest.approx(share_log_e([hits(20, 2)], alternative="larger"), rel=1e-12)


def test_no_unit_is_no_evidence_and_extremes_stay_finite() -> None:
    assert share_log_e([], alternative="larger") == 0.0
    huge = hits(10**9, 10**9, units=10**9)
    assert math.isfinite(share_log_e([huge], alternative="larger", scale=1.1))
    assert math.isfinite(share_log_e([hits(0, 10**9, units=10**9)], alternative="larger"))


@pytest.mark.parametrize(
    "broken",
    [
        {"share": 0.0},
        {"share": 1.0},
        {"control_hits": 11},
        {"treatment_hits": -1},
    ],
)
def test_impossible_counts_are_refused(broken: dict[str, float]) -> None:
    usual = {"control": 10, "control_hits": 1, "treatment": 10, "treatment_hits": 1, "share": 0.5}
    with pytest.raises(InvalidInput):
        EpochHits(**{**usual, **broken})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "null", [{"scale": -1.0}, {"scale": math.inf}, {"shift": math.nan}, {"shift": -3.0}]
)
def test_impossible_nulls_are_refused(null: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        share_log_e([hits(1, 1)], alternative="larger", **null)
