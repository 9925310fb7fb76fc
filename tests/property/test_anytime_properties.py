"""Symmetries and dualities of the always-valid methods, for any input Hypothesis can think of."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.aggregation.statistics import Moments
from controller.stats.counts import EpochEvents, RateRatio, rate_ratio
from controller.stats.heterogeneity import Heterogeneity, heterogeneity
from controller.stats.mixture import AlwaysValid, from_score
from controller.stats.multiplicity import holm
from controller.stats.ratio import RelativeLift, relative_lift
from controller.stats.results import Alternative
from controller.stats.srm import EpochCounts, SampleRatio, sample_ratio
from tests.sums import adjusted

alternatives: st.SearchStrategy[Alternative] = st.sampled_from(("two-sided", "larger", "smaller"))
alphas = st.floats(0.0001, 0.4)
z_values = st.floats(-12.0, 12.0)
sizes = st.floats(1e-3, 1e9)
counts = st.integers(0, 5_000)
shares = st.floats(0.01, 0.99)
epochs = st.lists(
    st.builds(EpochEvents, control=counts, treatment=counts, share=shares), min_size=1, max_size=4
)
arm_counts = st.tuples(counts, counts, counts)
arm_weights = st.tuples(*[st.floats(0.01, 1.0)] * 3)
ratios = st.lists(
    st.builds(EpochCounts, counts=arm_counts, weights=arm_weights), min_size=1, max_size=4
)


def _look(z: float, size: float, **given_: float | str) -> AlwaysValid:
    found = from_score(z * math.sqrt(size), size, size=size, **given_)  # type: ignore[arg-type]
    assert isinstance(found, AlwaysValid)
    return found


@given(z_values, sizes, sizes, alphas, alternatives)
def test_interval_excludes_zero_exactly_when_p_is_below_alpha(
    z: float, size: float, tuning: float, alpha: float, alternative: Alternative
) -> None:
    found = _look(z, size, tuning=tuning, alpha=alpha, alternative=alternative)
    if abs(found.log_e_value + math.log(alpha)) > 1e-6:
        assert (found.lower > 0.0 or found.upper < 0.0) == (found.p_value < alpha)


@given(z_values, sizes, sizes, st.floats(1e-9, 1e9))
def test_units_of_the_metric_do_not_matter(
    z: float, size: float, tuning: float, scale: float
) -> None:
    plain = _look(z, size, tuning=tuning, alpha=0.05)
    score, variance = z * math.sqrt(size) * scale, size * scale * scale
    scaled = from_score(score, variance, size=size, tuning=tuning, alpha=0.05)
    assert isinstance(scaled, AlwaysValid)
    assert math.isclose(scaled.log_e_value, plain.log_e_value, rel_tol=1e-9, abs_tol=1e-9)


@given(z_values, sizes, sizes, alternatives)
def test_swapping_the_labels_mirrors_the_claim(
    z: float, size: float, tuning: float, alternative: Alternative
) -> None:
    mirror: dict[Alternative, Alternative] = {
        "two-sided": "two-sided",
        "larger": "smaller",
        "smaller": "larger",
    }
    one = _look(z, size, tuning=tuning, alpha=0.05, alternative=alternative)
    two = _look(-z, size, tuning=tuning, alpha=0.05, alternative=mirror[alternative])
    assert two.log_e_value == one.log_e_value
    assert (two.lower, two.upper) == (-one.upper, -one.lower)


@given(st.floats(0.0, 11.0), sizes, sizes, alternatives)
def test_more_extreme_is_more_evidence(
    z: float, size: float, tuning: float, alternative: Alternative
) -> None:
    sign = -1.0 if alternative == "smaller" else 1.0
    less = _look(sign * z, size, tuning=tuning, alpha=0.05, alternative=alternative)
    more = _look(sign * (z + 1.0), size, tuning=tuning, alpha=0.05, alternative=alternative)
    assert more.log_e_value > less.log_e_value


@given(ratios)
def test_srm_does_not_depend_on_the_order_of_epochs(
    several: list[EpochCounts],
) -> None:
    one = sample_ratio(several)
    two = sample_ratio(several[::-1])
    assert one == two


@given(st.lists(arm_counts, min_size=2, max_size=5), arm_weights)
def test_srm_depends_on_an_epochs_totals_alone(
    parts: list[tuple[int, int, int]], weights: tuple[float, float, float]
) -> None:
    total = tuple(int(value) for value in np.sum(parts, axis=0))
    again = tuple(int(value) for value in np.sum(parts[::-1], axis=0))
    one = sample_ratio([EpochCounts(counts=total, weights=weights)])
    assert one == sample_ratio([EpochCounts(counts=again, weights=weights)])
    if isinstance(one, SampleRatio):
        assert 0.0 <= one.p_value <= 1.0
        assert one.log_e_max >= max(0.0, one.log_e_value)


@given(epochs, alphas, alternatives, st.floats(0.2, 5.0))
def test_rate_ratio_interval_and_p_are_duals(
    several: list[EpochEvents], alpha: float, alternative: Alternative, null: float
) -> None:
    found = rate_ratio(several, alpha=alpha, null_ratio=null, alternative=alternative)
    if not isinstance(found, RateRatio) or abs(found.log_e_value + math.log(alpha)) < 1e-6:
        return
    if found.lower == found.upper:  # two-sided, and no ratio fits the epochs
        return
    outside = not found.lower * (1 - 1e-9) <= null <= found.upper * (1 + 1e-9)
    near = any(math.isclose(null, end, rel_tol=1e-6) for end in (found.lower, found.upper))
    assert near or outside == (found.p_value < alpha)


@given(epochs)
def test_rate_ratio_inverts_when_the_labels_swap(several: list[EpochEvents]) -> None:
    swapped = [
        EpochEvents(control=e.treatment, treatment=e.control, share=1.0 - e.share) for e in several
    ]
    one, two = (rate_ratio(either, alpha=0.05) for either in (several, swapped))
    if isinstance(one, RateRatio) and isinstance(two, RateRatio):
        assert math.isclose(one.log_e_value, two.log_e_value, rel_tol=1e-6, abs_tol=1e-6)
        if one.lower > 0.0 and two.upper < math.inf:
            assert math.isclose(one.lower, 1.0 / two.upper, rel_tol=1e-6)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_is_monotone_and_never_below_the_raw_p(p: list[float]) -> None:
    adjusted = np.asarray(holm(p))
    assert (adjusted >= np.asarray(p)).all()
    assert (adjusted <= 1.0).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0.0).all()


@given(st.floats(-50.0, 50.0), st.floats(5.0, 50.0), st.floats(0.0, 4.0), st.floats(0.0, 4.0))
def test_fieller_interval_holds_its_estimate(
    treatment: float, control: float, one: float, two: float
) -> None:
    found = relative_lift(
        treatment, control, treatment_variance=one, control_variance=two, critical=1.96
    )
    if isinstance(found, RelativeLift):
        slack = 1e-9 * (1.0 + abs(found.estimate))
        assert found.lower - slack <= found.estimate <= found.upper + slack


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_cuped_ignores_scale_and_origin_of_a_covariate(
    seed: int, scale: float, offset: float
) -> None:
    def arm(y: np.ndarray, x: np.ndarray, *, moved: bool) -> Moments:
        dy, dx = y - y.mean(), x - x.mean()
        return Moments(
            n=40,
            nonzero=40,
            mean=float(y.mean()),
            m2=float(dy @ dy),
            covariate_n=40,
            covariate_mean=scale * (float(x.mean()) + offset) if moved else float(x.mean()),
            covariate_m2=float(dx @ dx) * (scale * scale if moved else 1.0),
            covariate_cross_m2=float(dy @ dx) * (scale if moved else 1.0),
        )

    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 1.0, (2, 40))
    y = x + rng.normal(0.0, 1.0, (2, 40))
    plain, other = (
        adjusted(arm(y[0], x[0], moved=moved), arm(y[1], x[1], moved=moved))
        for moved in (False, True)
    )
    for one, two in zip(plain, other, strict=True):
        assert math.isclose(one.mean, two.mean, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(one.m2, two.m2, rel_tol=1e-6)


@given(
    st.lists(st.tuples(st.floats(-5.0, 5.0), st.floats(0.01, 10.0)), min_size=2, max_size=6),
    st.floats(-10.0, 10.0),
)
def test_a_common_shift_is_no_heterogeneity(parts: list[tuple[float, float]], shift: float) -> None:
    effects, variances = [p[0] for p in parts], [p[1] for p in parts]
    one = heterogeneity(effects, variances)
    two = heterogeneity([e + shift for e in effects], variances)
    assert isinstance(one, Heterogeneity)
    assert isinstance(two, Heterogeneity)
    assert math.isclose(one.q, two.q, rel_tol=1e-6, abs_tol=1e-6)
