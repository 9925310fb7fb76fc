"""Units whose window lies behind enter the test, complete and once, in bounded batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.aggregation.attribution import Happened, quantile_cap
from controller.aggregation.exposures import Excluded, Target
from controller.aggregation.grid import cuts_of
from controller.aggregation.sums import Contribution, Sums
from controller.experiments.metrics import Complete, Metric
from controller.flow.ports.ingest import IngestStore, IngestWork, Maturing
from controller.flow.restate import unit_cap

CAP_UNITS: Final = 1000
"""Complete units of all arms together from which a quantile cap is taken."""

_Outcomes = Mapping[str, Sequence[Happened]]
MOST_HISTORY: Final = 20_000
STEP_US: Final = 1_000_000
"""The watermark is stored when it has risen this far: an idle service does not write all day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matured:
    """What one call did; `full` says that more may be due.

    `retired` counts metrics of units whose bucket an edit took while their window was open.
    """

    entered: int = 0
    missing: int = 0
    retired: int = 0
    full: bool = False


def mature(store: IngestStore, *, budget: int = 5000) -> Matured:
    """Let at most about `budget` due units enter, in one transaction.

    Nothing is written where nothing is due and the watermark would rise by less than a second.

    Raises
    ------
    Unavailable
        If the database does not answer; nothing happened.
    """
    with store.reading() as work:
        if not (_watermark_lags(work) or _something_due(work)):
            return Matured()
    with store.maturing() as work:
        for project in work.targets.projects():
            work.clock.advance(project)
        return _mature(work, budget)


def _watermark_lags(work: IngestWork) -> bool:
    return any(
        work.clock.reach(project) - work.clock.watermark(project) >= STEP_US
        for project in work.targets.projects()
    )


def _something_due(work: IngestWork) -> bool:
    return any(
        work.maturations.due(target, key, through_us=through_us, most=1)
        for target, key, _, through_us in _waiting(work)
    )


def _mature(work: IngestWork, budget: int) -> Matured:
    entered = missing = gone = 0
    due: dict[str, tuple[Target, dict[str, Sequence[Maturing]]]] = {}
    left = budget
    for target, key, metric, through_us in _waiting(work):
        if left <= 0:
            break
        most = max(left, CAP_UNITS) if metric.winsorize else left
        rows = work.maturations.due(target, key, through_us=through_us, most=most)
        if rows:
            due.setdefault(f"{target.project}/{target.rollout}", (target, {}))[1][key] = rows
            left -= len(rows)
    for target, mine in due.values():
        staying, retired = _part(work, target, mine)
        known, silent = _enter(work, target, staying)
        entered += known
        missing += silent
        gone += retired
    full = left <= 0 and entered + missing + gone > 0
    return Matured(entered=entered, missing=missing, retired=gone, full=full)


def _part(
    work: IngestWork, target: Target, due: Mapping[str, Sequence[Maturing]]
) -> tuple[dict[str, Sequence[Maturing]], int]:
    """The rows that enter, each in the epoch in which it counts; how many an edit has retired.

    A unit that is retired in any metric is retired in the one with the longest window: there it is
    counted, once.
    """
    if not target.edited:
        return dict(due), 0
    staying: dict[str, Sequence[Maturing]] = {}
    longest = max((fold.closes_us, key) for key, fold in target.folds.items())[1]
    retired = 0
    for key, rows in due.items():
        places = [(row, target.stratum(row, row.closes_us)) for row in rows]
        gone = [row for row, epoch in places if epoch is None]
        if gone:
            work.maturations.retire(target, key, gone)
            retired += len(gone)
        if gone and key == longest:
            counts = Counter((Excluded.RETIRED.value, row.arm) for row in gone)
            work.units.exclude(target, counts)
        staying[key] = [
            row
            if row.epoch == epoch
            else Maturing(row.series, row.unit, epoch, row.arm, row.exposed_us, row.closes_us)
            for row, epoch in places
            if epoch is not None
        ]
    return {key: rows for key, rows in staying.items() if rows}, retired


