"""The quantile grid: counts per cut, clustered by unit, deletable."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from controller.aggregation.grid import Grid, cuts_of
from controller.aggregation.sums import EMPTY, Contribution, Sums
from controller.experiments.metrics import Baseline, Metric, MetricType, ZeroMeans
from tests import worlds

WAIT = worlds.metric("wait", type=MetricType.QUANTILE, q=0.9, zero_means=ZeroMeans.UNKNOWN)


AROUND = worlds.metric("w", type=MetricType.QUANTILE, q=0.5, baseline=Baseline(mean=250, sd=9))


@pytest.mark.parametrize(("metric", "cell"), [(WAIT, 0.0847), (AROUND, 0.0368)])
def test_cuts_rise_are_few_and_follow_from_the_definition(metric: Metric, cell: float) -> None:
    cuts = cuts_of(metric)
    assert len(cuts) == 256
    ratios = [later / earlier - 1 for earlier, later in pairwise(cuts)]
    assert min(ratios) > 0
    assert max(ratios) == pytest.approx(cell, rel=0.01)


def test_other_metrics_have_no_cuts() -> None:
    assert cuts_of(worlds.metric()) == ()


def test_each_cut_counts_what_lies_at_or_below_it() -> None:
    random = Random(5)
    cuts = (0.5, 1.0, 2.0, 4.0)
    units = [sorted(random.choice([0.1, 0.5, 1.5, 4.0, 9.0]) for _ in range(n)) for n in (1, 2, 5)]
    grid = Grid.of(cuts, units)
    below = [[sum(value <= cut for value in unit) for unit in units] for cut in cuts]
    assert grid.below == tuple(map(sum, below))
    assert grid.below_squared == tuple(sum(c * c for c in row) for row in below)
    assert grid.below_outcomes == tuple(
        sum(c * len(unit) for c, unit in zip(row, units, strict=True)) for row in below
    )
    assert (grid.units, grid.outcomes, grid.outcomes_squared) == (3, 8, 30)


def test_what_is_taken_out_leaves_nothing() -> None:
    cuts = cuts_of(WAIT)
    one = Sums.of([Contribution(3.0, outcomes=(1.0, 2.0))], cuts)
    two = Sums.of([Contribution(7.0, outcomes=(7.0,))], cuts)
    assert one.plus(two).minus(two) == one
    assert one.minus(one) == EMPTY
    assert EMPTY.minus(one).plus(one) == EMPTY


def test_a_stored_grid_reads_back() -> None:
    grid = Grid.of(cuts_of(WAIT), [(1.0, 5.0)])
    assert Grid.from_document(json.loads(json.dumps(grid.document()))) == grid
    assert grid.quantiles(cuts_of(WAIT)).units == 1
