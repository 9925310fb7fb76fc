"""The likeliest rates a given distance apart, and the variance they give a margin."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from controller.stats.restricted import Law, restricted_rates, spread
from controller.stats.score import ArmMoments, EpochMoments, Null, Score, null_variance, score


def log_likelihood(
    control: tuple[int, int], treatment: tuple[int, int], rate: float, shift: float, law: Law
) -> float:
    total = 0.0
    for (n, hits), p in ((control, rate), (treatment, rate + shift)):
        p = min(max(p, 1e-300), 1.0 - 1e-16) if law == "binary" else max(p, 1e-300)
        missed = (n - hits) * math.log1p(-p) if law == "binary" else -n * p
        total += hits * math.log(p) + missed
    return total


@settings(max_examples=300)
@given(
    n=st.tuples(st.integers(1, 100_000), st.integers(1, 100_000)),
    hit=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    gap=st.floats(1e-5, 0.99),
    rises=st.booleans(),
    law=st.sampled_from(["binary", "count"]),
)
def test_no_other_rates_that_far_apart_are_likelier(
    n: tuple[int, int], hit: tuple[float, float], gap: float, rises: bool, law: Law
) -> None:
    control, treatment = (
        (units, round(units * share**4)) for units, share in zip(n, hit, strict=True)
    )
    shift = gap if rises else -gap
    found = restricted_rates(
        *((units, hits / units) for units, hits in (control, treatment)), shift=shift, law=law
    )
    assert found is not None
    low, most = max(0.0, -shift), min(1.0, 1.0 - shift) if law == "binary" else math.inf
    assert low - 1e-12 <= found[0] <= most + 1e-12
    assert found[1] - found[0] == pytest.approx(shift, abs=1e-12)

    def likely(rate: float) -> float:
        return log_likelihood(control, treatment, rate, shift, law)

    best = likely(found[0])
    high = min(most, 2.0)
    for other in (low, high, *(found[0] + step * (high - low) for step in (-1e-3, 1e-3, 0.1))):
        if low <= other <= high:
            assert likely(other) <= best + 1e-8 * max(1.0, abs(best))


@pytest.mark.parametrize(
    ("control", "treatment", "shift", "law"),
    [
        ((4000, 6), (4000, 4), 0.002, "binary"),
        ((4000, 0), (4000, 9), 0.001, "count"),
        ((500, 490), (700, 690), -0.02, "binary"),
        ((50, 20), (90, 30), 0.3, "binary"),
        ((8000, 3), (2000, 1), -0.0004, "count"),
    ],
)
def test_the_rates_are_where_the_likelihood_peaks(
    control: tuple[int, int], treatment: tuple[int, int], shift: float, law: Law
) -> None:
    means = ((n, hits / n) for n, hits in (control, treatment))
    found = restricted_rates(*means, shift=shift, law=law)
    low, high = max(0.0, -shift), min(1.0, 1.0 - shift)
    peak = minimize_scalar(
        lambda rate: -log_likelihood(control, treatment, rate, shift, law),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert found is not None
    assert found[0] == pytest.approx(float(peak.x), rel=1e-4)


def test_hits_and_spared_units_are_told_alike() -> None:
    hits = restricted_rates((4000, 0.0015), (3000, 0.001), shift=0.002, law="binary")
    spared = restricted_rates((4000, 0.9985), (3000, 0.999), shift=-0.002, law="binary")
    assert hits is not None
    assert spared is not None
    assert [1.0 - rate for rate in spared] == pytest.approx(hits, rel=1e-9)


@pytest.mark.parametrize(
    ("means", "shift", "law", "wanted"),
    [
        ((0.0, 0.0), 0.02, "binary", (0.0, 0.02)),
        ((0.0, 0.0), -0.02, "count", (0.02, 0.0)),
        ((1.0, 1.0), -0.02, "binary", (1.0, 0.98)),
        ((-0.1, 0.02), 0.02, "count", (0.0, 0.02)),
        ((0.5, 1.1), 0.5, "binary", (0.5, 1.0)),
    ],
)
def test_rates_stay_within_their_range(
    means: tuple[float, float], shift: float, law: Law, wanted: tuple[float, float]
) -> None:
    found = restricted_rates((500, means[0]), (500, means[1]), shift=shift, law=law)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_no_shares_lie_more_than_one_apart() -> None:
    assert restricted_rates((9, 0.5), (9, 0.5), shift=1.5, law="binary") is None
    assert restricted_rates((9, 0.5), (9, 0.5), shift=1.5, law="count") is not None


def arm(n: int, mean: float, *, varies: float = 1.0) -> ArmMoments:
    m2 = varies * n * spread(mean, "binary")
    return ArmMoments(n=n, mean=mean, m2=m2, nonzero=round(n * mean))


def both(control: ArmMoments, treatment: ArmMoments) -> EpochMoments:
    return EpochMoments(epoch=0, control=control, treatment=treatment)


def test_a_luckier_challenger_does_not_shrink_the_variance() -> None:
    """At the null, along the difference alone: the plain variance falls with it, the null's not."""
    null, n, slip = Null(shift=0.002), 4000, 5e-5
    v0, v1 = (spread(rate, "binary") for rate in (0.001, 0.003))
    there = both(arm(n, 0.001), arm(n, 0.003))
    luckier = both(arm(n, 0.001 + slip), arm(n, 0.003 - slip * v1 / v0))
    before, after = (null_variance(each, null, "binary") for each in (there, luckier))
    plain = (score([each], null=null) for each in (there, luckier))
    first, second = (each.variance for each in plain if isinstance(each, Score))
    assert second < 0.98 * first
    assert after == pytest.approx(before, rel=2e-3)


def test_the_null_variance_follows_what_the_values_really_vary() -> None:
    null = Null(shift=0.002)
    alone = null_variance(both(arm(4000, 0.002), arm(4000, 0.002)), null, "count")
    bursts = null_variance(
        both(arm(4000, 0.002, varies=3.0), arm(4000, 0.002, varies=3.0)), null, "count"
    )
    assert bursts == pytest.approx(3.0 * alone)


def test_a_relative_margin_states_no_variance() -> None:
    assert null_variance(both(arm(50, 0.1), arm(50, 0.1)), Null(scale=1.2), "binary") == 0.0
