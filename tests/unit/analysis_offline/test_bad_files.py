"""Whatever a file holds, the command ends with a report or with a sentence: never a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from controller.cli.main import run_command
from tests.unit.analysis_offline.spoiling import (
    as_csv,
    as_parquet,
    good,
    spoil_bytes,
    spoil_cells,
    spoil_keys,
)

CASES = 64


@pytest.mark.parametrize("part", range(4))
def test_spoiled_files_end_with_a_report_or_a_sentence(
    part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [_analyze(4 * case + part, tmp_path, capsys) for case in range(CASES // 4)]
    assert set(codes) <= {0, 2}
    assert codes.count(0) >= len(codes) // 10  # spoiled, not destroyed
    assert codes.count(2) >= len(codes) // 4


def _analyze(seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> int:
    rng = np.random.default_rng(seed)
    data, description = good(rng)
    way = int(rng.integers(4))
    if way == 0:
        data = spoil_cells(data, rng)
    written = as_parquet(data) if way == 3 else as_csv(data)
    if way in (1, 3):
        written = spoil_bytes(written, rng)
    table = folder / ("table.parquet" if way == 3 else "table.csv")
    table.write_bytes(written)
    described = spoil_keys(description, rng) if way == 2 else description
    text = yaml.safe_dump(described)
    file = folder / "spec.yaml"
    file.write_text(text, encoding="utf-8")
    code = run_command(["analyze", str(table), "--spec", str(file)])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert (code == 2) == printed.err.startswith("controller: ")
    return code
