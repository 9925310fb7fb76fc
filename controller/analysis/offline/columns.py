"""One column of a piece of a table as numbers, or the row, column and rule that was broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.spec import MetricSpec
from controller.analysis.offline.tables import Chunk, Table
from controller.errors import InvalidInput
from controller.experiments.metrics import MetricType, ZeroMeans

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
LARGEST = 1e60
"""Beyond it a square of a variance leaves the range of doubles."""
_TRUTH = {"true": 1.0, "false": 0.0}


def numbers(table: Table, chunk: Chunk, column: str, *, empty: bool = False) -> Floats:
    """The column as floats; true and false, in any case, are 1 and 0.

    Parameters
    ----------
    table, chunk
        Where the rows come from, for the message.
    column : str
    empty : bool
        Whether an empty cell is allowed; it becomes NaN.

    Raises
    ------
    InvalidInput
        At the first cell that is no number, beyond `LARGEST`, or empty without leave.
    """
    import pandas as pd

    series = chunk.frame[column]
    blank = series.isna().to_numpy()
    if series.dtype.kind in "biuf":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        words = series.astype(str).str.strip().str.lower()
        truth = words.map(_TRUTH)
        parsed = pd.to_numeric(words.where(~blank), errors="coerce")
        values = parsed.fillna(truth).to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.isnan(values) & ~blank
        refuse(table, chunk, column, wrong, "must be a number")
    if not empty:
        refuse(table, chunk, column, blank, "is empty; zero_means: zero or unknown allows that")
    refuse(table, chunk, column, np.abs(values) > LARGEST, f"must lie within {LARGEST:g} of 0")
    return values


def metric_values(table: Table, chunk: Chunk, spec: MetricSpec, *, events: bool) -> Floats:
    """The values of a metric's own column by its type's rule; NaN where a unit has no value.

    In unit rows `zero_means: zero` makes an empty cell 0; in event rows it is no outcome.
    """
    if spec.column is None:
        return np.ones(len(chunk.frame))
    values = numbers(table, chunk, spec.column, empty=not spec.fails_on_empty)
    known = ~np.isnan(values)

    def hold(good: Callable[[Floats], NDArray[np.bool_]], rule: str) -> None:
        wrong = known.copy()
        wrong[known] = ~good(values[known])
        refuse(table, chunk, spec.column or "", wrong, rule)

    kind = spec.metric.type
    if kind is MetricType.BINARY and not events:
        hold(lambda v: (v == 0.0) | (v == 1.0), "must be 0 or 1, true or false")
    elif kind is MetricType.COUNT:
        hold(lambda v: (v >= 0.0) & (v == np.floor(v)), "must be a whole number of at least 0")
    elif kind is MetricType.QUANTILE:
        hold(lambda v: v >= 0.0, "must be at least 0 for a quantile on a log grid")
    if not events and spec.metric.zero_means is ZeroMeans.ZERO:
        values = np.where(known, values, 0.0)
    return values


def texts(table: Table, chunk: Chunk, column: str, *, what: str) -> pd.Series:
    """The column as text without an empty cell."""
    series = chunk.frame[column]
    refuse(table, chunk, column, series.isna().to_numpy(), f"is empty; every row needs {what}")
    if series.dtype.kind not in "biufM":
        broken = series.astype(str).str.contains("\0", regex=False).to_numpy(dtype=np.bool_)
        refuse(table, chunk, column, broken, "holds a NUL byte")
    return series


def refuse(table: Table, chunk: Chunk, column: str, wrong: NDArray[np.bool_], rule: str) -> None:
    """Name the first wrong cell with its row, its column and the rule, if there is one."""
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        cell = chunk.frame[column].iloc[index]
        shown = "" if rule.startswith("is empty") else f", not {str(cell)!r:.60}"
        place = table.place(chunk.start + index)
        raise InvalidInput(
            f"{table.name}: {place}, column {column!r:.60}: {rule}{shown}.",
            field=column,
            row=chunk.start + index + 1,
        )
