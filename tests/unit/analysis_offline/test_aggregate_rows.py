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


def _by_epoch(data: pd.DataFrame) -> pd.DataFrame:
    """Cumulative over the units of each epoch, at the looks at which it has any."""
    rows = []
    for day, end in enumerate(ENDS, start=1):
        for (stage, arm), seen in data.iloc[:end].groupby(["stage", "arm"]):
            for key, column in METRICS:
                values = seen[column]
                rows.append((day, stage, key, arm, len(values), values.mean(), values.var()))
    names = ["day", "stage", "metric", "arm", "n", "mean", "variance"]
    return pd.DataFrame(rows, columns=names)


def _drifting() -> pd.DataFrame:
    """First a tenth treated and few buyers, then half and many: pooling finds an effect."""
    rng = np.random.default_rng(4)
    data = DATA.copy()
    late = (data["stage"] == "second").to_numpy()
    data["arm"] = np.where(rng.random(len(data)) < np.where(late, 0.5, 0.1), "treatment", "control")
    data["converted"] = (rng.random(len(data)) < np.where(late, 0.3, 0.05)).astype(int)
    return data


SHARES = {"first": {"control": 0.9, "treatment": 0.1}, "second": {"control": 1, "treatment": 1}}
STAGED = LONG | {"epoch": "stage", "arm": ARM | {"weights": SHARES}}


def test_aggregates_of_epochs_are_compared_within_as_their_units_are() -> None:
    data = _drifting()
    from_units = analyze(
        data,
        spec(
            BINARY,
            MEAN | {"mode": "planned", "horizon": 4000},
            time="t",
            looks=list(ENDS),
            epoch="stage",
        )
        | {"arm": ARM | {"weights": SHARES}},
    ).document
    document = analyze(_by_epoch(data), STAGED).document
    assert document["srm"] == pytest.approx(from_units["srm"])
    assert not document["srm"]["alarm"]
    for key in ("conversion", "revenue"):
        one, two = (d["metrics"][key]["comparisons"]["treatment"] for d in (from_units, document))
        assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-9)
        assert two["fixed"]["method"] == "stratified_z"
        assert two["fixed"]["p"] == pytest.approx(one["fixed"]["p"], rel=1e-6)
        for a, b in zip(*(each["heterogeneity"]["effects"] for each in (one, two)), strict=True):
            assert b["estimate"] == pytest.approx(a["estimate"], rel=1e-9)
    found = document["metrics"]["conversion"]["comparisons"]["treatment"]
    assert found["fixed"]["p"] > 0.01
    pooled = analyze(
        _by_epoch(data.assign(stage="all")), STAGED | {"arm": ARM | {"weights": {"all": {**EVEN}}}}
    ).document["metrics"]["conversion"]["comparisons"]["treatment"]
    assert pooled["fixed"]["p"] < 1e-4


EVEN = {"control": 0.6, "treatment": 0.4}


def test_rows_that_go_on_counting_from_epoch_to_epoch_are_pointed_out() -> None:
    def notes(data: pd.DataFrame) -> list[str]:
        shares = {"first": EVEN, "second": EVEN}
        warnings = analyze(data, STAGED | {"arm": ARM | {"weights": shares}}).document["warnings"]
        return [warning for warning in warnings if "own epoch" in warning]

    through = _long().assign(stage=lambda rows: np.where(rows["day"] > 1, "second", "first"))
    assert len(notes(through)) == 1
    apart = _by_epoch(DATA)
    assert notes(apart[~((apart["stage"] == "second") & (apart["day"] == 3))]) == []


@pytest.mark.parametrize(
    ("key", "value"), [("unit", "user"), ("time", "day"), ("looks", 3), ("rows", "units")]
)
def test_what_belongs_to_rows_of_units_is_refused(key: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"spec\.{key}: does not apply to aggregates"):
        analyze(_wide(), WIDE | {key: value})


def test_an_epoch_that_is_no_column_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no column 'phase'"):
        analyze(_wide(), WIDE | {"epoch": "phase"})


