"""Every reported interval holds the truth as often as it says, also after stopping at will.

A short version of `python -m tests.calibration.coverage`; its full table is in
docs/explanation/error-rates.md. Each interval is allowed three Monte Carlo standard errors under
its level, all of them together two.
"""

from __future__ import annotations

import math

import pytest

from controller.analysis.offline.spec import Mode
from tests.calibration.coverage import LEVEL, METRICS, measure
from tests.calibration.split import measure as measure_split

pytestmark = pytest.mark.calibration

MOMENTS = METRICS[:-1]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_intervals_hold_the_truth(mode: Mode, effect: float) -> None:
    found = measure(mode, runs=50, seed=3, effect=effect, keys=MOMENTS)
    shares = {(each.interval, each.moment): each.share for each in found}
    error = found[0].error
    assert min(shares.values()) >= 1.0 - LEVEL - 3.0 * error, shares
    # Five metrics of the same units, two pairs of them one value: about three independent ones.
    together = 1.0 - LEVEL - 2.0 * error / math.sqrt(3.0)
    assert sum(shares.values()) / len(shares) >= together, shares


@pytest.mark.parametrize("mode", [Mode.ANYTIME, Mode.FIXED])
def test_intervals_of_a_quantile_hold_the_truth(mode: Mode) -> None:
    found = measure(mode, runs=12, seed=3, effect=1.0, keys=("slow",))
    assert min(each.share for each in found) >= 1.0 - LEVEL - 3.0 * found[0].error


def test_the_fixed_interval_fails_where_it_is_peeked_at() -> None:
    """What the coverage of a sequence is worth: the same looks, the one-look interval."""
    found = measure(Mode.ANYTIME, runs=200, seed=4, effect=0.0, keys=("value",), peeked=True)
    assert found[0].share < 0.88


@pytest.mark.parametrize("planned", [0.5, 0.1])
def test_the_split_alarm_is_rare_and_finds_51_to_49(planned: float) -> None:
    runs = 3000
    healthy = measure_split(planned, planned, runs=runs, seed=1)
    assert healthy.ours <= 0.001 + 2.0 * math.sqrt(0.001 * 0.999 / runs)
    assert healthy.chi_square > 0.01
    broken = measure_split(0.5, 0.51, runs=runs, seed=2)
    assert broken.median is not None
    assert broken.median <= 42_000
