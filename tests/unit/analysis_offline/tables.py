"""Small tables whose right answers are known, for the tests beside this file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from controller.analysis import analyze

ARM = {"column": "arm", "champion": "control", "weights": {"control": 0.5, "treatment": 0.5}}


def units(n: int = 4000, seed: int = 1, effect: float = 0.0) -> pd.DataFrame:
    """Unit rows in order of arrival."""
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < 0.5
    history = rng.exponential(10.0, n)
    bought = rng.random(n) < 0.2 + effect * treated
    orders = np.where(bought, rng.integers(1, 4, n), 0)
    spend = np.round(orders * rng.uniform(5.0, 15.0, n) + 0.5 * history * bought, 2)
    return pd.DataFrame(
        {
            "user": [f"u{i}" for i in range(n)],
            "arm": np.where(treated, "treatment", "control"),
            "t": np.arange(n),
            "stage": np.where(np.arange(n) < n // 4, "first", "second"),
            "converted": bought.astype(int),
            "spend": spend,
            "orders": orders,
            "history": np.round(history, 3),
            "ms": np.round(rng.lognormal(5.0, 0.5, n), 1),
            "errors": rng.poisson(0.3, n),
        }
    )


def spec(*metrics: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """A description of `units` with these metrics."""
    return {"unit": "user", "arm": ARM, "metrics": list(metrics), **others}


def comparison(data: Any, description: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The treatment's comparison on one metric."""
    document = analyze(data, description).document
    found: dict[str, Any] = document["metrics"][key]["comparisons"]["treatment"]
    return found


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


BINARY = {"key": "conversion", "column": "converted", "type": "binary"}
MEAN = {"key": "revenue", "column": "spend", "type": "mean"}
RATIO = {"key": "value", "numerator": "spend", "denominator": "orders", "type": "ratio"}
QUANTILE = {"key": "p90", "column": "ms", "type": "quantile", "q": 0.9}
COUNT = {"key": "errors", "column": "errors", "type": "count"}
