"""Whether a metric may be trusted before it decides anything: an A/A test of recorded units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from controller.analysis.offline.describe import parse_spec
from controller.analysis.offline.description_file import read_document
from controller.analysis.offline.false_alarms import (
    FalseAlarms,
    MetricAlarms,
    Rate,
    Trust,
    measure,
)
from controller.analysis.offline.redraw import MOST_UNITS, pool_of
from controller.analysis.offline.run import silent
from controller.analysis.offline.spec import AnalysisSpec, Mode
from controller.analysis.offline.tables import Progress, open_table
from controller.errors import InvalidInput
from controller.stats.score import BURN_IN_NONZERO

DEFAULT_RUNS = 1000
FEWEST_RUNS = 100
MOST_RUNS = 100_000
_HEAVY = 0.02
_REACHED = 0.98
_WORDS = {
    Trust.CALIBRATED: "calibrated: alarms at the level that the test promises, or below",
    Trust.CAUTIOUS: "valid but cautious: fewer alarms than its level pays for, so less power",
    Trust.TOO_MANY_ALARMS: "NOT CALIBRATED: more alarms than the test promises",
    Trust.NOT_READABLE: "NOT CALIBRATED: the last look could not be read",
}
_HEADS = ("metric", "mode", "level", "false alarms", "a fixed test, peeked", "result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rates of false alarm of every metric: `document` for machines, `str()` for people.

    Attributes
    ----------
    alarms : FalseAlarms
    runs, seed : int
    sampled_from : int
        Analysed units of the table.
    """

    alarms: FalseAlarms
    runs: int
    seed: int
    sampled_from: int

    @property
    def trusted(self) -> bool:
        """Whether every metric and the sample ratio keep their levels and can be read."""
        good = (Trust.CALIBRATED, Trust.CAUTIOUS)
        return not self.alarms.srm.too_many and all(m.trust in good for m in self.alarms.metrics)

    @property
    def document(self) -> dict[str, Any]:
        """What `controller analyze --aa --json` prints."""
        return {
            "schema": 1,
            "runs": self.runs,
            "seed": self.seed,
            "units": self.alarms.units,
            "sampled_from": self.sampled_from,
            "looks": self.alarms.looks,
            "trusted": self.trusted,
            "srm": _rate(self.alarms.srm),
            "metrics": {m.spec.key: _metric(m) for m in self.alarms.metrics},
        }

    def __str__(self) -> str:
        return "\n".join(_text(self))

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(m)) + "</tr>"
            for m in self.alarms.metrics
        )
        listed = "".join(
            f"<li>{escape(f'{m.spec.key}: {line}')}</li>"
            for m in self.alarms.metrics
            for line in advice(m)
        )
        return (
            f"<table><caption>{escape(_title(self))}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>" + (f"<ul>{listed}</ul>" if listed else "")
        )


