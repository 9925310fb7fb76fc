"""Unit and event rows to cells: the second pass, which sums and forgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.attribution import NO_CAP, quantile_cap
from controller.analysis.offline.arrivals import Arrivals, arrivals_of
from controller.analysis.offline.bounded import bounded_intervals
from controller.analysis.offline.columns import metric_values, numbers
from controller.analysis.offline.moments import CellGrids, CellMoments
from controller.analysis.offline.recorded import Cells, Recorded, record
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec
from controller.analysis.offline.tables import Chunk, Progress, Table, require_columns
from controller.analysis.offline.thin_tails import keeps_values, with_thin_tails
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType, ZeroMeans
from controller.stats.quantile import log_cuts

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]

FIRST_UNITS = 1000
"""Caps and grids are taken from so many first units of both arms together, then frozen."""
_GRID_REACH = 16.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """One metric's values of consecutive units (or of all outcomes of a quantile metric).

    `matrix` has the value first, then a ratio's denominator, then the covariates; `known` says
    which units have all their covariates.
    """

    unit: Ints
    matrix: Floats
    known: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What the first units of both arms together have fixed.

    Attributes
    ----------
    caps : mapping of metric to float
        Winsorised metrics: the largest value a unit may have.
    cuts : mapping of metric to tuple of float
        Quantile metrics.
    """

    caps: Mapping[str, float]
    cuts: Mapping[str, tuple[float, ...]]


class Sums:
    """Every metric's cells, filled piece by piece."""

    def __init__(self, spec: AnalysisSpec, cells: Cells, frozen: Frozen) -> None:
        self._cells, self._caps = cells, frozen.caps
        self.grids = {key: CellGrids(cells.count, cuts) for key, cuts in frozen.cuts.items()}
        self.moments = {
            m.key: CellMoments(cells.count, _variables(m))
            for m in spec.metrics
            if m.key not in self.grids
        }

    def add(self, metric: MetricSpec, values: Values) -> None:
        """Add one piece; units that are not analysed fall out."""
        cell = self._cells.of_unit[values.unit]
        inside = cell >= 0
        cell, unit, matrix = cell[inside], values.unit[inside], values.matrix[inside]
        if metric.key in self.grids:
            _add_outcomes(self.grids[metric.key], cell, unit, matrix[:, 0])
            return
        if metric.key in self._caps:
            matrix[:, 0] = np.minimum(matrix[:, 0], self._caps[metric.key])
        known = None if values.known is None else values.known[inside]
        self.moments[metric.key].add(cell, matrix, known=known)


def record_rows(table: Table, spec: AnalysisSpec, progress: Progress) -> Recorded:
    """Read a table of units or events.

    Raises
    ------
    InvalidInput
        With row, column and rule.
    """
    check_columns(table, spec)
    arrivals = arrivals_of(table, spec, progress)
    cells = Cells(spec, arrivals)
    sums = Sums(spec, cells, freeze(table, spec, arrivals, progress))
    whole = {
        m.key: np.full(len(arrivals.arm), np.nan)
        for m in spec.metrics
        if m.bounds is not None or keeps_values(m, arrivals)
    }
    for metric, values in values_of(table, spec.metrics, arrivals, progress):
        if metric.key in whole:
            whole[metric.key][values.unit] = values.matrix[:, 0]
        sums.add(metric, values)
    recorded = record(spec, arrivals, cells, moments=sums.moments, grids=sums.grids)
    bounded = bounded_intervals(spec, arrivals, whole, recorded.arms)
    thin = {m.key: whole[m.key] for m in spec.metrics if keeps_values(m, arrivals)}
    return with_thin_tails(spec, replace(recorded, bounded=bounded), arrivals, thin)


def check_columns(table: Table, spec: AnalysisSpec) -> None:
    """Refuse a table without a column that the description names."""
    wanted = [name for name in (spec.unit, spec.arm, spec.time, spec.epoch) if name is not None]
    wanted += [column for metric in spec.metrics for column in metric.columns]
    require_columns(table, wanted)


