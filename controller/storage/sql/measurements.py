"""What a look reads, in one snapshot; and the champion's baseline in a slot at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil, fsum, sqrt
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from controller.aggregation.attribution import Fold, Happened, quantile_cap
from controller.aggregation.grid import cuts_of
from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.aggregation.sums import Sums
from controller.analysis.ratios import own_line, residual, slopes_of
from controller.events.times import format_time
from controller.experiments.metrics import Complete, Metric, MetricType
from controller.flow.ports.statistics import Observed
from controller.rollout.record import Rollout
from controller.stats.rounding import beyond_rounding, square_error
from controller.storage.sql.accumulators import ACCUMULATORS, read_sums
from controller.storage.sql.base import Json, from_micros, to_micros
from controller.storage.sql.completeness import FRESHNESS, read_watermark
from controller.storage.sql.database import database_now
from controller.storage.sql.ledger import outcomes_of
from controller.storage.sql.maturation import RETIREMENTS
from controller.storage.sql.schema.definitions import SlotRow
from controller.storage.sql.schema.events import DeclarationRow, WatermarkRow
from controller.storage.sql.schema.rollouts import AllocationRow
from controller.storage.sql.units import COUNTS, DAY_US, EXCLUSIONS, SqlUnits

LEAST_OBSERVED: Final = 100
MOST_OBSERVED: Final = 20_000
MOST_DAYS: Final = 28

_Cells = Mapping[tuple[str, int, str], Moments]
_CELL = ACCUMULATORS.c
_SUMS = {
    "metric": _CELL.metric,
    "missing": _CELL.missing,
    "nonzero": _CELL.nonzero,
    "covariate_n": _CELL.covariate_n,
    "sums": _CELL.sums,
    "grid": _CELL.grid,
}


class SqlMeasurements:
    """Implements `flow.ports.statistics.Measurements` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def snapshot(self, rollout: Rollout, *, epochs: Sequence[Epoch]) -> Statistics:
        """One consistent snapshot at the current watermark, over every metric of the plan."""
        metrics = rollout.frozen_plan.metrics
        now = database_now(self._connection)
        seen = self._read(rollout, [epoch.number for epoch in epochs])
        moments = {cell: sums.moments() for cell, sums in seen.sums.items()}
        analysed = self._analysed(rollout, epochs)
        return Statistics(
            watermark=format_time(from_micros(seen.watermark_us)),
            taken_at=format_time(now),
            epochs=tuple(sorted(epochs, key=lambda epoch: epoch.number)),
            exposed=seen.exposed,
            moments=moments,
            grids={
                cell: sums.grid.quantiles(cuts_of(metrics[cell[0]]))
                for cell, sums in seen.sums.items()
                if sums.grid is not None
            },
            open_units=_open_units(metrics, seen, moments, analysed),
            freshness={
                key: Freshness(age_seconds=self._age(rollout.project, metric, now))
                for key, metric in metrics.items()
            },
            excluded=seen.excluded,
        )

    def observed(self, project: str, slot: str, metric: Metric) -> Observed | None:
        """Baseline from the newest complete champion units of a slot at rest.

        As a rollout would read them: values are capped where the metric is winsorized, and what its
        look-back explains is no part of the standard deviation.
        """
        exposed = self._observed_units(project, slot, metric)
        if len(exposed) < LEAST_OBSERVED:
            return None
        found = self._observed_outcomes(project, slot, metric, list(exposed))
        fold, cap = Fold(metric), _cap(metric, exposed, found)
        parts = [fold(us, found.get(unit, ()), cap=cap) for unit, us in exposed.items()]
        sums = Sums.of(parts)
        if sums.n < LEAST_OBSERVED:
            return None
        if metric.q is not None:
            return _quantile_baseline([part.outcomes for part in parts if part.outcomes], metric.q)
        return _baseline(metric, sums.moments())

    def observed_days(self, project: str, slot: str) -> Sequence[int]:
        """Units of a slot at rest first seen on each of its last full days (at most 28)."""
        today = to_micros(database_now(self._connection)) // DAY_US
        return SqlUnits(self._connection).observed_by_day(
            project, slot, from_day=today - MOST_DAYS, before_day=today
        )

    # ------------------------------------------------------------ parts of a snapshot

    def _read(self, rollout: Rollout, epochs: Sequence[int]) -> _Seen:
        """Counts, sums and watermark in one statement: one moment, whatever else commits."""
        rows = self._connection.execute(
            union_all(
                _of(rollout, COUNTS, "exposed", n=COUNTS.c.n).where(COUNTS.c.epoch.in_(epochs)),
                _of(rollout, EXCLUSIONS, "excluded", metric=EXCLUSIONS.c.reason, epoch=literal(0)),
                _of(rollout, ACCUMULATORS, "sums", **_SUMS).where(_CELL.epoch.in_(epochs)),
                _of(rollout, RETIREMENTS, "retired", metric=RETIREMENTS.c.metric).where(
                    RETIREMENTS.c.epoch.in_(epochs)
                ),
                _watermark(rollout.project),
            )
        ).all()
        excluded: dict[str, int] = {}
        for row in rows:
            if row.kind == "excluded":
                excluded[row.metric] = excluded.get(row.metric, 0) + row.n
        return _Seen(
            exposed={
                (row.epoch, row.arm): row.n for row in rows if row.kind == "exposed" and row.n
            },
            # A merge moves units from one reason to another: what is back at nothing is not told.
            excluded={reason: n for reason, n in excluded.items() if n},
            sums={
                (row.metric, row.epoch, row.arm): read_sums(row)
                for row in rows
                if row.kind == "sums" and (row.n or row.missing)
            },
            retired={
                (row.metric, row.epoch, row.arm): row.n for row in rows if row.kind == "retired"
            },
            watermark_us=max((row.n for row in rows if row.kind == "watermark"), default=0),
        )

    def _analysed(self, rollout: Rollout, epochs: Sequence[Epoch]) -> frozenset[int]:
        """Numbers of the epochs whose units enter metrics: not those of an A/A check."""
        rows = self._connection.execute(
            select(AllocationRow.number).where(
                AllocationRow.project == rollout.project,
                AllocationRow.rollout == rollout.id,
                AllocationRow.analysed,
            )
        )
        allocations = {number for (number,) in rows}
        return frozenset(epoch.number for epoch in epochs if epoch.allocation in allocations)

    def _age(self, project: str, metric: Metric, now: datetime) -> float | None:
        """Age of the least fresh outcome the metric reads; None where one never arrived."""
        if metric.complete is Complete.DECLARED:
            instants = [self._declared(project, outcome) for outcome in metric.outcomes]
        else:
            instants = [self._arrived(project, outcome) for outcome in metric.outcomes]
        known = [instant for instant in instants if instant is not None]
        if len(known) < len(instants):
            return None
        return max(0.0, (to_micros(now) - min(known)) / 1_000_000)

    def _arrived(self, project: str, outcome: str) -> int | None:
        return self._connection.scalar(
            select(FRESHNESS.c.received_us).where(
                FRESHNESS.c.project == project, FRESHNESS.c.outcome == outcome
            )
        )

    def _declared(self, project: str, outcome: str) -> int | None:
        """When the source that has been silent longest last declared."""
        newest = (
            select(func.max(DeclarationRow.posted_us).label("posted_us"))
            .where(DeclarationRow.project == project, DeclarationRow.outcome == outcome)
            .group_by(DeclarationRow.source)
            .subquery()
        )
        posted_us: int | None = self._connection.scalar(select(func.min(newest.c.posted_us)))
        return posted_us

    # ------------------------------------------------------------ a slot at rest

    def _observed_units(self, project: str, slot: str, metric: Metric) -> Mapping[str, int]:
        """The newest observed units whose window has closed, with their exposure."""
        complete_us = read_watermark(self._connection, project) - Fold(metric).closes_us
        return SqlUnits(self._connection).observed(
            project, slot, before_us=complete_us, most=MOST_OBSERVED
        )

    def _observed_outcomes(
        self, project: str, slot: str, metric: Metric, units: Sequence[str]
    ) -> Mapping[str, Sequence[Happened]]:
        document: Any = self._connection.scalar(
            select(SlotRow.document).where(SlotRow.project == project, SlotRow.key == slot)
        )
        return outcomes_of(
            self._connection,
            project,
            slot,
            unit_type=document["unit"],
            units=units,
            names=metric.outcomes,
        )


