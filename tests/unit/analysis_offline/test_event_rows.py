from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.analysis import analyze
from tests.unit.analysis_offline.tables import BINARY, COUNT, MEAN, QUANTILE, RATIO, spec, units

PER_UNIT = units(n=1500, effect=0.05)


def _events() -> pd.DataFrame:
    """Every unit's row cut into one to three events that add up to it; arrival order kept."""
    parts = []
    for index in range(3):
        data = PER_UNIT.copy()
        kept = 1 + np.arange(len(data)) % 3 > index
        data["spend"] = np.where(index == 0, data["spend"], 0.0)
        data["orders"] = np.where(index == 0, data["orders"], 0)
        data["errors"] = np.where(index == 0, data["errors"], 0)
        data["converted"] = np.where(index == 0, data["converted"], 0)
        data["t"] = data["t"] + 10_000 * index
        parts.append(data[kept])
    return pd.concat(parts).sample(frac=1.0, random_state=2)


PAST = {"covariate": ["history", "ms", "errors"]}
METRICS = (BINARY, MEAN | {"covariate": "history"}, RATIO, RATIO | PAST | {"key": "past"}, COUNT)


def test_events_sum_to_the_same_units() -> None:
    from_units = analyze(PER_UNIT, spec(*METRICS, time="t", looks=5)).document
    from_events = analyze(_events(), spec(*METRICS, time="t", looks=5, rows="events")).document
    assert from_events["srm"] == from_units["srm"]
    for key, metric in from_units["metrics"].items():
        again = from_events["metrics"][key]
        for arm, shown in metric["arms"].items():
            assert again["arms"][arm] == pytest.approx(shown, rel=1e-9)
        one, two = (m["comparisons"]["treatment"] for m in (metric, again))
        assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-9)
        assert two["fixed"]["p"] == pytest.approx(one["fixed"]["p"], rel=1e-9)


def test_a_count_without_a_column_counts_rows() -> None:
    events = _events()
    document = analyze(events, spec({"key": "hits", "type": "count"}, rows="events")).document
    shown = document["metrics"]["hits"]["arms"]["control"]
    rows = events[events["arm"] == "control"].groupby("user").size()
    assert shown["mean"] == pytest.approx(rows.mean())
    assert shown["variance"] == pytest.approx(rows.var())


def test_many_units_in_two_arms_are_an_alarm_in_every_form() -> None:
    events = _events()
    first = events.drop_duplicates("user").iloc[:30]
    other = np.where(first["arm"] == "control", "treatment", "control")
    both = pd.concat([events, first.assign(arm=other)])
    found = analyze(both, spec(MEAN, rows="events"))
    assert found.document["double_exposure"]["units"] == 30
    assert found.document["double_exposure"]["alarm"]
    assert "Double exposure: ALARM" in str(found)
    assert "Double exposure: ALARM" in found._repr_html_()
    healthy = analyze(events, spec(MEAN, rows="events"))
    assert "no unit met two arms" in str(healthy)


def test_unit_rows_cannot_tell_and_say_nothing() -> None:
    document = analyze(PER_UNIT, spec(MEAN)).document
    assert document["double_exposure"] is None
    assert "Double exposure" not in str(analyze(PER_UNIT, spec(MEAN)))


def test_a_unit_in_two_arms_is_counted_and_left_out() -> None:
    events = _events()
    stray = events.iloc[:5].assign(
        arm=np.where(events.iloc[:5]["arm"] == "control", "treatment", "control")
    )
    both = pd.concat([events, stray])
    document = analyze(both, spec(MEAN, rows="events")).document
    lost = stray["user"].nunique()
    share = lost / len(PER_UNIT)
    assert document["double_exposure"] == {"units": lost, "share": share, "alarm": False}
    arms = document["metrics"]["revenue"]["arms"]
    assert sum(arm["n"] for arm in arms.values()) == len(PER_UNIT) - lost


def test_silence_counts_zero_or_unknown() -> None:
    events = _events()
    quiet = events.assign(spend=events["spend"].where(events["spend"] > 0))
    zero = analyze(quiet, spec(MEAN, rows="events")).document["metrics"]["revenue"]["arms"]
    unknown = analyze(quiet, spec(MEAN | {"zero_means": "unknown"}, rows="events")).document
    heard = unknown["metrics"]["revenue"]["arms"]
    buyers = PER_UNIT[PER_UNIT["spend"] > 0]
    assert zero["control"]["n"] == (PER_UNIT["arm"] == "control").sum()
    assert heard["control"]["n"] == (buyers["arm"] == "control").sum()
    assert heard["control"]["missing"] == zero["control"]["n"] - heard["control"]["n"]


def test_clustered_quantile_counts_match_a_table_of_units() -> None:
    from controller.analysis.offline.moments import CellGrids

    rng = np.random.default_rng(3)
    unit = rng.integers(0, 40, 300)
    values = rng.lognormal(1.0, 1.0, 300)
    cuts = (1.0, 2.0, 3.0, 5.0, 8.0)
    grids = CellGrids(2, cuts)
    grids.add(unit % 2, unit, values)
    for cell in (0, 1):
        mine = [values[unit == u] for u in range(40) if u % 2 == cell and (unit == u).any()]
        below = np.array([[int((v <= cut).sum()) for cut in cuts] for v in mine])
        n = np.array([len(v) for v in mine])
        grid = grids.grid(cell)
        assert grid.units == len(mine)
        assert grid.outcomes == n.sum()
        assert grid.outcomes_squared == (n * n).sum()
        assert grid.below == tuple(below.sum(axis=0))
        assert grid.below_squared == tuple((below * below).sum(axis=0))
        assert grid.below_outcomes == tuple((below * n[:, None]).sum(axis=0))


def test_repeating_every_event_is_no_new_evidence() -> None:
    events = _events()
    twice = pd.concat([events, events])
    description = spec(QUANTILE, rows="events")
    one, two = (
        analyze(data, description).document["metrics"]["p90"]["comparisons"]["treatment"]
        for data in (events, twice)
    )
    assert two["estimate"] == pytest.approx(one["estimate"])
    assert two["fixed"]["p"] == pytest.approx(one["fixed"]["p"], rel=1e-9)


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
def test_times_may_be_instants(zone: str) -> None:
    instants: Any = pd.Timestamp("2024-03-01") + pd.to_timedelta(PER_UNIT["t"], unit="s")
    written = PER_UNIT.assign(t=instants.dt.strftime("%Y-%m-%dT%H:%M:%S") + zone)
    description = spec(MEAN, time="t", looks=4)
    assert analyze(written, description).document == analyze(PER_UNIT, description).document
