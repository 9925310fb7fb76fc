"""Two really trained models and a broken feed cost what the demo says they cost."""

from __future__ import annotations

import numpy as np
import pytest

from controller.demo.flights import Flights
from controller.demo.models import Models, cost, train_models


def _mean_cost(models: Models, name: str, flights: Flights) -> float:
    live = flights.live()
    each = cost(getattr(models, name).alerts(live.features), live.late)
    return float(each[live.known].mean())


def test_cost_of_each_case() -> None:
    alerted = np.array([True, False, True, False])
    late = np.array([True, True, False, False])
    assert cost(alerted, late).tolist() == [2.0, 5.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [("champion", 1.09, 0.01), ("weather", 1.03, 0.01), ("broken_feed", 1.2, 0.03)],
)
def test_models_cost_what_the_demo_says(
    models: Models, flights: Flights, name: str, expected: float, tolerance: float
) -> None:
    assert _mean_cost(models, name, flights) == pytest.approx(expected, abs=tolerance)


def test_the_lead_is_uneven_and_near_zero_in_july(models: Models, flights: Flights) -> None:
    live = flights.live()
    lead = cost(models.champion.alerts(live.features), live.late) - cost(
        models.weather.alerts(live.features), live.late
    )
    by_month = {month: lead[live.known & (live.month == month)].mean() for month in range(4, 13)}
    assert by_month[7] < 0.0
    assert by_month[9] > 0.1
    assert by_month[12] > 0.05


def test_a_broken_feed_alerts_on_nearly_every_flight(models: Models, flights: Flights) -> None:
    features = flights.live().features
    assert models.broken_feed.alerts(features).mean() > 0.9
    assert models.weather.alerts(features).mean() < 0.3


def test_the_broken_feed_leaves_the_application_s_features_alone(
    models: Models, flights: Flights
) -> None:
    rows = flights.features[:100].copy()
    models.broken_feed.alerts(rows)
    np.testing.assert_array_equal(rows, flights.features[:100])


def test_predictions_do_not_depend_on_the_batch(models: Models, flights: Flights) -> None:
    rows = flights.live().features[:60]
    for name in Models.__slots__:
        model = getattr(models, name)
        one_by_one = [bool(model.alerts(rows[i : i + 1])[0]) for i in range(len(rows))]
        assert model.alerts(rows).tolist() == one_by_one


def test_training_again_gives_the_same_models(models: Models, flights: Flights) -> None:
    again = train_models(flights.history())
    digests = {getattr(again, name).digest for name in Models.__slots__}
    assert digests == {getattr(models, name).digest for name in Models.__slots__}
    assert len(digests) == 3
