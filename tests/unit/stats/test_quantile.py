from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.quantile import (
    QuantileScore,
    QuantileTest,
    log_cuts,
    quantile_log_e,
    quantile_score,
    quantile_test,
)
from controller.stats.results import Inconclusive, Reason

CUTS = log_cuts(10.0, 10_000.0)


@dataclass(frozen=True)
class Grid:
    cuts: tuple[float, ...]
    units: int
    outcomes: int
    outcomes_squared: int
    below: tuple[int, ...]
    below_squared: tuple[int, ...]
    below_outcomes: tuple[int, ...]


def grid(values: np.ndarray, units: np.ndarray, cuts: tuple[float, ...] = CUTS) -> Grid:
    count = int(units.max()) + 1 if len(units) else 0
    below = np.zeros((count, len(cuts)), dtype=np.int64)
    for column, cut in enumerate(cuts):
        below[:, column] = np.bincount(units[values <= cut], minlength=count)
    n = np.bincount(units, minlength=count)
    return Grid(
        cuts=cuts,
        units=count,
        outcomes=int(n.sum()),
        outcomes_squared=int(n @ n),
        below=tuple(below.sum(axis=0).tolist()),
        below_squared=tuple((below * below).sum(axis=0).tolist()),
        below_outcomes=tuple((below * n[:, None]).sum(axis=0).tolist()),
    )


def latencies(units: int, seed: int, factor: float = 1.0, shift: float = 0.0) -> Grid:
    rng = np.random.default_rng(seed)
    each = rng.poisson(3.0, units) + 1
    unit = np.repeat(np.arange(units), each)
    level = rng.normal(0.0, 0.5, units)[unit]
    return grid(300.0 * factor * np.exp(level + rng.normal(0.0, 0.5, unit.size)) + shift, unit)


def _test(control: Grid, treatment: Grid, **changed: object) -> QuantileTest:
    given: dict[str, object] = {"q": 0.9, "alpha": 0.05, "tuning": 1000.0, **changed}
    found = quantile_test([(control, treatment)], **given)  # type: ignore[arg-type]
    assert isinstance(found, QuantileTest)
    return found


CONTROL = latencies(2000, 1)


def test_estimates_are_within_a_cell_of_the_true_quantiles() -> None:
    found = _test(CONTROL, latencies(2000, 2, 1.2))
    truth = 300.0 * math.exp(1.2815515655446004 * math.sqrt(0.5))
    assert found.control == pytest.approx(truth, rel=0.04)
    assert found.treatment == pytest.approx(1.2 * truth, rel=0.04)
    assert found.relative_error == pytest.approx((10_000 / 10) ** (1 / 255) - 1.0)


def test_a_slower_treatment_is_found_and_its_interval_holds_the_truth() -> None:
    found = _test(CONTROL, latencies(2000, 2, 1.3))
    assert found.p_value < 0.001
    assert 1.0 < found.ratio_lower < 1.3 < found.ratio_upper
    assert 0.0 < found.difference_lower < found.difference_upper


def test_equal_arms_are_not_called_different() -> None:
    found = _test(CONTROL, latencies(2000, 3))
    assert found.p_value > 0.05
    assert found.ratio_lower < 1.0 < found.ratio_upper
    assert found.difference_lower < 0.0 < found.difference_upper


def test_the_null_is_kept_inside_the_interval_and_rejected_outside() -> None:
    treatment = latencies(2000, 2, 1.2)
    found = _test(CONTROL, treatment)
    for factor in (0.999, 1.001):
        ratio_p = _test(CONTROL, treatment, scale=found.ratio_upper * factor).p_value
        shift_p = _test(CONTROL, treatment, shift=found.difference_upper * factor).p_value
        assert (ratio_p <= 0.05) == (factor > 1.0)
        assert (shift_p <= 0.05) == (factor > 1.0)


def test_non_inferiority_within_a_relative_margin_is_shown() -> None:
    found = _test(CONTROL, latencies(2000, 3), alternative="smaller", scale=1.2, alpha=0.025)
    assert found.p_value < 0.025
    assert found.ratio_upper < 1.2
    assert found.ratio_lower == 0.0
    assert found.difference_lower == -math.inf


def test_swapping_the_arms_mirrors_the_evidence() -> None:
    treatment = latencies(2000, 2, 1.1)
    one, two = _test(CONTROL, treatment), _test(treatment, CONTROL)
    assert two.log_e_value == pytest.approx(one.log_e_value, rel=1e-9)
    assert two.ratio_upper == pytest.approx(1.0 / one.ratio_lower, rel=0.005)


def test_epochs_of_unequal_shares_are_compared_within() -> None:
    slow = 2.0  # the world slows down while the share grows: pooled, the treatment looks slow
    early = (latencies(3000, 5), latencies(300, 6))
    late = (latencies(500, 7, slow), latencies(3000, 8, slow))
    found = quantile_test([early, late], q=0.9, alpha=0.05, tuning=1000.0)
    assert isinstance(found, QuantileTest)
    assert found.p_value > 0.05
    again = quantile_test([late, early], q=0.9, alpha=0.05, tuning=1000.0)
    assert isinstance(again, QuantileTest)
    assert again.log_e_value == pytest.approx(found.log_e_value, rel=1e-9)


