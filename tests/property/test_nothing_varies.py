"""What varies by no more than rounding is evidence of nothing: no verdict and no p, ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.aggregation.statistics import Moments
from controller.aggregation.sums import Contribution, Sums
from controller.analysis import analyze
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.experiments.plans import Plan
from controller.experiments.policies import GuardrailRules, Mode, OecRules
from controller.experiments.slots import Goal, Guardrail
from tests.worlds import EVEN, metric, plan, shelve, statistics

NAMES = {"control": "champion", "treatment": "challenger"}
UNEVEN = {"champion": 0.8, "challenger": 0.2}
NOTHING = {"inconclusive", "unknown"}
KINDS = ("mean", "ratio", "cuped", "past")
RATIOS, ADJUSTED = ("ratio", "past"), ("cuped", "past")

# Few of these are exact in binary, and they span the scales of money, shares and seconds.
constants = st.one_of(
    st.sampled_from(
        [19.99, 1 / 3, 0.1, 3.3, 3.3e-13, 1e9 + 0.1, 1e-12 / 3, 1e12 / 3, 123456.789, 0.0]
    ),
    st.floats(1e-12, 1e12),
).flatmap(lambda c: st.sampled_from([c, -c]))

worlds = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "constant": constants,
        "kind": st.sampled_from(KINDS),
        "units": st.sampled_from([2, 3, 7, 60, 700]),
        "mode": st.sampled_from(["planned", "anytime"]),
        "margin": st.sampled_from([{}, {"margin": 0.25}, {"margin_relative": 0.05}]),
        "even": st.booleans(),
    }
)


def table(case: Mapping[str, Any]) -> pd.DataFrame:
    """Units of both arms whose value is one constant, or that constant times another column."""
    rng = np.random.default_rng(case["seed"])
    n, share = case["units"], 0.5 if case["even"] else 0.2
    treated = rng.random(n) < share
    treated[:2] = False, True
    below = rng.integers(1, 6, n).astype(float)
    before = rng.choice([9.99, 19.99, 49.9], n)
    value = {
        "mean": np.full(n, case["constant"]),
        "ratio": case["constant"] * below,
        "cuped": case["constant"] * before + 3.0,
        "past": case["constant"] * before,
    }[case["kind"]]
    orders = 1.1 * below if case["kind"] == "past" else below
    return pd.DataFrame(
        {
            "arm": np.where(treated, "treatment", "control"),
            "value": value,
            "below": orders,
            "before": before,
            "ordered": below,
            "else": rng.choice([1.0, 2.0, 7.0], n),
        }
    )


def cells(data: pd.DataFrame, kind: str, key: str) -> dict[tuple[str, int, str], Moments]:
    """The exact sums a live look would have."""
    found = {}
    for name, arm in NAMES.items():
        rows = data[data["arm"] == name]
        columns = (rows[column].tolist() for column in ("value", "below", "before", "ordered"))
        found[key, 0, arm] = Sums.of(
            Contribution(
                value,
                below if kind in RATIOS else None,
                before if kind in ADJUSTED else None,
                second=ordered if kind == "past" else None,
            )
            for value, below, before, ordered in zip(*columns, strict=True)
        ).moments()
    return found


def kind_of(kind: str, key: str = "conversion", **others: Any) -> Metric:
    adjusted = {"lookback_seconds": 60.0} if kind in ADJUSTED else {}
    if kind in RATIOS:
        return metric(key, type=MetricType.RATIO, denominator="orders", **adjusted, **others)
    return metric(key, type=MetricType.MEAN, **adjusted, **others)


def live(case: Mapping[str, Any]) -> Iterator[LookReport]:
    """Three looks at a growing share of the table, one metric as OEC and as guardrail."""
    data, kind = table(case), case["kind"]
    watched = kind_of(kind, key="cost", direction=Direction.DECREASE)
    mode = Mode(case["mode"])
    the_plan: Plan = plan(
        horizon=case["units"],
        oec=kind_of(kind),
        goal=Goal.NOT_WORSE if "margin" in case["margin"] else Goal.SUPERIOR,
        margin=case["margin"].get("margin"),
        guardrails={
            "cost": (watched, Guardrail(metric="cost", **(case["margin"] or {"margin": 0.0})))
        },
        rules=OecRules(mode=mode),
        guardrail_rules=GuardrailRules(mode=mode),
        weights=EVEN if case["even"] else UNEVEN,
    )
    shelf: dict[str, Any] = {}
    previous = None
    for number in (1, 2, 3):
        seen = data.iloc[: max(2, len(data) * number // 3)]
        both = cells(seen, kind, "conversion") | cells(seen, kind, "cost")
        snapshot = statistics(both, weights=(EVEN if case["even"] else UNEVEN,))
        report = take_look(
            LookInput(plan=the_plan, statistics=snapshot, number=number, previous=previous)
        )
        previous = shelve(shelf, report)
        yield report


@settings(max_examples=80, deadline=None)
@given(worlds)
def test_a_live_look_says_nothing_of_it(case: dict[str, Any]) -> None:
    for report in live(case):
        for found in report.metrics:
            for comparison in found.comparisons:
                assert comparison.verdict.value in NOTHING, (comparison, case)
                assert [test.p for test in comparison.tests] == [None] * len(comparison.tests)
                assert all(test.crossed is None for test in comparison.tests)
                assert comparison.interval is None


recorded = st.tuples(worlds, st.sampled_from(["fixed", "planned", "anytime"]), st.booleans())


@settings(max_examples=60, deadline=None)
@given(recorded)
def test_neither_does_a_recorded_experiment(drawn: tuple[dict[str, Any], str, bool]) -> None:
    case, mode, events = drawn
    data = table(case).assign(user=[f"u{i}" for i in range(case["units"])])
    common: dict[str, Any] = {"mode": mode, "horizon": max(case["units"], 2)}
    if case["margin"]:
        common |= {"role": "guardrail", "direction": "decrease", **case["margin"]}
    value: dict[str, Any] = {"column": "value", "type": "mean"}
    ratio: dict[str, Any] = {"numerator": "value", "denominator": "below", "type": "ratio"}
    kinds: dict[str, list[dict[str, Any]]] = {
        "mean": [{"key": "y", **value}, {"key": "capped", **value, "winsorize": 0.9}],
        "ratio": [{"key": "r", **ratio}],
        "cuped": [
            {"key": "one", **value, "covariate": "before"},
            {"key": "two", **value, "covariate": ["before", "else"]},
        ],
        "past": [
            {"key": "both", **ratio, "covariate": ["before", "ordered"]},
            {"key": "more", **ratio, "covariate": ["before", "ordered", "else"]},
        ],
    }
    arm: dict[str, Any] = {"column": "arm", "champion": "control"}
    arm |= {
        "weights": {"control": 1.0, "treatment": 1.0}
        if case["even"]
        else {"control": 4, "treatment": 1}
    }
    description = {
        "unit": "user",
        "arm": arm,
        "rows": "events" if events else "units",
        "looks": 3,
        "metrics": [each | common for each in kinds[case["kind"]]],
    }
    document = analyze(data, description).document
    for key, found in document["metrics"].items():
        says_nothing(found["comparisons"]["treatment"], (key, case, mode, events))


def says_nothing(found: Mapping[str, Any], case: Any) -> None:
    """No verdict, no p of any kind, no interval."""
    assert found["verdict"] in NOTHING, (found, case)
    for test in (found["fixed"], found["sequential"], found.get("harm"), found.get("rare")):
        assert test is None or test["p"] is None, (found, case)
    assert found["fixed"]["ci"] is None, (found, case)
    assert "thin_tail" not in found


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["binary", "count"]),
    hit=st.sampled_from([0, 1]),
    units=st.sampled_from([2, 9, 300]),
    role=st.sampled_from(
        [{}, {"role": "guardrail", "direction": "decrease", "margin_relative": 0.05}]
    ),
    mode=st.sampled_from(["fixed", "planned", "anytime"]),
)
def test_nor_do_shares_that_are_all_alike(
    kind: str, hit: int, units: int, role: dict[str, Any], mode: str
) -> None:
    data = pd.DataFrame({"arm": ["control", "treatment"] * units, "hit": hit})
    described = {"key": "h", "column": "hit", "type": kind, "mode": mode, "horizon": 2 * units}
    description = {
        "arm": {"column": "arm", "champion": "control"},
        "looks": 2,
        "metrics": [described | role],
    }
    document = analyze(data, description).document
    says_nothing(document["metrics"]["h"]["comparisons"]["treatment"], (kind, hit, units, mode))


@settings(max_examples=25, deadline=None)
@given(
    constant=st.floats(1e-3, 1e6),
    units=st.sampled_from([4, 80, 400]),
    role=st.sampled_from([{}, {"role": "guardrail", "margin_relative": 0.05}]),
    mode=st.sampled_from(["fixed", "planned", "anytime"]),
)
def test_nor_does_a_quantile_of_one_value(
    constant: float, units: int, role: dict[str, Any], mode: str
) -> None:
    data = pd.DataFrame({"arm": ["control", "treatment"] * (units // 2), "ms": constant})
    quantile = {"key": "p", "column": "ms", "type": "quantile", "q": 0.5, "direction": "decrease"}
    description = {
        "arm": {"column": "arm", "champion": "control"},
        "looks": 2,
        "metrics": [quantile | role | {"mode": mode, "horizon": units}],
    }
    document = analyze(data, description).document
    says_nothing(document["metrics"]["p"]["comparisons"]["treatment"], constant)


@settings(max_examples=25, deadline=None)
@given(constant=constants, ulps=st.integers(0, 3), n=st.integers(2, 10**7))
def test_nor_do_stated_means_a_rounding_apart(constant: float, ulps: int, n: int) -> None:
    other = constant
    for _ in range(ulps):
        other = float(np.nextafter(other, np.inf))
    rows = [
        {"look": look, "arm": arm, "n": n * look, "mean": mean, "variance": 0.0}
        for look in (1, 2)
        for arm, mean in (("control", constant), ("treatment", other))
    ]
    description = {
        "arm": {"column": "arm", "champion": "control"},
        "aggregates": {"look": "look", "n": "n", "mean": "mean", "variance": "variance"},
        "metrics": [{"key": "y", "type": "mean"}],
    }
    document = analyze(pd.DataFrame(rows), description).document
    says_nothing(document["metrics"]["y"]["comparisons"]["treatment"], (constant, ulps, n))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-12, 1e-6, 1 / 3, 7.0, 1e6, 1e12]),
    effect=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_the_unit_of_what_does_vary_changes_no_verdict(
    kind: str, seed: int, scale: float, effect: float
) -> None:
    rng = np.random.default_rng(seed)
    n = 400
    below = rng.integers(1, 6, n).astype(float)
    before = rng.choice([9.99, 19.99, 49.9], n)
    arm = np.where(rng.random(n) < 0.5, "treatment", "control")
    noise = rng.normal(0.0, 1.0, n) + effect * (arm == "treatment")
    value = {
        "mean": 5.0 + noise,
        "ratio": 3.0 * below + noise,
        "cuped": 1.1 * before + noise,
        "past": 1.1 * before + 2.0 * below + noise,
    }[kind]
    columns = {"arm": arm, "below": below, "before": before, "ordered": rng.poisson(below) * 1.0}

    def look(unit: float) -> LookReport:
        data = pd.DataFrame(columns | {"value": value * unit})
        snapshot = statistics(cells(data, kind, "conversion"))
        the_plan = plan(horizon=n, oec=kind_of(kind))
        return take_look(LookInput(plan=the_plan, statistics=snapshot, number=1))

    plain, scaled = (look(unit).metrics[0].comparisons[0] for unit in (1.0, scale))
    assert scaled.verdict is plain.verdict
    assert scaled.reason == plain.reason
    assert scaled.tests[0].z == pytest.approx(plain.tests[0].z, rel=1e-6, abs=1e-6)
