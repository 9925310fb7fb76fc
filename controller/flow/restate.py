"""Outcomes that arrive after their unit entered: its contribution changes, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from controller.aggregation.exposures import Target
from controller.aggregation.grid import cuts_of
from controller.aggregation.sums import Contribution, Sums
from controller.experiments.metrics import Metric
from controller.flow.ports.ingest import IngestWork, LedgerEntry, Maturing


def restate_outcomes(work: IngestWork, outcomes: Sequence[LedgerEntry]) -> None:
    """Bring entered units up to date with outcomes that have just been stored.

    A unit enters only when its window lies behind the watermark, so an outcome from after the
    watermark cannot belong to one; a correction can, whenever it happened.
    """
    by_project: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in outcomes:
        if entry.unit is not None and entry.unit_type is not None:
            by_project[entry.project].append(entry)
    for project, mine in sorted(by_project.items()):
        watermark = work.clock.watermark(project)
        late = [entry for entry in mine if entry.occurred_us <= watermark or entry.corrects]
        if late:
            for target in work.targets.targets(project):
                _restate_target(work, target, late)


def _restate_target(work: IngestWork, target: Target, late: Sequence[LedgerEntry]) -> None:
    meant = [
        entry
        for entry in late
        if entry.unit_type == target.unit_type and entry.slot in {None, target.slot}
    ]
    for key, metric in sorted(target.metrics.items()):
        units = {entry.unit for entry in meant if entry.name in metric.outcomes and entry.unit}
        if units:
            units |= set(work.identities.bearers(target, units))
            rows = work.maturations.entered(target, key, sorted(units))
            if rows:
                restate(work, target, key, metric, rows)


def restate(
    work: IngestWork, target: Target, key: str, metric: Metric, rows: Sequence[Maturing]
) -> None:
    """Recompute entered rows from the ledger; what differs is taken out and put in again."""
    cap = unit_cap(work, target, key, metric)
    found = work.ledger.outcomes(target, sorted({row.unit for row in rows}), metric.outcomes)
    changed: list[tuple[Maturing, Contribution]] = []
    for row in rows:
        now = target.folds[key](row.exposed_us, found.get(row.unit, ()), cap=cap)
        if now != row.contribution:
            changed.append((row, now))
    if changed:
        work.maturations.settle(target, key, changed)
        work.accumulators.add(target, differences(key, changed, cuts_of(metric)))


def differences(
    key: str, changed: Sequence[tuple[Maturing, Contribution]], cuts: Sequence[float] = ()
) -> Mapping[tuple[str, int, str], Sums]:
    """What changing these contributions does to each cell's sums."""
    before: dict[tuple[str, int, str], list[Contribution]] = defaultdict(list)
    after: dict[tuple[str, int, str], list[Contribution]] = defaultdict(list)
    for row, now in changed:
        before[key, row.epoch, row.arm].append(row.contribution)
        after[key, row.epoch, row.arm].append(now)
    return {cell: Sums.of(after[cell], cuts).minus(Sums.of(before[cell], cuts)) for cell in after}


def unit_cap(work: IngestWork, target: Target, key: str, metric: Metric) -> float | None:
    """The largest value one unit may have; None where the metric is not winsorized."""
    if metric.winsorize is None:
        return None
    if metric.winsorize.value is not None:
        return metric.winsorize.value
    return work.maturations.cap(target, key)
