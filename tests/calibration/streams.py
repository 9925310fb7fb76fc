"""Worlds without any effect, and what the live look makes of them.

Each `World` draws, look by look, the sums that aggregation would hand over; the look itself is the
product's own `take_look`, memory and all. Nothing here knows a bound or a formula of the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.experiments.metrics import Direction, MetricType
from controller.experiments.plans import Plan
from controller.experiments.policies import Futility, OecRules
from controller.experiments.slots import Guardrail
from tests.worlds import metric, plan

Rng = np.random.Generator
Values = Callable[[Rng, int, int], NDArray[np.float64]]
"""(generator, units, look) -> one value a unit."""


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
        Number of looks, and units of both arms that become complete between two of them.
    """

    name: str
    champion: Values
    challenger: Values
    weights: tuple[float, ...] = (0.5,)
    epoch: Callable[[int], int] = lambda _: 0
    looks: int = 20
    units: int = 1000

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


def plan_for(world: World, *, margin: float, futility: bool = False) -> Plan:
    """One OEC and one guardrail on the same values."""
    share = world.weights[world.epoch(world.looks - 1)]
    watched = metric("cost", type=MetricType.MEAN, direction=Direction.DECREASE)
    return plan(
        horizon=world.horizon,
        oec=metric("value", type=MetricType.MEAN),
        guardrails={"cost": (watched, Guardrail(metric="cost", margin=margin))},
        rules=OecRules(
            futility=Futility.NON_BINDING if futility else Futility.NONE,
            gamma=-3.0 if futility else -2.0,
        ),
        weights={"champion": 1.0 - share, "challenger": share},
    )


class Sums:
    """Running sums by epoch and arm, as aggregation keeps them."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, str], list[float]] = {}

    def add(self, epoch: int, arm: str, values: NDArray[np.float64]) -> None:
        cell = self.cells.setdefault((epoch, arm), [0.0, 0.0, 0.0, 0.0])
        cell[0] += values.size
        cell[1] += float(np.count_nonzero(values))
        cell[2] += float(values.sum())
        cell[3] += float(values @ values)

    def moments(self, *, shift: float = 0.0) -> Iterator[tuple[tuple[int, str], Moments]]:
        for key, (n, nonzero, total, squares) in self.cells.items():
            if n == 0:
                continue
            mean = total / n
            yield (
                key,
                Moments(
                    n=int(n),
                    nonzero=int(nonzero),
                    mean=mean + (shift if key[1] == "challenger" else 0.0),
                    m2=max(squares - total * mean, 0.0),
                ),
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
        exposed={key: int(cell[0]) for key, cell in sums.cells.items()},
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
    sums = Sums()
    previous: Mapping[str, Any] | None = None
    report: LookReport | None = None
    for look in range(world.looks):
        epoch = world.epoch(look)
        challengers = int(rng.binomial(world.units, world.weights[epoch]))
        champions = world.units - challengers
        sums.add(epoch, "champion", world.champion(rng, champions, look))
        sums.add(epoch, "challenger", world.challenger(rng, challengers, look))
        seen = snapshot(world, sums, harm=harm, lift=lift)
        report = take_look(
            LookInput(plan=the_plan, statistics=seen, number=look + 1, previous=previous)
        )
        previous = report.memory
    assert report is not None
    return report


def outcome(report: LookReport, *, lift: float = 0.0) -> Outcome:
    """What was claimed by the end, and how the truth lies to the final interval and estimate."""
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
        harm=alarm is not None,
        srm=report.srm.alarm,
        not_worse=shown is not None and shown.direction == "not_worse",
        covered=low <= lift <= high,
        above=estimate is not None and estimate > lift,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of runs with each claim."""

    runs: int
    better: float
    any_claim: float
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
    chosen = plan_for(world, futility=futility, margin=harm or 1.0)
    generator = np.random.default_rng(seed)
    ends = [
        outcome(run(world, chosen, generator, harm=harm, lift=lift), lift=lift) for _ in range(runs)
    ]
    return Rates(
        runs=runs,
        better=float(np.mean([end.better for end in ends])),
        any_claim=float(np.mean([end.better or end.worse for end in ends])),
        harm=float(np.mean([end.harm for end in ends])),
        srm=float(np.mean([end.srm for end in ends])),
        not_worse=float(np.mean([end.not_worse for end in ends])),
        covered=float(np.mean([end.covered for end in ends])),
        above=float(np.mean([end.above for end in ends])),
    )