def calibrate(
    data: Any,
    spec: Any,
    *,
    runs: int = DEFAULT_RUNS,
    seed: int = 0,
    drawn_by: str | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Draw the arms of recorded units anew many times and count the claims, all of them false.

    Parameters
    ----------
    data : path or pandas.DataFrame
        A row a unit or a row an event. Arms need not be recorded: `arm.weights` are drawn.
    spec : path, mapping or AnalysisSpec
        The description: weights, looks, modes and horizons as planned.
    runs, seed : int
        Redraws, from 100 on; the same seed gives the same result.
    drawn_by : str, optional
        Column of what will really be randomised, if that is coarser than the unit (a household, a
        shop): its units are drawn together.
    progress : callable, optional

    Returns
    -------
    Calibration

    Raises
    ------
    InvalidInput
        With the place and the rule.
    """
    if not FEWEST_RUNS <= runs <= MOST_RUNS:
        raise InvalidInput(
            f"runs: from {FEWEST_RUNS} to {MOST_RUNS:,}, or the rate says nothing.", field="runs"
        )
    if seed < 0:
        raise InvalidInput("seed: a whole number of at least 0.", field="seed")
    parsed = (
        spec if isinstance(spec, AnalysisSpec) else parse_spec(read_document(spec), draws_arms=True)
    )
    report = progress or silent
    pool = pool_of(open_table(data), parsed, drawn_by=drawn_by, seed=seed, progress=report)
    return Calibration(
        alarms=measure(pool, runs=runs, seed=seed, progress=report),
        runs=runs,
        seed=seed,
        sampled_from=pool.sampled_from,
    )


def advice(metric: MetricAlarms) -> Iterator[str]:
    """What a team may do about a metric that is not calibrated, or cautious."""
    heavy = metric.largest is not None and metric.largest > _HEAVY
    if metric.trust is Trust.NOT_READABLE:
        yield (
            f"only {100 * metric.readable:.0f} % of the redraws could be read: unequal weights "
            f"wait for {BURN_IN_NONZERO} units with a value other than 0 in each arm, a planned "
            "test for its first look. More units, more even weights, or another metric."
        )
    if metric.trust is Trust.TOO_MANY_ALARMS and metric.together:
        yield (
            "units that are drawn together move together: analyse what is randomised "
            "(unit: that column, rows: events)."
        )
    elif metric.trust is Trust.TOO_MANY_ALARMS and metric.spec.mode is Mode.FIXED:
        yield (
            "a fixed test trusts the small arm about its own variance; planned and anytime take "
            "the larger of two."
        )
    if metric.trust in (Trust.TOO_MANY_ALARMS, Trust.CAUTIOUS) and heavy:
        yield (
            f"the largest unit alone makes up {100 * (metric.largest or 0.0):.0f} % of the "
            "variance: winsorize (0.999, say), look later (first_look) or at a longer horizon."
        )
    if metric.readable >= 0.5 and metric.spec.mode is Mode.PLANNED and metric.clock < _REACHED:
        yield (
            f"the data reach {100 * metric.clock:.0f} % of the planned horizon; what happens after "
            "that was not tried."
        )


def _metric(metric: MetricAlarms) -> dict[str, Any]:
    return {
        "role": metric.spec.role.value,
        "type": metric.spec.metric.type.value,
        "mode": metric.spec.mode.value,
        "alpha": metric.spec.alpha,
        "claims": _rate(metric.claims),
        "harm": None if metric.harm is None else _rate(metric.harm),
        "fixed_peeked": metric.peeked,
        "readable": metric.readable,
        "largest_unit": metric.largest,
        "nonzero": metric.nonzero,
        "result": metric.trust.value,
        "advice": list(advice(metric)),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "alarms": rate.alarms,
        "rate": rate.share,
        "standard_error": rate.error,
        "level": rate.level,
    }


def _title(found: Calibration) -> str:
    drawn = f"{found.runs:,} redraws of {found.alarms.units:,} units at {found.alarms.looks} looks"
    return f"A/A calibration: {drawn}, seed {found.seed}"


def _text(found: Calibration) -> Iterator[str]:
    yield f"{_title(found)}."
    if found.sampled_from > found.alarms.units:
        yield f"Note: a random {MOST_UNITS:,} of {found.sampled_from:,} units; tails are thinner."
    yield f"Sample ratio: {_shown(found.alarms.srm)}."
    for metric in found.alarms.metrics:
        spec = metric.spec
        yield ""
        yield f"{spec.key} ({spec.role.value}, {spec.metric.type.value}, {spec.mode.value})"
        yield f"  {_WORDS[metric.trust]}"
        yield f"    false claims   {_shown(metric.claims)}"
        if metric.harm is not None:
            yield f"    harm alarms    {_shown(metric.harm)}"
        yield f"    a fixed test at every look would have claimed {metric.peeked:.3f}"
        for line in advice(metric):
            yield f"    {line}"


def _shown(rate: Rate) -> str:
    return f"{rate.share:.4f} (standard error {rate.error:.4f}), promised {rate.level:.4g}"


def _cells(metric: MetricAlarms) -> tuple[str, ...]:
    return (
        metric.spec.key,
        metric.spec.mode.value,
        f"{metric.claims.level:.4g}",
        f"{metric.claims.share:.4f} ± {metric.claims.error:.4f}",
        f"{metric.peeked:.3f}",
        _WORDS[metric.trust],
    )
