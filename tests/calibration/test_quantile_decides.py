"""A quantile that decides, looked at on the way, where there is nothing to find."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.unit.analysis.test_quantile_oec import RULES, WAIT, drawn, looks
from tests.worlds import EVEN, plan

RUNS = 150


@pytest.mark.parametrize("weights", [EVEN, {"champion": 0.9, "challenger": 0.1}])
def test_no_difference_is_seldom_called_one(weights: Mapping[str, float]) -> None:
    """Level .05, looked at six times; two Monte Carlo standard errors of it are .036."""
    rng = np.random.default_rng(3)
    chosen = plan(horizon=6000, oec=WAIT, rules=RULES, weights=weights)
    false = 0
    for _ in range(RUNS):
        arms = {"champion": drawn(rng, 3000), "challenger": drawn(rng, 3000)}
        false += looks(chosen, arms)[-1][0].tests[0].crossed is not None
    assert false / RUNS <= 0.05