def freeze(table: Table, spec: AnalysisSpec, arrivals: Arrivals, progress: Progress) -> Frozen:
    """Caps and cuts, from the first units whatever their arm."""
    return Frozen(
        caps={
            m.key: _cap(table, m, arrivals, progress) for m in spec.metrics if m.metric.winsorize
        },
        cuts={
            m.key: _cuts(table, m, arrivals, progress)
            for m in spec.metrics
            if m.metric.type is MetricType.QUANTILE
        },
    )


def _variables(metric: MetricSpec) -> int:
    return 1 + len(metric.covariates) + (metric.metric.type is MetricType.RATIO)


def _add_outcomes(grid: CellGrids, cell: Ints, unit: Ints, values: Floats) -> None:
    known = ~np.isnan(values)
    grid.add(cell[known], unit[known], values[known])


def values_of(
    table: Table, metrics: tuple[MetricSpec, ...], arrivals: Arrivals, progress: Progress
) -> Iterator[tuple[MetricSpec, Values]]:
    """Every metric's values in pieces; all outcomes of a unit come in one piece."""
    if arrivals.unit_of_row is not None:
        for metric in metrics:
            yield metric, _folded(table, metric, arrivals, progress)
        return
    columns = [column for metric in metrics for column in metric.columns]
    for chunk in _pieces(table, columns):
        unit = np.arange(chunk.start, chunk.start + len(chunk.frame))
        for metric in metrics:
            yield metric, _of_units(table, chunk, metric, unit)
        progress("summing units", chunk.share)


def _of_units(table: Table, chunk: Chunk, metric: MetricSpec, unit: Ints) -> Values:
    parts = [metric_values(table, chunk, metric, events=False)]
    if metric.metric.denominator is not None:
        below = numbers(table, chunk, metric.metric.denominator, empty=not metric.fails_on_empty)
        silent = np.isnan(below)
        if metric.metric.zero_means is ZeroMeans.ZERO:
            below = np.where(silent, 0.0, below)
        else:
            parts[0] = np.where(silent, np.nan, parts[0])
        parts.append(below)
    covariates = [numbers(table, chunk, name, empty=True) for name in metric.covariates]
    if not covariates:
        return Values(unit=unit, matrix=np.column_stack(parts))
    known = np.asarray(~np.isnan(covariates).any(axis=0), dtype=np.bool_)
    parts += [np.where(known, values, 0.0) for values in covariates]
    return Values(unit=unit, matrix=np.column_stack(parts), known=known)


def _folded(table: Table, metric: MetricSpec, arrivals: Arrivals, progress: Progress) -> Values:
    """Event rows of one metric, summed to units; a quantile keeps its outcomes."""
    assert arrivals.unit_of_row is not None
    count, kind = len(arrivals.arm), metric.metric.type
    sums = np.zeros((count, _variables(metric)))
    spoke = np.zeros(count, dtype=np.bool_)
    known = np.zeros(count, dtype=np.bool_) if metric.covariates else None
    outcomes: list[Floats] = []
    units: list[Ints] = []
    for chunk in _pieces(table, metric.columns or table.columns[:1]):
        rows = slice(chunk.start, chunk.start + len(chunk.frame))
        unit = arrivals.unit_of_row[rows]
        value = metric_values(table, chunk, metric, events=True)
        said = ~np.isnan(value)
        if kind is MetricType.QUANTILE:
            outcomes.append(value[said])
            units.append(unit[said])
        elif kind is MetricType.BINARY:
            sums[unit[said & (value != 0.0)], 0] = 1.0
        else:
            np.add.at(sums[:, 0], unit[said], value[said])
        if metric.metric.denominator is not None:
            below = numbers(table, chunk, metric.metric.denominator, empty=True)
            np.add.at(sums[:, 1], unit, np.nan_to_num(below))
            said |= ~np.isnan(below)
        spoke[unit[said]] = True
        if known is not None:
            unit, covariates = _first_rows(table, chunk, metric, arrivals)
            known[unit], sums[unit, -len(metric.covariates) :] = True, covariates
        progress(f"summing {metric.key}", chunk.share)
    if kind is MetricType.QUANTILE:
        joined = np.concatenate(outcomes) if outcomes else np.zeros(0)
        whose = np.concatenate(units) if units else np.zeros(0, dtype=np.int64)
        return Values(unit=whose, matrix=joined[:, None])
    if metric.metric.zero_means is ZeroMeans.UNKNOWN:
        sums[~spoke, 0] = np.nan
    return Values(unit=np.arange(count), matrix=sums, known=known)


