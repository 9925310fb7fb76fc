"""Compare what is stored with a recomputation from the ledger (I2); every difference is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from controller.aggregation.attribution import Happened
from controller.aggregation.exposures import Excluded, Target
from controller.aggregation.recompute import (
    Cell,
    Entered,
    FirstExposure,
    first_exposures,
    sums_of,
)
from controller.aggregation.sums import EMPTY, Sums
from controller.errors import NotFound
from controller.flow.ports.ingest import LEFT, RETIRED, IngestStore, IngestWork, UnitState
from controller.flow.recount_merged import merged_differences

_CHUNK = 5000


def recount(store: IngestStore, project: str, rollout: str) -> list[str]:
    """Differences between a rollout's stored numbers and its ledger; empty where all is well.

    Reads every row of the rollout: minutes for tens of millions of units.

    Raises
    ------
    NotFound
        If there is no such rollout.
    """
    with store.reading() as work:
        target = work.targets.target(project, rollout)
        if target is None:
            raise NotFound(f"No submitted rollout {rollout!r} in project {project!r}.")
        units = list(work.units.all(target))
        return [
            *_units(work, target, units),
            *_counts(work.units.counts(target), units),
            *_strata(work, target, units),
            *_sums(work, target),
        ]


def _units(work: IngestWork, target: Target, units: Sequence[UnitState]) -> list[str]:
    """First exposures: what the ledger says, or an older one that froze when the unit entered."""
    merged = work.identities.merged(target)
    one_of = {unit for bearer, others in merged.items() for unit in (bearer, *others)}
    exposures = list(work.ledger.exposures(target))
    expected = first_exposures(target, (seen for seen in exposures if seen.unit not in one_of))
    stored = {
        (unit.first.series, unit.first.unit): unit
        for unit in units
        if unit.first.unit not in one_of
    }
    entered = {row.unit for row in work.maturations.settled(target) if row.state != LEFT}
    missing = set(expected) - set(stored)
    extra = set(stored) - set(expected)
    wrong = [
        key
        for key in set(expected) & set(stored)
        if not _stands(expected[key], stored[key], frozen=key[1] in entered)
    ]
    return [
        *merged_differences(
            target,
            [seen for seen in exposures if seen.unit in one_of],
            [unit for unit in units if unit.first.unit in one_of],
            merged,
            entered,
        ),
        *(f"unit {unit!r} of series {series} is not stored" for series, unit in sorted(missing)),
        *(f"unit {unit!r} of series {series} has no exposure" for series, unit in sorted(extra)),
        *(f"unit {unit!r} of series {series} stands elsewhere" for series, unit in sorted(wrong)),
    ]


def _stands(expected: FirstExposure | None, stored: UnitState, *, frozen: bool) -> bool:
    if expected is None:
        return stored.left_for == Excluded.DOUBLE_EXPOSURE
    if stored.left_for is not None:
        return stored.left_for != Excluded.DOUBLE_EXPOSURE
    first = FirstExposure(stored.first.epoch, stored.first.arm, stored.first.exposed_us)
    if frozen:
        return first.arm == expected.arm and first.exposed_us >= expected.exposed_us
    return first == expected


def _counts(stored: Mapping[tuple[int, str], int], units: Sequence[UnitState]) -> list[str]:
    expected = Counter(
        (unit.first.epoch, unit.first.arm) for unit in units if unit.left_for is None
    )
    return [
        f"epoch {epoch}, {arm}: {stored.get((epoch, arm), 0)} exposures counted, "
        f"{expected[epoch, arm]} stored"
        for epoch, arm in sorted(set(stored) | set(expected))
        if stored.get((epoch, arm), 0) != expected[epoch, arm]
    ]


def _strata(work: IngestWork, target: Target, units: Sequence[UnitState]) -> list[str]:
    """Every value counts where first exposure, window and edits put it; the retired do not."""
    known = {(unit.first.series, unit.first.unit): unit for unit in units}
    wrong: list[str] = []
    for row in work.maturations.settled(target):
        unit = known.get((row.series, row.unit))
        if unit is None or unit.left_for is not None or row.state == LEFT:
            continue
        stratum = target.stratum(unit.first, row.closes_us)
        stands = None if row.state == RETIRED else row.epoch
        if stands != stratum:
            wrong.append(f"unit {row.unit!r} of series {row.series} counts in the wrong epoch")
    return sorted(set(wrong))


def _sums(work: IngestWork, target: Target) -> list[str]:
    stored = work.accumulators.read(target)
    expected = _recomputed(work, target)
    return [
        f"{metric}, epoch {epoch}, {arm}: the sums differ from the ledger"
        for metric, epoch, arm in sorted(set(stored) | set(expected))
        if stored.get((metric, epoch, arm), EMPTY) != expected.get((metric, epoch, arm), EMPTY)
    ]


def _recomputed(work: IngestWork, target: Target) -> Mapping[Cell, Sums]:
    """Ledger + carried."""
    by_metric: dict[str, list[Entered]] = defaultdict(list)
    for row in work.maturations.all_entered(target):
        by_metric[row.metric].append(row)
    totals = dict(work.accumulators.carried(target))
    caps = dict(work.maturations.caps(target))
    for key, rows in by_metric.items():
        metric = target.metrics[key]
        if metric.winsorize is not None and metric.winsorize.value is not None:
            caps[key] = metric.winsorize.value
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            outcomes: Mapping[str, Sequence[Happened]] = work.ledger.outcomes(
                target, [row.unit for row in chunk], metric.outcomes
            )
            for cell, sums in sums_of(target.metrics, chunk, outcomes, caps).items():
                totals[cell] = totals.get(cell, EMPTY).plus(sums)
    return totals
