"""Looks at data with nothing in them, or too much: a named reason, never a NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.aggregation.statistics import Moments
from controller.aggregation.sums import Contribution, Sums
from controller.analysis.report import LookReport, MetricVerdict
from controller.experiments.canonical import canonical_json
from controller.experiments.metrics import Direction, MetricType
from controller.experiments.slots import Guardrail
from tests.unit.analysis.looking import ERRORS, alarm, claim, counts, verdict, walk
from tests.worlds import (
    EVEN,
    binary,
    metric,
    moments,
    plan,
    statistics,
)

RNG = np.random.default_rng(5)


NOTHING = Moments()
DEGENERATE: dict[str, tuple[Moments, Moments, MetricVerdict, str]] = {
    "nothing": (NOTHING, NOTHING, MetricVerdict.UNKNOWN, "no_data"),
    "challenger empty": (binary(500, 50), NOTHING, MetricVerdict.INCONCLUSIVE, "arm_empty"),
    "champion empty": (NOTHING, binary(500, 50), MetricVerdict.INCONCLUSIVE, "arm_empty"),
    "all zero": (binary(900, 0), binary(900, 0), MetricVerdict.INCONCLUSIVE, "zero_variance"),
    "all one": (binary(900, 900), binary(900, 900), MetricVerdict.INCONCLUSIVE, "zero_variance"),
    "one unit each": (binary(1, 0), binary(1, 1), MetricVerdict.INCONCLUSIVE, "too_few_units"),
    "one beside many": (binary(900, 9), binary(1, 1), MetricVerdict.INCONCLUSIVE, "too_few_units"),
    "separated": (binary(900, 0), binary(900, 900), MetricVerdict.UNKNOWN, "arm_silent"),
    "overflow": (
        Moments(n=900, nonzero=900, mean=-1e200, m2=1e300),
        Moments(n=900, nonzero=900, mean=1e200, m2=1e300),
        MetricVerdict.INCONCLUSIVE,
        "not_finite",
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_have_a_name_and_never_a_nan(name: str) -> None:
    champion, challenger, expected, reason = DEGENERATE[name]
    snapshot = statistics(
        {("conversion", 0, "champion"): champion, ("conversion", 0, "challenger"): challenger}
    )
    report = walk(plan(), snapshot)[0]
    assert verdict(report) == (expected, reason)
    canonical_json(report.document())


@pytest.mark.parametrize("hits", [0, 1], ids=["none", "all"])
def test_shares_at_their_bound_show_a_margin_by_its_own_variance(hits: int) -> None:
    """No failure among a hundred units says nothing of .02; none among two thousand does."""
    direction = Direction.INCREASE if hits else Direction.DECREASE
    guards = {
        "errors": (metric("errors", direction=direction), Guardrail(metric="errors", margin=0.02))
    }
    chosen = plan(horizon=4000, guardrails=guards)

    def look(n: int) -> LookReport:
        return walk(chosen, counts(n, 0.1, 0.1, errors=(hits, hits)))[0]

    few, many = look(100), look(2000)
    assert claim(few, "errors").z == pytest.approx(math.sqrt(0.02 * 100 / 0.98))
    assert verdict(few, "errors") == (MetricVerdict.INCONCLUSIVE, "keep_collecting")
    assert claim(many, "errors").z == pytest.approx(math.sqrt(0.02 * 2000 / 0.98))
    assert verdict(many, "errors") == (MetricVerdict.NOT_WORSE, "boundary_crossed")
    found = many.metric("errors")
    assert found is not None
    assert found.comparisons[0].estimate is not None


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_against_a_relative_margin_they_show_nothing(share: float) -> None:
    guards = {"errors": (metric("errors"), Guardrail(metric="errors", margin_relative=0.1))}
    report = walk(plan(guardrails=guards), counts(4000, 0.1, 0.1, errors=(share, share)))[0]
    assert verdict(report, "errors") == (MetricVerdict.INCONCLUSIVE, "zero_variance")
    assert alarm(report).p is None


def test_evidence_beyond_the_range_of_doubles_is_saturated() -> None:
    n = 40_000
    cells = {
        ("conversion", 0, "champion"): binary(n, 1),
        ("conversion", 0, "challenger"): binary(n, n),
    }
    exposed = {(0, "champion"): n, (0, "challenger"): 50 * n}
    report = walk(plan(guardrails=ERRORS), statistics(cells, exposed=exposed))[0]
    assert claim(report).e_value == pytest.approx(1e308)
    assert report.srm.e_value == pytest.approx(1e308)
    assert report.srm.p == 0.0
    canonical_json(report.document())


@pytest.mark.parametrize(("scale", "shift"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1e9)])
def test_the_unit_of_a_metric_changes_no_conclusion(scale: float, shift: float) -> None:
    values = RNG.normal(10, 3, (2, 3000))
    values[1] += 0.5

    def look_at(a: float, b: float) -> LookReport:
        snapshot = statistics(
            {
                ("conversion", 0, arm): moments(a * row + b)
                for arm, row in zip(EVEN, values, strict=True)
            }
        )
        return walk(plan(oec=metric(type=MetricType.MEAN)), snapshot)[0]

    assert claim(look_at(scale, shift)).z == pytest.approx(claim(look_at(1.0, 0.0)).z, rel=1e-5)


def test_information_that_goes_backwards_takes_no_look() -> None:
    first, shrunk, grown = walk(
        plan(), counts(1000, 0.1, 0.1), counts(900, 0.1, 0.4), counts(1100, 0.1, 0.4)
    )
    assert claim(shrunk).look == claim(first).look == 1
    assert verdict(shrunk) == (MetricVerdict.INCONCLUSIVE, "keep_collecting")
    assert verdict(grown)[0] is MetricVerdict.BETTER


def test_units_without_variance_bring_no_look() -> None:
    cells = {
        ("conversion", 0, "champion"): binary(1000, 100),
        ("conversion", 0, "challenger"): binary(1000, 100),
    }
    silent = cells | {
        ("conversion", 1, "champion"): binary(500, 0),
        ("conversion", 1, "challenger"): binary(500, 0),
    }
    first, second = walk(
        plan(), statistics(cells, weights=(EVEN, EVEN)), statistics(silent, weights=(EVEN, EVEN))
    )
    assert claim(second).look == claim(first).look == 1


@pytest.mark.parametrize("spread", [3.0, 1.0, 1.0 / 3.0])
def test_a_spread_that_has_changed_makes_the_next_look_newer_never_older(spread: float) -> None:
    early = RNG.normal(10, 1, (2, 1000))
    late = np.hstack([early, RNG.normal(10, spread, (2, 1000))])
    snapshots = [
        statistics({("conversion", 0, arm): moments(row) for arm, row in zip(EVEN, y, strict=True)})
        for y in (early, late)
    ]
    kind = metric(type=MetricType.MEAN)
    report = walk(plan(oec=kind), *snapshots)[1]
    ratio = report.memory["planned"]["conversion/challenger/superior"]["rows"][1][1]
    truth = 1.0 / (1.0 + spread**2)
    assert ratio == pytest.approx(min(truth, 0.5), rel=0.1)


def test_unequal_weights_wait_for_their_burn_in() -> None:
    weights = {"champion": 0.9, "challenger": 0.1}
    chosen = plan(weights=weights)

    def shares(successes: int) -> LookReport:
        cells = {
            ("conversion", 0, "champion"): binary(4500, 450),
            ("conversion", 0, "challenger"): binary(500, successes),
        }
        return walk(chosen, statistics(cells, weights=(weights,)))[0]

    assert verdict(shares(24)) == (MetricVerdict.INCONCLUSIVE, "burn_in")
    assert verdict(shares(200)) == (MetricVerdict.BETTER, "boundary_crossed")


@pytest.mark.parametrize("seed", range(6))
def test_a_covariate_far_from_zero_lends_its_rounding_to_what_it_explains(seed: int) -> None:
    """Seconds since 1970 before and, from the same instant, after: means of 1e9 and of 20."""
    rng = np.random.default_rng(seed)
    cells = {}
    for arm, n in (("champion", 311), ("challenger", 289)):
        before = 1e9 + rng.choice([9.99, 19.99, 49.9], n)
        cells["conversion", 0, arm] = Sums.of(
            Contribution(float(x - 1e9), covariate=float(x)) for x in before
        ).moments()
    chosen = metric(type=MetricType.MEAN, lookback_seconds=60.0)
    report = walk(plan(oec=chosen, horizon=600), statistics(cells))[0]
    assert verdict(report) == (MetricVerdict.INCONCLUSIVE, "zero_variance")
