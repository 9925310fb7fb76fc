"""Cumulative statistics of one experiment as the looks a live rollout would have taken.

A row's numbers are cumulative over the units of its own epoch. A look keeps, for every epoch,
metric and arm, the newest row up to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from controller.aggregation.statistics import Epoch, Moments
from controller.analysis.offline.arms import pick_champion, with_declared
from controller.analysis.offline.recorded import (
    NO_WEIGHTS,
    Recorded,
    RecordedLook,
    snapshot,
    weights_of,
)
from controller.analysis.offline.spec import Aggregates, AnalysisSpec, MetricSpec
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType, ZeroMeans
from controller.experiments.plans import CHAMPION, challenger_names

_Place = tuple[str, int, str]  # metric, epoch, live arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One arm of one metric at one look.

    Attributes
    ----------
    look : int or float
        Sorts the looks.
    label : object
        The look as the table writes it.
    epoch : str or None
        None where the description names no epochs.
    place : str
        Table and row, for messages.
    """

    look: float
    label: Any
    epoch: str | None
    metric: str
    arm: str
    moments: Moments
    place: str


@dataclass(slots=True)
class Experiment:
    """All cells of one experiment, and the labels of its looks."""

    cells: dict[tuple[float, str | None, str, str], Cell] = field(default_factory=dict)
    labels: dict[float, Any] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """Add one cell, once."""
        place = (cell.look, cell.epoch, cell.metric, cell.arm)
        if place in self.cells:
            raise InvalidInput(
                f"{cell.place}: look, metric and arm came before in {self.cells[place].place}.",
                field="spec.aggregates",
            )
        self.cells[place] = cell
        self.labels.setdefault(cell.look, _label(cell.label))

    @property
    def in_order(self) -> list[Cell]:
        """By look; within a look in the order of the table."""
        return sorted(self.cells.values(), key=lambda cell: cell.look)


def _label(value: Any) -> float | str:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else str(value)


def recorded_of(
    spec: AnalysisSpec, layout: Aggregates, by: Sequence[str], experiment: Experiment
) -> Recorded:
    """The experiment look by look; a metric without a row is there, without data."""
    selected = dict(zip(layout.by, by, strict=True))
    cells = experiment.in_order
    found = with_declared(spec, layout.arms or (cell.arm for cell in experiment.cells.values()))
    champion = pick_champion(spec, found)
    ordered = [champion, *(arm for arm in found if arm != champion)]
    if len(ordered) < 2:
        where = "".join(f"{name} {value!r:.60}: " for name, value in selected.items())
        raise InvalidInput(f"{where}fewer than two arms.", field=spec.arm or "spec.arm")
    live = dict(zip(ordered, (CHAMPION, *challenger_names(len(ordered) - 1)), strict=True))
    epochs = {
        name: Epoch(
            number=number,
            allocation=1,
            enrolled=1.0,
            weights=dict(zip(live.values(), weights_of(spec, name, ordered), strict=True)),
        )
        for number, name in enumerate(dict.fromkeys(cell.epoch for cell in cells), start=1)
    }
    return Recorded(
        arms={name: arm for arm, name in live.items()},
        looks=tuple(_looks(spec, epochs, live, experiment)),
        metrics=spec.metrics,
        by=selected,
        warnings=(*(() if spec.weights else (NO_WEIGHTS,)), *_counted_twice(cells)),
    )


def _counted_twice(cells: Sequence[Cell]) -> Iterator[str]:
    """A word about each epoch whose numbers look as if they went on from the one before."""
    by_epoch: dict[str | None, list[Cell]] = {}
    for cell in cells:
        by_epoch.setdefault(cell.epoch, []).append(cell)
    for earlier, later in pairwise(by_epoch.values()):
        ended = {(cell.metric, cell.arm): cell.moments.n for cell in earlier}
        began: dict[tuple[str, str], int] = {}
        for cell in later:
            began.setdefault((cell.metric, cell.arm), cell.moments.n)
        shared = ended.keys() & began.keys()
        follows = earlier[-1].look < later[0].look
        if follows and shared and all(began[key] >= ended[key] > 0 for key in shared):
            yield (
                f"epoch {later[0].epoch} begins with no fewer units than {earlier[0].epoch} ended "
                "with: a row counts the units of its own epoch only"
            )


def _looks(
    spec: AnalysisSpec,
    epochs: Mapping[str | None, Epoch],
    live: Mapping[str, str],
    experiment: Experiment,
) -> Iterator[RecordedLook]:
    now: dict[_Place, Moments] = {}
    by_look: dict[float, list[Cell]] = {}
    for cell in experiment.in_order:
        by_look.setdefault(cell.look, []).append(cell)
    for number, (look, cells) in enumerate(by_look.items(), start=1):
        warnings = []
        for cell in cells:
            place = (cell.metric, epochs[cell.epoch].number, live[cell.arm])
            before = now.get(place)
            if before is not None and cell.moments.n < before.n:
                warnings.append(
                    f"metric {cell.metric}: units of arm {cell.arm} fell from {before.n} to "
                    f"{cell.moments.n}"
                )
            now[place] = cell.moments
        label = experiment.labels[look]
        exposed = _exposed(now, tuple(epochs.values()), live)
        statistics = snapshot(
            tuple(epochs.values()),
            exposed=exposed,
            moments=_completed(now, exposed, spec.metrics),
            grids={},
            at=str(label),
        )
        yield RecordedLook(number=number, at=label, statistics=statistics, warnings=tuple(warnings))


def _exposed(
    now: Mapping[_Place, Moments], epochs: Sequence[Epoch], live: Mapping[str, str]
) -> dict[tuple[int, str], int]:
    """Units of the metric that has most of them: every metric counts the same people."""
    totals: dict[str, int] = {}
    for (key, _, _), moments in now.items():
        totals[key] = totals.get(key, 0) + moments.n
    most = max(totals, key=lambda key: totals[key])
    return {
        (epoch.number, arm): now[place].n if (place := (most, epoch.number, arm)) in now else 0
        for epoch in epochs
        for arm in live.values()
    }


def _completed(
    now: Mapping[_Place, Moments],
    exposed: Mapping[tuple[int, str], int],
    metrics: Sequence[MetricSpec],
) -> dict[_Place, Moments]:
    """What the rows do not say themselves: units without a value, and how many are not zero.

    Where no outcome means unknown, the units that another metric counts and this one does not have
    no value. Beside an arm of nothing but zeros, the others' units with a value are counted from
    below, by Cauchy and Schwarz: at least (sum x)^2 / sum x^2.
    """
    out = dict(now)
    for metric in metrics:
        places = [place for place in now if place[0] == metric.key]
        if metric.metric.zero_means is ZeroMeans.UNKNOWN:
            for place in places:
                lost = max(exposed[place[1:]] - now[place].n, 0)
                out[place] = replace(now[place], missing=lost)
        elif metric.metric.type is not MetricType.BINARY and any(
            now[place].n > 0 and now[place].nonzero == 0 for place in places
        ):
            for place in places:
                out[place] = replace(now[place], nonzero=_at_least(now[place]))
    return out


def _at_least(moments: Moments) -> int:
    if not moments.nonzero:
        return 0
    total = moments.n * moments.mean
    squares = moments.m2 + total * moments.mean
    return min(moments.n, math.floor(total * (total / squares))) if squares > 0.0 else 0