class _Seen(NamedTuple):
    """What one statement read."""

    exposed: Mapping[tuple[int, str], int]
    excluded: Mapping[str, int]
    sums: Mapping[tuple[str, int, str], Sums]
    retired: Mapping[tuple[str, int, str], int]
    watermark_us: int


def _columns(kind: str, **given: Any) -> list[ColumnElement[Any]]:
    """The columns every part of the statement has; those not given are empty."""
    usual: dict[str, Any] = {
        "metric": literal(""),
        "epoch": literal(0),
        "arm": literal(""),
        "n": literal(0),
        "missing": literal(0),
        "nonzero": literal(0),
        "covariate_n": literal(0),
        "sums": cast(null(), Json),
        "grid": cast(null(), Json),
    }
    parts = {"kind": literal(kind)} | usual | given
    return [column.label(name) for name, column in parts.items()]


def _of(rollout: Rollout, table: Table, kind: str, **given: Any) -> Select[Any]:
    named = {"epoch": table.c.get("epoch"), "arm": table.c.arm, "n": table.c.n} | given
    return select(*_columns(kind, **named)).where(
        table.c.project == rollout.project, table.c.rollout == rollout.id
    )


def _watermark(project: str) -> Select[Any]:
    return select(*_columns("watermark", n=WatermarkRow.instant_us)).where(
        WatermarkRow.project == project
    )


