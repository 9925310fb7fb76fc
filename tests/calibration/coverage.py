"""How often each reported interval holds the truth, also where the test stopped when it wanted.

One table of units has every kind of metric with a known truth; `analyze` itself reads and judges it
look by look, and each interval is asked at three moments: at every look at once (a sequence must
hold throughout), at the look where its own test stopped, and, for the fixed interval, at the end.

    python -m tests.calibration.coverage [--runs 1000] [--metrics value,adjusted]
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from controller.analysis.offline.compare import Judged, judge
from controller.analysis.offline.describe import parse_spec
from controller.analysis.offline.fixed import Fixed, fixed_result
from controller.analysis.offline.spec import MetricSpec, Mode
from controller.analysis.offline.tables import open_table
from controller.analysis.offline.units import record_rows
from controller.analysis.report import Comparison, Interval
from controller.experiments.plans import challenger_names

LEVEL = 0.05
LOOKS = 10
UNITS = 2000
CONVERSION, VALUE, PER_REQUEST, SLOWEST = 0.2, 10.0, 0.4, 0.9
(CHALLENGER,) = challenger_names(1)

METRICS = ("conversion", "value", "adjusted", "per_request", "per_request_adjusted", "slow")

Ends = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Difference and relative lift of one metric."""

    difference: float
    relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One kind of interval.

    Attributes
    ----------
    moment : str
        `every look` (of a planned test: until it stops), `at its stop` or `one look`.
    held, runs : int
    width : float or None
        Mean width of the last look's interval where both ends are closed.
    """

    interval: str
    moment: str
    held: int
    runs: int
    width: float | None

    @property
    def share(self) -> float:
        """Runs in which the interval held the truth."""
        return self.held / self.runs

    @property
    def error(self) -> float:
        """Monte Carlo standard error at the promised level."""
        return math.sqrt(LEVEL * (1.0 - LEVEL) / self.runs)


def truths(effect: float) -> Mapping[str, Truth]:
    """What is true of each metric where `effect` is the size of the lift in units of each."""
    return {
        "conversion": Truth(difference=0.06 * effect, relative=0.06 * effect / CONVERSION),
        "value": Truth(difference=0.5 * effect, relative=0.5 * effect / VALUE),
        "adjusted": Truth(difference=0.5 * effect, relative=0.5 * effect / VALUE),
        "per_request": Truth(difference=0.06 * effect, relative=0.06 * effect / PER_REQUEST),
        "per_request_adjusted": Truth(
            difference=0.06 * effect, relative=0.06 * effect / PER_REQUEST
        ),
        "slow": Truth(
            difference=0.15 * effect * math.exp(0.5 * float(ndtri(SLOWEST))),
            relative=0.15 * effect,
        ),
    }


def draw(rng: np.random.Generator, effect: float) -> pd.DataFrame:
    """Units in order of arrival, half of them with the challenger."""
    treated = rng.random(UNITS) < 0.5
    moved = effect * treated
    before = rng.normal(0.0, 3.0, UNITS)
    requests = 1 + rng.poisson(2.0, UNITS)
    own_rate = rng.gamma(4.0, (PER_REQUEST + 0.06 * moved) / 4.0)
    long = rng.spawn(1)[0]  # of its own, so that the other columns stay what they are
    requests_before = 4 + long.poisson(8.0, UNITS)
    rate_before = own_rate * PER_REQUEST / (PER_REQUEST + 0.06 * moved)
    cost_before = requests_before * rate_before * long.gamma(20.0, 1 / 20.0, UNITS)
    return pd.DataFrame(
        {
            "unit": np.arange(UNITS),
            "arm": np.where(treated, "new", "old"),
            "conversion": (rng.random(UNITS) < CONVERSION + 0.06 * moved).astype(int),
            "value": VALUE + before + rng.normal(0.0, 3.0, UNITS) + 0.5 * moved,
            "before": before,
            "cost": requests * own_rate,
            "requests": requests,
            "cost_before": cost_before,
            "requests_before": requests_before,
            "slow": np.exp(rng.normal(0.0, 0.5, UNITS)) * (1.0 + 0.15 * moved),
        }
    )


def description(mode: Mode, keys: Sequence[str]) -> dict[str, Any]:
    """These metrics in one mode."""
    claims: dict[str, Any] = {"mode": mode.value}
    if mode is Mode.PLANNED:
        claims["horizon"] = math.floor(0.97 * UNITS)
    metrics = (
        {"key": "conversion", "column": "conversion", "type": "binary"},
        {"key": "value", "column": "value", "type": "mean"},
        {"key": "adjusted", "column": "value", "type": "mean", "covariate": "before"},
        {"key": "per_request", "numerator": "cost", "denominator": "requests", "type": "ratio"},
        {"key": "per_request_adjusted", "numerator": "cost", "denominator": "requests",
         "type": "ratio", "covariate": ["cost_before", "requests_before"]},
        {"key": "slow", "column": "slow", "type": "quantile", "q": SLOWEST,
         "cuts": {"low": 0.3, "high": 8.0}},
    )  # fmt: skip
    return {
        "unit": "unit",
        "arm": {"column": "arm", "champion": "old", "weights": {"old": 0.5, "new": 0.5}},
        "looks": LOOKS,
        "metrics": [{**metric, **claims} for metric in metrics if metric["key"] in keys],
    }


def measure(
    mode: Mode,
    *,
    runs: int,
    seed: int,
    effect: float,
    keys: Sequence[str] = METRICS,
    peeked: bool = False,
) -> list[Coverage]:
    """Every interval of one mode over many experiments with the same effect.

    Parameters
    ----------
    keys : sequence of str
        The metrics to analyse.
    peeked : bool
        Ask the one-look interval of every look instead, which does not promise to hold there.
    """
    rng = np.random.default_rng(seed)
    parsed = parse_spec(description(mode, keys))
    held: Counter[tuple[str, str]] = Counter()
    widths: dict[str, list[float]] = {}
    for _ in range(runs):
        recorded = record_rows(open_table(draw(rng, effect)), parsed, _quiet)
        judged = judge(parsed, recorded, _quiet)
        for metric in parsed.metrics:
            find = _held_peeked if peeked else _held
            held.update(find(judged, metric, truths(effect)[metric.key]))
            for interval, width in _widths(judged, metric):
                widths.setdefault(interval, []).append(width)
    return [
        Coverage(
            interval=interval,
            moment=moment,
            held=held[interval, moment],
            runs=runs,
            width=float(np.mean(widths[interval])) if interval in widths else None,
        )
        for interval, moment in _names(parsed.metrics, mode)
    ]


def _widths(judged: Judged, metric: MetricSpec) -> Iterator[tuple[str, float]]:
    """How wide each closed interval of the last look is."""
    last = len(judged.looks) - 1
    for form in ("difference", "relative"):
        if metric.mode is Mode.FIXED:
            ends = _fixed_ends(judged, last, metric.key, form)
        else:
            ends = _ends(judged.looks[last][metric.key].comparisons[CHALLENGER], form)
        if ends is not None and ends[0] is not None and ends[1] is not None:
            yield f"{metric.key}, {form}", ends[1] - ends[0]


def _names(metrics: Sequence[MetricSpec], mode: Mode) -> Iterator[tuple[str, str]]:
    moments = ("one look",) if mode is Mode.FIXED else ("every look", "at its stop")
    for metric in metrics:
        for form in ("difference", "relative"):
            for moment in moments:
                yield f"{metric.key}, {form}", moment


def _held(judged: Judged, metric: MetricSpec, truth: Truth) -> Iterator[tuple[str, str]]:
    """The (interval, moment)s that held the truth in this run."""
    for form, true in (("difference", truth.difference), ("relative", truth.relative)):
        name = f"{metric.key}, {form}"
        if metric.mode is Mode.FIXED:
            if _holds(_fixed_ends(judged, len(judged.looks) - 1, metric.key, form), true):
                yield name, "one look"
            continue
        seen = [look[metric.key].comparisons[CHALLENGER] for look in judged.looks]
        stop = next((i for i, each in enumerate(seen) if each.tests[0].crossed), len(seen) - 1)
        shown = [_ends(each, form) for each in seen]
        before = shown[:stop] if metric.mode is Mode.PLANNED else shown
        if all(_holds(ends, true) for ends in before):
            yield name, "every look"
        if _holds(shown[stop], true):
            yield name, "at its stop"


def _held_peeked(judged: Judged, metric: MetricSpec, truth: Truth) -> Iterator[tuple[str, str]]:
    """Whether the one-look intervals of every look held the truth, all of them."""
    for form, true in (("difference", truth.difference), ("relative", truth.relative)):
        shown = (_fixed_ends(judged, at, metric.key, form) for at in range(len(judged.looks)))
        if all(_holds(ends, true) for ends in shown):
            yield f"{metric.key}, {form}", "every look"


def _fixed_ends(judged: Judged, look: int, key: str, form: str) -> Ends | None:
    found = fixed_result(judged.rules[key], judged.looks[look][key].sights[CHALLENGER])
    if not isinstance(found, Fixed):
        return None
    return found.ci if form == "difference" else found.relative


def _ends(comparison: Comparison, form: str) -> Ends | None:
    found: Interval | None = (
        comparison.interval if form == "difference" else comparison.relative_interval
    )
    return None if found is None else (found.low, found.high)


def _holds(ends: Ends | None, truth: float) -> bool:
    """An interval that is not shown yet says nothing wrong."""
    if ends is None:
        return True
    low, high = ends
    return (low is None or low <= truth) and (high is None or truth <= high)


def _quiet(_what: str, _share: float) -> None:
    """Nobody is watching."""


def lines(runs: int, keys: Sequence[str] = METRICS) -> Iterator[str]:
    """The table as Markdown: no effect, and one that about half of the tests find."""
    yield f"{runs} runs a row, standard error {math.sqrt(LEVEL * (1 - LEVEL) / runs):.4f}\n"
    yield "| mode | interval | asked | no effect | an effect | width |"
    yield "|---|---|---|---|---|---|"
    for seed, mode in enumerate((Mode.PLANNED, Mode.ANYTIME, Mode.FIXED)):
        without = measure(mode, runs=runs, seed=10 + seed, effect=0.0, keys=keys)
        with_one = measure(mode, runs=runs, seed=20 + seed, effect=1.0, keys=keys)
        for a, b in zip(without, with_one, strict=True):
            width = "-" if b.width is None else f"{b.width:.4f}"
            shares = f"{a.share:.3f} | {b.share:.3f}"
            yield f"| {mode.value} | {a.interval} | {a.moment} | {shares} | {width} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--metrics", default=",".join(METRICS), help="only these, by comma")
    chosen = parser.parse_args()
    for line in lines(chosen.runs, chosen.metrics.split(",")):
        print(line, flush=True)


if __name__ == "__main__":
    main()
