"""Good tables and descriptions, and seeded ways to spoil their bytes, cells and keys."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tests.unit.analysis_offline.tables import (
    ARM,
    BINARY,
    COUNT,
    MEAN,
    QUANTILE,
    RATIO,
    spec,
    units,
)

Description = dict[str, Any]

ODD_CELLS: tuple[Any, ...] = (
    *("", "nan", "inf", "-1", "0", "1e999", "1e308", "-1e59", "true", "x", "a\0b", "1,5", " "),
    *("2024-02-30", "2024-02-28", "9999-12-31", "99999-01-01", "now", "\ud7ff", "0x1F", "1_000"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 0.5, 1e-300, 1e308, 10**400, "", "x", "arm", "user", "spend"),
    *([], {}, [1], [[]], {"x": 1}, {"value": -3}, [5, 3], "10%", "holm", "events", "planned"),
    *("fixed", "quantile", "ratio", "guardrail", "unknown", {"low": 1e-300, "high": 1e300}),
)
ODD_BYTES = (b"\0", b'"', b",", b"\r", b"\n", b"\xff", b"\xef\xbb\xbf", b"1e999", b"'", b";", b"\t")
KEYS = ("unit", "time", "epoch", "looks", "rows", "multiplicity", "srm_alpha", "harm_alpha")
EXTREMES: dict[str, tuple[Any, ...]] = {
    "mode": ("fixed", "planned", "anytime"),
    "alpha": (1e-300, 1e-12, 0.5),
    "mde": (1e-300, 1e-9, 1e300),
    "mde_relative": (1e-300, 1e-9, 1e300),
    "horizon": (2, 3, 10**12),
    "power": (0.5, 0.999),
    "first_look": (0, 1),
    "reserve": (1e-300, 0.0499),
    "margin": (0, 1e-300, 1e300),
    "margin_relative": (0, 1e-300, 1),
    "covariate": ("history", ["history", "orders"], ["history", "history"], "arm", "spend"),
    "winsorize": (1e-9, 0.5, 0.9999, {"value": -3}, {"value": 1e308}),
    "bounds": ([0, 1], [0, 1e300], [-1e-300, 1e-300]),
    "zero_means": ("zero", "unknown"),
    "cuts": ({"low": 1e-300, "high": 1e300}, {"low": 1, "high": 1.0000000001}),
    "direction": ("decrease", "increase"),
    "role": ("guardrail", "oec"),
    "q": (1e-12, 0.5, 0.9999),
    "baseline": ({"mean": 0, "sd": 1e-300}, {"mean": 1e300, "sd": 1e300}),
    "equivalence": (1e-300, 1e300),
    "gamma": (-40, 0, 40),
    "spending": ("pocock", "obrien_fleming", "hsd"),
    "column": ("spend", "converted", "user", "arm"),
    "denominator": ("orders", "history", "arm"),
    "looks": (1, 1000, [1], [1, 2, 10**12]),
    "multiplicity": ("holm", "fixed_sequence"),
    "srm_alpha": (1e-300, 0.5),
    "harm_alpha": (1e-300, 0.5),
    "time": ("ms", "stage", "user"),
    "epoch": ("stage", "user", "arm"),
    "weights": ({"control": 1}, {"control": 1e-300, "treatment": 1}, {"a": "50%", "b": "50%"}),
    "champion": ("treatment", "nobody"),
}
METRIC_KEYS = (
    *("mode", "alpha", "mde", "mde_relative", "horizon", "power", "first_look", "reserve", "q"),
    *("margin", "margin_relative", "covariate", "winsorize", "bounds", "zero_means", "cuts"),
    *("direction", "role", "spending", "gamma", "rho", "baseline", "equivalence", "type", "column"),
)


def good(rng: np.random.Generator) -> tuple[pd.DataFrame, Description]:
    """A table and its description: units, events, or aggregates in either layout."""
    data = units(n=int(rng.integers(4, 80)), seed=int(rng.integers(1000)), effect=0.2)
    metrics: list[Description] = [BINARY, MEAN, RATIO, QUANTILE, COUNT]
    kept: list[Description] = [
        metrics[int(i)] for i in rng.permutation(5)[: int(rng.integers(1, 4))]
    ]
    kept = [metric | {"mode": str(rng.choice(["anytime", "fixed", "planned"]))} for metric in kept]
    for metric in kept:
        if metric["mode"] == "planned":
            metric["horizon"] = 80
    kind = int(rng.integers(4))
    if kind == 0:
        return data, spec(*kept, time="t", looks=int(rng.integers(1, 6)), epoch="stage")
    if kind == 1:
        return pd.concat([data, data]), spec(*kept, time="t", rows="events")
    return _aggregates(data, wide=kind == 2)


def _aggregates(data: pd.DataFrame, *, wide: bool) -> tuple[pd.DataFrame, Description]:
    rows = [
        (day, key, arm, len(values), values.mean(), values.var() if len(values) > 1 else 0.0)
        for day, end in enumerate((len(data) // 2, len(data)), start=1)
        for key, column in (("conversion", "converted"), ("revenue", "spend"))
        for arm, values in data.iloc[:end].groupby("arm")[column]
    ]
    long = pd.DataFrame(rows, columns=["day", "metric", "arm", "n", "mean", "variance"])
    metrics = [{"key": "conversion", "type": "binary"}, {"key": "revenue", "type": "mean"}]
    layout: Description = {"look": "day", "metric": "metric"}
    names = ("n", "mean", "variance")
    if not wide:
        own = {name: name for name in names}
        return long, {"arm": ARM, "aggregates": layout | own, "metrics": metrics}
    sides = [
        long[long["arm"] == arm].drop(columns="arm").rename(columns={n: n + arm for n in names})
        for arm in ("control", "treatment")
    ]
    arms = {arm: {name: name + arm for name in names} for arm in ("control", "treatment")}
    description = {
        "arm": {"champion": "control", "weights": ARM["weights"]},
        "aggregates": layout | {"arms": arms},
        "metrics": metrics,
    }
    return sides[0].merge(sides[1], on=["day", "metric"]), description


def spoil_cells(data: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Odd cells, lost rows, or columns that are gone, twice there, constant or empty."""
    spoiled = data.astype(object)
    column = int(rng.integers(len(data.columns)))
    name = data.columns[column]
    ways: tuple[Callable[[], pd.DataFrame], ...] = (
        lambda: _put(spoiled, column, rng),
        lambda: _put(spoiled, column, rng),
        lambda: spoiled.iloc[: int(rng.integers(3))],
        lambda: spoiled.drop(columns=name),
        lambda: spoiled.assign(**{name: None}),
        lambda: spoiled.assign(**{name: spoiled[name].iloc[0]}),
        lambda: spoiled.assign(**{name: rng.choice(np.array(ODD_CELLS, dtype=object))}),
        lambda: pd.concat([spoiled, spoiled[[name]]], axis=1),
        lambda: pd.concat([spoiled, spoiled]),
    )
    return ways[int(rng.integers(len(ways)))]()


