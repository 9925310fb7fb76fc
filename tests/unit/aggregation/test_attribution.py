"""One unit's outcomes, folded: windows, corrections, silence, closing."""

from __future__ import annotations

from typing import Any

import pytest

from controller.aggregation.attribution import NO_CAP, Fold, Happened, quantile_cap, standing
from controller.aggregation.sums import MISSING, Contribution
from controller.experiments.metrics import Closes, Metric, MetricType, ZeroMeans
from tests import worlds

SECOND = 1_000_000
EXPOSED = 1_000_000 * SECOND


def metric(**changes: Any) -> Metric:
    return worlds.metric("spend", **{"type": MetricType.MEAN, "window_seconds": 100.0} | changes)


def contribution(
    metric: Metric, exposed_us: int, outcomes: list[Happened], cap: float | None = None
) -> Contribution:
    return Fold(metric)(exposed_us, outcomes, cap=cap)


def at(
    second: float,
    value: float | None = 1.0,
    name: str = "spend",
    event_id: str = "",
    corrects: str | None = None,
) -> Happened:
    moment = EXPOSED + round(second * SECOND)
    return Happened(moment, event_id or f"{name}@{second}", name, value, corrects)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(MetricType.MEAN, 5.5), (MetricType.COUNT, 3.0), (MetricType.BINARY, 1.0)],
)
def test_each_type_folds_its_own_way(kind: MetricType, value: float) -> None:
    outcomes = [at(1, 2.0), at(2, 0.0), at(3, 3.5)]
    assert contribution(metric(type=kind), EXPOSED, outcomes).value == value


def test_a_ratio_keeps_both_sums() -> None:
    ratio = metric(type=MetricType.RATIO, denominator="visits")
    outcomes = [at(1, 2.0), at(2, 4.0), at(1, None, "visits"), at(5, None, "visits")]
    assert contribution(ratio, EXPOSED, outcomes) == Contribution(6.0, 2.0)
    assert contribution(ratio, EXPOSED, outcomes[2:]) == Contribution(0.0, 2.0)
    assert contribution(ratio, EXPOSED, []) == Contribution(0.0, 0.0)


@pytest.mark.parametrize(
    ("second", "counts"),
    [(-60, True), (-60.000001, False), (0, True), (100, True), (100.000001, False)],
)
def test_the_window_opens_a_minute_early_and_closes_on_time(second: float, counts: bool) -> None:
    assert contribution(metric(), EXPOSED, [at(second)]).value == (1.0 if counts else 0.0)


def test_an_absent_value_counts_as_one() -> None:
    binary = metric(type=MetricType.BINARY)
    assert contribution(binary, EXPOSED, [at(1, None)]).value == 1.0
    assert contribution(binary, EXPOSED, [at(1, 0.0)]).value == 0.0
    assert contribution(metric(), EXPOSED, [at(1, None)]).value == 1.0


def test_silence_is_zero_or_unknown() -> None:
    assert contribution(metric(), EXPOSED, []) == Contribution(0.0)
    unknown = metric(zero_means=ZeroMeans.UNKNOWN)
    assert contribution(unknown, EXPOSED, []) == MISSING
    assert contribution(unknown, EXPOSED, [at(500)]) == MISSING


def test_minus_zero_is_zero() -> None:
    value = contribution(metric(), EXPOSED, [at(1, -0.0)]).value
    assert str(value) == "0.0"


def test_the_first_outcome_fixes_the_value_and_not_the_moment() -> None:
    label = metric(closes=Closes.FIRST_OUTCOME, lateness_seconds=50.0, zero_means=ZeroMeans.UNKNOWN)
    assert contribution(label, EXPOSED, [at(40, 7.0), at(5, 3.0)]).value == 3.0
    assert Fold(label).closes_us == 150 * SECOND
    assert contribution(label, EXPOSED, [at(140, 9.0)]).value == 9.0
    assert contribution(label, EXPOSED, [at(151, 9.0)]) == MISSING


