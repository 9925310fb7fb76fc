"""Failures so rare that single ones decide: planned claims at their own null, law by law.

What is read is the product's own. The bounds are shared by all runs of a world, at the true ratios
of its looks; live looks take the smaller of two estimated ratios, whose bounds are no lower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Moments
from controller.analysis.pairs import Pair
from controller.analysis.readings import Reading, read
from controller.experiments.metrics import MetricType
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.results import Inconclusive
from controller.stats.score import EQUAL, Null, effective_size
from tests.worlds import metric

Values = Literal["share", "count", "bursts"]
"""Of one unit: hit or not; Poisson; or hit rarely, then 1 to 4 times at once, 2 on average."""

_KINDS = {
    "share": MetricType.BINARY,
    "count": MetricType.COUNT,
    "bursts": MetricType.COUNT,
}
_SLACK = 1e-9
_BURST = np.array([0.4, 0.3, 0.2, 0.1])


@dataclass(frozen=True, slots=True, kw_only=True)
class RareWorld:
    """One true null.

    Attributes
    ----------
    champion, challenger : float
        Hits a unit; the margin's null lies exactly between them.
    units, looks : int
        Of both arms by the end; looks at equal steps.
    shares : tuple of float
        Challenger's in each epoch; epochs are equally long.
    drift : tuple of float
        By epoch, what champion's rate is multiplied by; the margin holds in each.
    better : float
        -1 where hits are bad, +1 where they are wanted.
    scaled : bool
        Whether the margin is relative.
    alike : bool
        Whether the challenger is really as good as champion: what is claimed then is power.
    """

    champion: float
    challenger: float
    units: int
    looks: int = 20
    shares: tuple[float, ...] = (0.5,)
    drift: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    better: float = -1.0
    values: Values = "share"
    scaled: bool = False
    alike: bool = False

    @property
    def null(self) -> Null:
        """Where the challenger stands."""
        if self.champion == self.challenger:
            return EQUAL
        if self.scaled:
            return Null(scale=self.challenger / self.champion)
        return Null(shift=self.challenger - self.champion)

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Of each look's block."""
        return np.arange(self.looks) * len(self.shares) // self.looks

    def rates(self, epoch: int) -> tuple[float, float]:
        """Champion's and challenger's."""
        champion = self.champion * self.drift[epoch]
        worse = self.null.scale * champion + self.null.shift
        return champion, champion if self.alike else worse

    @property
    def name(self) -> str:
        """In a few words."""
        kind = "relative" if self.scaled else "absolute"
        against = f"{self.champion:g} against {self.challenger:g} ({kind})"
        split = "-".join(f"{100 * share:g}" for share in self.shares)
        return (
            f"{self.values}, {against}, {self.units:,} units, challenger {split} %, "
            f"{self.looks} looks"
        )


