"""What a metric may ask for, and what is refused rather than ignored."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.metric_rules import check_margin, check_metric
from controller.experiments.metrics import Metric
from controller.experiments.slots import Guardrail
from controller.flow import define
from controller.flow.actors import MACHINE
from controller.flow.ports.statistics import Observed
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import METRICS, PROJECT, SLOT, Desk

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


def test_a_lookback_that_could_not_be_used_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is a quantile, which is read from counts") as refusal:
        put({**OTHERS["quantile"], "lookback_seconds": 3600})
    assert refusal.value.field == "metric.lookback_seconds"
    assert put({**OTHERS["quantile"], "lookback_seconds": 0}).lookback_seconds == 0.0


@pytest.mark.parametrize("document", [MEAN, OTHERS["binary"], OTHERS["count"], OTHERS["ratio"]])
def test_means_shares_counts_and_ratios_may_look_back(document: dict[str, Any]) -> None:
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


def guarded(desk: Desk, margin: dict[str, float]) -> None:
    slot = {
        "unit": "departure",
        "oec": {"metric": "on-time"},
        "guardrails": [{"metric": "spend", **margin}],
        "policy": "house",
    }
    define.put_slot(desk.store, PROJECT, slot, key=SLOT, actor=desk.person("root"))


def spending(**changes: Any) -> Desk:
    """A desk with a metric that no slot uses yet."""
    desk = Desk()
    define.put_metric(desk.store, PROJECT, {**MEAN, **changes}, key="spend", actor=MACHINE)
    return desk


@pytest.mark.parametrize("mean", [-10.0, 0.0])
def test_a_fraction_of_a_champion_that_is_not_above_zero_is_no_margin(mean: float) -> None:
    desk = spending(baseline={"mean": mean, "sd": 5.0})
    with pytest.raises(InvalidInput, match="state margin, a number") as refusal:
        guarded(desk, {"margin_relative": 0.05})
    assert refusal.value.field == "slot.guardrails"
    guarded(desk, {"margin": 0.5})
    assert desk.do(desk.create(), Verb.SUBMIT).state is State.VALIDATING


@pytest.mark.parametrize("mean", [-10.0, 0.0])
def test_nor_is_one_of_what_was_observed_at_rest(mean: float) -> None:
    desk = spending()
    guarded(desk, {"margin_relative": 0.05})
    rollout = desk.create()
    desk.baseline = Observed(units=1000, mean=mean, sd=5.0)
    with pytest.raises(InvalidInput, match="not above zero"):
        desk.do(rollout, Verb.SUBMIT, accept_infeasible=True)
    assert desk.state(rollout) is State.DRAFT
    desk.baseline = Observed(units=1000, mean=10.0, sd=5.0)
    assert desk.do(rollout, Verb.SUBMIT).state is State.VALIDATING


def test_a_baseline_that_fell_below_zero_since_is_refused_at_submit() -> None:
    desk = spending(baseline={"mean": 10.0, "sd": 5.0})
    guarded(desk, {"margin_relative": 0.05})
    rollout = desk.create()
    changed = {**MEAN, "baseline": {"mean": -1.0, "sd": 5.0}}
    define.put_metric(desk.store, PROJECT, changed, key="spend", actor=desk.person("root"))
    with pytest.raises(InvalidInput, match="not above zero"):
        desk.do(rollout, Verb.SUBMIT)


@pytest.mark.parametrize("kind", OTHERS)
def test_all_of_what_is_good_may_not_be_lost(kind: str) -> None:
    more = Metric.from_document(OTHERS[kind], key="spend")
    less = Metric.from_document({**OTHERS[kind], "direction": "decrease"}, key="spend")
    whole = Guardrail(metric="spend", margin_relative=1.0)
    with pytest.raises(InvalidInput, match="below 1 where an increase is better"):
        check_margin(whole, more, where="slot")
    check_margin(whole, less, where="slot")
    check_margin(Guardrail(metric="spend", margin_relative=0.99), more, where="slot")
    check_margin(Guardrail(metric="spend", margin=1.0), more, mean=-10.0, where="slot")
