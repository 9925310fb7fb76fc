"""Tables of cumulative statistics by look: long or wide, one experiment or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from controller.aggregation.statistics import Moments
from controller.analysis.offline.aggregate_looks import Cell, Experiment, recorded_of
from controller.analysis.offline.columns import numbers, refuse, texts
from controller.analysis.offline.ordering import Ordering
from controller.analysis.offline.recorded import Recorded
from controller.analysis.offline.spec import Aggregates, AnalysisSpec, ArmColumns, MetricSpec
from controller.analysis.offline.tables import Chunk, Progress, Table, require_columns
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType

MOST_UNITS = 1e15
"""Of one arm; counts beyond it are not whole numbers in doubles."""


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
    found: dict[tuple[str, ...], Experiment] = {}
    for by, cell in _rows(table, spec, layout, progress):
        found.setdefault(by, Experiment()).add(cell)
    return [recorded_of(spec, layout, by, experiment) for by, experiment in found.items()]


def _text_columns(spec: AnalysisSpec, layout: Aggregates) -> list[str]:
    arm = [spec.arm] if spec.arm is not None and not layout.arms else []
    single = [name for name in (layout.metric, spec.epoch) if name is not None]
    return [*layout.by, *single, *arm]


def _numbers(layout: Aggregates) -> list[str]:
    sides = list(layout.arms.values()) or ([layout.own] if layout.own else [])
    return [name for side in sides for name in (side.n, side.mean, side.variance)]


def _rows(
    table: Table, spec: AnalysisSpec, layout: Aggregates, progress: Progress
) -> Iterator[tuple[tuple[str, ...], Cell]]:
    """The cells of the metrics asked for, each with the values that select its experiment."""
    text = _text_columns(spec, layout)
    order = Ordering(table, layout.look, what="its look")
    rows = wanted = 0
    for chunk in table.chunks([*text, layout.look, *_numbers(layout)], text=text):
        keys = _metric_keys(table, chunk, spec, layout)
        places, labels = order.keys(chunk), chunk.frame[layout.look].tolist()
        by = [texts(table, chunk, name, what="its value").tolist() for name in layout.by]
        epochs = _epochs(table, chunk, spec)
        for arms, side in _sides(table, chunk, spec, layout):
            parts = _moments(table, chunk, side, keys)
            for index, (metric, moments) in enumerate(zip(keys, parts, strict=True)):
                if metric is not None and moments is not None:
                    wanted += 1
                    yield (
                        tuple(str(values[index]) for values in by),
                        Cell(
                            look=places[index].item(),
                            label=labels[index],
                            epoch=epochs[index],
                            metric=metric.key,
                            arm=arms[index],
                            moments=moments,
                            place=f"{table.name}: {table.place(chunk.start + index)}",
                        ),
                    )
        rows += len(chunk.frame)
        progress("reading aggregates", chunk.share)
    if not wanted:
        nothing = "the table has no row" if not rows else "no row has a metric of the spec"
        raise InvalidInput(f"{table.name}: {nothing}.", field="data")


def _epochs(table: Table, chunk: Chunk, spec: AnalysisSpec) -> Sequence[str | None]:
    if spec.epoch is None:
        return [None] * len(chunk.frame)
    named = texts(table, chunk, spec.epoch, what="its epoch")
    return [str(name) for name in named]


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
        (side.n, n > MOST_UNITS, f"must be at most {MOST_UNITS:g}"),
        (side.mean, np.isnan(mean) & (n > 0), "is empty"),
        (side.variance, np.isnan(variance) & ~few, "is empty"),
        (side.variance, variance < 0, "must be at least 0"),
        (side.mean, binary & ((mean < 0) | (mean > 1)), "must lie in [0, 1] for a binary metric"),
    ):
        refuse(table, chunk, column, wrong, rule)
    mean, variance = np.nan_to_num(mean), np.nan_to_num(variance)
    return [
        None
        if key is None
        else Moments(
            n=int(n[i]),
            nonzero=_nonzero(n[i], mean[i], variance[i], binary=bool(binary[i])),
            mean=float(mean[i]),
            m2=float(variance[i]) * max(float(n[i]) - 1.0, 0.0),
        )
        for i, key in enumerate(keys)
    ]


def _nonzero(n: float, mean: float, variance: float, *, binary: bool) -> int:
    """Units with a value other than 0: known for shares and for arms of zeros, else at most all."""
    if binary:
        return round(n * mean)
    return 0 if mean == 0.0 and variance == 0.0 else int(n)
