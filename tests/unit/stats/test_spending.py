from __future__ import annotations

import numpy as np
import pytest

from controller.errors import InvalidInput
from controller.stats.spending import (
    Spending,
    SpendingShape,
    one_sided_critical_value,
)

T = np.array([0.1, 0.35, 0.5, 0.9, 1.0])
HALF = ((0.5, 0.2), (1.0, 1.0))
OF = Spending(shape=SpendingShape.OBRIEN_FLEMING)
POCOCK = Spending(shape=SpendingShape.POCOCK)


def hsd(gamma: float) -> Spending:
    return Spending(shape=SpendingShape.HWANG_SHIH_DECANI, parameter=gamma)


def power(rho: float) -> Spending:
    return Spending(shape=SpendingShape.KIM_DEMETS, parameter=rho)


def table(points: tuple[tuple[float, float], ...]) -> Spending:
    return Spending(shape=SpendingShape.TABULATED, table=points)


def test_every_shape_spends_all_of_alpha_at_the_end() -> None:
    for shape in SpendingShape:
        spending = Spending(shape=shape, parameter=3.0, table=HALF)
        spent = spending.spent(T, alpha=0.025)
        assert spent[-1] == 0.025
        assert np.all(np.diff(spent) > 0.0)
        assert np.all(spent > 0.0)


def test_obrien_fleming_matches_its_published_values() -> None:
    # Lan and DeMets (1983): .05 two-sided spends .00001 .00153 .00965 .025 a side.
    spent = OF.spent([0.25, 0.5, 0.75, 1.0], alpha=0.025)
    np.testing.assert_allclose(spent, [7.36e-6, 0.001525, 0.009649, 0.025], rtol=2e-3)


def test_pocock_matches_its_formula_at_a_half() -> None:
    expected = 0.05 * np.log(1 + (np.e - 1) / 2)
    assert POCOCK.spent_at(0.5, alpha=0.05) == pytest.approx(expected, rel=1e-14)


def test_hwang_shih_decani_is_linear_at_zero_and_continuous_there() -> None:
    np.testing.assert_allclose(hsd(0.0).spent(T, alpha=0.05), 0.05 * T)
    np.testing.assert_allclose(hsd(1e-7).spent(T, alpha=0.05), 0.05 * T, rtol=1e-6)
    assert hsd(-2.0).spent_at(0.5, alpha=1 - 1e-9) == pytest.approx(
        (np.exp(1) - 1) / (np.exp(2) - 1)
    )


def test_kim_demets_is_a_power() -> None:
    assert power(2.0).spent_at(0.5, alpha=0.04) == pytest.approx(0.01)


def test_a_table_is_read_linearly_and_must_rise_to_one() -> None:
    np.testing.assert_allclose(table(HALF).spent([0.25, 0.75], alpha=0.1), [0.01, 0.06])
    for wrong in (((0.5, 0.2),), ((0.5, 0.2), (0.4, 0.5), (1.0, 1.0)), ((0.5, 1.2), (1.0, 1.0))):
        with pytest.raises(InvalidInput):
            table(wrong)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.0000001, np.nan])
def test_fractions_outside_the_clock_are_refused(fraction: float) -> None:
    for spending in (OF, POCOCK, hsd(-2.0), power(2.0), table(HALF)):
        with pytest.raises(InvalidInput):
            spending.spent([0.5, fraction], alpha=0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, np.nan])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInput):
        OF.spent(0.5, alpha=alpha)


def test_parameters_outside_their_range_are_refused() -> None:
    with pytest.raises(InvalidInput):
        power(0.0)
    with pytest.raises(InvalidInput):
        hsd(float("nan"))


def test_critical_values_stay_exact_far_below_the_double_epsilon() -> None:
    assert one_sided_critical_value(0.025) == pytest.approx(1.959963984540054, rel=1e-14)
    assert one_sided_critical_value(1e-200) == pytest.approx(30.2055, abs=1e-3)
    assert one_sided_critical_value(0.0) == np.inf
