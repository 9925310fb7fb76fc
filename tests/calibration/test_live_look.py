"""I15 on the live look itself: `take_look` at every opportunity, in worlds without an effect.

A short run of every world for each commit; `make calibrate` runs them at full length, and
docs/explanation/error-rates.md holds its figures. A rate p from n runs has a Monte Carlo standard
error of sqrt(p (1 - p) / n); each world is allowed three of them over its level, all together
two.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.stats.group_sequential import SequentialPlan, boundaries
from tests.calibration.streams import (
    Rates,
    World,
    alike,
    coins,
    normals,
    outcome,
    plan_for,
    rates,
    run,
)
from tests.calibration.worlds_without_effect import MARGINS, worlds
from tests.calibration.written_out import claims, count_claims

pytestmark = pytest.mark.calibration

RUNS = 20
LEVELS = {"better": 0.025, "any_claim": 0.05, "not_worse": 0.025, "harm": 0.01, "srm": 0.001}


@pytest.fixture(scope="module")
def found() -> dict[str, Rates]:
    return {
        world.name: rates(world, runs=RUNS, seed=number, harm=MARGINS[world.name])
        for number, world in enumerate(worlds(looks=10, units=1000))
    }


@pytest.mark.parametrize("part", LEVELS)
def test_each_part_of_i15_holds_in_every_world_and_over_all(
    found: dict[str, Rates], part: str
) -> None:
    level = LEVELS[part]
    measured = {name: getattr(each, part) for name, each in found.items()}
    alone = level + 3.0 * math.sqrt(level * (1.0 - level) / RUNS)
    together = level + 2.0 * math.sqrt(level * (1.0 - level) / (RUNS * len(measured)))
    assert max(measured.values()) <= max(alone, 1.0 / RUNS), measured
    assert sum(measured.values()) / len(measured) <= together, measured


@pytest.mark.parametrize("futility", [False, True])
def test_the_final_interval_covers_and_the_final_estimate_is_centred(futility: bool) -> None:
    world = alike("an effect worth finding", normals(5.0), looks=10, units=400)
    runs = 100
    found = rates(world, runs=runs, seed=71, lift=0.5, futility=futility)
    assert 0.6 < found.better < 0.98  # some stop early, some go to the end
    assert found.covered >= 0.95 - 3.0 * math.sqrt(0.05 * 0.95 / runs)
    assert abs(found.above - 0.5) <= 3.0 * 0.5 / math.sqrt(runs)


def test_the_live_look_decides_like_the_formulae_written_out_again() -> None:
    """One epoch of rare conversions, whole rollouts: the same claim as ten lines of numpy."""
    world = World(name="rare", champion=coins(0.004), challenger=coins(0.0065))
    chosen = plan_for(world, margin=1.0)
    generator = np.random.default_rng(77)
    for _ in range(25):
        state = generator.bit_generator.state
        live = outcome(run(world, chosen, generator))
        generator.bit_generator.state = state
        again = written_out(world, generator)
        assert (live.better, live.worse) == (again > 0, again < 0)


def written_out(world: World, rng: np.random.Generator) -> float:
    """Sign of the first crossing of the pooled z, 0 for none; conversions in one epoch."""
    blocks = []
    for look in range(world.looks):
        n1 = int(rng.binomial(world.units, 0.5))
        n0 = world.units - n1
        x0 = world.champion(rng, n0, look).sum()
        blocks.append((n1, n0, world.challenger(rng, n1, look).sum(), x0))
    n1, n0, x1, x0 = np.cumsum(np.array(blocks, dtype=np.float64), axis=0).T
    size, units = n1 * n0 / (n1 + n0), n1 + n0
    pooled = (x1 + x0) / units
    variance = size * pooled * (1 - pooled) * units / (units - 1)
    z = size * (x1 / n1 - x0 / n0) / np.sqrt(variance)
    clock = np.minimum(size / (world.horizon * 0.25), 1.0)
    last = int(np.argmax(clock >= 1.0)) if clock[-1] >= 1.0 else world.looks - 1
    counted = [i for i in range(last + 1) if clock[i] >= 0.05]
    taken = boundaries(SequentialPlan(alpha=0.05), size[counted], spending_time=clock[counted])
    crossed = np.abs(z[counted]) >= [look.critical_value for look in taken]
    return float(np.sign(z[counted][crossed.argmax()])) if crossed.any() else 0.0


@pytest.mark.parametrize("rates_by_epoch", [(0.002,), (0.1,), (0.02, 0.05, 0.08, 0.10)])
def test_claims_hold_their_level_in_very_many_runs(rates_by_epoch: tuple[float, ...]) -> None:
    runs = 8000
    better, anything = claims(rates_by_epoch, runs=runs, seed=5)
    assert better <= 0.025 + 2.0 * math.sqrt(0.025 * 0.975 / runs)
    assert anything <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / runs)


def test_claims_about_overdispersed_counts_hold_their_level_in_very_many_runs() -> None:
    runs = 20_000
    better, anything = count_claims(runs=runs, seed=6)
    assert better <= 0.025 + 2.0 * math.sqrt(0.025 * 0.975 / runs)
    assert anything <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / runs)
