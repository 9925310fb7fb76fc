from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.mixture import (
    AlwaysValid,
    always_valid,
    critical_z,
    e_from_log,
    from_score,
    log_e_value,
    p_from_log_e,
    tuned_rho,
)
from controller.stats.results import Alternative, Inconclusive, Reason


def _look(**changed: float | str) -> AlwaysValid | Inconclusive:
    given = {"score": 120.0, "variance": 4000.0, "size": 1000.0, "tuning": 5000.0, "alpha": 0.05}
    given.update(changed)  # type: ignore[arg-type]
    return from_score(**given)  # type: ignore[arg-type]


def _valid(**changed: float | str) -> AlwaysValid:
    found = _look(**changed)
    assert isinstance(found, AlwaysValid)
    return found


def test_estimate_is_score_over_size() -> None:
    found = _valid()
    assert found.estimate == pytest.approx(0.12)
    assert found.standard_error == pytest.approx(math.sqrt(4000.0) / 1000.0)
    assert found.z == pytest.approx(120.0 / math.sqrt(4000.0))


@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_e_value_at_the_edge_of_the_interval_is_one_over_alpha(alternative: Alternative) -> None:
    found = _valid(alternative=alternative)
    for edge in (found.lower, found.upper):
        if math.isfinite(edge):
            at_edge = _valid(alternative=alternative, null=edge)
            assert at_edge.log_e_value == pytest.approx(math.log(20.0), rel=1e-9)


def test_one_sided_intervals_are_open_on_the_other_side() -> None:
    assert _valid(alternative="larger").upper == math.inf
    assert _valid(alternative="smaller").lower == -math.inf


def test_interval_is_narrowest_near_its_tuning() -> None:
    # Width in standard errors x sqrt(rho/v) has its minimum where the tuning was set.
    at = {
        tuning: critical_z(1.0 / tuned_rho(tuning, alpha=0.05), alpha=0.05)
        for tuning in (0.25, 1.0, 4.0)
    }
    assert at[1.0] < at[0.25]
    assert at[1.0] < at[4.0]


def test_one_sided_mixture_is_stronger_in_its_direction_and_weak_in_the_other() -> None:
    z, ratio = 3.0, 1.0
    two = float(log_e_value(z, ratio))
    assert float(log_e_value(z, ratio, alternative="larger")) > two
    assert float(log_e_value(z, ratio, alternative="smaller")) < 0.0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"size": 0.0}, Reason.NO_DATA),
        ({"variance": 0.0}, Reason.ZERO_VARIANCE),
        ({"score": math.nan}, Reason.NOT_FINITE),
        ({"variance": math.inf}, Reason.NOT_FINITE),
        ({"size": math.inf}, Reason.NOT_FINITE),
        ({"score": 1e200, "variance": 1e-200}, Reason.NOT_FINITE),
    ],
)
def test_data_that_carry_no_conclusion_say_why(changed: dict[str, float], reason: Reason) -> None:
    assert _look(**changed) == Inconclusive(reason=reason)


@pytest.mark.parametrize(
    "changed",
    [{"alpha": 0.0}, {"alpha": 1.0}, {"tuning": 0.0}, {"tuning": math.inf}, {"null": math.nan}],
)
def test_an_impossible_plan_is_an_error(changed: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        _look(**changed)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_the_metric_changes_nothing(scale: float) -> None:
    plain, scaled = _valid(), _valid(score=120.0 * scale, variance=4000.0 * scale * scale)
    assert scaled.log_e_value == pytest.approx(plain.log_e_value, rel=1e-12)
    assert scaled.upper == pytest.approx(plain.upper * scale, rel=1e-12)


def test_swapping_the_arms_mirrors_everything() -> None:
    plain, swapped = _valid(alternative="larger"), _valid(score=-120.0, alternative="smaller")
    assert swapped.log_e_value == plain.log_e_value
    assert swapped.upper == -plain.lower


def test_overwhelming_evidence_saturates_instead_of_overflowing() -> None:
    found = _valid(score=1e6)
    assert found.e_value == 1e308
    assert found.p_value == 0.0


def test_p_is_the_reciprocal_and_never_above_one() -> None:
    assert p_from_log_e(math.log(40.0)) == pytest.approx(1.0 / 40.0)
    assert p_from_log_e(-3.0) == 1.0
    assert e_from_log(math.log(40.0)) == pytest.approx(40.0)


def test_elementwise_evaluation_agrees_with_one_by_one() -> None:
    z = np.array([-2.0, 0.0, 3.0])
    both = log_e_value(z, 0.7, alternative="larger")
    single = [float(log_e_value(value, 0.7, alternative="larger")) for value in z]
    np.testing.assert_array_equal(both, single)


def test_estimate_and_variance_enter_like_a_score() -> None:
    found = always_valid(0.12, 0.004, information=1000.0, tuning=5000.0, alpha=0.05)
    assert isinstance(found, AlwaysValid)
    assert found.log_e_value == pytest.approx(_valid().log_e_value, rel=1e-12)
