"""A margin on rare failures, peeked at: never shown by failures that do not come."""

from __future__ import annotations

import math

import pytest

from controller.experiments.metrics import MetricType
from tests.calibration.rare import WORLDS, RareWorld, claimed

LEVEL, RUNS = 0.025, 2000
ERROR = math.sqrt(LEVEL * (1.0 - LEVEL) / RUNS)


@pytest.mark.calibration
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_margin_is_shown_wrongly_no_more_often_than_its_level(world: RareWorld) -> None:
    assert claimed(world, runs=RUNS, seed=41) <= LEVEL + 2.0 * ERROR


@pytest.mark.calibration
@pytest.mark.parametrize("rate", [0.0005, 0.002, 0.01])
def test_rare_conversions_without_a_difference_are_claimed_to_differ_in_a_twentieth(
    rate: float,
) -> None:
    world = RareWorld(champion=rate, challenger=rate, units=10_000)
    error = math.sqrt(0.05 * 0.95 / RUNS)
    assert claimed(world, runs=RUNS, seed=42, alpha=0.05) <= 0.05 + 2.0 * error


@pytest.mark.calibration
@pytest.mark.parametrize(("number", "least"), [(0, 0.1), (1, 0.04), (8, 0.03), (12, 0.06)])
def test_the_variance_of_the_values_alone_shows_it_too_often(number: int, least: float) -> None:
    """The wrong way: a mean, whose law nobody knows, is judged by what its values have varied."""
    assert claimed(WORLDS[number], runs=RUNS, seed=41, kind=MetricType.MEAN) > least
