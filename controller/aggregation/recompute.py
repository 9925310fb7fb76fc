"""The sums again, from the ledger alone: what I2 compares the stored ones with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from controller.aggregation.attribution import Fold, Happened
from controller.aggregation.exposures import Target
from controller.aggregation.grid import cuts_of
from controller.aggregation.sums import Contribution, Sums
from controller.experiments.metrics import Metric

Cell = tuple[str, int, str]


class Exposed(NamedTuple):
    """One exposure as the ledger has it."""

    event_id: str
    occurred_us: int
    unit: str
    allocation: int
    arm: str
    ruleset: int
    pinned: bool = False


class Entered(NamedTuple):
    """One metric of one unit that has entered: its stratum and its frozen first exposure."""

    metric: str
    unit: str
    epoch: int
    arm: str
    exposed_us: int


class FirstExposure(NamedTuple):
    """Where a unit stands in one series."""

    epoch: int
    arm: str
    exposed_us: int


def first_exposures(
    target: Target, exposures: Iterable[Exposed]
) -> dict[tuple[int, str], FirstExposure | None]:
    """The first exposure of each (series, unit); None for a unit that met two arms.

    Exposures that name an arm which neither the split nor a pin gives are left out.
    """
    arms: dict[tuple[int, str], set[str]] = defaultdict(set)
    first: dict[tuple[int, str], tuple[int, int, str]] = {}
    for seen in exposures:
        placed = target.place(
            seen.unit,
            allocation=seen.allocation,
            arm=seen.arm,
            ruleset=seen.ruleset,
            pinned=seen.pinned,
        )
        if placed is None:
            continue
        key = (placed.series, seen.unit)
        arms[key].add(seen.arm)
        moment = (seen.occurred_us, placed.epoch, seen.arm)
        first[key] = min(first.get(key, moment), moment)
    return {
        key: FirstExposure(epoch, arm, exposed_us) if len(arms[key]) == 1 else None
        for key, (exposed_us, epoch, arm) in first.items()
    }


def sums_of(
    metrics: Mapping[str, Metric],
    entered: Iterable[Entered],
    outcomes: Mapping[str, Sequence[Happened]],
    caps: Mapping[str, float],
) -> dict[Cell, Sums]:
    """The sums of every cell, from the units that have entered and their outcomes."""
    parts: dict[Cell, list[Contribution]] = defaultdict(list)
    folds = {key: Fold(metric) for key, metric in metrics.items()}
    for row in entered:
        part = folds[row.metric](
            row.exposed_us, outcomes.get(row.unit, ()), cap=caps.get(row.metric)
        )
        parts[row.metric, row.epoch, row.arm].append(part)
    return {cell: Sums.of(mine, cuts_of(metrics[cell[0]])) for cell, mine in parts.items()}