WORLDS = (
    RareWorld(champion=0.0, challenger=0.02, units=1000),
    RareWorld(champion=0.001, challenger=0.003, units=8000),
    RareWorld(champion=0.001, challenger=0.003, units=8000, looks=100),
    RareWorld(champion=0.003, challenger=0.001, units=8000, better=1.0),
    RareWorld(champion=0.0005, challenger=0.0025, units=40_000),
    RareWorld(champion=0.001, challenger=0.0017, units=60_000),
    RareWorld(champion=0.001, challenger=0.0014, units=200_000),
    RareWorld(champion=0.05, challenger=0.15, units=1200),
    RareWorld(champion=0.002, challenger=0.006, units=100_000, shares=(0.1,)),
    RareWorld(champion=0.02, challenger=0.03, units=40_000, shares=(0.1, 0.25, 0.5)),
    RareWorld(champion=0.006, challenger=0.002, units=75_000, shares=(0.8,), better=1.0),
    RareWorld(champion=0.002, challenger=0.006, units=6000, values="count"),
    RareWorld(champion=0.002, challenger=0.006, units=20_000, values="bursts"),
    RareWorld(
        champion=0.001,
        challenger=0.003,
        units=16_000,
        shares=(0.5,) * 4,
        drift=(1.0, 2.0, 1.5, 0.5),
    ),
    RareWorld(champion=0.002, challenger=0.006, units=20_000, scaled=True),
)
"""Margins on what is rare, in every shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Running sums of an epoch, arrays of shape (runs, looks): units, hits, squares, units hit."""

    units: NDArray[np.int64] = field(repr=False)
    sums: NDArray[np.int64] = field(repr=False)
    squares: NDArray[np.int64] = field(repr=False)
    hit: NDArray[np.int64] = field(repr=False)

    @property
    def moments(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Units, mean and sum of squared deviations."""
        n = np.maximum(self.units, 1)
        return self.units, self.sums / n, self.squares - self.sums**2 / n

    def arm(self, run: int, look: int) -> Moments:
        """What aggregation hands over."""
        n, y = int(self.units[run, look]), int(self.sums[run, look])
        if n == 0:
            return Moments()
        m2 = (int(self.squares[run, look]) * n - y * y) / n
        return Moments(n=n, mean=y / n, m2=m2, nonzero=int(self.hit[run, look]))


def law_of(values: Values, rate: float) -> NDArray[np.float64]:
    """Probability of 0, 1, 2 ... hits of one unit with this mean."""
    if values == "share":
        return np.array([1.0 - rate, rate])
    if values == "bursts":
        hit = rate / float(_BURST @ np.arange(1, _BURST.size + 1))
        return np.concatenate([[1.0 - hit], hit * _BURST])
    terms = np.exp(-rate) * np.cumprod(np.concatenate([[1.0], rate / np.arange(1, 9)]))
    return np.asarray(terms / terms.sum(), dtype=np.float64)


def drawn(rng: np.random.Generator, world: RareWorld, runs: int) -> list[tuple[Blocks, Blocks]]:
    """Champion's and challenger's sums of every epoch."""
    step = world.units // world.looks
    out = []
    for epoch, share in enumerate(world.shares):
        here = np.where(world.epochs == epoch, step, 0)
        challengers = rng.binomial(np.broadcast_to(here, (runs, world.looks)), share)
        champion, challenger = world.rates(epoch)
        out.append(
            (
                _summed(rng, here - challengers, law_of(world.values, champion)),
                _summed(rng, challengers, law_of(world.values, challenger)),
            )
        )
    return out


def _summed(rng: np.random.Generator, units: NDArray[np.int64], law: NDArray[np.float64]) -> Blocks:
    values = np.arange(law.size)
    told = rng.multinomial(units, law)
    return Blocks(
        units=units.cumsum(axis=1),
        sums=(told @ values).cumsum(axis=1),
        squares=(told @ values**2).cumsum(axis=1),
        hit=told[..., 1:].sum(axis=-1).cumsum(axis=1),
    )


def critical_values(world: RareWorld, *, alpha: float) -> list[float]:
    """Bounds at the planned clock, one-sided against a margin, two-sided at equality."""
    step = world.units / world.looks
    parts = [
        effective_size(step * share, step * (1.0 - share))
        for share in np.array(world.shares)[world.epochs].tolist()
    ]
    sizes = np.cumsum(parts)
    plan = SequentialPlan(alpha=alpha, sides=2 if world.null == EQUAL else 1)
    return [look.critical_value for look in boundaries(plan, (sizes / sizes[-1]).tolist())]


def claimed(
    world: RareWorld,
    *,
    runs: int,
    seed: int,
    alpha: float = 0.025,
    kind: MetricType | None = None,
) -> float:
    """Share of runs that ever claim "not worse", or at equality "better" or "worse".

    Parameters
    ----------
    kind : MetricType, optional
        What the metric is declared to be; as a plain mean its law is unknown to the test.
    """
    epochs = drawn(np.random.default_rng(seed), world, runs)
    bounds = critical_values(world, alpha=alpha)
    declared = kind or _KINDS[world.values]
    crossed: set[int] = set()
    for run, look in np.argwhere(_highest(world, epochs) >= np.array(bounds) - _SLACK).tolist():
        if run in crossed:
            continue
        seen = _seen(world, epochs, run, look, declared)
        if not isinstance(seen, Inconclusive) and _claim(world, seen.z) >= bounds[look]:
            crossed.add(run)
    return len(crossed) / runs


def _claim(world: RareWorld, z: Any) -> Any:
    """How far on the claim's side."""
    return abs(z) if world.null == EQUAL else world.better * z


def _highest(world: RareWorld, epochs: Sequence[tuple[Blocks, Blocks]]) -> NDArray[np.float64]:
    """About the common variance alone, shape (runs, looks): no reading claims more."""
    total = np.zeros(epochs[0][0].units.shape)
    variance = np.zeros_like(total)
    for champion, challenger in epochs:
        (n0, y0, v0), (n1, y1, v1) = (each.moments for each in (champion, challenger))
        size = n0 * n1 / np.maximum(n0 + n1, 1)
        gap = y1 - world.null.scale * y0 - world.null.shift
        within = v1 + world.null.scale**2 * v0 + size * gap**2
        total += size * gap
        variance += size * within / np.maximum(n0 + n1 - 1, 1)
    z = total / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    return np.asarray(_claim(world, z), dtype=np.float64)


def _seen(
    world: RareWorld,
    epochs: Sequence[tuple[Blocks, Blocks]],
    run: int,
    look: int,
    kind: MetricType,
) -> Reading | Inconclusive:
    live = int(world.epochs[look]) + 1
    pair = Pair(
        metric=metric("hits", type=kind),
        challenger="challenger",
        epochs=tuple(
            (number, a.arm(run, look), b.arm(run, look))
            for number, (a, b) in enumerate(epochs[:live])
        ),
        equal_weights=set(world.shares[:live]) == {0.5},
        shares=world.shares[:live],
    )
    return read(pair, (), null=world.null)


def lines(runs: int) -> Iterator[str]:
    """How often each margin is shown, wrongly and rightly, with and without the law of the values.

    Rightly: the challenger is as good as champion.
    """
    yield "| margin | shown wrongly | without the law | shown rightly | without the law |"
    yield "|---|---|---|---|---|"
    for world in WORLDS:
        rates = [
            claimed(each, runs=runs, seed=43, kind=kind)
            for each in (world, replace(world, alike=True))
            for kind in (None, MetricType.MEAN)
        ]
        yield f"| {world.name} | {' | '.join(f'{rate:.4f}' for rate in rates)} |"
    yield ""
    yield "| rare conversions without a difference | claimed to differ, at .05 |"
    yield "|---|---|"
    for rate in (0.0005, 0.002, 0.01):
        equal = RareWorld(champion=rate, challenger=rate, units=10_000)
        found = claimed(equal, runs=runs, seed=44, alpha=0.05)
        yield f"| {equal.name} | {found:.4f} |"