def _open_units(
    metrics: Mapping[str, Metric],
    seen: _Seen,
    moments: _Cells,
    analysed: frozenset[int],
) -> dict[tuple[str, str], int]:
    """Analysed units that have neither entered nor been retired, by metric and arm.

    Of one epoch alone they cannot be told: a value may count in a later one than its exposure.
    """
    waiting: dict[tuple[str, str], int] = {}
    for key in metrics:
        for epoch, arm in {*seen.exposed, *((epoch, arm) for _, epoch, arm in moments)}:
            if epoch in analysed:
                done = moments.get((key, epoch, arm), Moments())
                gone = done.n + done.missing + seen.retired.get((key, epoch, arm), 0)
                left = seen.exposed.get((epoch, arm), 0) - gone
                waiting[key, arm] = waiting.get((key, arm), 0) + left
    return waiting


def _cap(
    metric: Metric, exposed: Mapping[str, int], found: Mapping[str, Sequence[Happened]]
) -> float | None:
    """The largest value of one unit: as stated, or the quantile of these very units."""
    cap = metric.winsorize
    if cap is None or cap.quantile is None:
        return None if cap is None else cap.value
    fold = Fold(metric)
    parts = (fold(exposed_us, found.get(unit, ())) for unit, exposed_us in exposed.items())
    return quantile_cap([part.value for part in parts if part.value is not None], cap.quantile)


def _unexplained(moments: Moments) -> float:
    """Sum of squares that a regression on the covariate leaves: m2 (1 - r^2)."""
    if not moments.covariate_m2 > 0.0:
        return moments.m2
    explained = moments.covariate_cross_m2**2 / moments.covariate_m2
    return beyond_rounding(moments.m2 - explained, square_error(moments.m2, explained))


def _quantile_baseline(units: Sequence[Sequence[float]], q: float) -> Observed:
    """Level of the quantile, and the spread a unit that its difference behaves as if it had.

    A quantile's error is that of the share below it over the density there: with C of a unit's n
    outcomes at or below the level, sd = sqrt(mean of (C - q n)^2) / (mean of n x density). The
    density is the slope between the quantiles h to both sides, h = N^(-1/3), at most half the
    smaller tail (Siddiqui 1960, "Distribution of quantiles in samples from a bivariate
    population").
    """
    rising = sorted(value for outcomes in units for value in outcomes)
    total = len(rising)

    def at(share: float) -> float:
        return rising[min(total - 1, max(0, ceil(share * total) - 1))]

    level, step = at(q), min(total ** (-1.0 / 3.0), min(q, 1.0 - q) / 2.0)
    gaps = [sum(x <= level for x in outcomes) - q * len(outcomes) for outcomes in units]
    spread = sqrt(fsum(gap * gap for gap in gaps) / (len(units) - 1)) / (total / len(units))
    return Observed(
        units=len(units), mean=level, sd=spread * (at(q + step) - at(q - step)) / (2.0 * step)
    )


def _baseline(metric: Metric, moments: Moments) -> Observed:
    """Mean and standard deviation a unit; a ratio by the delta method about its own value."""
    spread = moments.n - 1
    if metric.type is not MetricType.RATIO:
        sd = sqrt(_unexplained(moments) / spread)
        return Observed(units=moments.n, mean=moments.mean, sd=sd)
    line = own_line(moments)
    if line is None:
        return Observed(units=moments.n, mean=0.0, sd=0.0)
    left = residual(moments, line, slopes_of(moments, line))
    return Observed(units=moments.n, mean=-line.below, sd=sqrt(left / spread))
