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
    assert reason(fixed.difference_interval((0, 0), (3, 9))) == Reason.ARM_EMPTY
    assert reason(fixed.difference_interval((0, 9), (0, 9))) == Reason.ZERO_VARIANCE
    assert reason(fixed.ratio_interval((9, 9), (9, 9))) == Reason.ZERO_VARIANCE
    assert reason(fixed.proportions_test((0, 5), (0, 5))) == Reason.ZERO_VARIANCE


def test_wrong_requests_are_errors() -> None:
    with pytest.raises(InvalidInput):
        fixed.difference_interval((1, 10), (2, 10), alpha=0.0)
    with pytest.raises(InvalidInput):
        fixed.difference_interval((-1, 10), (1, 10))


def test_perfect_separation_has_no_score_interval_and_newcombes_holds() -> None:
    assert reason(fixed.difference_interval((9, 9), (0, 9))) == Reason.NOT_FINITE
    ends = fixed.difference_interval((9, 9), (0, 9), method="newcomb")
    assert isinstance(ends, fixed.FixedInterval)
    assert 0.5 < ends.lower < ends.upper == pytest.approx(1.0)


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
