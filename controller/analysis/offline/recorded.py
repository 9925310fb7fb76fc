"""A recorded experiment as a sequence of looks: the snapshots a live look would have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Epoch, Moments, QuantileGrid, Statistics
from controller.analysis.memory import finite_or_none
from controller.analysis.offline.arms import pick_champion
from controller.analysis.offline.arrivals import Arrivals
from controller.analysis.offline.moments import (
    CellGrids,
    CellMoments,
    Joint,
    covariate_moments,
    joint_of,
    plain_moments,
    ratio_covariate_moments,
    ratio_moments,
)
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec, Rows
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType
from controller.experiments.plans import CHAMPION, challenger_names
from controller.stats.betting import BettingInterval
from controller.stats.cuped import coefficients
from controller.stats.exact_quantile import ExactQuantileTest

NO_WEIGHTS = "no arm.weights: equal shares are assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLook:
    """One look at recorded data.

    Attributes
    ----------
    number : int
        From 1.
    at : str or float
        Units of all arms, or the value of the aggregates' look column.
    statistics : Statistics
        Cumulative, under the live names `champion`, `challenger`, …
    warnings : tuple of str
    """

    number: int
    at: str | float
    statistics: Statistics
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinTail:
    """The exact test of a quantile whose tail holds too few values for the grid.

    Attributes
    ----------
    n : (int, int)
        Values of champion and challenger.
    last : ExactQuantileTest
        Of the last look.
    p, harm_p : float or None
        Against the claim's null, and for a guardrail that the margin is exceeded; 1 / the largest
        e-value of any look.
    first_look : int or None
        Where the claim was first shown.
    """

    n: tuple[int, int]
    last: ExactQuantileTest
    p: float
    harm_p: float | None
    first_look: int | None

    def document(self) -> dict[str, Any]:
        """The JSON form; an open end is None, and harm stands with a guardrail only."""
        last = self.last
        found: dict[str, Any] = {
            "method": "order_statistics",
            "reason": "fewer than 25 values beyond the quantile in an arm",
            "n": list(self.n),
            "estimate": last.treatment - last.control,
            "ci": [finite_or_none(last.difference_lower), finite_or_none(last.difference_upper)],
            "ratio_ci": [last.ratio_lower or None, finite_or_none(last.ratio_upper)],
            "p": self.p,
            "first_look": self.first_look,
        }
        return found if self.harm_p is None else found | {"harm_p": self.harm_p}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Everything that is tested.

    Attributes
    ----------
    arms : mapping
        Live name to the name in the data; champion first.
    looks : tuple of RecordedLook
    metrics : tuple of MetricSpec
        Those the data have.
    by : mapping
        The values that select this experiment from a table of several.
    warnings : tuple of str
    double_exposed : int or None
        Units that met two arms and are not analysed; None where rows cannot tell.
    bounded : mapping of "metric/arm" to BettingInterval
        Of metrics with bounds.
    thin : mapping of "metric/arm" to ThinTail
        Of quantiles with too few values beyond them.
    """

    arms: Mapping[str, str]
    looks: tuple[RecordedLook, ...]
    metrics: tuple[MetricSpec, ...]
    by: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    double_exposed: int | None = None
    bounded: Mapping[str, BettingInterval] = field(default_factory=dict)
    thin: Mapping[str, ThinTail] = field(default_factory=dict)


class Cells:
    """Where every unit is counted: look by epoch by arm, in one flat index."""

    def __init__(self, spec: AnalysisSpec, arrivals: Arrivals) -> None:
        self.ends = look_ends(spec.looks, arrivals.count)
        self.arms = len(arrivals.arms)
        self.epochs = len(arrivals.epochs)
        # One array a row, changed in place: tables are large, cells are few.
        place = np.searchsorted(self.ends, arrivals.position, side="right").astype(np.int32)
        place *= self.epochs
        place += arrivals.epoch
        place *= self.arms
        place += arrivals.arm
        place[arrivals.arm < 0] = -1
        self.of_unit = place

    @property
    def shape(self) -> tuple[int, int, int]:
        """Looks, epochs, arms; the flat index counts arms fastest."""
        return len(self.ends), self.epochs, self.arms

    @property
    def count(self) -> int:
        """All cells."""
        return len(self.ends) * self.epochs * self.arms

    def index(self, look: int, epoch: int, arm: int) -> int:
        """One cell."""
        return (look * self.epochs + epoch) * self.arms + arm


def look_ends(looks: int | tuple[int, ...], units: int) -> NDArray[np.int64]:
    """Units of all arms at each look, rising, the last one all of them."""
    if isinstance(looks, int):
        even = [round(units * k / looks) for k in range(1, looks + 1)]
        return np.unique([n for n in even if n > 0])
    return np.array([*(n for n in looks if n < units), units], dtype=np.int64)