@pytest.mark.parametrize("mode", ["fixed", "planned", "anytime"])
def test_a_metric_without_a_row_is_unknown(mode: str) -> None:
    lost = {"key": "lost", "type": "mean", "mode": mode, "horizon": 4000}
    found = analyze(_wide(), WIDE | {"metrics": [*WIDE["metrics"], lost]})
    metric = found.document["metrics"]["lost"]
    assert metric["arms"]["control"] == {"n": 0, "mean": None, "variance": None}
    shown = metric["comparisons"]["treatment"]
    assert (shown["verdict"], shown["reason"]) == ("unknown", "no_data")
    assert shown["estimate"] is None
    assert "treatment: unknown: there are no data" in str(found)
    with pytest.raises(InvalidInput, match="no row has a metric of the spec"):
        analyze(_wide(), WIDE | {"metrics": [lost]})


def test_units_that_another_metric_counts_may_miss_this_one() -> None:
    data = _wide()
    revenue = data["metric"] == "revenue"
    data.loc[revenue, "n_t"] = (data.loc[revenue, "n_t"] * 0.7).astype(int)
    metrics = [WIDE["metrics"][0], {"key": "revenue", "type": "mean", "zero_means": "unknown"}]
    found = analyze(data, WIDE | {"metrics": metrics}).document["metrics"]["revenue"]
    assert found["comparisons"]["treatment"]["reason"] == "missing_differs"
    whole = int(data[~revenue].iloc[-1]["n_t"])
    assert found["arms"]["treatment"]["missing"] == whole - found["arms"]["treatment"]["n"]


def test_zeros_beside_a_rare_count_are_no_silence() -> None:
    """Two in a hundred at most: an arm without any may really be better."""

    def found(mean: float, variance: float) -> Any:
        data = _wide()
        data = data[data["metric"] == "revenue"]
        data[["mean_c", "variance_c", "mean_t", "variance_t"]] = mean, variance, 0.0, 0.0
        metric = {"key": "revenue", "type": "count", "direction": "decrease"}
        document = analyze(data, WIDE | {"metrics": [metric]}).document
        return document["metrics"]["revenue"]["comparisons"]["treatment"]

    assert found(0.02, 0.02)["verdict"] == "better"
    assert found(3.0, 3.0)["reason"] == "arm_silent"


def test_looks_sort_as_numbers_and_as_instants_not_as_letters() -> None:
    data = _wide().iloc[::-1]
    numbers = data.assign(day=data["day"].map({1: "9", 2: "10", 3: "101"}))
    times = {1: "2024-03-31T23:30:00-02:00", 2: "2024-04-01T01:45:00Z", 3: "20240401T05"}
    zones = data.assign(day=data["day"].map(times))
    plain = analyze(_wide(), WIDE).document["metrics"]
    for again in (numbers, zones):
        document = analyze(again, WIDE).document
        assert document["metrics"]["revenue"]["arms"] == plain["revenue"]["arms"]
        assert all(not look["warnings"] for look in document["looks"])
    document = analyze(zones, WIDE).document
    assert [look["at"] for look in document["looks"]] == list(times.values())


@pytest.mark.parametrize(
    ("days", "row"),
    [
        (("day 5", "day 25", "day 100"), 1),
        (("2024-01-01", "2024-02-30", "2024-03-01"), 3),
        (("1", "2", "third"), 5),
        (("2024-01-01", "2", "3"), 3),
        (("now", "today", "tomorrow"), 1),
        (("1", "inf", "3"), 3),
    ],
)
def test_looks_in_words_are_refused_with_their_row(days: tuple[str, ...], row: int) -> None:
    data = _wide().sort_values("day", kind="stable")
    named = data.assign(day=data["day"].map(dict(zip((1, 2, 3), days, strict=True))))
    with pytest.raises(InvalidInput, match=f"row {row}, column 'day': must be"):
        analyze(named, WIDE)
