"""Files that are no tables, tables that are no experiments: exit 2 and a sentence that says why."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from controller.analysis import analyze
from controller.analysis.offline import tables
from controller.cli.main import run_command
from controller.errors import InvalidInput
from tests.unit.analysis_offline.spoiling import as_parquet
from tests.unit.analysis_offline.tables import BINARY, MEAN, spec, units

DATA = units(n=400, effect=0.1)
CSV = DATA.to_csv(index=False).encode()
PARQUET = as_parquet(DATA)
DESCRIPTION = spec(BINARY, MEAN, time="t")
LONG = {
    "arm": {"column": "arm", "champion": "control"},
    "aggregates": {"look": "day", "n": "n", "mean": "mean", "variance": "variance"},
    "metrics": [{"key": "x", "type": "mean"}],
}
WIDE = LONG | {
    "arm": {"champion": "control"},
    "aggregates": {
        "look": "day",
        "arms": {
            "control": {"n": "n", "mean": "mean", "variance": "variance"},
            "treatment": {"n": "m", "mean": "mean2", "variance": "variance2"},
        },
    },
}


def refused(
    raw: bytes, name: str, capsys: pytest.CaptureFixture[str], folder: Path, described: Any
) -> str:
    """What the command says about a table when it ends with exit code 2."""
    table, description = folder / name, folder / "spec.yaml"
    table.write_bytes(raw)
    description.write_text(yaml.safe_dump(described), encoding="utf-8")
    assert run_command(["analyze", str(table), "--spec", str(description)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("header", "described"),
    [
        (CSV.splitlines()[0], DESCRIPTION),
        (CSV.splitlines()[0], spec(BINARY, rows="events")),
        (b"day,arm,n,mean,variance", LONG),
        (b"day,n,mean,variance,m,mean2,variance2", WIDE),
    ],
    ids=["units", "events", "long", "wide"],
)
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_header_alone_has_no_row(
    header: bytes,
    described: Any,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = header.decode().split(",")
    empty = as_parquet(pd.DataFrame({column: [] for column in columns}))
    raw = header + b"\n" if name == "table.csv" else empty
    assert "the table has no row" in refused(raw, name, capsys, tmp_path, described)


@pytest.mark.parametrize(
    ("raw", "name", "sentence"),
    [
        (b"", "t.csv", "No columns to parse"),
        (b"", "t.parquet", "Parquet"),
        (PARQUET[:-6], "t.parquet", "Parquet"),
        (PARQUET[: len(PARQUET) // 2], "t.parquet", "Parquet"),
        (PARQUET[:-40] + b"\xff" * 32 + PARQUET[-8:], "t.parquet", "t.parquet: "),
        (b"PAR1" + b"\x15" * 9000 + PARQUET[9004:], "t.parquet", "t.parquet: "),
        (CSV, "t.parquet", "Parquet"),
        (PARQUET, "t.csv", "holds parquet data"),
        (gzip.compress(CSV), "t.csv", "holds gz data; let its name end in .gz"),
        (CSV, "t.csv.gz", "gzip"),
        (gzip.compress(CSV)[:-900], "t.csv.gz", "ended before"),
        (gzip.compress(CSV)[:300] + b"\xff" * 200, "t.csv.gz", "t.csv.gz: "),
        (CSV, "t.csv.zst", "zst"),
        (CSV.decode().encode("utf-16"), "t.csv", "codec can't decode"),
        (CSV + b"\xff\xfe,control,1,first,0,0,0,0,0,0\n", "t.csv", "codec can't decode"),
        (CSV.replace(b"treatment", b"treat\0ment", 1), "t.csv", "column 'arm': holds a NUL byte"),
        (CSV.replace(b"u7,", b"u\0007,", 1), "t.csv", "row 8 (line 9), column 'user': holds a NUL"),
        (b"\0" * 500, "t.csv", "no column 'user'"),
        (CSV.replace(b"spend", b"user", 1), "t.csv", "two columns are named 'user'"),
        (CSV.replace(b"\nu0,", b"\n0,u0,", 1), "t.csv", "Expected 10 fields in line 2, saw 11"),
        (CSV.replace(b"\nu9,", b"\n0,u9,", 1), "t.csv", "Expected 10 fields in line 11, saw 11"),
        (CSV.replace(b"\nu5,", b'\n"u5,', 1), "t.csv", "EOF inside string"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_sentence(
    raw: bytes, name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refused(raw, name, capsys, tmp_path, DESCRIPTION)


def test_a_place_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a directory"):
        analyze(tmp_path, DESCRIPTION)
    with pytest.raises(InvalidInput, match="no such file"):
        analyze(tmp_path / "none.csv", DESCRIPTION)
    with pytest.raises(InvalidInput, match="no such file"):
        analyze("a\0b", DESCRIPTION)


def test_every_pass_over_a_file_reads_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "units.csv"
    path.write_bytes(CSV)
    whole = analyze(path, DESCRIPTION).document
    monkeypatch.setattr(tables, "CHUNK_ROWS", 37)
    table = tables.open_table(path)
    for _ in range(2):
        pieces = list(table.chunks(["arm", "t"], text=["arm"]))
        assert [list(piece.frame.columns) for piece in pieces] == [["arm", "t"]] * len(pieces)
        assert [value for piece in pieces for value in piece.frame["t"]] == DATA["t"].tolist()
    again = analyze(path, DESCRIPTION).document
    assert again["looks"][-1]["n"] == whole["looks"][-1]["n"]


def test_columns_of_a_frame_go_by_their_names_as_text() -> None:
    numbered = DATA.rename(columns={"user": 0, "arm": 1, "converted": 2})
    description = {
        "unit": "0",
        "arm": DESCRIPTION["arm"] | {"column": "1"},
        "metrics": [BINARY | {"column": "2"}],
    }
    found = analyze(numbered, description).document
    assert found["metrics"] == analyze(DATA, spec(BINARY)).document["metrics"]
    for names in (["a", "a"], [1, "1"]):
        doubled = pd.DataFrame(np.zeros((2, 2)), columns=names)
        with pytest.raises(InvalidInput, match="two columns are named"):
            analyze(doubled, description)


def test_an_index_that_pandas_has_written_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    DATA.set_index("user").to_parquet(path)
    assert analyze(path, DESCRIPTION).document == analyze(DATA, DESCRIPTION).document


def test_units_that_all_met_two_arms_leave_nothing_to_analyse() -> None:
    other = DATA.assign(arm=np.where(DATA["arm"] == "control", "treatment", "control"))
    with pytest.raises(InvalidInput, match="each of the 400 units met two arms"):
        analyze(pd.concat([DATA, other]), spec(BINARY, rows="events"))


def test_a_column_of_nothing_is_no_data_where_nothing_is_allowed() -> None:
    void = DATA.assign(spend=np.nan)
    with pytest.raises(InvalidInput, match="row 1, column 'spend': is empty"):
        analyze(void, spec(MEAN))
    found = analyze(void, spec(MEAN | {"zero_means": "unknown"})).document["metrics"]["revenue"]
    shown = found["comparisons"]["treatment"]
    assert (shown["verdict"], shown["reason"]) == ("unknown", "no_data")
    assert found["arms"]["control"]["n"] == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "spec: expected an object, not NoneType"),
        ("- a\n- b\n", "spec: expected an object, not list"),
        ("a: &x {}\nb: *x\n", "anchors and aliases are not allowed"),
        ("a: &x [*x]\n", "anchors and aliases are not allowed"),
        ("unit: a\nunit: b\n", "line 2: the key 'unit' stands twice in one object"),
        ("unit: !!python/object:os.system a\n", "could not determine a constructor"),
        ("unit: [\n", "expected the node content"),
        ("[" * 5000, "nested too deeply"),
        ("unit: \xa7", "codec can't decode"),
        ("looks: " + "9" * 6000, "Exceeds the limit"),
    ],
)
def test_a_description_that_is_none_is_refused(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, description = tmp_path / "t.csv", tmp_path / "spec.yaml"
    table.write_bytes(CSV)
    description.write_bytes(text.encode("latin-1"))
    assert run_command(["analyze", str(table), "--spec", str(description)]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_dates_in_a_description_are_text(tmp_path: Path) -> None:
    days = DATA.assign(arm=np.where(DATA["arm"] == "control", "2024-01-01", "2024-02-30"))
    path = tmp_path / "spec.yaml"
    path.write_text(
        "arm: {column: arm, champion: 2024-01-01, weights: {2024-01-01: 1, 2024-02-30: 1}}\n"
        "metrics: [{key: conversion, column: converted, type: binary}]\n",
        encoding="utf-8",
    )
    assert analyze(days, path).document["champion"] == "2024-01-01"


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "nobody"},
        {"time": "never"},
        {"epoch": "none"},
        {"arm": {"column": "nothing"}},
        {"metrics": [MEAN | {"column": "empty"}]},
        {"metrics": [MEAN | {"covariate": "before"}]},
    ],
)
def test_columns_of_the_description_must_be_there(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="data frame: no column"):
        analyze(DATA, spec(MEAN) | change)


def test_shares_near_separation_have_an_interval_or_none_but_no_warning() -> None:
    few = pd.DataFrame({"arm": ["control"] * 2 + ["treatment"] * 5, "hit": [1] * 6 + [0]})
    description = {
        "arm": {"column": "arm"},
        "metrics": [{"key": "hit", "column": "hit", "type": "binary", "mode": "fixed"}],
    }
    found = analyze(few, description).document["metrics"]["hit"]["comparisons"]["treatment"]
    assert found["estimate"] == pytest.approx(-0.2)
    assert found["relative"]["ci"] is None or found["relative"]["ci"][0] < 0.0
