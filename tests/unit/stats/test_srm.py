from __future__ import annotations

import math

import pytest

from controller.errors import InvalidInput
from controller.stats.results import Inconclusive, Reason
from controller.stats.srm import EpochCounts, SampleRatio, chi_square_p, sample_ratio

HALF = (0.5, 0.5)


def _srm(*epochs: EpochCounts, log_e_max: float = 0.0) -> SampleRatio:
    found = sample_ratio(epochs, log_e_max=log_e_max)
    assert isinstance(found, SampleRatio)
    return found


def test_a_fair_split_raises_no_alarm() -> None:
    found = _srm(EpochCounts(counts=(5012, 4988), weights=HALF))
    assert not found.alarm
    assert found.p_value == 1.0
    assert found.units == 10_000


def test_a_broken_split_raises_the_alarm() -> None:
    found = _srm(EpochCounts(counts=(51_500, 48_500), weights=HALF))
    assert found.alarm
    assert found.p_value < 1e-12


def test_each_epoch_is_judged_by_its_own_weights() -> None:
    ramp = (
        EpochCounts(counts=(9_900, 100), weights=(0.99, 0.01)),
        EpochCounts(counts=(5_000, 5_000), weights=HALF),
    )
    assert not _srm(*ramp).alarm
    pooled = EpochCounts(counts=(14_900, 5_100), weights=HALF)
    assert _srm(pooled).alarm


def test_evidence_of_epochs_multiplies_in_any_order() -> None:
    one = EpochCounts(counts=(5200, 4800), weights=HALF)
    two = EpochCounts(counts=(930, 70), weights=(0.9, 0.1))
    both = _srm(one, two)
    assert both.log_e_value == pytest.approx(_srm(one).log_e_value + _srm(two).log_e_value)
    assert _srm(two, one) == both


def test_an_alarm_stays_raised_when_the_counts_recover() -> None:
    peak = _srm(EpochCounts(counts=(5400, 4600), weights=HALF))
    later = _srm(EpochCounts(counts=(50_000, 50_000), weights=HALF), log_e_max=peak.log_e_max)
    assert peak.alarm
    assert later.alarm
    assert later.p_value == peak.p_value
    assert later.log_e_value < 0.0


def test_relabelling_the_arms_changes_nothing() -> None:
    one = _srm(EpochCounts(counts=(5200, 4800, 60), weights=(0.5, 0.49, 0.01)))
    two = _srm(EpochCounts(counts=(60, 5200, 4800), weights=(0.01, 0.5, 0.49)))
    assert one.log_e_value == pytest.approx(two.log_e_value, abs=1e-8)


def test_units_in_an_arm_of_weight_zero_are_proof() -> None:
    epoch = EpochCounts(counts=(10, 10, 1), weights=(0.5, 0.5, 0.0))
    found = _srm(epoch)
    assert found.alarm
    assert found.p_value == 0.0
    assert found.log_e_value == math.inf
    assert chi_square_p([epoch]) == 0.0


def test_an_arm_of_weight_zero_takes_no_degree_of_freedom() -> None:
    with_zero = chi_square_p([EpochCounts(counts=(520, 480, 0), weights=(0.5, 0.5, 0.0))])
    assert with_zero == chi_square_p([EpochCounts(counts=(520, 480), weights=HALF)])


def test_no_units_is_no_evidence() -> None:
    empty = EpochCounts(counts=(0, 0), weights=HALF)
    assert sample_ratio([empty]) == Inconclusive(reason=Reason.NO_DATA)
    assert sample_ratio([]) == Inconclusive(reason=Reason.NO_DATA)
    assert chi_square_p([empty]) == Inconclusive(reason=Reason.NO_DATA)


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ((-1, 2), HALF),
        ((1, 2), (0.0, 0.0)),
        ((1, 2), (0.5,)),
        ((1, 2), (0.5, -0.5)),
        ((1,), (1.0,)),
    ],
)
def test_illegal_input_is_an_error(counts: tuple[int, ...], weights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput):
        sample_ratio([EpochCounts(counts=counts, weights=weights)])


@pytest.mark.parametrize(("alpha", "concentration"), [(0.0, 1000.0), (0.001, 0.0)])
def test_an_impossible_plan_is_an_error(alpha: float, concentration: float) -> None:
    epoch = EpochCounts(counts=(1, 2), weights=HALF)
    with pytest.raises(InvalidInput):
        sample_ratio([epoch], alpha=alpha, concentration=concentration)
