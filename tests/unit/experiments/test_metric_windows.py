"""Until when a unit's outcomes count: as stated, or a week that is written down."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.metrics import Closes, Metric

BARE = {"key": "cost", "type": "mean", "direction": "decrease", "outcome": "cost"}
FIRST = {**BARE, "closes": "first_outcome"}


@pytest.mark.parametrize("absent", [{}, {"window_seconds": None}])
def test_without_a_window_outcomes_count_for_a_week_and_the_document_says_so(
    absent: dict[str, Any],
) -> None:
    metric = Metric.from_document({**BARE, **absent})
    assert metric.window_seconds == 604800.0
    assert metric.document()["window_seconds"] == 604800.0
    assert Metric.from_document(metric.document()) == metric


def test_a_stated_window_stands() -> None:
    assert Metric.from_document({**BARE, "window_seconds": 60}).window_seconds == 60.0


def test_a_metric_that_closes_with_its_first_outcome_states_its_delay() -> None:
    metric = Metric.from_document({**FIRST, "expected_delay_seconds": 3600})
    assert (metric.window_seconds, metric.closes) == (3600.0, Closes.FIRST_OUTCOME)
    with pytest.raises(InvalidInput, match=r"write the seconds after .* 604800"):
        Metric.from_document(FIRST)


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ({**FIRST, "window_seconds": 60}, "write expected_delay_seconds"),
        ({**FIRST, "window_seconds": 60, "expected_delay_seconds": 60}, "window_seconds: does not"),
        ({**BARE, "expected_delay_seconds": 60}, "write window_seconds"),
        ({**BARE, "window_seconds": 0}, "> 0"),
        ({**BARE, "window_seconds": 401 * 86400}, "<= "),
        ({**BARE, "window_seconds": "7d"}, "expected a number"),
    ],
)
def test_what_does_not_go_together_says_what_to_write(document: Any, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        Metric.from_document(document)
