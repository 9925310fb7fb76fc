from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controller.service.ui.series import Seen, excursion, first_crossing, thinned

START = datetime(2026, 11, 1, tzinfo=UTC)


def look(
    number: int, z: float | None, *, bound: float | None = 4.0, crossed: str | None = None
) -> Seen:
    return Seen(
        look=number,
        at=START + timedelta(minutes=number),
        n=100 * number,
        state="Ramping",
        enrolled=1.0,
        estimate=0.1,
        low=-0.1,
        high=0.3,
        margin=None,
        t=number / 100,
        z=z,
        bound=bound,
        crossed=crossed,
    )


def test_thinning_keeps_the_ends_the_crossing_and_the_extreme() -> None:
    seen = [look(number, 1.0) for number in range(1, 501)]
    seen[76] = look(77, 3.9)
    seen[300:] = [look(one.look, 2.0, crossed="better") for one in seen[300:]]
    kept = thinned(seen, 40)
    assert len(kept) <= 42
    assert kept[0] is seen[0]
    assert kept[-1] is seen[-1]
    assert seen[76] in kept
    assert first_crossing(kept) is seen[300]
    assert [one.look for one in kept] == sorted(one.look for one in kept)


def test_a_short_history_is_left_alone() -> None:
    seen = [look(number, None) for number in range(1, 20)]
    assert thinned(seen, 40) == seen


def test_an_excursion_is_where_a_single_look_would_have_decided() -> None:
    seen = [look(number, z) for number, z in enumerate([0.5, 2.2, 2.9, 2.4, 1.0, 2.1, 0.3], 1)]
    found = excursion(seen, alpha=0.05, sides=2)
    assert found is not None
    assert found.peak.look == 3
    assert found.claims_better
    assert round(found.naive, 2) == 1.96
    assert [(first.look, last.look) for first, last in found.spans] == [(2, 4), (6, 6)]


def test_an_excursion_downwards_counts_in_a_two_sided_test_alone() -> None:
    seen = [look(number, z) for number, z in enumerate([-0.5, -2.6, -1.0], 1)]
    found = excursion(seen, alpha=0.05, sides=2)
    assert found is not None
    assert not found.claims_better
    assert excursion(seen, alpha=0.025, sides=1) is None


def test_what_crossed_its_own_bound_is_no_excursion() -> None:
    seen = [look(1, 0.5), look(2, 4.5, crossed="better"), look(3, 4.6, crossed="better")]
    assert excursion(seen, alpha=0.05, sides=2) is None
    assert excursion([look(1, None)], alpha=0.05, sides=2) is None
