from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.heterogeneity import Heterogeneity, heterogeneity
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