def test_a_correction_replaces_what_it_names() -> None:
    wrong = at(1, 100.0, event_id="a")
    right = at(1, 10.0, event_id="b", corrects="a")
    assert contribution(metric(), EXPOSED, [wrong, right]).value == 10.0
    assert contribution(metric(), EXPOSED, [right]).value == 10.0


def test_the_latest_of_several_corrections_stands() -> None:
    outcomes = [
        at(1, 100.0, event_id="a"),
        at(3, 30.0, event_id="c", corrects="a"),
        at(2, 20.0, event_id="b", corrects="a"),
    ]
    assert [outcome.event_id for outcome in standing(outcomes)] == ["c"]
    again = at(4, 40.0, event_id="d", corrects="c")
    assert [outcome.event_id for outcome in standing([*outcomes, again])] == ["d"]


def test_a_correction_moved_out_of_the_window_takes_the_event_with_it() -> None:
    outcomes = [at(1, 5.0, event_id="a"), at(500, 5.0, event_id="b", corrects="a")]
    assert contribution(metric(), EXPOSED, outcomes).value == 0.0


def test_an_event_that_corrects_itself_stands() -> None:
    assert standing([at(1, event_id="a", corrects="a")]) != []


def test_the_cap_holds_one_unit_down() -> None:
    assert contribution(metric(), EXPOSED, [at(1, 40.0), at(2, 70.0)], cap=50.0).value == 50.0


def test_the_covariate_is_what_happened_before() -> None:
    looking_back = metric(lookback_seconds=1000.0)
    outcomes = [at(-1000.1, 1.0), at(-1000, 2.0), at(-61, 4.0), at(-60, 8.0), at(1, 16.0)]
    assert contribution(looking_back, EXPOSED, outcomes) == Contribution(24.0, None, 6.0)
    assert contribution(looking_back, EXPOSED, [at(1)]).covariate is None
    assert contribution(looking_back, EXPOSED, [at(-100, 3.0)]) == Contribution(0.0, None, 3.0)


def test_a_ratios_covariates_are_both_of_its_sums_before() -> None:
    ratio = metric(type=MetricType.RATIO, denominator="visits", lookback_seconds=1000.0)
    before = [at(-1000.1, 1.0), at(-900, 2.0), at(-61, 4.0), at(-60, 8.0)]
    visits = [at(-900, None, "visits"), at(-1001, None, "visits"), at(2, None, "visits")]
    assert contribution(ratio, EXPOSED, [*before, *visits]) == Contribution(8.0, 1.0, 6.0, None, 1)
    silent = contribution(ratio, EXPOSED, [at(-900, None, "visits")])
    assert silent == Contribution(0.0, 0.0, 0.0, None, 1.0)
    assert contribution(ratio, EXPOSED, [at(1)])[2:] == (None, None, None)
    unknown = metric(
        type=MetricType.RATIO,
        denominator="visits",
        lookback_seconds=1000.0,
        zero_means=ZeroMeans.UNKNOWN,
    )
    assert contribution(unknown, EXPOSED, before[:3]) == MISSING


def test_other_names_do_not_count() -> None:
    assert contribution(metric(), EXPOSED, [at(1, 5.0, "other")]) == Contribution(0.0)


@pytest.mark.parametrize(
    ("values", "quantile", "cap"),
    [
        ((), 0.5, None),
        ((3.0, 1.0, 2.0, 4.0), 0.5, 2.0),
        ((3.0, 1.0, 2.0, 4.0), 0.51, 3.0),
        ((-5.0, -4.0, -1.0, 0.0), 0.5, -4.0),
        ((*[0.0] * 96, 1.0, 2.0, 3.0, 90.0), 0.75, 3.0),  # a quantile of those who paid
        ((0.0, 0.0, 0.0), 0.99, NO_CAP),
        ((-1.0, 0.0, 0.0), 0.99, NO_CAP),
    ],
)
def test_a_cap_leaves_something_of_the_metric(
    values: tuple[float, ...], quantile: float, cap: float | None
) -> None:
    assert quantile_cap(values, quantile) == cap
