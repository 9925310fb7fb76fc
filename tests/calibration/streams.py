"""Worlds without any effect, and what the live look makes of them.

Each `World` draws, look by look, the sums that aggregation would hand over; the look itself is the
product's own `take_look`, memory and all. Nothing here knows a bound or a formula of the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, Mode, OecRules
from controller.experiments.slots import Guardrail
from tests.worlds import metric, plan

Rng = np.random.Generator
Floats = NDArray[np.float64]
Values = Callable[[Rng, int, int], NDArray[np.float64]]
"""(generator, units, look) -> one value a unit; of a ratio numerator and denominator, and both
again as they were before exposure where it looks back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How units behave, look by look.

    Attributes
    ----------
    champion, challenger : callable (rng, units, look) -> values
        Both means are equal: these are worlds without an effect.
    weights : tuple of float
        Challenger's weight in each epoch.
    epoch : callable look -> epoch
    looks, units : int
        Number of looks, and units of both arms that are exposed between two of them.
    kind : MetricType
        Of the OEC and of the guardrail.
    lag : int
        Looks that pass until a block's outcomes are complete: until then its units are exposed,
        open, and in no test.
    """

    name: str
    champion: Values
    challenger: Values
    weights: tuple[float, ...] = (0.5,)
    epoch: Callable[[int], int] = lambda _: 0
    looks: int = 20
    units: int = 1000
    kind: MetricType = MetricType.MEAN
    lag: int = 0

    @property
    def horizon(self) -> int:
        """Units at which the last look ends the test, on the clock of the last weights."""
        last = self.weights[self.epoch(self.looks - 1)]
        sizes = (self.weights[self.epoch(look)] for look in range(self.looks))
        gathered = math.fsum(self.units * share * (1.0 - share) for share in sizes)
        return math.floor(0.98 * gathered / (last * (1.0 - last)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run has claimed by its end."""

    better: bool
    worse: bool
    anytime: bool
    harm: bool
    srm: bool
    not_worse: bool
    covered: bool
    above: bool


def alike(name: str, values: Values, **sizes: Any) -> World:
    """A world in which both arms draw from the same law."""
    return World(name=name, champion=values, challenger=values, **sizes)


def coins(p: float | Callable[[int], float]) -> Values:
    """Conversions at a constant rate, or one that follows the look."""
    rate = p if callable(p) else lambda _: p

    def draw(rng: Rng, n: int, look: int) -> NDArray[np.float64]:
        return (rng.random(n) < rate(look)).astype(np.float64)

    return draw


def payers(share: float = 0.02, sigma: float = 1.0) -> Values:
    """Revenue of few payers: lognormal with probability `share`, else zero."""

    def draw(rng: Rng, n: int, look: int) -> NDArray[np.float64]:
        return (rng.random(n) < share) * rng.lognormal(0.0, sigma, n)

    return draw


def normals(sd: float | Callable[[int], float], mean: float = 10.0) -> Values:
    """Normal values whose spread may follow the look."""
    spread = sd if callable(sd) else lambda _: sd

    def draw(rng: Rng, n: int, look: int) -> NDArray[np.float64]:
        return rng.normal(mean, spread(look), n)

    return draw


def requests(rate: float, *, counted: bool = False) -> Values:
    """Requests of one unit share its luck: 1 + Poisson(4) of them, failing at a Beta rate.

    The unit is randomised and the request is measured: failures over requests, or their number.
    """

    def draw(rng: Rng, n: int, look: int) -> NDArray[np.float64]:
        sent = 1.0 + rng.poisson(4.0, n)
        failed = rng.binomial(sent.astype(np.int64), rng.beta(1.0, (1.0 - rate) / rate, n))
        return failed.astype(np.float64) if counted else np.column_stack([failed, sent])

    return draw


def spending(price: float | Callable[[int], float]) -> Values:
    """Spend over orders, and four times as long of both before: customers have their own ways.

    What one customer pays for an order, and how often he orders, he did before exposure as well.
    """
    level = price if callable(price) else lambda _: price

    def draw(rng: Rng, n: int, look: int) -> NDArray[np.float64]:
        own = level(look) * rng.gamma(9.0, 1 / 9.0, n)
        often = rng.gamma(4.0, 1.0, n)
        orders, before = 1.0 + rng.poisson(often), 4.0 + rng.poisson(4.0 * often)
        noise = rng.gamma(50.0, 1 / 50.0, (2, n))
        return np.column_stack([orders * own * noise[0], orders, before * own * noise[1], before])

    return draw


