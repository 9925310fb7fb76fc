"""The tempting analyses of uneven and drifting data, shown failing beside the one that holds.

Every world is without an effect, every analysis looks once at the 5 % level. `ours` is the
product's score; the wrong ways are what a careful analyst might write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.results import Inconclusive
from controller.stats.score import ArmMoments, EpochMoments, score

pytestmark = pytest.mark.calibration

RUNS = 800
LEVEL = 0.05
SURE = 2.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / RUNS)
CRITICAL = 1.959964

Floats = NDArray[np.float64]
Epochs = list[tuple[Floats, Floats]]
"""Per epoch the values of champion and challenger."""


def moments(values: Floats) -> ArmMoments:
    mean = float(values.mean()) if values.size else 0.0
    return ArmMoments(
        n=values.size,
        mean=mean,
        m2=float(((values - mean) ** 2).sum()),
        nonzero=int(np.count_nonzero(values)),
    )


def ours(epochs: Epochs, *, equal_weights: bool) -> float:
    parts = [
        EpochMoments(epoch=number, control=moments(a), treatment=moments(b))
        for number, (a, b) in enumerate(epochs)
    ]
    found = score(parts, equal_weights=equal_weights)
    return 0.0 if isinstance(found, Inconclusive) else found.z


def raw_pooling(epochs: Epochs) -> float:
    """Both arms thrown together over all epochs."""
    a, b = (np.concatenate([pair[side] for pair in epochs]) for side in (0, 1))
    return float((b.mean() - a.mean()) / math.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size))


def inverse_variance(epochs: Epochs) -> float:
    """Epochs weighted by the precision that each shows by itself."""
    total = weight = 0.0
    for a, b in epochs:
        variance = a.var(ddof=1) / a.size + b.var(ddof=1) / b.size
        if variance > 0.0:
            total += float((b.mean() - a.mean()) / variance)
            weight += float(1.0 / variance)
    return total / math.sqrt(weight) if weight else 0.0


def null_variance_alone(epochs: Epochs) -> float:
    """The score, with the common variance where the arms' weights are unequal."""
    return ours(epochs, equal_weights=True)


def rejected(
    draw: Callable[[np.random.Generator], Epochs], method: Callable[[Epochs], float], seed: int
) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([abs(method(draw(rng))) > CRITICAL for _ in range(RUNS)]))


def uneven(epochs: Epochs) -> float:
    return ours(epochs, equal_weights=False)


def payers(rng: np.random.Generator, n: int) -> Floats:
    return np.asarray((rng.random(n) < 0.02) * rng.lognormal(0.0, 1.0, n))


def payers_at_90_10(rng: np.random.Generator) -> Epochs:
    """Twenty days of 2 % payers, a tenth of 2,000 units a day with the challenger."""
    return [(payers(rng, 1800), payers(rng, 200)) for _ in range(20)]


def drifting_ramp(rng: np.random.Generator) -> Epochs:
    """Challenger 1-10-25-50 % of 5,000 units an epoch while the base rate goes 5 to 7 %."""
    return [
        (_coins(rng, round(5000 * (1 - share)), rate), _coins(rng, round(5000 * share), rate))
        for share, rate in zip((0.01, 0.1, 0.25, 0.5), (0.05, 0.055, 0.06, 0.07), strict=True)
    ]


def louder_challenger(rng: np.random.Generator) -> Epochs:
    """Equal means, the challenger's variance doubled, at 90/10."""
    return [(rng.normal(10, 3, 4500), rng.normal(10, 3 * math.sqrt(2), 500))]


def edited_weights(rng: np.random.Generator) -> Epochs:
    """50/50 and then 20/80, while the base rate rises from 4 to 8 %."""
    return [
        (_coins(rng, 3000, 0.04), _coins(rng, 3000, 0.04)),
        (_coins(rng, 1200, 0.08), _coins(rng, 4800, 0.08)),
    ]


def _coins(rng: np.random.Generator, n: int, p: float) -> Floats:
    return (rng.random(n) < p).astype(np.float64)


@pytest.mark.parametrize(
    ("draw", "wrong", "at_least"),
    [
        (payers_at_90_10, inverse_variance, 0.30),
        (drifting_ramp, raw_pooling, 0.30),
        (edited_weights, raw_pooling, 0.70),
        (louder_challenger, null_variance_alone, 0.10),
    ],
)
def test_the_tempting_way_fails_where_the_score_holds(
    draw: Callable[[np.random.Generator], Epochs],
    wrong: Callable[[Epochs], float],
    at_least: float,
) -> None:
    assert rejected(draw, wrong, seed=1) > at_least
    assert rejected(draw, uneven, seed=1) <= LEVEL + SURE


def test_entering_because_the_outcome_arrived_fails_where_whole_windows_hold() -> None:
    """Positives take longer in one arm: units with an answer are not a fair sample of all units."""
    rng = np.random.default_rng(3)
    early = complete = 0
    for _ in range(RUNS):
        exposed = rng.uniform(0.0, 10.0, (2, 2000))
        converts = rng.random((2, 2000)) < 0.2
        delay = np.where(converts, rng.uniform(0.0, [[2.0], [5.0]], (2, 2000)), 0.1)
        answered, whole = exposed + delay < 10.0, exposed + 5.0 < 10.0
        early += _rejects(converts[0][answered[0]], converts[1][answered[1]])
        complete += _rejects(converts[0][whole[0]], converts[1][whole[1]])
    assert early / RUNS > 0.20
    assert complete / RUNS <= LEVEL + SURE


def _rejects(champion: NDArray[np.bool_], challenger: NDArray[np.bool_]) -> bool:
    pair = (champion.astype(np.float64), challenger.astype(np.float64))
    return abs(ours([pair], equal_weights=True)) > CRITICAL


def test_correlating_looks_by_todays_variances_alone_fails_where_the_smaller_one_holds() -> None:
    """Revenue whose spread triples in the last third of one epoch, 20 looks (decision 0011)."""
    runs, looks, units = 8000, 20, 500
    rng = np.random.default_rng(4)
    spread = np.where(np.arange(looks) * 3 >= 2 * looks - 1, 9.0, 3.0)
    means = rng.normal(0.0, spread / math.sqrt(units), (2, runs, looks))
    within = spread**2 * rng.chisquare(units - 1, (2, runs, looks))
    total = (units * means).cumsum(axis=2)
    squares = (within + units * means**2).cumsum(axis=2).sum(axis=0)
    n = units * np.arange(1, looks + 1)
    common = (squares - total.sum(axis=0) ** 2 / (2 * n)) / (2 * n - 1)
    z = (total[1] - total[0]) / n / np.sqrt(common * 2 / n)
    clock, gathered = n / n[-1], np.cumsum(spread**2)

    def claims(information: Floats) -> float:
        taken = boundaries(SequentialPlan(alpha=LEVEL), information, spending_time=clock)
        critical = np.array([look.critical_value for look in taken])
        return float((np.abs(z) >= critical).any(axis=1).mean())

    assert claims(clock) > 0.06
    assert claims(gathered) <= LEVEL + 2.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / runs)
