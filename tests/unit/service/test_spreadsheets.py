"""CSV that says what was there, and never becomes a formula in whoever's spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.flow.exports import Cell, Table
from controller.service.http.refusals import Overloaded
from controller.service.http.spreadsheets import ROWS_AT_ONCE, cell, csv_answer
from controller.service.http.waiting import Seated, Seats

TRIGGERS = "=+-@|%＝＋－＠"  # noqa: RUF001 - full-width letters are what is meant


def written(rows: Sequence[Sequence[Cell]], *, name: str = "table", width: int = 1) -> str:
    columns = tuple(f"column{n}" for n in range(width))
    table = Table(name=name, columns=columns, rows=iter(rows))
    body = csv_answer(table, seats=Seats(1)).body
    assert not isinstance(body, bytes)
    return b"".join(body).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0, "0"),
        (-0.0971, "-0.0971"),
        (1e-12, "1e-12"),
        (datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))), "2026-03-01T12:00:00Z"),
        (datetime(2026, 3, 1, 12, 0, 0, 500, tzinfo=UTC), "2026-03-01T12:00:00.000500Z"),
        ("late-flight-alert", "late-flight-alert"),
        ("a lead of 3 - or 4", "a lead of 3 - or 4"),
    ],
)
def test_what_is_no_formula_stays_as_it_is(value: Cell, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize("first", TRIGGERS)
@pytest.mark.parametrize("before", ["", " ", '"', "'", "\t", "\n  "])
def test_a_text_that_would_be_a_formula_gets_an_apostrophe(first: str, before: str) -> None:
    assert cell(f"{before}{first}HYPERLINK(1)").startswith("'")


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r"])
def test_nor_does_a_formula_follow_another_lists_separator(separator: str) -> None:
    assert cell(f"Storm{separator} =1+1") == f"Storm{separator}' =1+1"


@given(st.text())
@example("\x0c@")
@example("a\u2028=1")
def test_no_cell_of_any_text_begins_like_a_formula(text: str) -> None:
    shown = cell(text)
    for piece in (shown, *shown.split(";"), *shown.split("\t"), *shown.splitlines()):
        assert not piece.lstrip(' "').startswith(tuple("=+-@")), shown


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.integers(), st.floats(
    allow_nan=False, allow_infinity=False)), max_size=5))  # fmt: skip
def test_a_reader_gets_every_value_back(rows: list[tuple[str, int, float]]) -> None:
    read = list(csv.reader(io.StringIO(written(rows, width=3), newline="")))
    assert read[0] == ["column0", "column1", "column2"]
    assert [(int(b), float(c)) for _, b, c in read[1:]] == [(b, c) for _, b, c in rows]
    assert [a for a, _, _ in read[1:]] == [cell(a) for a, _, _ in rows]


def test_it_is_written_while_it_is_read_and_the_seat_is_left_at_the_end() -> None:
    taken: list[int] = []

    def rows() -> Iterator[Sequence[Cell]]:
        for number in range(10 * ROWS_AT_ONCE):
            taken.append(number)
            yield (number,)

    seats = Seats(1)
    answer = csv_answer(Table(name="t", columns=("n",), rows=rows()), seats=seats)
    assert isinstance(answer.body, Seated)
    parts = iter(answer.body)
    assert next(parts).startswith(b"n\r\n0\r\n1\r\n")
    assert len(taken) < 2 * ROWS_AT_ONCE, "nothing is gathered first"
    with pytest.raises(Overloaded):
        csv_answer(Table(name="t", columns=("n",), rows=iter(())), seats=seats)
    answer.body.close()
    seats.take()


def test_a_strange_name_stays_inside_its_header() -> None:
    table = Table(name='a"; filename=evil\r\nX: 1', columns=("n",), rows=iter(()))
    answer = csv_answer(table, seats=Seats(1))
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="a---filename-evil--X--1.csv"'
    )