def plan_for(world: World, *, margin: float, futility: bool = False) -> Plan:
    """One OEC and one guardrail on the same values."""
    watched = _watched(world, "cost", Direction.DECREASE)
    return plan(
        horizon=world.horizon,
        oec=_watched(world, "value", Direction.INCREASE),
        guardrails={"cost": (watched, Guardrail(metric="cost", margin=margin))},
        rules=OecRules(
            futility=Futility.NON_BINDING if futility else Futility.NONE,
            gamma=-3.0 if futility else -2.0,
        ),
        weights=_last_weights(world),
    )


def open_plan_for(world: World) -> Plan:
    """The OEC alone, in anytime mode."""
    return plan(
        horizon=world.horizon,
        oec=_watched(world, "value", Direction.INCREASE),
        rules=OecRules(mode=Mode.ANYTIME, futility=Futility.NONE),
        weights=_last_weights(world),
    )


def _last_weights(world: World) -> dict[str, float]:
    share = world.weights[world.epoch(world.looks - 1)]
    return {"champion": 1.0 - share, "challenger": share}


def _watched(world: World, key: str, direction: Direction) -> Metric:
    below = "requests" if world.kind is MetricType.RATIO else None
    return metric(key, type=world.kind, direction=direction, denominator=below)


class Sums:
    """Running sums by epoch and arm, as aggregation keeps them: of all columns and their products.

    The columns are y, or y and d of a ratio, or these and both before exposure.
    """

    def __init__(self) -> None:
        self.exposed: dict[tuple[int, str], int] = {}
        self.cells: dict[tuple[int, str], tuple[int, int, Floats, Floats]] = {}

    def expose(self, epoch: int, arm: str, units: int) -> None:
        self.exposed[epoch, arm] = self.exposed.get((epoch, arm), 0) + units

    def add(self, epoch: int, arm: str, values: Floats) -> None:
        table = values.reshape(len(values), -1)
        n, hit = len(table), int(np.count_nonzero(table[:, 0]))
        sums, products = table.sum(axis=0), table.T @ table
        before = self.cells.get((epoch, arm))
        if before is not None:
            n, hit = n + before[0], hit + before[1]
            sums, products = sums + before[2], products + before[3]
        self.cells[epoch, arm] = n, hit, sums, products

    def moments(self, *, shift: float = 0.0) -> Iterator[tuple[tuple[int, str], Moments]]:
        """Means and co-deviations; the challenger's value (or ratio) moved by `shift`."""
        for key, (n, hit, sums, products) in self.cells.items():
            if n == 0:
                continue
            moved = shift if key[1] == "challenger" else 0.0
            by = np.eye(sums.size)
            if sums.size > 1:
                by[0, 1], moved = moved, 0.0
            mean = by @ (sums / n)
            scatter = by @ (products - np.outer(sums, sums) / n) @ by.T
            yield key, _moments(n, hit, mean, scatter, moved)


def _moments(n: int, hit: int, mean: Floats, scatter: Floats, moved: float) -> Moments:
    """The form a look reads; columns that are not there are zeros."""
    level, m2 = np.zeros(4), np.zeros((4, 4))
    level[: mean.size], m2[: mean.size, : mean.size] = mean, scatter
    y, d, x, z = range(4)
    return Moments(
        n=n,
        nonzero=hit,
        mean=float(level[y] + moved),
        m2=max(0.0, float(m2[y, y])),
        denominator_mean=float(level[d]),
        denominator_m2=max(0.0, float(m2[d, d])),
        cross_m2=float(m2[y, d]),
        covariate_n=n if mean.size > 2 else 0,
        covariate_mean=float(level[x]),
        covariate_m2=max(0.0, float(m2[x, x])),
        covariate_cross_m2=float(m2[y, x]),
        denominator_covariate_m2=float(m2[d, x]),
        second_mean=float(level[z]),
        second_m2=max(0.0, float(m2[z, z])),
        second_cross_m2=float(m2[y, z]),
        denominator_second_m2=float(m2[d, z]),
        covariate_second_m2=float(m2[x, z]),
    )


def snapshot(world: World, sums: Sums, *, harm: float = 0.0, lift: float = 0.0) -> Statistics:
    """What a look may see; `harm` and `lift` move the challenger's cost and value by a constant."""
    cells = {("value", *key): each for key, each in sums.moments(shift=lift)}
    cells |= {("cost", *key): each for key, each in sums.moments(shift=harm)}
    now = Freshness(age_seconds=1.0)
    return Statistics(
        watermark="2026-01-01T00:00:00Z",
        taken_at="2026-01-01T00:00:00Z",
        epochs=tuple(
            Epoch(
                number=number,
                allocation=1,
                enrolled=1.0,
                weights={"champion": 1.0 - share, "challenger": share},
            )
            for number, share in enumerate(world.weights)
        ),
        exposed=dict(sums.exposed),
        moments=cells,
        grids={},
        open_units={},
        freshness={"value": now, "cost": now},
        excluded={},
    )


