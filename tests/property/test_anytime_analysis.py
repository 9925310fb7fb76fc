"""Whatever stands in the table, the report is plain JSON with named verdicts, or a refusal."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.analysis import analyze
from controller.analysis.offline.run import Analysis
from controller.analysis.report import MetricVerdict
from controller.errors import InvalidInput

numbers = st.one_of(
    st.sampled_from([0.0, 1.0, 1e-12, 1e12, 1e60, -1e60, 5e-324, 7.0]),
    st.floats(-1e60, 1e60),
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "arm": st.sampled_from(["control", "treatment"]),
            "stage": st.sampled_from(["a", "b"]),
            "flag": st.integers(0, 1),
            "value": numbers,
            "below": numbers,
            "before": st.one_of(st.none(), numbers),
            "events": st.integers(0, 3),
            "ms": st.floats(0.0, 1e9),
        }
    ),
    min_size=1,
    max_size=60,
)
RATIO = {"numerator": "value", "denominator": "below", "type": "ratio"}
modes = st.sampled_from(["fixed", "planned", "anytime"])
shares = st.sampled_from(
    [None, {"control": 0.5, "treatment": 0.5}, {"control": 0.9, "treatment": 0.1}]
)


def _metrics(mode: str, role: str) -> list[dict[str, Any]]:
    common: dict[str, Any] = {"mode": mode, "role": role, "horizon": 50, "direction": "decrease"}
    if role == "guardrail":
        common["margin_relative"] = 0.1
    return [
        {"key": "flag", "column": "flag", "type": "binary", **common},
        {"key": "mean", "column": "value", "type": "mean", "winsorize": 0.9, **common},
        {"key": "cuped", "column": "value", "type": "mean", "covariate": "before", **common},
        {"key": "two", "column": "value", "type": "mean", "covariate": ["before", "ms"], **common},
        {"key": "ratio", **RATIO, **common},
        {"key": "past", **RATIO, "covariate": ["before", "ms"], **common},
        {"key": "long past", **RATIO, "covariate": ["before", "ms", "events"], **common},
        {"key": "count", "column": "events", "type": "count", **common},
        {
            "key": "ms",
            "column": "ms",
            "type": "quantile",
            "q": 0.5,
            "cuts": {"low": 1, "high": 1e6},
            **common,
        },
    ]


cases = st.fixed_dictionaries(
    {
        "table": rows,
        "mode": modes,
        "role": st.sampled_from(["oec", "guardrail"]),
        "weights": shares,
        "staged": st.booleans(),
        "events": st.booleans(),
    }
)


@settings(max_examples=40)
@given(cases)
def test_any_table_gives_plain_numbers_and_a_named_verdict(case: dict[str, Any]) -> None:
    table, weights, events = case["table"], case["weights"], case["events"]
    user = [f"u{i % 40 if events else i}" for i in range(len(table))]
    frame = pd.DataFrame(table).assign(user=user)
    description: dict[str, Any] = {
        "unit": "user",
        "arm": {"column": "arm", "champion": "control"} | ({"weights": weights} if weights else {}),
        "rows": "events" if events else "units",
        "looks": 3,
        "metrics": _metrics(case["mode"], case["role"]),
    }
    if case["staged"]:
        description["epoch"] = "stage"
    with contextlib.suppress(InvalidInput):
        _check(analyze(frame, description))


def _check(analysis: Analysis) -> None:
    document = json.loads(json.dumps(analysis.document, allow_nan=False))
    for metric in document["metrics"].values():
        for found in metric["comparisons"].values():
            assert found["verdict"] in set(MetricVerdict)
            assert found["reason"]
            test = found["sequential"]
            if test is not None and test["p"] is not None:
                assert 0.0 <= test["p"] <= 1.0
    assert str(analysis)