def _first_rows(
    table: Table, chunk: Chunk, metric: MetricSpec, arrivals: Arrivals
) -> tuple[Ints, Floats]:
    """Units whose first event is in the chunk, and their covariates where all are known.

    What stands in later events may be the arm's doing.
    """
    assert arrivals.unit_of_row is not None
    assert arrivals.first_row is not None
    rows = np.arange(chunk.start, chunk.start + len(chunk.frame))
    unit = arrivals.unit_of_row[rows]
    columns = [numbers(table, chunk, name, empty=True) for name in metric.covariates]
    covariates = np.column_stack(columns)
    first = (arrivals.first_row[unit] == rows) & ~np.isnan(covariates).any(axis=1)
    return unit[first], covariates[first]


def _pieces(table: Table, columns: tuple[str, ...] | list[str]) -> Iterator[Chunk]:
    """Chunks of the columns; without any (counting rows) the first column carries the rows."""
    return table.chunks(columns or table.columns[:1], text=[])


def _cap(table: Table, metric: MetricSpec, arrivals: Arrivals, progress: Progress) -> float:
    """The largest value one unit may have."""
    cap = metric.metric.winsorize
    assert cap is not None
    if cap.value is not None:
        return cap.value
    assert cap.quantile is not None
    values = _first_values(table, metric, arrivals, progress)
    return quantile_cap(values.tolist(), cap.quantile) or NO_CAP


def _cuts(
    table: Table, metric: MetricSpec, arrivals: Arrivals, progress: Progress
) -> tuple[float, ...]:
    """A log grid around the quantile of the first units, both arms together."""
    if metric.grid is not None:
        return log_cuts(*metric.grid)
    assert metric.metric.q is not None
    values = _first_values(table, metric, arrivals, progress)
    centre = float(np.quantile(values, metric.metric.q, method="inverted_cdf"))
    if not centre > 0.0:
        raise InvalidInput(
            f"column {metric.column!r}: the quantile of the first units is {centre:g}; a log grid "
            "needs positive values (or spec cuts: {low, high}).",
            field=metric.column or "",
        )
    return log_cuts(centre / _GRID_REACH, centre * _GRID_REACH)


def _first_values(
    table: Table, metric: MetricSpec, arrivals: Arrivals, progress: Progress
) -> Floats:
    early = (arrivals.position >= 0) & (arrivals.position < FIRST_UNITS)
    found: list[Floats] = []
    if arrivals.unit_of_row is not None:
        folded = _folded(table, metric, arrivals, progress)
        found.append(folded.matrix[early[folded.unit], 0])
    else:
        last = int(np.flatnonzero(early)[-1])
        for chunk in _pieces(table, list(metric.columns)):
            values = metric_values(table, chunk, metric, events=False)
            found.append(values[early[chunk.start : chunk.start + len(values)]])
            if chunk.start + len(values) > last:
                break
    values = np.concatenate(found)
    values = values[~np.isnan(values)]
    if not values.size:
        raise InvalidInput(
            f"column {metric.column!r}: the first {FIRST_UNITS} units have no value.",
            field=metric.column or "",
        )
    return values
