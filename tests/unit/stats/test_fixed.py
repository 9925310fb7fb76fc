from __future__ import annotations

import subprocess
import sys

import pytest

from controller.errors import InvalidInput
from controller.stats import fixed
from controller.stats.results import Inconclusive, Reason


def reason(found: object) -> str:
    assert isinstance(found, Inconclusive)
    return found.reason


def test_degenerate_counts_are_named() -> None:
    assert reason(fixed.proportion_interval(0, 0)) == Reason.NO_DATA
    assert reason(fixed.difference_interval((0, 0), (3, 9))) == Reason.ARM_EMPTY
    assert reason(fixed.difference_interval((0, 9), (0, 9))) == Reason.ZERO_VARIANCE
    assert reason(fixed.ratio_interval((9, 9), (9, 9))) == Reason.ZERO_VARIANCE
    assert reason(fixed.proportions_test((0, 5), (0, 5))) == Reason.ZERO_VARIANCE
    assert reason(fixed.rates_test((0, 1.0), (0, 1.0))) == Reason.NO_DATA
    assert reason(fixed.rates_test((1, 0.0), (0, 1.0))) == Reason.ARM_EMPTY
    assert reason(fixed.rates_interval((0, 1.0), (4, 1.0))) == Reason.NO_DATA
    assert reason(fixed.rates_interval((4, 1.0), (4, 0.0))) == Reason.ARM_EMPTY


def test_degenerate_samples_are_named() -> None:
    assert reason(fixed.equivalence_test([1.0], [1.0, 2.0], low=-1, high=1)) == Reason.TOO_FEW_UNITS
    same = [2.0, 2.0, 2.0]
    assert reason(fixed.equivalence_test(same, same, low=-1, high=1)) == Reason.ZERO_VARIANCE
    assert reason(fixed.rank_superiority([1.0], same)) == Reason.TOO_FEW_UNITS
    assert reason(fixed.rank_superiority(same, same)) == Reason.ZERO_VARIANCE


def test_wrong_requests_are_errors() -> None:
    with pytest.raises(InvalidInput):
        fixed.proportion_interval(1, 10, alpha=0.0)
    with pytest.raises(InvalidInput):
        fixed.difference_interval((-1, 10), (1, 10))
    with pytest.raises(InvalidInput):
        fixed.equivalence_test([1.0, 2.0], [1.0, 2.0], low=1, high=-1)
    with pytest.raises(InvalidInput):
        fixed.rank_superiority([float("nan"), 1.0], [1.0, 2.0])


def test_swapping_the_arms_mirrors_the_interval() -> None:
    there = fixed.difference_interval((30, 100), (20, 100))
    back = fixed.difference_interval((20, 100), (30, 100))
    assert isinstance(there, fixed.FixedInterval)
    assert isinstance(back, fixed.FixedInterval)
    assert there.lower == pytest.approx(-back.upper, abs=2e-5)


def test_no_statistics_room_loads_statsmodels_before_it_is_asked() -> None:
    rooms = "controller.analysis.look, controller.stats.fixed, controller.stats.stagewise"
    script = (
        f"import sys, {rooms}\n"
        "heavy = [n for n in ('statsmodels', 'pandas', 'scipy.stats') if n in sys.modules]\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