def _put(data: pd.DataFrame, column: int, rng: np.random.Generator) -> pd.DataFrame:
    changed = data.copy()
    for _ in range(int(rng.integers(1, 4))):
        odd = ODD_CELLS[int(rng.integers(len(ODD_CELLS)))]
        changed.iloc[int(rng.integers(len(data))), column] = odd
    return changed


def spoil_keys(description: Description, rng: np.random.Generator) -> Any:
    """A key that is gone, new, misspelt or holds something odd; sometimes no object at all."""
    changed = copy.deepcopy(description)
    if rng.random() < 0.03:
        return ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    for _ in range(int(rng.integers(1, 3))):
        places = _places(changed)
        metrics = [place for place in places if "key" in place]
        chosen = metrics if metrics and rng.random() < 0.7 else places
        inside = chosen[int(rng.integers(len(chosen)))]
        names = list(inside)
        new = METRIC_KEYS if "key" in inside else KEYS if "metrics" in inside else tuple(names)
        odd = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
        way = int(rng.integers(8))
        legal = [name for name in (*names, *new) if name in EXTREMES]
        if way > 1 and legal:
            name = legal[int(rng.integers(len(legal)))]
            inside[name] = copy.deepcopy(EXTREMES[name][int(rng.integers(len(EXTREMES[name])))])
        elif way == 0 and names:
            del inside[names[int(rng.integers(len(names)))]]
        elif way == 1 and names:
            inside[names[int(rng.integers(len(names)))]] = odd
        elif new:
            inside[new[int(rng.integers(len(new)))]] = odd
    return changed


def _places(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(place for each in value.values() for place in _places(each))]
    if isinstance(value, list):
        return [place for each in value for place in _places(each)]
    return []


def spoil_bytes(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes lost, changed, put in or cut off."""
    changed = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(changed) + 1))
        way = int(rng.integers(4))
        if way == 0:
            del changed[place : place + int(rng.integers(1, 40))]
        elif way == 1:
            changed[place:place] = ODD_BYTES[int(rng.integers(len(ODD_BYTES)))]
        elif way == 2 and place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
        elif rng.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def as_csv(data: pd.DataFrame) -> bytes:
    """The table as a file."""
    return data.to_csv(index=False).encode("utf-8", "surrogatepass")


def as_parquet(data: pd.DataFrame) -> bytes:
    """The table as a file."""
    out = io.BytesIO()
    data.to_parquet(out)
    return out.getvalue()
