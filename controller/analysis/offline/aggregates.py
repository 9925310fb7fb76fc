"""Tables of cumulative statistics by look: long or wide, one experiment or many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Epoch, Moments
from controller.analysis.offline.columns import numbers, texts
from controller.analysis.offline.recorded import (
    NO_WEIGHTS,
    Recorded,
    RecordedLook,
    snapshot,
    weights_of,
)
from controller.analysis.offline.spec import (
    Aggregates,
    AnalysisSpec,
    ArmColumns,
    MetricSpec,
    pick_champion,
    with_declared,
)
from controller.analysis.offline.tables import Chunk, Progress, Table, require_columns
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType
from controller.experiments.plans import CHAMPION, challenger_names

_Look = float | str
_By = tuple[str, ...]
_Cell = tuple[_Look, str, str]  # look, metric key, arm


def record_aggregates(table: Table, spec: AnalysisSpec, progress: Progress) -> list[Recorded]:
    """Every experiment of the table, in order of its first row.

    Raises
    ------
    InvalidInput
        With row, column and rule.
    """
    layout = spec.aggregates
    assert layout is not None
    require_columns(table, [*_text_columns(spec, layout), layout.look, *_numbers(layout)])
    groups: dict[_By, dict[_Cell, Moments]] = {}
    for row in _rows(table, spec, layout, progress):
        cells = groups.setdefault(row.by, {})
        if row.cell in cells:
            raise InvalidInput(
                f"{table.name}: {row.place}: look, metric and arm came before.", field=layout.look
            )
        cells[row.cell] = row.moments
    if not groups:
        raise InvalidInput(f"{table.name}: no row has a metric of the spec.", field="metrics")
    return [_recorded(spec, layout, by, cells) for by, cells in groups.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    by: _By
    cell: _Cell
    moments: Moments
    place: str


def _text_columns(spec: AnalysisSpec, layout: Aggregates) -> list[str]:
    arm = [spec.arm] if spec.arm is not None and not layout.arms else []
    return [*layout.by, *([layout.metric] if layout.metric else []), *arm]


def _numbers(layout: Aggregates) -> list[str]:
    sides = list(layout.arms.values()) or ([layout.own] if layout.own else [])
    return [name for side in sides for name in (side.n, side.mean, side.variance)]


def _rows(
    table: Table, spec: AnalysisSpec, layout: Aggregates, progress: Progress
) -> Iterator[_Row]:
    text = _text_columns(spec, layout)
    for chunk in table.chunks([*text, layout.look, *_numbers(layout)], text=text):
        keys = _metric_keys(table, chunk, spec, layout)
        looks = _looks(table, chunk, layout.look)
        by = [texts(table, chunk, name, what="its value").tolist() for name in layout.by]
        for arms, side in _sides(table, chunk, spec, layout):
            parts = _moments(table, chunk, side, keys)
            for index, moments in enumerate(parts):
                metric = keys[index]
                if metric is not None and moments is not None:
                    yield _Row(
                        by=tuple(values[index] for values in by),
                        cell=(looks[index], metric.key, arms[index]),
                        moments=moments,
                        place=table.place(chunk.start + index),
                    )
        progress("reading aggregates", chunk.share)


def _metric_keys(
    table: Table, chunk: Chunk, spec: AnalysisSpec, layout: Aggregates
) -> list[MetricSpec | None]:
    """The metric of each row; None where the description does not ask for it."""
    if layout.metric is None:
        if len(spec.metrics) > 1:
            raise InvalidInput(
                "spec.aggregates.metric: several metrics need the column that names them.",
                field="spec.aggregates.metric",
            )
        return [spec.metrics[0]] * len(chunk.frame)
    by_name = {metric.column: metric for metric in spec.metrics}
    names = texts(table, chunk, layout.metric, what="its metric")
    return [by_name.get(str(name)) for name in names]


def _looks(table: Table, chunk: Chunk, column: str) -> list[_Look]:
    """Numbers, or ISO 8601 text, which sorts as it stands."""
    series = texts(table, chunk, column, what="its look")
    if series.dtype.kind in "iuf":
        return [float(value) for value in series]
    return [str(value) for value in series]


def _sides(
    table: Table, chunk: Chunk, spec: AnalysisSpec, layout: Aggregates
) -> Iterator[tuple[Sequence[str], ArmColumns]]:
    """Names of the arm in each row, with its columns: once for a long table, once an arm."""
    if layout.own is not None:
        assert spec.arm is not None
        yield texts(table, chunk, spec.arm, what="its arm").astype(str).tolist(), layout.own
    for arm, side in layout.arms.items():
        yield [arm] * len(chunk.frame), side


def _moments(
    table: Table, chunk: Chunk, side: ArmColumns, keys: Sequence[MetricSpec | None]
) -> list[Moments | None]:
    n = numbers(table, chunk, side.n)
    few = n < 2
    mean = numbers(table, chunk, side.mean, empty=True)
    variance = numbers(table, chunk, side.variance, empty=True)
    binary = np.array([k is not None and k.metric.type is MetricType.BINARY for k in keys])
    for column, wrong, rule in (
        (side.n, (n < 0) | (n != np.floor(n)), "must be a whole number of at least 0"),
        (side.mean, np.isnan(mean) & (n > 0), "is empty"),
        (side.variance, np.isnan(variance) & ~few, "is empty"),
        (side.variance, variance < 0, "must be at least 0"),
        (side.mean, binary & ((mean < 0) | (mean > 1)), "must lie in [0, 1] for a binary metric"),
    ):
        _refuse(table, chunk, column, wrong, rule)
    mean, variance = np.nan_to_num(mean), np.nan_to_num(variance)
    return [
        None
        if key is None
        else Moments(
            n=int(n[i]),
            nonzero=round(n[i] * mean[i]) if binary[i] else int(n[i]),
            mean=float(mean[i]),
            m2=float(variance[i]) * max(float(n[i]) - 1.0, 0.0),
        )
        for i, key in enumerate(keys)
    ]


def _refuse(table: Table, chunk: Chunk, column: str, wrong: NDArray[np.bool_], rule: str) -> None:
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise InvalidInput(
            f"{table.name}: {table.place(chunk.start + index)}, column {column!r:.60}: {rule}.",
            field=column,
            row=chunk.start + index + 1,
        )


def _recorded(
    spec: AnalysisSpec, layout: Aggregates, by: _By, cells: Mapping[_Cell, Moments]
) -> Recorded:
    kinds = {type(look) for look, _, _ in cells}
    if len(kinds) > 1:
        raise InvalidInput(
            f"column {layout.look!r}: looks are numbers or times, not both.", field=layout.look
        )
    found = with_declared(spec, layout.arms or (arm for _, _, arm in cells))
    champion = pick_champion(spec, found)
    ordered = [champion, *(arm for arm in found if arm != champion)]
    if len(ordered) < 2:
        raise InvalidInput(f"{dict(zip(layout.by, by, strict=True))}: fewer than two arms.")
    live = dict(zip(ordered, (CHAMPION, *challenger_names(len(ordered) - 1)), strict=True))
    shares = weights_of(spec, None, ordered)
    epoch = Epoch(
        number=1,
        allocation=1,
        enrolled=1.0,
        weights=dict(zip(live.values(), shares, strict=True)),
    )
    return Recorded(
        arms={name: arm for arm, name in live.items()},
        looks=tuple(_cumulate(epoch, live, cells)),
        metrics=tuple(m for m in spec.metrics if any(key == m.key for _, key, _ in cells)),
        by=dict(zip(layout.by, by, strict=True)),
        warnings=() if spec.weights else (NO_WEIGHTS,),
    )


def _cumulate(
    epoch: Epoch, live: Mapping[str, str], cells: Mapping[_Cell, Moments]
) -> Iterator[RecordedLook]:
    now: dict[tuple[str, int, str], Moments] = {}
    order: list[Any] = sorted({look for look, _, _ in cells})
    by_look: dict[_Look, list[tuple[str, str, Moments]]] = {look: [] for look in order}
    for (look, key, arm), moments in cells.items():
        by_look[look].append((key, arm, moments))
    for number, look in enumerate(order, start=1):
        warnings = []
        for key, arm, moments in by_look[look]:
            place = (key, 1, live[arm])
            before = now.get(place)
            if before is not None and moments.n < before.n:
                warnings.append(
                    f"metric {key}: units of arm {arm} fell from {before.n} to {moments.n}"
                )
            now[place] = moments
        statistics = snapshot(
            (epoch,), exposed=_exposed(now, live), moments=dict(now), grids={}, at=str(look)
        )
        yield RecordedLook(number=number, at=look, statistics=statistics, warnings=tuple(warnings))


def _exposed(
    now: Mapping[tuple[str, int, str], Moments], live: Mapping[str, str]
) -> dict[tuple[int, str], int]:
    """Units of the metric that has most of them: every metric counts the same people."""
    totals: dict[str, int] = {}
    for (key, _, _), moments in now.items():
        totals[key] = totals.get(key, 0) + moments.n
    most = max(totals, key=lambda key: totals[key])
    return {(1, arm): now[most, 1, arm].n if (most, 1, arm) in now else 0 for arm in live.values()}