def run(
    world: World, the_plan: Plan, rng: Rng, *, harm: float = 0.0, lift: float = 0.0
) -> LookReport:
    """One rollout, looked at after every block; the last report."""
    (report,) = run_beside(world, [the_plan], rng, harm=harm, lift=lift)
    return report


def run_beside(
    world: World, plans: Sequence[Plan], rng: Rng, *, harm: float = 0.0, lift: float = 0.0
) -> list[LookReport]:
    """Several plans look at the same rollout; the last report of each."""
    sums = Sums()
    memories: list[Mapping[str, Any] | None] = [None] * len(plans)
    reports: list[LookReport] = []
    waiting: list[tuple[int, str, NDArray[np.float64]]] = []
    for look in range(world.looks + world.lag):
        if look < world.looks:
            waiting += _exposed(world, sums, rng, look)
        if look >= world.lag:
            for epoch, arm, values in waiting[:2]:
                sums.add(epoch, arm, values)
            del waiting[:2]
        seen = snapshot(world, sums, harm=harm, lift=lift)
        reports = [
            take_look(LookInput(plan=each, statistics=seen, number=look + 1, previous=memory))
            for each, memory in zip(plans, memories, strict=True)
        ]
        memories = [report.memory for report in reports]
    return reports


def _exposed(
    world: World, sums: Sums, rng: Rng, look: int
) -> list[tuple[int, str, NDArray[np.float64]]]:
    """One block of units meets its arms; their outcomes are told later."""
    epoch = world.epoch(look)
    challengers = int(rng.binomial(world.units, world.weights[epoch]))
    blocks = []
    for arm, law, units in (
        ("champion", world.champion, world.units - challengers),
        ("challenger", world.challenger, challengers),
    ):
        sums.expose(epoch, arm, units)
        blocks.append((epoch, arm, law(rng, units, look)))
    return blocks


def outcome(report: LookReport, *, lift: float = 0.0, always: LookReport | None = None) -> Outcome:
    """What was claimed by the end, and how the truth lies to the final interval and estimate.

    Parameters
    ----------
    always : LookReport, optional
        Of the plan in anytime mode on the same rollout.
    """
    oec, guardrail = report.metrics
    claim = oec.comparisons[0].tests[0].crossed
    interval = oec.comparisons[0].interval
    low = interval.low if interval is not None and interval.low is not None else -math.inf
    high = interval.high if interval is not None and interval.high is not None else math.inf
    estimate = claim.estimate if claim is not None else None
    shown, alarm = (test.crossed for test in guardrail.comparisons[0].tests)
    return Outcome(
        better=claim is not None and claim.direction == "better",
        worse=claim is not None and claim.direction == "worse",
        anytime=always is not None and _claimed(always),
        harm=alarm is not None,
        srm=report.srm.alarm,
        not_worse=shown is not None and shown.direction == "not_worse",
        covered=low <= lift <= high,
        above=estimate is not None and estimate > lift,
    )


def _claimed(report: LookReport) -> bool:
    return report.metrics[0].comparisons[0].tests[0].crossed is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of runs with each claim."""

    runs: int
    better: float
    any_claim: float
    anytime: float
    harm: float
    srm: float
    not_worse: float
    covered: float
    above: float


def rates(
    world: World,
    *,
    runs: int,
    seed: int,
    harm: float = 0.0,
    lift: float = 0.0,
    futility: bool = False,
) -> Rates:
    """Run a world many times, seeded.

    Parameters
    ----------
    harm : float
        How far the guardrail's challenger is worse; equal to the margin it is the alarm's and the
        claim's own null at once.
    lift : float
        How far the OEC's challenger is better.
    """
    plans = [plan_for(world, futility=futility, margin=harm or 1.0), open_plan_for(world)]
    generator = np.random.default_rng(seed)
    ends = []
    for _ in range(runs):
        planned, always = run_beside(world, plans, generator, harm=harm, lift=lift)
        ends.append(outcome(planned, lift=lift, always=always))
    return Rates(
        runs=runs,
        better=float(np.mean([end.better for end in ends])),
        any_claim=float(np.mean([end.better or end.worse for end in ends])),
        anytime=float(np.mean([end.anytime for end in ends])),
        harm=float(np.mean([end.harm for end in ends])),
        srm=float(np.mean([end.srm for end in ends])),
        not_worse=float(np.mean([end.not_worse for end in ends])),
        covered=float(np.mean([end.covered for end in ends])),
        above=float(np.mean([end.above for end in ends])),
    )