def _waiting(work: IngestWork) -> Iterator[tuple[Target, str, Metric, int]]:
    """Every metric of every rollout that still counts, with its completeness instant."""
    watermarks: dict[str, int] = {}
    for target in work.targets.targets():
        if target.project not in watermarks:
            watermarks[target.project] = work.clock.watermark(target.project)
        for key, metric in sorted(target.metrics.items()):
            instant = completeness_us(work, target.project, metric, watermarks[target.project])
            yield target, key, metric, instant


def completeness_us(work: IngestWork, project: str, metric: Metric, watermark: int) -> int:
    """The instant through which a metric's outcomes are complete.

    Under `declared` it is the oldest of what the sources last declared, for every outcome the
    metric reads. A declaration counts once everything received before it has been aggregated.
    """
    if metric.complete is Complete.CLOCK:
        return watermark
    through: list[int] = []
    for outcome in metric.outcomes:
        latest: dict[str, int] = {}
        for said in work.clock.declarations(project, outcome):
            if said.posted_us <= watermark:
                latest[said.source] = max(latest.get(said.source, 0), said.through_us)
        through.append(min(latest.values(), default=0))
    return min(watermark, *through)


def _enter(
    work: IngestWork, target: Target, due: Mapping[str, Sequence[Maturing]]
) -> tuple[int, int]:
    """Flip the rows and add their values; how many entered with a value and without."""
    units = {row.unit for rows in due.values() for row in rows}
    names = {name for key in due for name in target.metrics[key].outcomes}
    found = work.ledger.outcomes(target, sorted(units), sorted(names))
    entered = missing = 0
    changes: dict[tuple[str, int, str], Sums] = {}
    for key, rows in due.items():
        settled = _settled(work, target, key, rows, found)
        work.maturations.settle(target, key, settled)
        cells: dict[tuple[str, int, str], list[Contribution]] = defaultdict(list)
        for row, part in settled:
            cells[key, row.epoch, row.arm].append(part)
        cuts = cuts_of(target.metrics[key])
        changes |= {cell: Sums.of(parts, cuts) for cell, parts in cells.items()}
    work.accumulators.add(target, changes)
    for sums in changes.values():
        entered += sums.n
        missing += sums.missing
    return entered, missing


def _settled(
    work: IngestWork, target: Target, key: str, rows: Sequence[Maturing], found: _Outcomes
) -> list[tuple[Maturing, Contribution]]:
    """What each row contributes; nothing while a cap has still to be found."""
    metric = target.metrics[key]
    cap = unit_cap(work, target, key, metric)
    if cap is None and metric.winsorize is not None:
        cap = _freeze_cap(work, target, key, rows, found)
        if cap is None:
            return []
    fold = target.folds[key]
    return [(row, fold(row.exposed_us, found.get(row.unit, ()), cap=cap)) for row in rows]


def _freeze_cap(
    work: IngestWork, target: Target, key: str, rows: Sequence[Maturing], found: _Outcomes
) -> float | None:
    """The cap that holds from now on; None while too few units are complete.

    It comes from the champion's units of the slot at rest before the rollout, else from the first
    complete units of all arms together.
    """
    metric = target.metrics[key]
    assert metric.winsorize is not None
    assert metric.winsorize.quantile is not None
    first = sorted(rows, key=lambda row: (row.closes_us, row.unit))[:CAP_UNITS]
    values, origin = _history(work, target, key, first[0].exposed_us), "history"
    if len(values) < CAP_UNITS:
        if len(first) < CAP_UNITS:
            return None
        fold = target.folds[key]
        parts = (fold(row.exposed_us, found.get(row.unit, ())) for row in first)
        values, origin = [part.value for part in parts if part.value is not None], "first_units"
    cap = quantile_cap(values, metric.winsorize.quantile)
    if cap is None:
        return None
    work.maturations.freeze_cap(target, key, cap, units=len(values), origin=origin)
    return cap


def _history(work: IngestWork, target: Target, key: str, before_us: int) -> list[float]:
    """Values of observed units that were complete before an instant."""
    fold = target.folds[key]
    exposed = work.units.observed(
        target.project, target.slot, before_us=before_us - fold.closes_us, most=MOST_HISTORY
    )
    if len(exposed) < CAP_UNITS:
        return []
    found = work.ledger.outcomes(target, sorted(exposed), target.metrics[key].outcomes)
    parts = (fold(us, found.get(unit, ())) for unit, us in exposed.items())
    return [part.value for part in parts if part.value is not None]
