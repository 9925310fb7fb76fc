"""Data that may not be read: stale, selected, missing unevenly, silent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.aggregation.statistics import Statistics
from controller.analysis.report import MetricVerdict
from controller.experiments.metrics import Direction, Observed, ZeroMeans
from tests.unit.analysis.looking import ERRORS, alarm, claim, counts, verdict, walk
from tests.worlds import (
    binary,
    metric,
    plan,
    statistics,
)


@pytest.mark.parametrize(("age", "reason"), [(None, "no_data"), (7201.0, "stale")])
def test_data_that_are_not_fresh_are_unknown_and_move_nothing(
    age: float | None, reason: str
) -> None:
    fresh = counts(1000, 0.1, 0.1)
    old = replace(counts(4000, 0.1, 0.3), freshness=replace_age(fresh, age))
    first, second = walk(plan(), fresh, old)
    assert verdict(second) == (MetricVerdict.UNKNOWN, reason)
    assert not second.metrics[0].fresh
    assert second.memory["planned"] == first.memory["planned"]


def replace_age(snapshot: Statistics, age: float | None) -> dict[str, Any]:
    return {key: replace(each, age_seconds=age) for key, each in snapshot.freshness.items()}


def test_staleness_hides_a_win_but_not_a_harm() -> None:
    won = counts(2000, 0.10, 0.16)
    _, stale = walk(plan(), won, replace(won, freshness=replace_age(won, 1e6)))
    assert verdict(stale) == (MetricVerdict.UNKNOWN, "stale")
    lost = counts(2000, 0.16, 0.10)
    _, stale = walk(plan(), lost, replace(lost, freshness=replace_age(lost, 1e6)))
    assert verdict(stale) == (MetricVerdict.WORSE, "boundary_crossed")


def test_stale_data_do_not_move_an_alarm() -> None:
    chosen = plan(guardrails=ERRORS)
    calm = counts(1000, 0.1, 0.1, errors=(0.05, 0.05))
    harmful = counts(2000, 0.1, 0.1, errors=(0.05, 0.30))
    old = replace(harmful, freshness=replace_age(harmful, 1e6))
    first, second, third = walk(chosen, calm, old, harmful)
    assert alarm(second).look == alarm(first).look
    assert alarm(second).crossed is None
    assert alarm(third).crossed is not None


def test_selected_outcomes_decide_nothing_unless_the_policy_allows_it() -> None:
    chosen = metric(observed=Observed.AFTER_DECISION)
    report = walk(plan(oec=chosen), counts(2000, 0.10, 0.16))[0]
    assert verdict(report) == (MetricVerdict.UNKNOWN, "after_decision")
    allowed = walk(plan(oec=chosen, allow_selected=True), counts(2000, 0.10, 0.16))[0]
    assert verdict(allowed)[0] is MetricVerdict.BETTER


def test_values_that_are_missing_unevenly_make_the_metric_unknown() -> None:
    chosen = plan(oec=metric(zero_means=ZeroMeans.UNKNOWN))
    cells = {
        ("conversion", 0, "champion"): replace(binary(2000, 200), missing=100),
        ("conversion", 0, "challenger"): replace(binary(2000, 320), missing=300),
    }
    assert verdict(walk(chosen, statistics(cells))[0]) == (
        MetricVerdict.UNKNOWN,
        "missing_differs",
    )
    even = {key: replace(cell, missing=100) for key, cell in cells.items()}
    assert verdict(walk(chosen, statistics(even))[0])[0] is MetricVerdict.BETTER


def test_an_arm_that_lost_its_outcomes_never_wins_by_its_silence() -> None:
    """Zeros for want of a pipeline look like a perfect score where less is better."""
    less_is_better = plan(oec=metric(direction=Direction.DECREASE))
    silent = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 900),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    report = walk(less_is_better, silent)[0]
    assert verdict(report) == (MetricVerdict.UNKNOWN, "arm_silent")
    assert claim(report).look == 0
    cured = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 300),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    assert verdict(walk(less_is_better, cured)[0])[0] is MetricVerdict.BETTER


def test_silence_that_speaks_against_the_challenger_is_heard() -> None:
    lost = statistics(
        {
            ("conversion", 0, "champion"): binary(2000, 900),
            ("conversion", 0, "challenger"): binary(2000, 0),
        }
    )
    assert verdict(walk(plan(), lost)[0]) == (MetricVerdict.WORSE, "boundary_crossed")
