"""Which readings are the t of one regression, and with how many degrees of freedom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.aggregation.statistics import Moments
from controller.analysis.anytime import half_width, log_evidence
from controller.analysis.pairs import Pair
from controller.analysis.readings import Reading, read
from controller.experiments.metrics import MetricType
from controller.stats.mixture import critical_z, log_e_of, regression_log_e, tuned_rho
from controller.stats.results import Inconclusive, Reason
from controller.stats.score import EQUAL, Null
from tests.worlds import metric, moments, ratio_moments

RNG = np.random.default_rng(70)


def arm(n: int, *, covariate: bool = False) -> Moments:
    y = RNG.normal(5.0, 1.0, n)
    return moments(y, covariate=y + RNG.normal(0.0, 1.0, n) if covariate else None)


def pair(*epochs: tuple[Moments, Moments], equal: bool = True) -> Pair:
    return Pair(
        metric=metric("revenue", type=MetricType.MEAN),
        challenger="challenger",
        epochs=tuple((number, a, b) for number, (a, b) in enumerate(epochs)),
        equal_weights=equal,
        shares=(0.5,) * len(epochs),
    )


def reading(of: Pair, null: Null = EQUAL) -> Reading:
    found = read(of, (), null=null)
    assert isinstance(found, Reading)
    return found


def test_one_epoch_with_equal_weights_is_a_regression() -> None:
    assert reading(pair((arm(30), arm(32)))).regression == (62, 60)
    assert reading(pair((arm(30), arm(32))), Null(shift=-0.5)).regression == (62, 60)


def test_a_covariate_costs_a_degree_of_freedom() -> None:
    both = arm(30, covariate=True), arm(32, covariate=True)
    assert reading(pair(both)).regression == (62, 59)


def test_everything_else_is_not() -> None:
    assert reading(pair((arm(30), arm(32)), (arm(9), arm(9)))).regression is None
    assert reading(pair((arm(60), arm(62)), equal=False)).regression is None
    assert reading(pair((arm(30), arm(32))), Null(scale=0.9)).regression is None
    y, x = RNG.normal(5.0, 1.0, 40), RNG.integers(1, 4, 40)
    folded = replace(
        pair((ratio_moments(y[:20], x[:20]), ratio_moments(y[20:], x[20:]))),
        metric=metric("share", type=MetricType.RATIO, denominator="sessions"),
    )
    assert reading(folded).regression is None


def test_two_sided_evidence_of_a_regression_is_the_t_mixture_and_one_sided_is_not() -> None:
    of = pair((arm(10), arm(12)))
    seen = reading(of)
    ratio = seen.size / tuned_rho(4.0, alpha=0.05)
    known = {"null": EQUAL, "alpha": 0.05, "tuning": 4.0}
    both = log_evidence(of, (), seen, alternative="two-sided", **known)  # type: ignore[arg-type]
    assert both == regression_log_e(seen.z, ratio, units=22, freedom=20)
    larger = log_evidence(of, (), seen, alternative="larger", **known)  # type: ignore[arg-type]
    rho = tuned_rho(4.0, alpha=0.05, alternative="larger")
    assert larger == log_e_of(seen.z, seen.size / rho, alternative="larger")
    wide = half_width(seen, alpha=0.05, tuning=4.0, alternative="larger")
    assert wide == critical_z(seen.size / rho, alpha=0.05, alternative="larger")


TOO_FEW = Inconclusive(reason=Reason.TOO_FEW_UNITS)


def test_one_unit_in_an_arm_is_too_few_whatever_the_other_has() -> None:
    assert read(pair((arm(500), arm(1))), ()) == TOO_FEW
    assert read(pair((arm(1), arm(500))), ()) == TOO_FEW
    assert isinstance(read(pair((arm(2), arm(2))), ()), Reading)


def test_units_must_outnumber_what_the_regression_fits() -> None:
    """Epochs, the arm, and every covariate: of the rest, variance is estimated."""
    both = arm(2, covariate=True), arm(2, covariate=True)
    assert isinstance(read(pair(both), ()), Reading)
    assert read(replace(pair(both), covariates=2), ()) == TOO_FEW
    lonely = pair((arm(1), arm(1)), (arm(1), arm(1)))
    assert isinstance(read(lonely, ()), Reading)
    assert read(replace(lonely, epochs=lonely.epochs[:1]), ()) == TOO_FEW


def test_every_covariate_costs_a_degree_of_freedom() -> None:
    both = pair((arm(30, covariate=True), arm(32, covariate=True)))
    assert reading(replace(both, covariates=4)).regression == (62, 56)
