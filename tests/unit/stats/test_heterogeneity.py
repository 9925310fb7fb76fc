from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.heterogeneity import (
    Heterogeneity,
    heterogeneity,
    heterogeneity_log_e,
)
from controller.stats.results import Inconclusive


def _test(effects: list[float], variances: list[float]) -> Heterogeneity:
    found = heterogeneity(effects, variances)
    assert isinstance(found, Heterogeneity)
    return found


def test_it_agrees_with_statsmodels() -> None:
    from statsmodels.stats.meta_analysis import combine_effects

    effects, variances = [0.02, 0.05, -0.01, 0.04], [1e-4, 2e-4, 1.5e-4, 4e-4]
    found, theirs = (
        _test(effects, variances),
        combine_effects(np.array(effects), np.array(variances)),
    )
    assert found.q == pytest.approx(theirs.q)
    assert found.pooled == pytest.approx(theirs.mean_effect_fe)
    assert found.pooled_variance == pytest.approx(theirs.sd_eff_w_fe**2)
    assert found.p_value == pytest.approx(theirs.test_homogeneity().pvalue)
    assert found.freedom == 3


def test_epochs_that_agree_and_epochs_that_do_not() -> None:
    assert _test([0.03, 0.03], [1e-4, 4e-4]).i_squared == 0.0
    apart = _test([0.30, -0.30], [1e-4, 1e-4])
    assert apart.p_value < 1e-100
    assert apart.i_squared > 0.99


def test_epochs_without_variance_are_left_out() -> None:
    found = _test([0.02, 0.05, 9.0, math.nan], [1e-4, 2e-4, 0.0, 1e-4])
    assert found.freedom == 1
    assert found.pooled == pytest.approx(0.03)


def test_one_epoch_cannot_disagree_with_itself() -> None:
    assert isinstance(heterogeneity([0.1], [1e-4]), Inconclusive)
    assert isinstance(heterogeneity([], []), Inconclusive)


def test_lengths_must_agree() -> None:
    with pytest.raises(InvalidInput):
        heterogeneity([0.1], [])


# ---------------------------------------------------------------- at every look


def log_e(effects: list[float], variances: list[float], scale: float = 1.0) -> float:
    return heterogeneity_log_e(
        effects, variances, unit_variance=2.0 * scale * scale, planned_size=500.0
    )


def test_the_e_value_is_the_integral_it_stands_for() -> None:
    """Drifts that scatter around a common one with a flat density, over that density alone."""
    effects, variances = np.array([0.3, -0.1, 0.05]), np.array([0.01, 0.02, 0.004])
    common = np.linspace(-30.0, 30.0, 240_001)

    def weight(spread: float) -> float:
        u = variances + spread
        squares = ((effects - common[:, None]) ** 2 / u).sum(axis=1)
        return float(np.trapezoid(np.exp(-0.5 * squares), common) / np.sqrt(np.prod(u)))

    spreads = [2.0 * part / 500.0 for part in (4.0, 32.0, 256.0)]
    expected = np.mean([weight(spread) / weight(0.0) for spread in spreads])
    found = log_e(effects.tolist(), variances.tolist())
    assert found == pytest.approx(math.log(expected), abs=1e-9)


def test_the_e_value_is_one_in_mean_where_all_epochs_have_the_same_effect() -> None:
    rng = np.random.default_rng(8)
    variances = [1.0, 1.5, 2.0]
    drawn = rng.normal(0.7, np.sqrt(variances), (20_000, 3))
    values = np.exp([log_e(row, variances) for row in drawn.tolist()])
    error = values.std() / math.sqrt(values.size)
    assert error < 0.005
    assert values.mean() == pytest.approx(1.0, abs=3.0 * error)


def test_the_e_value_knows_neither_origin_nor_unit() -> None:
    effects, variances = [0.3, -0.1, 0.05], [0.01, 0.02, 0.004]
    plain = log_e(effects, variances)
    assert plain > 0.0
    assert log_e([each + 40.0 for each in effects], variances) == pytest.approx(plain, abs=1e-9)
    tiny = log_e([1e-9 * each for each in effects], [1e-18 * each for each in variances], 1e-9)
    assert tiny == pytest.approx(plain, abs=1e-9)


def test_an_epoch_that_has_just_begun_changes_nothing() -> None:
    two = log_e([0.3, -0.1], [0.01, 0.02])
    assert log_e([0.3, -0.1, 5.0], [0.01, 0.02, 1e9]) == pytest.approx(two, abs=1e-6)
    assert log_e([0.3], [0.01]) == 0.0
    assert log_e([0.3, 0.1], [0.01, 0.0]) == 0.0
