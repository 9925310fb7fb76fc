"""Tables read a piece at a time: CSV, Parquet and data frames, never whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from controller.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 200_000

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive rows.

    Attributes
    ----------
    frame : DataFrame
        Index 0, 1, 2, …
    start : int
        Rows of the table before this piece.
    share : float
        Part of the table read so far.
    """

    frame: pd.DataFrame
    start: int
    share: float


class Table(Protocol):
    """A named table with known columns."""

    name: str
    columns: tuple[str, ...]

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        """The rows of some columns; those in `text` come as strings."""
        ...

    def place(self, row: int) -> str:
        """How a person finds the row with this index: `row 7 (line 8)`."""
        ...


def open_table(data: Any) -> Table:
    """A path to a CSV or Parquet file, or a pandas data frame.

    Raises
    ------
    InvalidInput
        If the file is not there or not readable, or the object is no table.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        if not path.is_file():
            raise InvalidInput(f"{path}: no such file.", field="data")
        return _Parquet(path) if path.suffix in (".parquet", ".pq") else _Csv(path)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return _Frame(data)
    raise InvalidInput("data: expected a path or a pandas data frame.", field="data")


def require_columns(table: Table, columns: Sequence[str]) -> None:
    """Refuse columns the table does not have."""
    for column in columns:
        if column not in table.columns:
            known = ", ".join(table.columns[:20])
            raise InvalidInput(
                f"{table.name}: no column {column!r:.60}; the table has {known}.", field=column
            )


class _Csv:
    def __init__(self, path: Path) -> None:
        import pandas as pd

        self.name = str(path)
        self._path = path
        self._size = max(path.stat().st_size, 1)
        with _readable(self.name):
            self.columns = tuple(pd.read_csv(path, nrows=0).columns)

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        import pandas as pd

        start = 0
        with _readable(self.name), self._path.open("rb") as raw:
            reader = pd.read_csv(
                raw,
                usecols=list(dict.fromkeys(columns)),
                dtype=dict.fromkeys(text, str),
                keep_default_na=False,
                na_values=[""],
                chunksize=CHUNK_ROWS,
                compression=_compression(self._path),
                low_memory=False,
                skip_blank_lines=True,
            )
            for frame in reader:
                plain = frame.reset_index(drop=True)
                yield Chunk(frame=plain, start=start, share=min(1.0, raw.tell() / self._size))
                start += len(plain)

    def place(self, row: int) -> str:
        return f"row {row + 1} (line {row + 2})"


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.name = str(path)
        with _readable(self.name):
            self._file = pq.ParquetFile(path)
        self.columns = tuple(self._file.schema_arrow.names)
        self._rows = max(self._file.metadata.num_rows, 1)

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        start = 0
        wanted = list(dict.fromkeys(columns))
        for batch in self._file.iter_batches(batch_size=CHUNK_ROWS, columns=wanted):
            frame = _with_text(batch.to_pandas(), text)
            yield Chunk(frame=frame, start=start, share=(start + len(frame)) / self._rows)
            start += len(frame)

    def place(self, row: int) -> str:
        return f"row {row + 1}"


class _Frame:
    def __init__(self, frame: pd.DataFrame) -> None:
        self.name = "data frame"
        self.columns = tuple(str(name) for name in frame.columns)
        self._frame = frame

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        wanted = list(dict.fromkeys(columns))
        total = max(len(self._frame), 1)
        for start in range(0, len(self._frame), CHUNK_ROWS):
            piece = self._frame[wanted].iloc[start : start + CHUNK_ROWS].reset_index(drop=True)
            frame = _with_text(piece, text)
            yield Chunk(frame=frame, start=start, share=(start + len(frame)) / total)

    def place(self, row: int) -> str:
        return f"row {row + 1}"


def _with_text(frame: pd.DataFrame, text: Sequence[str]) -> pd.DataFrame:
    for column in dict.fromkeys(text):
        values = frame[column]
        frame[column] = values.astype(str).where(values.notna(), None)
    return frame


def _compression(path: Path) -> Any:
    known = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
    return known.get(path.suffix)


class _readable:  # noqa: N801 - reads as a word in `with`
    """Turns what a file can do wrong into one sentence."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        import pandas as pd

        expected = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError)
        if isinstance(problem, (*expected, ValueError)) and not isinstance(problem, InvalidInput):
            sentence = " ".join(str(problem).split())
            raise InvalidInput(f"{self._name}: {sentence:.300}", field="data") from problem