def record(
    spec: AnalysisSpec,
    arrivals: Arrivals,
    cells: Cells,
    *,
    moments: Mapping[str, CellMoments],
    grids: Mapping[str, CellGrids],
) -> Recorded:
    """Cumulate the cells over the looks into snapshots."""
    champion = pick_champion(spec, arrivals.arms)
    ordered = [champion, *(arm for arm in arrivals.arms if arm != champion)]
    live = (CHAMPION, *challenger_names(len(ordered) - 1))
    codes = dict(zip(live, (arrivals.arms.index(arm) for arm in ordered), strict=True))
    epochs = tuple(
        Epoch(
            number=number,
            allocation=1,
            enrolled=1.0,
            weights=dict(zip(live, weights_of(spec, name, ordered), strict=True)),
        )
        for number, name in enumerate(arrivals.epochs, start=1)
    )
    places = tuple((epoch.number, arm, code) for epoch in epochs for arm, code in codes.items())
    per_cell = np.bincount(cells.of_unit[cells.of_unit >= 0], minlength=cells.count)
    exposed = per_cell.reshape(cells.shape).cumsum(axis=0)
    for grid in grids.values():
        grid.cumulate(cells.shape)
    running: dict[tuple[str, int, str], Joint] = {}
    looks = []
    for look, end in enumerate(cells.ends.tolist()):
        for key, sums in moments.items():
            for number, arm, code in places:
                here = joint_of(sums, cells.index(look, number - 1, code))
                name = (key, number, arm)
                running[name] = running[name].plus(here) if name in running else here
        units = {(number, arm): int(exposed[look, number - 1, c]) for number, arm, c in places}
        tables = {
            (key, number, arm): grid.grid(cells.index(look, number - 1, code))
            for key, grid in grids.items()
            for number, arm, code in places
        }
        counted = {
            place: Moments(n=table.units, missing=units[place[1:]] - table.units)
            for place, table in tables.items()
        }
        statistics = snapshot(
            epochs,
            exposed=units,
            moments=_moments(running, spec.metrics) | counted,
            grids=tables,
        )
        looks.append(RecordedLook(number=look + 1, at=end, statistics=statistics))
    return Recorded(
        arms=dict(zip(live, ordered, strict=True)),
        looks=tuple(looks),
        metrics=spec.metrics,
        warnings=_warnings(spec),
        double_exposed=arrivals.double_exposed if spec.rows is Rows.EVENTS else None,
    )


def _warnings(spec: AnalysisSpec) -> tuple[str, ...]:
    found = [] if spec.weights else [NO_WEIGHTS]
    if spec.time is None and spec.looks != 1:
        found.append("no time column: rows are taken in the order of the table")
    if spec.unit is None:
        found.append("no unit column: every row counts as a unit of its own")
    return tuple(found)


def snapshot(
    epochs: tuple[Epoch, ...],
    *,
    exposed: Mapping[tuple[int, str], int],
    moments: Mapping[tuple[str, int, str], Moments],
    grids: Mapping[tuple[str, int, str], QuantileGrid],
    at: str = "",
) -> Statistics:
    """Recorded statistics as a live snapshot: complete, fresh, nothing open."""
    return Statistics(
        watermark=at,
        taken_at=at,
        epochs=epochs,
        exposed=exposed,
        moments=moments,
        grids=grids,
        open_units={},
        freshness={},
        excluded={},
    )


def weights_of(spec: AnalysisSpec, epoch: str | None, arms: Sequence[str]) -> list[float]:
    """Shares of the arms in one epoch; equal where the description has none."""
    if not spec.weights:
        return [1.0 / len(arms)] * len(arms)
    shares = spec.weights.get(epoch, spec.weights.get(None))
    if shares is None:
        raise InvalidInput(
            f"spec.arm.weights: no shares for epoch {epoch!r:.60}.", field="spec.arm.weights"
        )
    return [shares.get(arm, 0.0) for arm in arms]


def _moments(
    running: Mapping[tuple[str, int, str], Joint], metrics: Sequence[MetricSpec]
) -> dict[tuple[str, int, str], Moments]:
    out: dict[tuple[str, int, str], Moments] = {}
    for spec in metrics:
        own = {key: joint for key, joint in running.items() if key[0] == spec.key}
        if spec.metric.type is MetricType.RATIO:
            made = _made(spec, own)
            for key, joint in own.items():
                out[key] = (
                    ratio_moments(joint) if made is None else ratio_covariate_moments(joint, made)
                )
            continue
        theta = _theta(spec, own)
        for key, joint in own.items():
            out[key] = plain_moments(joint) if theta is None else covariate_moments(joint, theta)
    return out


def _theta(
    spec: MetricSpec, cells: Mapping[tuple[str, int, str], Joint]
) -> NDArray[np.float64] | None:
    """Coefficients of all covariates about each epoch's common mean; None without any."""
    if len(spec.covariates) < 2:
        return np.ones(1) if spec.covariates else None
    return coefficients(_scatter(spec, cells))


def _made(
    spec: MetricSpec, cells: Mapping[tuple[str, int, str], Joint]
) -> NDArray[np.float64] | None:
    """Of what a ratio's two covariates are made, shape (2, k); None without any.

    More than two become what they say of the numerator and what they say of the denominator: the
    regression of any combination of those on all of them is a combination of these two.
    """
    count = len(spec.covariates)
    if count <= 2:
        return np.eye(2, count) if count else None
    scatter, past = _scatter(spec, cells), list(range(2, 2 + count))
    return np.stack([coefficients(scatter[np.ix_([own, *past], [own, *past])]) for own in (0, 1)])


def _scatter(spec: MetricSpec, cells: Mapping[tuple[str, int, str], Joint]) -> NDArray[np.float64]:
    """Sums of products of deviations from each epoch's common mean, over all epochs and arms."""
    width = 1 + (spec.metric.type is MetricType.RATIO) + len(spec.covariates)
    scatter = np.zeros((width, width))
    for number in {key[1] for key in cells}:
        inside = [joint for key, joint in cells.items() if key[1] == number and joint.n > 0]
        if inside:
            total = inside[0]
            for joint in inside[1:]:
                total = total.plus(joint)
            scatter += total.scatter
    return scatter
