"""Tables as CSV (RFC 4180, UTF-8) that a spreadsheet opens without carrying anything out.

A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula, and where its list
separator is not a comma, also one that follows a `;` inside a text. Names and notes come from
people, so such a text gets an apostrophe in front (OWASP, "CSV Injection"). Numbers are written by
us and stay as they are; the JSON of the same thing has every text exactly.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from controller.flow.exports import Cell, Table
from controller.service.http.calls import Answer
from controller.service.http.waiting import Seated, Seats

MEDIA: Final = "text/csv; charset=utf-8; header=present"
ROWS_AT_ONCE: Final = 200
_FORMULA: Final = re.compile(
    r"(^)(?=[\t\r])|(^|[;\t-\r\x1c-\x1e\x85\u2028\u2029])(?=[\s\"']*[=+\-@|%\uff1d\uff0b\uff0d\uff20])"
)


def csv_answer(table: Table, *, seats: Seats) -> Answer:
    """A table to be saved as a file, written while it is read.

    Raises
    ------
    Overloaded
        If every seat is taken: a slow reader holds a thread.
    """
    seats.take()
    return Answer(
        body=Seated(_lines(table), seats),
        media=MEDIA,
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{_safe(table.name)}.csv"',
        },
    )


def cell(value: Cell) -> str:
    """One value as text; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _FORMULA.sub(r"\g<0>'", value)


def _lines(table: Table) -> Iterator[bytes]:
    rows: list[Sequence[str]] = [table.columns]
    for row in table.rows:
        rows.append([cell(value) for value in row])
        if len(rows) >= ROWS_AT_ONCE:
            yield _written(rows)
            rows = []
    yield _written(rows)


def _written(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:80]
