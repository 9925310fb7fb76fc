"""What orders rows and looks: numbers or ISO 8601 times, one kind throughout a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.columns import refuse, texts
from controller.analysis.offline.tables import Chunk, Table

if TYPE_CHECKING:
    import pandas as pd

_ISO = r"\d{4}-?\d{2}"
_PLAIN = {"b": np.int64, "i": np.int64, "u": np.uint64, "f": np.float64}
_NUMBER = "must be a finite number, as the first cell is (ISO 8601 times must be times throughout)"
_TIME = "must be an ISO 8601 time, as the first cell is"


class Ordering:
    """Reads a column piece by piece as keys that sort as its values do.

    The first cell says whether the column holds numbers or times; every other cell must be the
    same. Text that is neither would sort by its letters, "day 25" before "day 5".
    """

    def __init__(self, table: Table, column: str, *, what: str) -> None:
        self._table, self._column, self._what = table, column, what
        self._timed: bool | None = None

    def keys(self, chunk: Chunk) -> NDArray[Any]:
        """Numbers as they are, instants as microseconds (UTC where no zone is given).

        Raises
        ------
        InvalidInput
            At the first cell that is empty, no finite number or no ISO 8601 time, or of another
            kind than those before.
        """
        series = texts(self._table, chunk, self._column, what=self._what)
        if not len(series):
            return np.zeros(0, dtype=np.int64)
        if series.dtype.kind == "M":
            self._hold(chunk, timed=True)
            return np.asarray(series.dt.as_unit("us").astype("int64"))
        if series.dtype.kind in "biuf":
            self._hold(chunk, timed=False)
            plain = series.to_numpy(dtype=_PLAIN[series.dtype.kind])
            self._refuse(chunk, ~np.isfinite(plain), "must be a finite number")
            return plain
        return self._read(chunk, series)

    def _read(self, chunk: Chunk, series: pd.Series) -> NDArray[Any]:
        import pandas as pd

        words = series.astype(str).str.strip()
        numbers = pd.to_numeric(words, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        timed = self._timed if self._timed is not None else bool(np.isnan(numbers[0]))
        if not timed:
            self._timed = False
            self._refuse(chunk, ~np.isfinite(numbers), _NUMBER)
            return numbers
        first = self._timed is None
        self._timed = True
        iso = words.where(words.str.match(_ISO))
        parsed = pd.to_datetime(iso, utc=True, format="ISO8601", errors="coerce")
        rule = "must be a number or an ISO 8601 time" if first else _TIME
        self._refuse(chunk, parsed.isna().to_numpy(), rule)
        return np.asarray(parsed.dt.as_unit("us").astype("int64"))

    def _hold(self, chunk: Chunk, *, timed: bool) -> None:
        if self._timed is not None and self._timed is not timed:
            every = np.ones(len(chunk.frame), dtype=np.bool_)
            self._refuse(chunk, every, _TIME if self._timed else _NUMBER)
        self._timed = timed

    def _refuse(self, chunk: Chunk, wrong: NDArray[np.bool_], rule: str) -> None:
        refuse(self._table, chunk, self._column, wrong, rule)
