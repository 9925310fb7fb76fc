from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from controller.errors import InvalidInput
from tests.unit.analysis_offline.tables import ARM, BINARY, MEAN, spec, units

DATA = units(effect=0.05)
ENDS = (1000, 2000, 4000)
METRICS = (("conversion", "converted"), ("revenue", "spend"))
WIDE: dict[str, Any] = {
    "arm": {"champion": "control", "weights": ARM["weights"]},
    "aggregates": {
        "look": "day",
        "metric": "metric",
        "arms": {
            "control": {"n": "n_c", "mean": "mean_c", "variance": "variance_c"},
            "treatment": {"n": "n_t", "mean": "mean_t", "variance": "variance_t"},
        },
    },
    "metrics": [
        {"key": "conversion", "type": "binary"},
        {"key": "revenue", "type": "mean", "mode": "planned", "horizon": 4000},
    ],
}
LONG: dict[str, Any] = WIDE | {
    "arm": ARM,
    "aggregates": {
        "look": "day",
        "metric": "metric",
        "n": "n",
        "mean": "mean",
        "variance": "variance",
    },
}


def _long() -> pd.DataFrame:
    rows = []
    for day, end in enumerate(ENDS, start=1):
        seen = DATA.iloc[:end]
        for key, column in METRICS:
            for arm, values in seen.groupby("arm")[column]:
                rows.append((day, key, arm, len(values), values.mean(), values.var()))
    return pd.DataFrame(rows, columns=["day", "metric", "arm", "n", "mean", "variance"])


def _wide() -> pd.DataFrame:
    long = _long()
    control, treatment = (
        long[long["arm"] == arm].drop(columns="arm") for arm in ("control", "treatment")
    )
    return control.merge(treatment, on=["day", "metric"], suffixes=("_c", "_t"))


def test_aggregates_say_what_their_units_say() -> None:
    from_units = analyze(
        DATA,
        spec(BINARY, MEAN | {"mode": "planned", "horizon": 4000}, time="t", looks=list(ENDS)),
    ).document
    for data, description in ((_long(), LONG), (_wide(), WIDE)):
        document = analyze(data, description).document
        assert document["srm"] == pytest.approx(from_units["srm"])
        for key in ("conversion", "revenue"):
            one = from_units["metrics"][key]["comparisons"]["treatment"]
            two = document["metrics"][key]["comparisons"]["treatment"]
            assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-9)
            assert two["fixed"]["p"] == pytest.approx(one["fixed"]["p"], rel=1e-6)
            assert two["fixed"]["ci"] == pytest.approx(one["fixed"]["ci"], rel=1e-6)
            assert two["verdict"] == one["verdict"]
            for name in ("ci", "p", "e_value", "first_look", "first_n"):
                mine, theirs = two["sequential"][name], one["sequential"][name]
                assert mine == (theirs if theirs is None else pytest.approx(theirs, rel=1e-6))


def test_by_gives_one_report_for_each_experiment() -> None:
    several = pd.concat([_wide().assign(test="007"), _wide().assign(test="b")])
    description = WIDE | {"aggregates": WIDE["aggregates"] | {"by": ["test"]}}
    documents = analyze(several, description).document
    assert [document["by"] for document in documents] == [{"test": "007"}, {"test": "b"}]
    assert documents[0]["metrics"] == documents[1]["metrics"]


def test_counts_that_fall_are_a_warning_at_their_look() -> None:
    data = _wide()
    data.loc[data["day"] == 3, "n_c"] = 300
    document = analyze(data, WIDE).document
    assert document["looks"][1]["warnings"] == []
    assert any("control fell from" in w for w in document["looks"][2]["warnings"])


def test_one_metric_needs_no_column_that_names_it() -> None:
    data = _wide()
    layout = {k: v for k, v in WIDE["aggregates"].items() if k != "metric"}
    description = WIDE | {"aggregates": layout, "metrics": WIDE["metrics"][:1]}
    one = analyze(data[data["metric"] == "conversion"], description).document
    assert one["metrics"]["conversion"] == analyze(data, WIDE).document["metrics"]["conversion"]
    with pytest.raises(InvalidInput, match=r"spec\.aggregates\.metric"):
        analyze(data, description | {"metrics": WIDE["metrics"]})


@pytest.mark.parametrize(
    ("column", "bad", "rule"),
    [
        ("n_c", -1, "whole number"),
        ("n_c", 10.5, "whole number"),
        ("variance_t", -0.1, "at least 0"),
        ("mean_c", 1.5, "in \\[0, 1\\] for a binary"),
        ("mean_t", np.nan, "is empty"),
    ],
)
def test_a_bad_number_names_row_column_and_rule(column: str, bad: float, rule: str) -> None:
    data = _wide().astype({"n_c": float})
    row = int(np.flatnonzero(data["metric"] == "conversion")[0])
    data.loc[row, column] = bad
    with pytest.raises(InvalidInput, match=f"row {row + 1}, column '{column}'.*{rule}"):
        analyze(data, WIDE)


def test_a_look_that_comes_twice_is_refused() -> None:
    data = pd.concat([_wide(), _wide().iloc[:1]])
    with pytest.raises(InvalidInput, match="came before"):
        analyze(data, WIDE)


def test_times_are_looks_in_their_order() -> None:
    data = _wide()
    data["day"] = data["day"].map({1: "2024-01-09", 2: "2024-01-10", 3: "2024-02-01"})
    document = analyze(data.iloc[::-1], WIDE).document
    assert [look["at"] for look in document["looks"]] == ["2024-01-09", "2024-01-10", "2024-02-01"]
