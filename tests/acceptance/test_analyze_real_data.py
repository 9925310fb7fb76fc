"""Recorded experiments of other people, analysed as a user would; peeking is what misleads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from controller.analysis import analyze

DATA = Path(__file__).parents[1] / "data"
ASOS: dict[str, Any] = {
    "arm": {"champion": "control", "weights": {"control": 0.5, "treatment": 0.5}},
    "aggregates": {
        "look": "time_since_start",
        "by": ["experiment_id", "variant_id"],
        "metric": "metric_id",
        "arms": {
            "control": {"n": "count_c", "mean": "mean_c", "variance": "variance_c"},
            "treatment": {"n": "count_t", "mean": "mean_t", "variance": "variance_t"},
        },
    },
    "metrics": [
        {"key": "binary", "column": 1, "type": "binary"},
        {"key": "count", "column": 2, "type": "mean", "mode": "fixed"},
    ],
}
MEN: dict[str, Any] = {
    "arm": {"column": "policy", "champion": "random", "weights": {"random": 1, "bts": 1}},
    "time": "timestamp",
    "looks": 100,
    "metrics": [
        {"key": "click", "column": "click", "type": "binary", "mode": "planned", "horizon": 80_000},
        {"key": "always", "column": "click", "type": "binary"},
    ],
}


def test_asos_gives_one_report_for_each_treatment() -> None:
    path = DATA / "asos" / "six_experiments.csv.gz"
    documents = analyze(path, ASOS).document
    pairs = pd.read_csv(path, dtype=str)[["experiment_id", "variant_id"]].drop_duplicates()
    assert [tuple(d["by"].values()) for d in documents] == list(pairs.itertuples(index=False))
    last = pd.read_csv(path, dtype={"experiment_id": str})
    for document in documents:
        rows = last[
            (last["experiment_id"] == document["by"]["experiment_id"])
            & (last["variant_id"] == int(document["by"]["variant_id"]))
            & (last["metric_id"] == 1)
        ].sort_values("time_since_start")
        end = rows.iloc[-1]
        found = document["metrics"]["binary"]
        assert found["arms"]["control"]["n"] == end["count_c"]
        assert (
            abs(found["comparisons"]["treatment"]["estimate"] - end["mean_t"] + end["mean_c"])
            < 1e-9
        )
        assert len(document["looks"]) >= len(rows)
        assert not document["srm"]["alarm"]


def test_open_bandit_peeked_would_have_shipped_and_a_valid_test_does_not() -> None:
    document = analyze(DATA / "open_bandit" / "men_clicks.csv.gz", MEN).document
    looks = [look["metrics"]["click"]["bts"] for look in document["looks"]]
    peeked = max(abs(look["z"]) for look in looks if look["z"] is not None)
    assert peeked > 2.8
    planned = document["metrics"]["click"]["comparisons"]["bts"]
    assert (planned["verdict"], planned["reason"]) == ("inconclusive", "horizon_not_reached")
    always = document["metrics"]["always"]["comparisons"]["bts"]
    assert not always["sequential"]["conclusive"]
    assert always["sequential"]["p"] > 0.05
