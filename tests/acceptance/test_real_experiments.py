"""The page about real experiments says what its command prints, and its picture what it draws.

python -m tests.benchmarks.real_experiments --runs 400
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.benchmarks.real_experiments import (
    asos,
    asos_lines,
    bandit,
    bandit_lines,
    calibration_lines,
    upworthy_lines,
)
from tests.benchmarks.real_picture import picture

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "explanation" / "real-experiments.md").read_text(encoding="utf-8")


def missing(lines: Iterable[str]) -> list[str]:
    """Lines that the page does not have."""
    written = set(PAGE.splitlines())
    return [line for line in lines if line and line not in written]


def test_peeking_claims_what_is_gone_by_the_end() -> None:
    found = asos()
    assert missing(asos_lines(found)) == []
    gone = [each for each in found if each.vanished]
    assert len(gone) == 8
    assert sum(each.crossed is None for each in gone) == 4


def test_the_split_alarm_finds_the_broken_half_year() -> None:
    assert missing(upworthy_lines()) == []


def test_a_policy_that_peeking_would_have_shipped() -> None:
    assert missing(bandit_lines(bandit())) == []


def test_the_picture_is_what_the_data_draw() -> None:
    drawn = (DOCS / "images" / "real-experiments.svg").read_text(encoding="utf-8")
    number = re.compile(r"-?\d+\.\d")
    assert number.sub("_", drawn) == number.sub("_", picture())
    there, here = ([float(n) for n in number.findall(text)] for text in (drawn, picture()))
    assert there == pytest.approx(here, abs=0.11)


@pytest.mark.calibration
def test_what_is_drawn_by_day_and_analysed_by_flight_is_not_calibrated() -> None:
    """Fewer redraws than the page's: the same cases, the same clear results."""
    again = [line.split(" | ") for line in list(calibration_lines(runs=100, word="by day"))[2:]]
    for name, *_, result in again:
        assert f"\n{name} | " in PAGE
        sound = "drawn and analysed" in name
        assert result.startswith("calibrated" if sound else "too many alarms")
