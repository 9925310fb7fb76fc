from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from controller.flow import numbers
from controller.service.ui import times

NOW = datetime(2026, 11, 23, 8, 7, 12, tzinfo=UTC)


def test_the_zone_is_always_printed() -> None:
    for text in (times.full(NOW), times.short(NOW, NOW), times.short(NOW, NOW + timedelta(days=2))):
        assert text.endswith(" UTC")
    assert times.machine(NOW) == "2026-11-23T08:07:12Z"


def test_an_instant_of_another_zone_is_shown_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert times.full(elsewhere) == times.full(NOW)
    assert times.instant(elsewhere.isoformat()) == NOW


def test_a_summer_change_moves_nothing() -> None:
    before = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)
    assert numbers.duration((before + timedelta(hours=2) - before).total_seconds()) == "2 h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (7800, "2 h 10 min"),
        (90061, "1 d 1 h"),
        (400000, "4 d 15 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=4, seconds=30), "4 min ago"),
        (timedelta(hours=2, minutes=50), "2 h ago"),
        (timedelta(days=-3), "in 3 d"),
        (timedelta(hours=-3, minutes=-10), "in 3 h 10 min"),
        (timedelta(seconds=-30), "in less than a minute"),
    ],
)
def test_how_long_ago(before: timedelta, text: str) -> None:
    assert times.relative(NOW - before, NOW) == text
