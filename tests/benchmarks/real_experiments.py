"""Real experiments of other people: what `analyze` says, and what a peeked t-test would have.

    python -m tests.benchmarks.real_experiments [--runs 300] [--picture FILE]

Every table of docs/explanation/real-experiments.md comes from here; sources and licences of the
data stand beside them in tests/data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from controller.analysis import analyze, calibrate

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
LEVEL = 0.05
BROKEN_WEEKS = (201326, 201402)
"""When, by its authors, the archive's assignment was probably not random."""

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
        {"key": "1", "column": 1, "type": "binary"},
        *({"key": key, "column": int(key), "type": "mean"} for key in ("2", "3", "4")),
    ],
}
UPWORTHY: dict[str, Any] = {
    "arm": {"column": "arm", "champion": 0},
    "aggregates": {
        "look": "look", "by": ["test"], "n": "impressions", "mean": "mean", "variance": "variance",
    },
    "metrics": [{"key": "clicked", "column": "clicked", "type": "binary"}],
}  # fmt: skip
MEN: dict[str, Any] = {
    "arm": {"column": "policy", "champion": "random", "weights": {"random": 1, "bts": 1}},
    "time": "timestamp",
    "looks": 100,
    "metrics": [
        {"key": "planned", "column": "click", "type": "binary", "mode": "planned",
         "horizon": 80_000},
        {"key": "anytime", "column": "click", "type": "binary"},
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """One comparison of the ASOS data set under a t-test at every look.

    Attributes
    ----------
    name : str
        Experiment, treatment and metric.
    first : int or None
        The first look with p < .05.
    day : float or None
        Its day.
    last_p : float
        At the last look.
    crossed : float or None
        Day on which the confidence sequence crossed.
    """

    name: str
    looks: int
    first: int | None
    day: float | None
    last_p: float
    crossed: float | None

    @property
    def vanished(self) -> bool:
        """Called by peeking and gone by the end."""
        return self.first is not None and self.last_p >= LEVEL


def asos() -> list[Peeked]:
    """Every comparison, in the order of the table."""
    path = DATA / "asos" / "six_experiments.csv.gz"
    rows = pd.read_csv(path, dtype={"experiment_id": str}).sort_values("time_since_start")
    error = np.sqrt(rows["variance_c"] / rows["count_c"] + rows["variance_t"] / rows["count_t"])
    rows["p"] = 2.0 * ndtr(-np.abs((rows["mean_t"] - rows["mean_c"]) / error))
    found = {tuple(d["by"].values()): d for d in analyze(path, ASOS).document}
    out = []
    for key, group in rows.groupby(["experiment_id", "variant_id", "metric_id"], sort=True):
        experiment, variant, metric = key
        p, day = group["p"].to_numpy(), group["time_since_start"].to_numpy()
        first = int(np.argmax(p < LEVEL)) if (p < LEVEL).any() else None
        document = found[str(experiment), str(variant)]
        test = document["metrics"][str(metric)]["comparisons"]["treatment"]["sequential"]
        out.append(
            Peeked(
                name=f"{experiment}/{variant}, metric {metric}",
                looks=len(group),
                first=None if first is None else first + 1,
                day=None if first is None else float(day[first]),
                last_p=float(p[-1]),
                crossed=None if test["first_at"] is None else float(test["first_at"]),
            )
        )
    return out


def asos_lines(found: list[Peeked]) -> Iterator[str]:
    """Counts, and the claims that vanished."""
    peeked = [each for each in found if each.first is not None]
    ended = [each for each in found if each.last_p < LEVEL]
    crossed = [each for each in found if each.crossed is not None]
    gone = [each for each in found if each.vanished]
    yield f"| {len(found)} comparisons | called different | of these not different at the end |"
    yield "|---|---|---|"
    yield f"| t-test at every look, stop at the first p < .05 | {len(peeked)} | {len(gone)} |"
    yield f"| t-test once, at the end | {len(ended)} | 0 |"
    late = sum(each.last_p >= LEVEL for each in crossed)
    yield f"| confidence sequence at every look | {len(crossed)} | {late} |"
    yield ""
    yield "| called by peeking, gone by the end | at look | on day | p at the end | ours |"
    yield "|---|---|---|---|---|"
    for each in gone:
        ours = "never called" if each.crossed is None else f"called on day {each.crossed:.1f}"
        looked = f"{each.first} of {each.looks}"
        yield f"| {each.name} | {looked} | {each.day:.1f} | {each.last_p:.2f} | {ours} |"


def upworthy_lines() -> Iterator[str]:
    """Splits and claims of the headline tests, by whether their assignment is trusted."""
    rows = pd.read_csv(DATA / "upworthy" / "counts.csv.gz", dtype={"test": str, "arm": str})
    share = rows["clicks"] / rows["impressions"]
    rows["mean"] = share
    rows["variance"] = share * (1.0 - share) * rows["impressions"] / (rows["impressions"] - 1)
    rows["look"] = 1
    several = rows.groupby("test")["arm"].transform("size") > 1
    documents = analyze(rows[several], UPWORTHY).document
    week = rows.groupby("test")["week"].first()
    yield "| weeks | tests | chi-square p < .05 | sequential alarm at .001 |"
    yield "|---|---|---|---|"
    for name, broken in (("assignment in doubt", True), ("all others", False)):
        chosen = [d for d in documents if _in_doubt(int(week[d["by"]["test"]])) == broken]
        uneven = sum((d["srm"]["p_fixed"] or 1.0) < LEVEL for d in chosen)
        alarms = sum(d["srm"]["alarm"] for d in chosen)
        yield (
            f"| {name} | {len(chosen)} | {_part(uneven, len(chosen))} |"
            f" {_part(alarms, len(chosen))} |"
        )
    sound = [d for d in documents if not d["srm"]["alarm"]]
    claims = [list(d["metrics"]["clicked"]["comparisons"].values()) for d in sound]
    pairs = sum(any((c["fixed"]["p"] or 1.0) < LEVEL for c in each) for each in claims)
    ours = sum(any(c["sequential"]["conclusive"] for c in each) for each in claims)
    yield ""
    yield f"| {len(sound)} tests with a sound split | find a difference |"
    yield "|---|---|"
    yield f"| a t-test for each arm against the first, .05 each | {_part(pairs, len(sound))} |"
    yield f"| Holm over the arms, valid at any later look too | {_part(ours, len(sound))} |"


def _in_doubt(week: int) -> bool:
    return BROKEN_WEEKS[0] <= week <= BROKEN_WEEKS[1]


def _part(count: int, of: int) -> str:
    return f"{count} ({100 * count / of:.1f} %)"


def bandit() -> Mapping[str, Any]:
    """The analysis of the Open Bandit campaign "men"."""
    document: Mapping[str, Any] = analyze(DATA / "open_bandit" / "men_clicks.csv.gz", MEN).document
    return document


def bandit_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Peeked, planned and anytime."""
    looks = [(look["look"], look["metrics"]["anytime"]["bts"]["z"]) for look in document["looks"]]
    known = [(number, abs(z)) for number, z in looks if z is not None]
    called = [number for number, z in known if z > 1.96]
    top = max(known, key=lambda each: each[1])
    yield "| analysis of 100 looks | says |"
    yield "|---|---|"
    yield (
        f"| t-test at every look | different at look {called[0]}; at {len(called)} of 100 looks;"
        f" at most abs(z) = {top[1]:.2f}, at look {top[0]} |"
    )
    yield f"| t-test once, at the end | abs(z) = {known[-1][1]:.2f} |"
    for mode in ("planned", "anytime"):
        found = document["metrics"][mode]["comparisons"]["bts"]
        words = found["reason"].replace("_", " ")
        p = found["sequential"]["p"]
        said = "no p before its end" if p is None else f"p {p:.2f}"
        yield f"| {mode} | {found['verdict']}: {words} ({said}) |"


def flights() -> pd.DataFrame:
    """April and May of the demo's flights: late or not, minutes late, and the day of departure."""
    rows = pd.read_csv(ROOT / "controller" / "demo" / "data" / "flights2013.csv.gz")
    rows = rows[rows["month"].isin((4, 5)) & rows["arr_delay"].notna()].reset_index(drop=True)
    late = np.maximum(rows["arr_delay"], 0.0)
    date = rows["month"] * 100 + rows["day"]
    return pd.DataFrame(
        {"unit": rows.index, "date": date, "late": (late > 15).astype(int), "minutes": late}
    )


def bicycles() -> pd.DataFrame:
    """Hours of two years: bicycles rented."""
    rows = pd.read_csv(DATA / "bike_sharing" / "demand.csv.gz")
    rows["unit"] = rows.index
    return rows


def calibration_lines(*, runs: int, word: str = "") -> Iterator[str]:
    """A/A calibration of flights and bicycles, of the cases whose name holds the word."""
    late = {"key": "y", "column": "late", "type": "binary"}
    minutes = {"key": "y", "column": "minutes", "type": "mean"}
    demand = {"key": "y", "column": "demand", "type": "mean"}
    cases: list[tuple[str, pd.DataFrame, dict[str, Any], float, str | None, bool]] = [
        ("flight late, drawn by flight", flights(), late, 0.5, None, False),
        ("minutes late at 90/10, drawn by flight", flights(), minutes, 0.1, None, False),
        ("flight late, drawn by day, analysed by flight", flights(), late, 0.5, "date", False),
        ("bicycles an hour, drawn by hour", bicycles(), demand, 0.5, None, False),
        ("bicycles an hour, drawn by day, analysed by hour", bicycles(), demand, 0.5, "date",
         False),
        ("bicycles, drawn and analysed by day", bicycles(), demand, 0.5, None, True),
    ]  # fmt: skip
    yield f"| {runs} redraws, 20 looks | planned, .05 | t-test at every look | result |"
    yield "|---|---|---|---|"
    for name, frame, metric, share, drawn_by, by_day in cases:
        if word not in name:
            continue
        units = frame["date"].nunique() if by_day else len(frame)
        description = {
            "unit": "date" if by_day else "unit",
            "rows": "events" if by_day else "units",
            "time": "date",
            "looks": 20,
            "arm": {"champion": "old", "weights": {"old": 1.0 - share, "new": share}},
            "metrics": [{**metric, "mode": "planned", "horizon": int(0.98 * units)}],
        }
        found = calibrate(frame, description, runs=runs, drawn_by=drawn_by).document["metrics"]["y"]
        claims, result = found["claims"], found["result"].replace("_", " ")
        shown = f"{claims['rate']:.3f} ± {claims['standard_error']:.3f}"
        yield f"| {name} | {shown} | {found['fixed_peeked']:.2f} | {result} |"


def main() -> None:
    """Print every table; draw the picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    for lines in (
        asos_lines(asos()),
        upworthy_lines(),
        bandit_lines(bandit()),
        calibration_lines(runs=chosen.runs),
    ):
        print("\n".join(lines), end="\n\n", flush=True)
    if chosen.picture is not None:
        from tests.benchmarks.real_picture import picture

        chosen.picture.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
