"""Who was reported already: once per unit and allocation, in bounded memory for all slots."""

from __future__ import annotations

import time

import pytest

from controller.sdk import exposures
from controller.sdk.exposures import Exposed

SLOTS = [(f"s{number}", "r", 1) for number in range(20)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Exposed:
    monkeypatch.setattr(exposures, "GENERATION_UNITS", 100)
    return Exposed()


def held(exposed: Exposed) -> int:
    return sum(len(seen.recent) + len(seen.older) for seen in map(exposed.of, SLOTS))


def test_many_slots_together_stay_within_one_bound(small: Exposed) -> None:
    most = 0
    for number in range(50):
        for slot in SLOTS:
            assert small.of(slot).first(f"u{number}")
            most = max(most, held(small))
    assert 100 < most <= 200


def test_a_unit_is_new_once_per_allocation_until_two_generations_later(small: Exposed) -> None:
    one, other = small.of(SLOTS[0]), small.of(SLOTS[1])
    assert one.first("u")
    assert not one.first("u")
    assert other.first("u")
    for number in range(100):
        other.first(f"a{number}")
    assert not one.first("u"), "one generation older"
    for number in range(300):
        other.first(f"b{number}")
    assert one.first("u"), "forgotten"


def test_the_set_that_the_hot_path_holds_is_the_same_for_good(small: Exposed) -> None:
    seen = small.of(SLOTS[0])
    recent = seen.recent
    for number in range(250):
        seen.first(f"u{number}")
    assert seen.recent is recent
    assert "u249" in recent


def test_what_is_no_longer_live_is_forgotten_and_makes_room(small: Exposed) -> None:
    for number in range(90):
        small.of(SLOTS[0]).first(f"u{number}")
    small.of(SLOTS[1]).first("kept")
    small.keep([SLOTS[1]])
    for number in range(90):
        small.of(SLOTS[1]).first(f"v{number}")
    assert not small.of(SLOTS[1]).older, "no generation has ended: 91 units are there"
    assert small.of(SLOTS[0]).first("u1")


def test_after_half_a_day_a_generation_ends_whoever_is_in_it(
    small: Exposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = small.of(SLOTS[0]), small.of(SLOTS[1])
    one.first("u")
    later = time.monotonic() + exposures.GENERATION_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    other.first("v")
    assert (one.recent, one.older) == (set(), {"u"})
