"""Tables read a piece at a time: CSV, Parquet and data frames, never whole in memory."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from controller.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 200_000
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zX": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
    b"PAR1": ".parquet",
}
"""How files begin that are no plain text."""

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
        If the file is not there or not readable, the object is no table, or two columns share a
        name.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        _check_file(path)
        return _Parquet(path) if path.suffix in (".parquet", ".pq") else _Csv(path)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return _Frame(data)
    raise InvalidInput("data: expected a path or a pandas data frame.", field="data")


def _check_file(path: Path) -> None:
    """Refuse what is no file, or holds something else than its name says."""
    try:
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "no such file"
            raise InvalidInput(f"{path}: {what}.", field="data")
        with path.open("rb") as raw:
            start = raw.read(4)
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{path}: {_sentence(problem)}", field="data") from problem
    found = next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), None)
    known = {".pq": ".parquet"}.get(path.suffix, path.suffix)
    if found is not None and found != known:
        raise InvalidInput(
            f"{path}: holds {found[1:]} data; let its name end in {found}.", field="data"
        )


def _refuse_doubles(table: str, names: Sequence[str]) -> None:
    """Two columns of one name: nobody can say which one is meant."""
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InvalidInput(
            f"{table}: two columns are named {twice!r:.60}; rename one.", field="data"
        )


def require_columns(table: Table, columns: Sequence[str]) -> None:
    """Refuse columns the table does not have."""
    for column in columns:
        if column not in table.columns:
            known = ", ".join(f"{name!r:.60}" for name in table.columns[:20]) or "none"
            raise InvalidInput(
                f"{table.name}: no column {column!r:.60}; the table has {known}.", field=column
            )


class _Csv:
    def __init__(self, path: Path) -> None:
        import pandas as pd

        self.name = str(path)
        self._path = path
        self._size = max(path.stat().st_size, 1)
        self._whole = False
        with _readable(self.name):
            # Two rows: a first row longer than its header would shift every column.
            head = pd.read_csv(path, header=None, nrows=2, dtype=str, keep_default_na=False)
            _refuse_doubles(self.name, [name for name in head.iloc[0] if name])
            self.columns = tuple(pd.read_csv(path, nrows=0).columns)

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        """The first time through every row is held to the header's width, as `usecols` does not."""
        import pandas as pd

        start = 0
        wanted = list(dict.fromkeys(columns))
        with _readable(self.name), self._path.open("rb") as raw:
            reader = pd.read_csv(
                raw,
                usecols=wanted if self._whole else None,
                dtype=dict.fromkeys(text, str),
                keep_default_na=False,
                na_values=[""],
                chunksize=CHUNK_ROWS,
                compression=_compression(self._path),
                low_memory=False,
                skip_blank_lines=True,
            )
            for frame in reader:
                plain = frame[wanted].reset_index(drop=True)
                if len(plain):
                    share = min(1.0, raw.tell() / self._size)
                    yield Chunk(frame=plain, start=start, share=share)
                start += len(plain)
        self._whole = True

    def place(self, row: int) -> str:
        return f"row {row + 1} (line {row + 2})"


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.name = str(path)
        with _readable(self.name):
            self._file = pq.ParquetFile(path)
            self.columns = tuple(self._file.schema_arrow.names)
        _refuse_doubles(self.name, self.columns)
        self._rows = max(self._file.metadata.num_rows, 1)

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        start = 0
        wanted = list(dict.fromkeys(columns))
        with _readable(self.name):
            for batch in self._file.iter_batches(batch_size=CHUNK_ROWS, columns=wanted):
                # What pandas has written beside the data may be as broken as anything else.
                frame = _with_text(batch.to_pandas(ignore_metadata=True), text)
                if len(frame):
                    yield Chunk(frame=frame, start=start, share=(start + len(frame)) / self._rows)
                start += len(frame)

    def place(self, row: int) -> str:
        return f"row {row + 1}"


class _Frame:
    """Columns go by their names as text, so that numbers may name them."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.name = "data frame"
        self.columns = tuple(str(name) for name in frame.columns)
        _refuse_doubles(self.name, self.columns)
        self._frame = frame

    def chunks(self, columns: Sequence[str], *, text: Sequence[str]) -> Iterator[Chunk]:
        wanted = list(dict.fromkeys(columns))
        places = [self.columns.index(name) for name in wanted]
        total = max(len(self._frame), 1)
        for start in range(0, len(self._frame), CHUNK_ROWS):
            piece = self._frame.iloc[start : start + CHUNK_ROWS, places].reset_index(drop=True)
            frame = _with_text(piece.set_axis(wanted, axis=1), text)
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
        if problem is None or isinstance(problem, InvalidInput | GeneratorExit):
            return
        if isinstance(problem, _broken()):
            raise InvalidInput(f"{self._name}: {_sentence(problem)}", field="data") from problem


def _broken() -> tuple[type[BaseException], ...]:
    """What readers of CSV, of compressed files and of Parquet raise for bytes that are wrong."""
    import pyarrow as pa

    files = (OSError, EOFError, ValueError, OverflowError, ImportError)
    return (*files, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


def _sentence(problem: BaseException) -> str:
    said = " ".join(str(problem).split()) or type(problem).__name__
    return f"{said:.300}".rstrip(".") + "."