def test_score_is_positive_for_a_slower_treatment_and_centred_under_its_null() -> None:
    treatment = latencies(2000, 2, 1.2)
    slower = quantile_score([(CONTROL, treatment)], q=0.9)
    matched = quantile_score([(CONTROL, treatment)], q=0.9, scale=1.2)
    assert isinstance(slower, QuantileScore)
    assert isinstance(matched, QuantileScore)
    assert slower.score / math.sqrt(slower.variance) > 4.0
    assert abs(matched.score) / math.sqrt(matched.variance) < 2.0
    assert slower.size == pytest.approx(1000.0)


def test_score_and_variance_are_those_of_shares_weighted_by_design() -> None:
    cuts = (1.0, 10.0, 100.0)

    def arm(below: int, units: int) -> Grid:
        values = np.where(np.arange(units) < below, 5.0, 50.0)
        return grid(values, np.arange(units), cuts)

    epochs = [(arm(600, 1000), arm(500, 1000)), (arm(1300, 2000), arm(350, 1000))]
    found = quantile_score(epochs, q=2750 / 5000)
    assert isinstance(found, QuantileScore)
    sizes = (500.0, 2000.0 / 3.0)
    assert found.size == pytest.approx(sum(sizes))
    assert found.score == pytest.approx(sizes[0] * 0.10 + sizes[1] * 0.30)
    pooled = sum(
        size * n * share * (1.0 - share) / (n - 1)
        for size, n, share in zip(sizes, (2000, 3000), (0.55, 0.55), strict=True)
    )
    assert found.variance == pytest.approx(pooled)


def test_clustering_is_paid_for() -> None:
    rng = np.random.default_rng(9)
    level = np.exp(rng.normal(6.0, 0.5, 400))
    once, ten = np.arange(400), np.repeat(np.arange(400), 10)
    half = [grid(level[:200], once[:200]), grid(level[200:], once[:200])]
    repeated = [
        grid(np.repeat(level[:200], 10), ten[:2000]),
        grid(np.repeat(level[200:], 10), ten[:2000]),
    ]
    scores = [quantile_score([(a, b)], q=0.5) for a, b in (half, repeated)]
    z = [s.score / math.sqrt(s.variance) for s in scores if isinstance(s, QuantileScore)]
    assert z[1] == pytest.approx(z[0], rel=1e-9)


@pytest.mark.parametrize(
    ("pairs", "q", "reason"),
    [
        ([], 0.5, Reason.NO_DATA),
        ([(CONTROL, grid(np.array([]), np.array([], dtype=np.int64)))], 0.5, Reason.ARM_EMPTY),
        ([(CONTROL, latencies(100, 4))], 0.99, Reason.BURN_IN),
        ([(CONTROL, latencies(2000, 4, 100.0))], 0.9, Reason.GRID_EXCEEDED),
    ],
)
def test_what_cannot_be_compared_says_why(
    pairs: list[tuple[Grid, Grid]], q: float, reason: Reason
) -> None:
    assert quantile_test(pairs, q=q, alpha=0.05, tuning=1000.0) == Inconclusive(reason=reason)


def test_all_outcomes_in_one_cell_are_no_evidence() -> None:
    same = grid(np.full(500, 99.0), np.arange(500))
    nothing = Inconclusive(
        reason=Reason.ZERO_VARIANCE, detail="every outcome lies between the same two cuts"
    )
    assert quantile_score([(same, same)], q=0.5) == nothing
    assert quantile_test([(same, same)], q=0.5, alpha=0.05, tuning=250.0) == nothing
    assert quantile_log_e([(same, same)], q=0.5, alpha=0.05, tuning=250.0) == nothing


def test_another_cell_in_one_arm_is_evidence() -> None:
    low, high = (grid(np.full(500, value), np.arange(500)) for value in (99.0, 150.0))
    scored = quantile_score([(low, high)], q=0.5)
    assert isinstance(scored, QuantileScore)
    assert scored.score > 10.0 * math.sqrt(scored.variance)


def test_units_that_are_all_alike_have_no_variance() -> None:
    alike = grid(np.tile([50.0, 200.0], 100), np.repeat(np.arange(100), 2))
    assert quantile_score([(alike, alike)], q=0.5) == Inconclusive(reason=Reason.ZERO_VARIANCE)


def test_illegal_input_is_an_error() -> None:
    other = grid(np.full(500, 99.0), np.arange(500), log_cuts(1.0, 1000.0))
    with pytest.raises(InvalidInput):
        quantile_test([(CONTROL, other)], q=0.5, alpha=0.05, tuning=1000.0)
    with pytest.raises(InvalidInput):
        quantile_test([(CONTROL, CONTROL)], q=1.0, alpha=0.05, tuning=1000.0)
    with pytest.raises(InvalidInput):
        quantile_test([(CONTROL, CONTROL)], q=0.5, alpha=0.0, tuning=1000.0)
    with pytest.raises(InvalidInput):
        log_cuts(0.0, 1.0)
    with pytest.raises(InvalidInput):
        log_cuts(1.0, 2.0, count=257)
