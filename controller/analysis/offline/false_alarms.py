"""How often a metric's chosen test cries wolf on recorded units whose arms were drawn at random.

Every redraw is a true null, so each claim in it is false. The tests are those of `analyze`, look by
look; what is measured is the rate of redraws with a claim, beside the level that the test promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import bdtr, bdtrc, ndtr

from controller.analysis.offline.compare import Judged, judge
from controller.analysis.offline.fixed import fixed_result
from controller.analysis.offline.redraw import Pool
from controller.analysis.offline.spec import MetricSpec, Mode, Role
from controller.analysis.offline.tables import Progress
from controller.analysis.report import Comparison
from controller.experiments.metrics import MetricType
from controller.stats.results import Inconclusive

_CLAIMS = frozenset({"better", "worse", "not_worse"})
_SURE = 0.01
_READABLE = 0.95


class Trust(StrEnum):
    """What the redraws say about a metric and its test."""

    CALIBRATED = "calibrated"
    CAUTIOUS = "cautious"
    TOO_MANY_ALARMS = "too_many_alarms"
    NOT_READABLE = "not_readable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Redraws with an alarm.

    Attributes
    ----------
    alarms, runs : int
    level : float
        What the test promises at most.
    """

    alarms: int
    runs: int
    level: float

    @property
    def share(self) -> float:
        """Alarms per run."""
        return self.alarms / self.runs

    @property
    def error(self) -> float:
        """Monte Carlo standard error of `share`, at least that of one alarm."""
        p = max(self.share, 1.0 / self.runs)
        return math.sqrt(max(p * (1.0 - p), 1.0 / self.runs) / self.runs)

    @property
    def too_many(self) -> bool:
        """Whether chance explains so many alarms at the level in less than 1 % of cases."""
        if self.alarms == 0:
            return False
        return bool(bdtrc(self.alarms - 1, self.runs, self.level) < _SURE)

    @property
    def too_few(self) -> bool:
        """Whether chance explains so few alarms at the level in less than 1 % of cases."""
        return bool(bdtr(self.alarms, self.runs, self.level) < _SURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricAlarms:
    """One metric over all redraws.

    Attributes
    ----------
    claims : Rate
        Of the metric's own test at its mode; a guardrail against a margin of 0. With several
        challengers any claim counts where they share alpha, else the first challenger's.
    peeked : float
        Redraws that a fixed test would have claimed at any of the looks.
    harm : Rate or None
        Of a guardrail's alarm.
    readable : float
        Share of redraws in which the last look could be read at all.
    clock : float
        Share of the planned horizon that the data reach; 1 for other modes.
    largest : float or None
        Part of the value's variance that the largest unit alone makes up; None for a quantile.
    nonzero : float or None
        Share of units with a value other than 0.
    together : bool
        Whether units were drawn in groups.
    """

    spec: MetricSpec
    claims: Rate
    peeked: float
    harm: Rate | None
    readable: float
    clock: float
    largest: float | None
    nonzero: float | None
    together: bool = False

    @property
    def trust(self) -> Trust:
        """The verdict; a harm alarm that cries too often counts as well."""
        if self.readable < _READABLE:
            return Trust.NOT_READABLE
        if self.claims.too_many or (self.harm is not None and self.harm.too_many):
            return Trust.TOO_MANY_ALARMS
        if self.spec.mode is not Mode.ANYTIME and self.claims.too_few:
            return Trust.CAUTIOUS
        return Trust.CALIBRATED


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """Every metric over all redraws, and the sample-ratio alarm."""

    metrics: tuple[MetricAlarms, ...]
    srm: Rate
    units: int
    looks: int


@dataclass(slots=True)
class _Tally:
    """Counts of one metric so far."""

    claims: int = 0
    peeked: int = 0
    harm: int = 0
    readable: int = 0
    unspent: int = 0
    spent: float = 0.0
    clock: float = 0.0


def measure(pool: Pool, *, runs: int, seed: int, progress: Progress) -> FalseAlarms:
    """Draw the arms `runs` times and take every look each time.

    Parameters
    ----------
    pool : Pool
    runs, seed : int
        The k-th redraw depends on `seed` and k alone.
    """
    tallies = {metric.key: _Tally() for metric in pool.spec.metrics}
    alarms = looks = 0
    for run in range(runs):
        recorded = pool.draw(np.random.default_rng((seed, 1 + run)))
        judged = judge(pool.spec, recorded, _silent, at_equality=True)
        looks = len(recorded.looks)
        alarms += judged.srm.alarm
        for metric in recorded.metrics:
            _count(tallies[metric.key], judged, metric)
        progress("drawing arms", (run + 1) / runs)
    return FalseAlarms(
        metrics=tuple(_result(pool, m, tallies[m.key], runs) for m in pool.spec.metrics),
        srm=Rate(alarms=alarms, runs=runs, level=pool.spec.srm_alpha),
        units=len(pool.arrivals.arm),
        looks=looks,
    )


def _count(tally: _Tally, judged: Judged, metric: MetricSpec) -> None:
    last = judged.looks[-1][metric.key]
    arm, sight = next(iter(last.sights.items()))
    rules = judged.rules[metric.key]
    shared = list(last.comparisons.values()) if rules.levels > 1 else [last.comparisons[arm]]
    tally.peeked += any(p <= metric.alpha for p in _fixed(judged, metric.key, arm))
    if metric.mode is Mode.FIXED:
        level = metric.alpha / rules.levels  # the first rung of Holm's ladder
        found = [fixed_result(rules, last.sights[each.arm]) for each in shared]
        tally.readable += not isinstance(fixed_result(rules, sight), Inconclusive)
        tally.claims += any(not isinstance(f, Inconclusive) and f.p <= level for f in found)
        return
    claimed = any(_claims(comparison) for comparison in shared)
    tally.claims += claimed
    tally.readable += sight.known is not None and last.comparisons[arm].tests[0].look > 0
    tally.harm += any(test.crossed is not None for each in shared for test in each.tests[1:])
    if not claimed:
        test = last.comparisons[arm].tests[0]
        tally.unspent += 1
        tally.spent += test.alpha_spent * rules.levels
        tally.clock += min(test.t, 1.0)


def _fixed(judged: Judged, key: str, arm: str) -> Iterator[float]:
    """p of the fixed test at every look that could be read; a quantile's interval is left out."""
    rules = judged.rules[key]
    for look in judged.looks:
        sight = look[key].sights[arm]
        if sight.pair.metric.type is not MetricType.QUANTILE:
            found = fixed_result(rules, sight)
            if not isinstance(found, Inconclusive):
                yield found.p
        elif sight.known is not None:
            z = sight.known.z
            yield rules.sides * float(ndtr(-abs(z) if rules.sides == 2 else -rules.better * z))


def _claims(comparison: Comparison) -> bool:
    crossed = comparison.tests[0].crossed
    return crossed is not None and crossed.direction in _CLAIMS


def _result(pool: Pool, metric: MetricSpec, tally: _Tally, runs: int) -> MetricAlarms:
    planned = metric.mode is Mode.PLANNED
    going = max(tally.unspent, 1)
    spread = _spread(pool, metric)
    guarded = metric.role is Role.GUARDRAIL and metric.mode is not Mode.FIXED
    return MetricAlarms(
        spec=metric,
        claims=Rate(
            alarms=tally.claims,
            runs=runs,
            level=min(tally.spent / going, metric.alpha) if planned else metric.alpha,
        ),
        peeked=tally.peeked / runs,
        harm=Rate(alarms=tally.harm, runs=runs, level=pool.spec.harm_alpha) if guarded else None,
        readable=tally.readable / runs,
        clock=tally.clock / going if planned else 1.0,
        largest=spread.get("largest"),
        nonzero=spread.get("nonzero"),
        together=pool.drawn_together,
    )


def _spread(pool: Pool, metric: MetricSpec) -> Mapping[str, float]:
    """How much of the variance the largest unit makes up, after winsorising; nothing if unknown."""
    if metric.key in pool.frozen.cuts:
        return {}
    values = np.concatenate([v.matrix[:, 0] for m, v in pool.values if m.key == metric.key])
    values = values[~np.isnan(values)]
    if metric.key in pool.frozen.caps:
        values = np.minimum(values, pool.frozen.caps[metric.key])
    if not values.size:
        return {}
    squares = (values - values.mean()) ** 2
    total = float(squares.sum())
    largest = float(squares.max()) / total if total > 0.0 else 0.0
    return {"largest": largest, "nonzero": float(np.count_nonzero(values) / values.size)}


def _silent(_what: str, _share: float) -> None:
    """A single redraw shows no progress of its own."""
