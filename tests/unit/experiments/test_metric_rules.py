"""What a metric may ask for, and what is refused rather than ignored."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.metric_rules import check_metric
from controller.experiments.metrics import Metric
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import METRICS, PROJECT, Desk

MEAN = {"type": "mean", "direction": "increase", "outcome": "spend", "window_seconds": 60}
RATIO = {**MEAN, "type": "ratio", "numerator": "spend", "denominator": "orders"}
RATIO.pop("outcome")
OTHERS: dict[str, dict[str, Any]] = {
    "binary": {**MEAN, "type": "binary"},
    "count": {**MEAN, "type": "count"},
    "ratio": RATIO,
    "quantile": {**MEAN, "type": "quantile", "q": 0.9},
}


def put(document: dict[str, Any]) -> Metric:
    metric = Metric.from_document(document, key="spend")
    check_metric(metric)
    return metric


@pytest.mark.parametrize("cap", [0.999, {"quantile": 0.5}, {"value": 500.0}, {"value": 1e-6}])
def test_a_mean_may_be_winsorized(cap: Any) -> None:
    assert put({**MEAN, "winsorize": cap}).winsorize is not None


@pytest.mark.parametrize(
    ("cap", "field"),
    [
        ({"value": -3.0}, "metric.winsorize.value"),
        ({"value": 0.0}, "metric.winsorize.value"),
        ({"value": float("inf")}, "metric.winsorize.value"),
        ({"value": float("nan")}, "metric.winsorize.value"),
        ({"quantile": 0.0}, "metric.winsorize.quantile"),
        ({"quantile": 1.0}, "metric.winsorize.quantile"),
        (1.0, "metric.winsorize"),
        (0.0, "metric.winsorize"),
        (-0.5, "metric.winsorize"),
        ({"value": 5.0, "quantile": 0.9}, "metric.winsorize"),
        ({}, "metric.winsorize"),
        (True, "metric.winsorize"),
        ("0.9", "metric.winsorize"),
    ],
)
def test_a_cap_that_is_none_is_refused_with_its_path(cap: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        put({**MEAN, "winsorize": cap})
    assert refusal.value.field == field


@pytest.mark.parametrize("kind", sorted(OTHERS))
@pytest.mark.parametrize("cap", [0.9, {"value": 0.5}])
def test_only_a_mean_has_values_to_cap(kind: str, cap: Any) -> None:
    """A binary capped at .5 would count every success as half of one."""
    with pytest.raises(InvalidInput, match="only a mean") as refusal:
        put({**OTHERS[kind], "winsorize": cap})
    assert refusal.value.field == "metric.winsorize"


@pytest.mark.parametrize("kind", ["ratio", "quantile"])
def test_a_lookback_that_could_not_be_used_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"is a {kind}") as refusal:
        put({**OTHERS[kind], "lookback_seconds": 3600})
    assert refusal.value.field == "metric.lookback_seconds"
    assert put({**OTHERS[kind], "lookback_seconds": 0}).lookback_seconds == 0.0


@pytest.mark.parametrize("document", [MEAN, OTHERS["binary"], OTHERS["count"]])
def test_means_shares_and_counts_may_look_back(document: dict[str, Any]) -> None:
    assert put({**document, "lookback_seconds": 3600}).lookback_seconds == 3600.0


def test_it_is_refused_where_it_is_put_and_nothing_is_stored() -> None:
    desk = Desk()
    for changes in ({"winsorize": {"value": 0.5}}, {"winsorize": 0.9}):
        with pytest.raises(InvalidInput):
            define.put_metric(
                desk.store, PROJECT, {**METRICS["on-time"], **changes}, key="on-time", actor=MACHINE
            )
    with desk.store.reading() as work:
        stored = work.definitions.metric(PROJECT, "on-time")
    assert stored is not None
    assert stored.winsorize is None


def test_one_that_was_stored_before_the_rule_is_read_and_not_frozen() -> None:
    """Reading must not break; a new rollout must not silently ignore what it asks for."""
    desk = Desk()
    old = Metric.from_document({**METRICS["complaints"], "winsorize": 0.9}, key="complaints")
    with desk.store.writing() as work:
        work.definitions.put_metric(PROJECT, old, actor="ada", at=desk.now)
    rollout = desk.create()
    with pytest.raises(InvalidInput) as refusal:
        desk.do(rollout, Verb.SUBMIT)
    assert refusal.value.field == "metrics.complaints.winsorize"
    assert desk.state(rollout) is State.DRAFT
