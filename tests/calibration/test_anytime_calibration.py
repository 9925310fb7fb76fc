"""Error rates of the always-valid methods, simulated with fixed seeds; each states its error.

A rate p from n runs has a Monte Carlo standard error of sqrt(p (1 - p) / n); the bounds below allow
two of them over the nominal level. Exact enumeration is used where it is possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri

from controller.stats.betting import BettingInterval, bounded_difference
from controller.stats.counts import EpochEvents
from controller.stats.counts import log_e_value as log_e_of_events
from controller.stats.mixture import critical_z, log_e_value, tuned_rho
from controller.stats.quantile import log_cuts, quantile_log_e
from controller.stats.results import Alternative, Inconclusive
from controller.stats.srm import log_e_value as log_e_of_counts

pytestmark = pytest.mark.calibration

Floats = NDArray[np.float64]


def _allowed(level: float, runs: int) -> float:
    return level + 2.0 * math.sqrt(level * (1.0 - level) / runs)


# ---------------------------------------------------------- exact: mean e-value under the null


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("events", [1, 7, 60, 400])
def test_mean_e_value_of_event_counts_is_one_at_the_null(events: int, share: float) -> None:
    mean = sum(
        math.exp(_log_binomial(events, hits, share) + _e_of(events, hits, share, "two-sided"))
        for hits in range(events + 1)
    )
    assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("true_ratio", [1.0, 0.8])
def test_mean_e_value_of_a_one_sided_claim_is_at_most_one(true_ratio: float) -> None:
    events, share = 200, 0.3
    odds = share / (1.0 - share) * true_ratio
    chance = odds / (1.0 + odds)
    mean = sum(
        math.exp(_log_binomial(events, hits, chance) + _e_of(events, hits, share, "larger"))
        for hits in range(events + 1)
    )
    assert mean == pytest.approx(1.0, abs=1e-9) if true_ratio == 1.0 else mean < 1.0


@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_mean_e_value_of_the_mixture_is_one_at_the_null(alternative: Alternative) -> None:
    z = np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    for ratio in (0.01, 1.0, 3.0):
        e = np.exp(log_e_value(z, ratio, alternative=alternative))
        assert float(np.trapezoid(e * density, z)) == pytest.approx(1.0, abs=1e-6)


def test_mean_e_value_of_sample_ratios_is_one_at_the_null() -> None:
    units = 300
    counts = np.array([[k, units - k] for k in range(units + 1)])
    log_e = log_e_of_counts(counts, [0.9, 0.1])
    mean = sum(math.exp(_log_binomial(units, k, 0.9) + float(log_e[k])) for k in range(units + 1))
    assert mean == pytest.approx(1.0, abs=1e-9)


def _log_binomial(n: int, k: int, p: float) -> float:
    ways = float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)


def _e_of(events: int, hits: int, share: float, alternative: Alternative) -> float:
    epoch = EpochEvents(control=events - hits, treatment=hits, share=share)
    return log_e_of_events([epoch], alternative=alternative)


# ---------------------------------------------------------- simulated: peeking at every look


@dataclass(frozen=True)
class Streams:
    """Cumulative sums of one epoch at every look: units, sums and squares, [runs, looks]."""

    n0: Floats
    n1: Floats
    s0: Floats
    s1: Floats
    q0: Floats
    q1: Floats


def _pooled_score(epochs: list[Streams]) -> tuple[Floats, Floats, Floats]:
    """S, V and W of the design-weighted score with the pooled variance of each epoch."""
    score = variance = size = np.zeros_like(epochs[0].s0)
    for e in epochs:
        n = e.n0 + e.n1
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.nan_to_num(e.n0 * e.n1 / n)
            d = np.nan_to_num(e.s1 / e.n1 - e.s0 / e.n0)
            s2 = np.nan_to_num((e.q0 + e.q1 - (e.s0 + e.s1) ** 2 / n) / (n - 1.0))
        score, variance, size = score + w * d, variance + w * s2, size + w
    return score, variance, size


def _ever_rejected(epochs: list[Streams], alpha: float = 0.05) -> float:
    score, variance, size = _pooled_score(epochs)
    z = np.divide(score, np.sqrt(variance), out=np.zeros_like(score), where=variance > 0.0)
    ratio = size / tuned_rho(float(size.max()) / 2.0, alpha=alpha)
    return float((log_e_value(z, ratio) >= -math.log(alpha)).any(axis=1).mean())


def _ramp(rng: np.random.Generator, runs: int, base: list[float]) -> list[Streams]:
    """Shares 1, 10, 25, 50 % of the challenger, ten looks of 500 units each, no effect."""
    epochs = []
    for index, share in enumerate((0.01, 0.10, 0.25, 0.50)):
        n1 = np.zeros((runs, 40))
        n1[:, 10 * index : 10 * index + 10] = rng.binomial(500, share, (runs, 10))
        n0 = np.zeros((runs, 40))
        n0[:, 10 * index : 10 * index + 10] = 500 - n1[:, 10 * index : 10 * index + 10]
        x0, x1 = (
            rng.binomial(n0.astype(int), base[index]),
            rng.binomial(n1.astype(int), base[index]),
        )
        n0, n1, s0, s1 = (v.cumsum(axis=1).astype(float) for v in (n0, n1, x0, x1))
        epochs.append(Streams(n0=n0, n1=n1, s0=s0, s1=s1, q0=s0, q1=s1))
    return epochs


def test_ramp_under_a_drifting_base_rate_keeps_its_error_and_pooling_does_not() -> None:
    runs = 2000
    epochs = _ramp(np.random.default_rng(11), runs, [0.05, 0.055, 0.06, 0.07])
    assert _ever_rejected(epochs) <= _allowed(0.02, runs)
    pooled = Streams(
        **{
            name: np.sum([getattr(e, name) for e in epochs], axis=0)
            for name in Streams.__annotations__
        }
    )
    assert _ever_rejected([pooled]) > 0.15


@pytest.mark.parametrize("law", ["binary", "lognormal"])
def test_peeking_at_every_look_keeps_the_error_where_a_fixed_test_loses_it(law: str) -> None:
    runs, looks, block = 1500, 100, 50
    rng = np.random.default_rng(50)
    if law == "binary":
        s = q = rng.binomial(block, 0.05, (2, runs, looks)).astype(float).cumsum(axis=2)
    else:
        values = rng.lognormal(0.0, 1.2, (2, runs, looks, block)).astype(np.float32)
        s = values.sum(axis=3, dtype=float).cumsum(axis=2)
        q = np.square(values, out=values).sum(axis=3, dtype=float).cumsum(axis=2)
    n = np.broadcast_to(block * np.arange(1.0, looks + 1.0), (runs, looks))
    stream = Streams(n0=n, n1=n, s0=s[0], s1=s[1], q0=q[0], q1=q[1])
    assert _ever_rejected([stream]) <= _allowed(0.025, runs)
    score, variance, _ = _pooled_score([stream])
    z = np.divide(score, np.sqrt(variance), out=np.zeros_like(score), where=variance > 0.0)
    peeked = float((np.abs(z) > -float(ndtri(0.025))).any(axis=1).mean())
    assert peeked > 0.25


def test_interval_covers_the_effect_even_when_the_test_stops_at_will() -> None:
    runs, looks, effect = 2000, 100, 0.25
    rng = np.random.default_rng(5)
    steps = rng.normal(effect, 2.0, (runs, looks)).cumsum(axis=1)
    size = np.arange(1.0, looks + 1.0)
    ratio = size / tuned_rho(looks / 2.0, alpha=0.05)
    bound = np.array([critical_z(r, alpha=0.05) for r in ratio]) * 2.0 / np.sqrt(size)
    estimate = steps / size
    crossed = np.abs(estimate) > bound
    stop = np.where(crossed.any(axis=1), crossed.argmax(axis=1), looks - 1)
    at = np.arange(runs)
    covered = np.abs(estimate[at, stop] - effect) <= bound[stop]
    assert covered.mean() >= 1.0 - _allowed(0.05, runs)


def test_sequential_srm_rarely_cries_wolf_and_finds_51_to_49() -> None:
    runs, looks = 4000, 200
    rng = np.random.default_rng(3)
    units = 500 * np.arange(1, looks + 1)
    limit = math.log(1000.0)

    def ever(share: float) -> tuple[NDArray[np.bool_], Floats]:
        x = rng.binomial(500, share, (runs, looks)).cumsum(axis=1)
        e = log_e_of_counts(np.stack([x, units - x], axis=-1), [0.5, 0.5])
        z = (x - units / 2) / np.sqrt(units / 4)
        return e >= limit, np.abs(z)

    healthy, z = ever(0.5)
    assert healthy.any(axis=1).mean() <= _allowed(0.001, runs)
    assert (z > -float(ndtri(0.0005))).any(axis=1).mean() > 0.01
    broken, _ = ever(0.51)
    assert broken.any(axis=1).mean() > 0.95
    assert np.median(units[broken.argmax(axis=1)]) <= 42_000


def test_betting_difference_keeps_its_error_on_uneven_shares() -> None:
    runs, rejected = 60, 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        share = np.repeat([0.2, 0.5], 300)
        treated = rng.random(600) < share
        values = (rng.random(600) < np.repeat([0.2, 0.6], 300)).astype(float)
        found = bounded_difference(values, treated, share=share, alpha=0.05, grid=400)
        assert isinstance(found, BettingInterval)
        rejected += not found.lower <= 0.0 <= found.upper
    assert rejected / runs <= _allowed(0.05, runs)


@dataclass(frozen=True)
class Grid:
    cuts: tuple[float, ...]
    units: int
    outcomes: int
    outcomes_squared: int
    below: tuple[int, ...]
    below_squared: tuple[int, ...]
    below_outcomes: tuple[int, ...]


def _grid(below: NDArray[np.int64], n: NDArray[np.int64], cuts: tuple[float, ...]) -> Grid:
    return Grid(
        cuts=cuts,
        units=len(n),
        outcomes=int(n.sum()),
        outcomes_squared=int(n @ n),
        below=tuple(below.sum(axis=0).tolist()),
        below_squared=tuple((below * below).sum(axis=0).tolist()),
        below_outcomes=tuple((below * n[:, None]).sum(axis=0).tolist()),
    )


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_clustered_quantiles_peeked_keep_their_error(spread: float) -> None:
    """Equal 0.9-quantiles, three outcomes a unit, arms of equal or very different spread."""
    runs, looks, block, each = 150, 8, 250, 3
    cuts = log_cuts(0.2, 40.0, count=64)
    rng = np.random.default_rng(17)
    rejected = 0
    for _ in range(runs):
        arms = []
        for sigma in (0.5, spread):
            level = rng.normal(0.0, sigma / math.sqrt(2.0), (looks * block, 1))
            noise = rng.normal(0.0, sigma / math.sqrt(2.0), (looks * block, each))
            values = np.exp(level + noise - sigma * float(ndtri(0.9)))
            arms.append((values[:, :, None] <= np.array(cuts)).sum(axis=1))
        n = np.full(looks * block, each)
        for look in range(1, looks + 1):
            seen = slice(0, look * block)
            pair = (_grid(arms[0][seen], n[seen], cuts), _grid(arms[1][seen], n[seen], cuts))
            found = quantile_log_e([pair], q=0.9, alpha=0.05, tuning=500.0)
            if not isinstance(found, Inconclusive) and found >= math.log(20.0):
                rejected += 1
                break
    assert rejected / runs <= _allowed(0.05, runs)
