"""The worlds of I15: all arms equal, and everything else that a live rollout does to its data."""

from __future__ import annotations

from typing import Any

from controller.experiments.metrics import MetricType
from tests.calibration.streams import World, alike, coins, normals, payers, requests, spending

QUARTERS = 4


def worlds(*, looks: int = 20, units: int = 1000) -> tuple[World, ...]:
    """Every world, with the same number of looks and units a look."""
    size: dict[str, Any] = {"looks": looks, "units": units}

    def quarter(look: int) -> int:
        return look * QUARTERS // looks

    def half(look: int) -> int:
        return int(look >= looks // 2)

    def drifting(look: int) -> float:
        return (0.02, 0.05, 0.08, 0.10)[quarter(look)]

    def season(look: int) -> float:
        return 0.08 if look % 7 in (5, 6) else 0.05

    def rising(look: int) -> float:
        return (0.02, 0.05, 0.10)[look * 3 // looks]

    def tripling(look: int) -> float:
        return 9.0 if look >= 2 * looks // 3 else 3.0

    even = (0.5,) * QUARTERS
    return (
        alike("even split, conversion .10", coins(0.10), **size),
        alike("even split, conversion .002", coins(0.002), **size),
        alike("base rate 2-5-10 % inside one epoch", coins(rising), **size),
        alike("base rate 2-5-10 % inside one epoch, at 90/10", coins(rising),
              weights=(0.1,), **size),
        alike("ramp in four epochs, base rate 2-5-8-10 %", coins(drifting),
              weights=even, epoch=quarter, **size),
        alike("challenger 1-10-25-50 %, base rate 2-5-8-10 %", coins(drifting),
              weights=(0.01, 0.10, 0.25, 0.50), epoch=quarter, **size),
        alike("edit from 50/50 to 20/80, base rate 5 then 8 %",
              coins(lambda look: (0.05, 0.08)[half(look)]),
              weights=(0.5, 0.8), epoch=half, **size),
        alike("day-of-week season", coins(season), **size),
        alike("challenger 1-10-25-50 %, labels five looks late", coins(drifting),
              weights=(0.01, 0.10, 0.25, 0.50), epoch=quarter, lag=5, **size),
        alike("failures over requests, correlated in their unit", requests(0.05),
              kind=MetricType.RATIO, **size),
        alike("failures a unit, overdispersed", requests(0.05, counted=True), **size),
        alike("2 % payers at 90/10", payers(), weights=(0.1,), **size),
        alike("2 % payers at 98/2", payers(), weights=(0.02,), **size),
        alike("2 % payers at 50/50", payers(), **size),
        alike("revenue whose sd triples in the last third", normals(tripling), **size),
        World(name="challenger's variance doubled, at 10/90", champion=normals(3.0),
              challenger=normals(3.0 * 2**0.5), weights=(0.9,), **size),
        World(name="challenger's variance doubled, at 90/10", champion=normals(3.0),
              challenger=normals(3.0 * 2**0.5), weights=(0.1,), **size),
        alike("spend over orders, with their past", spending(10.0), kind=MetricType.RATIO, **size),
        alike("spend over orders, with their past, at 90/10", spending(10.0), weights=(0.1,),
              kind=MetricType.RATIO, **size),
        alike("spend over orders, with their past, 10 then 50 %",
              spending(lambda look: (10.0, 14.0)[half(look)]), weights=(0.1, 0.5), epoch=half,
              kind=MetricType.RATIO, **size),
    )  # fmt: skip


def _margin(world: World) -> float:
    """About two standard errors at the horizon: neither hopeless nor certain to be shown."""
    return (
        0.2
        if any(word in world.name for word in ("payers", "revenue", "variance", "a unit", "spend"))
        else 0.02
    )


MARGINS = {world.name: _margin(world) for world in worlds()}
"""How far the guardrail's challenger is worse in each world: exactly the margin."""
