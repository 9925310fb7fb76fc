"""A planned test that goes on after its horizon: both parts of alpha, peeked at to five horizons.

The rule is written out a second time on the score's own scale, where forty thousand runs are one
array; the product's own look must then claim in the same runs, at the same look.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from controller.analysis.look import take_look
from controller.analysis.report import LookInput
from controller.experiments.policies import Futility, OecRules, OnNoDifference
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.mixture import critical_z, tuned_rho
from controller.stats.spending import Spending
from tests.worlds import binary, plan, statistics

ALPHA, RESERVE = 0.05, 0.005
LOOKS, HORIZONS = 20, 5


def bounds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in horizons, and what |z| must reach there: the plan's bounds, then the reserve's."""
    times = np.arange(1, LOOKS * HORIZONS + 1) / LOOKS
    rules = SequentialPlan(alpha=ALPHA - RESERVE, spending=Spending(parameter=-2.0))
    planned = [look.critical_value for look in boundaries(rules, times[:LOOKS])]
    rho = tuned_rho(1.5, alpha=RESERVE)
    later = [critical_z(t / rho, alpha=RESERVE) for t in times[LOOKS:].tolist()]
    return times, np.array([*planned, *later])


def walks(times: NDArray[np.float64], *, runs: int, drift: float = 0.0) -> NDArray[np.float64]:
    """z of a score with independent increments, at each of these times."""
    rng = np.random.default_rng(27)
    steps = rng.normal(size=(runs, times.size)) * math.sqrt(times[0])
    return np.asarray(np.cumsum(steps, axis=1) / np.sqrt(times) + drift * np.sqrt(times))


def test_both_parts_together_hold_alpha_to_five_horizons() -> None:
    times, critical = bounds()
    runs = 40_000
    crosses = np.abs(walks(times, runs=runs)) >= critical
    error = math.sqrt(ALPHA * (1.0 - ALPHA) / runs)
    within, beyond = crosses[:, :LOOKS].any(axis=1), crosses[:, LOOKS:].any(axis=1)
    assert abs(within.mean() - (ALPHA - RESERVE)) <= 3 * error
    assert 0.0 < (beyond & ~within).mean() <= RESERVE
    assert (within | beyond).mean() <= ALPHA + 2 * error


def test_going_on_at_the_last_bound_of_a_plan_does_not_hold_alpha() -> None:
    """The tempting way: the horizon is past, nothing was found, so look again at the same bound."""
    times, critical = bounds()
    same = np.concatenate([critical[:LOOKS], np.full(times.size - LOOKS, critical[LOOKS - 1])])
    assert (np.abs(walks(times, runs=10_000)) >= same).any(axis=1).mean() > 0.10


def test_the_reserve_finds_what_the_horizon_was_too_short_for() -> None:
    """Half the design effect: the plan alone finds a third, with the reserve over half."""
    times, critical = bounds()
    crosses = walks(times, runs=10_000, drift=1.6) >= critical
    assert crosses[:, :LOOKS].any(axis=1).mean() < 0.33
    assert crosses.any(axis=1).mean() > 0.54


def test_the_live_look_claims_in_the_same_runs_at_the_same_look() -> None:
    """Normal steps are replaced by conversions; the bounds of both are the product's own."""
    rng = np.random.default_rng(270)
    horizon, block = 4000, 100
    chosen = plan(
        horizon=horizon,
        rules=OecRules(
            futility=Futility.NONE,
            gamma=-2.0,
            reserve=RESERVE,
            on_no_difference=OnNoDifference.KEEP_TESTING,
        ),
    )
    _, critical = bounds()
    found = {"planned": 0, "reserve": 0}
    for lift in (0.0, 0.016, 0.020, 0.024) * 2:
        memory, crossed, hits = None, None, np.zeros(2)
        first = None
        for k in range(1, LOOKS * HORIZONS + 1):
            n = k * block
            hits += rng.binomial(block, (0.10, 0.10 + lift))
            report = take_look(
                LookInput(
                    plan=chosen,
                    statistics=statistics(
                        {
                            ("conversion", 0, "champion"): binary(n, int(hits[0])),
                            ("conversion", 0, "challenger"): binary(n, int(hits[1])),
                        }
                    ),
                    number=k,
                    previous=memory,
                )
            )
            memory = report.memory
            share = hits.sum() / (2 * n)
            gap = (hits[1] - hits[0]) / n
            z = gap * math.sqrt(n / 2) / math.sqrt(share * (1 - share) * (2 * n) / (2 * n - 1))
            if first is None and abs(z) >= critical[k - 1] + 1e-3:
                first = k
            crossed = report.metrics[0].comparisons[0].tests[0].crossed
            if crossed is not None:
                break
        assert (crossed.look if crossed else None) == first
        if crossed is not None:
            assert (crossed.part == "reserve") == (crossed.look > LOOKS)
            found[crossed.part] += 1
    assert min(found.values()) >= 1
