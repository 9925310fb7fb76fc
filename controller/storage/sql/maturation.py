"""Which metrics of which units wait for their window, and what the others contributed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select, text, update

from controller.aggregation.exposures import Target
from controller.aggregation.recompute import Entered
from controller.aggregation.sums import Contribution
from controller.flow.ports.ingest import ENTERED, LEFT, MISSING, OPEN, RETIRED, Maturing
from controller.storage.sql import bulk
from controller.storage.sql.schema.events import CapRow, MaturationRow, RetirementRow

MATURATIONS: Table = MaturationRow.__table__  # type: ignore[assignment]
RETIREMENTS: Table = RetirementRow.__table__  # type: ignore[assignment]
_C = MATURATIONS.c
MATURING = (
    _C.series,
    _C.unit,
    _C.epoch,
    _C.arm,
    _C.exposed_us,
    _C.closes_us,
    _C.state,
    _C.value,
    _C.denominator,
    _C.covariate,
    _C.outcomes,
    _C.second_covariate,
)
_KEY = (_C.project, _C.rollout, _C.metric, _C.series, _C.unit)
CONTRIBUTED = MATURING[7:]
NOTHING_YET = (None,) * len(CONTRIBUTED)


class SqlMaturations:
    """Implements `flow.ports.ingest.Maturations` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, target: Target, metric: str, rows: Iterable[Maturing]) -> None:
        """Units whose window has just begun."""
        name = (target.project, target.rollout, metric)
        bulk.insert(
            self._connection,
            MATURATIONS,
            [(*name, *row[:6], OPEN, *NOTHING_YET) for row in sorted(rows)],
        )

    def due(self, target: Target, metric: str, *, through_us: int, most: int) -> Sequence[Maturing]:
        """Open rows that close at or before an instant, the earliest first."""
        rows = self._connection.execute(
            select(_C.series, _C.unit, _C.epoch, _C.arm, _C.exposed_us, _C.closes_us)
            # The state is written out so that the partial index is seen to fit.
            .where(*_metric(target, metric), text("state = 0"), _C.closes_us <= through_us)
            .order_by(_C.closes_us)
            .limit(most)
        ).all()
        return [Maturing(*row) for row in rows]

    def settle(
        self, target: Target, metric: str, rows: Iterable[tuple[Maturing, Contribution]]
    ) -> None:
        """Store in which epoch each row counts, and what it contributes from now on."""
        name = (target.project, target.rollout, metric)
        changed = (_C.epoch, _C.state, *CONTRIBUTED)
        bulk.update(
            self._connection,
            MATURATIONS,
            _KEY,
            changed,
            [(*name, row.series, row.unit, row.epoch, *_stored(part)) for row, part in rows],
        )

    def retire(self, target: Target, metric: str, rows: Iterable[Maturing]) -> None:
        """Let rows leave that an edit has retired while their window was open, and count them."""
        name, rows = (target.project, target.rollout, metric), list(rows)
        bulk.update(
            self._connection,
            MATURATIONS,
            _KEY,
            (_C.state,),
            [(*name, row.series, row.unit, RETIRED) for row in rows],
        )
        self.count_retired(target, Counter((metric, row.epoch, row.arm) for row in rows))

    def count_retired(self, target: Target, changes: Mapping[tuple[str, int, str], int]) -> None:
        """Add to the rows that edits have retired, by (metric, epoch, arm)."""
        table = RETIREMENTS.c
        bulk.add(
            self._connection,
            RETIREMENTS,
            [table.project, table.rollout, table.metric, table.epoch, table.arm],
            [(target.project, target.rollout, *key, n) for key, n in sorted(changes.items()) if n],
        )

    def entered(self, target: Target, metric: str, units: Sequence[str]) -> Sequence[Maturing]:
        """Rows of these units that have entered or are missing, locked."""
        rows = self._connection.execute(
            select(*MATURING)
            .where(
                *_metric(target, metric),
                bulk.among(self._connection, _C.unit, units),
                _C.series.in_(sorted(set(target.series.values()))),
                _C.state.in_((ENTERED, MISSING)),
            )
            .order_by(_C.series, _C.unit)
            .with_for_update()
        )
        return [read_maturing(row) for row in rows]

    def leave(self, target: Target, series: int, unit: str) -> Mapping[str, Maturing]:
        """Mark every metric of a unit as left; what stood there, by metric."""
        where = (*_unit(target, series, unit), _C.metric.in_(sorted(target.metrics)))
        rows = self._connection.execute(
            select(_C.metric, *MATURING).where(*where).order_by(_C.metric).with_for_update()
        ).all()
        self._connection.execute(update(MATURATIONS).where(*where).values(state=LEFT))
        left = {row[0]: read_maturing(row[1:]) for row in rows}
        self.count_retired(
            target,
            {
                (metric, row.epoch, row.arm): -1
                for metric, row in left.items()
                if row.state == RETIRED
            },
        )
        return left

    def all_entered(self, target: Target) -> Iterable[Entered]:
        """Every row that has entered, with a value or without."""
        rows = self._connection.execute(
            select(_C.metric, _C.unit, _C.epoch, _C.arm, _C.exposed_us).where(
                _C.project == target.project,
                _C.rollout == target.rollout,
                _C.state.in_((ENTERED, MISSING)),
            )
        )
        for row in rows:
            yield Entered(*row)

    def settled(self, target: Target) -> Iterable[Maturing]:
        """Every row of one rollout that waits no longer, without what it contributed."""
        rows = self._connection.execute(
            select(*MATURING[:7]).where(
                _C.project == target.project, _C.rollout == target.rollout, _C.state != OPEN
            )
        )
        for row in rows:
            yield Maturing(*row)

    def any_entered(self, target: Target, series: int, unit: str) -> bool:
        """Whether any metric of the unit has entered, or been retired."""
        found = self._connection.scalar(
            select(_C.unit)
            .where(
                *_unit(target, series, unit),
                _C.metric.in_(sorted(target.metrics)),
                _C.state.in_((ENTERED, MISSING, RETIRED)),
            )
            .limit(1)
        )
        return found is not None

    def reopen(self, target: Target, metric: str, row: Maturing) -> None:
        """Give a unit that has not entered another first exposure."""
        self._connection.execute(
            update(MATURATIONS)
            .where(*_unit(target, row.series, row.unit), _C.metric == metric)
            .values(epoch=row.epoch, exposed_us=row.exposed_us, closes_us=row.closes_us)
        )

    def cap(self, target: Target, metric: str) -> float | None:
        """The frozen cap of a metric that is winsorized at a quantile."""
        return self._connection.scalar(
            select(CapRow.cap).where(
                CapRow.project == target.project,
                CapRow.rollout == target.rollout,
                CapRow.metric == metric,
            )
        )

    def caps(self, target: Target) -> Mapping[str, float]:
        """Frozen caps by metric."""
        rows = self._connection.execute(
            select(CapRow.metric, CapRow.cap).where(
                CapRow.project == target.project, CapRow.rollout == target.rollout
            )
        )
        return {metric: cap for metric, cap in rows}  # noqa: C416 - rows are not pairs to mypy

    def freeze_cap(
        self, target: Target, metric: str, cap: float, *, units: int, origin: str
    ) -> None:
        """Store the cap for ever."""
        self._connection.execute(
            insert(CapRow).values(
                project=target.project,
                rollout=target.rollout,
                metric=metric,
                cap=cap,
                units=units,
                origin=origin,
            )
        )


def _metric(target: Target, metric: str) -> tuple[Any, ...]:
    return (_C.project == target.project, _C.rollout == target.rollout, _C.metric == metric)


def _unit(target: Target, series: int, unit: str) -> tuple[Any, ...]:
    return (
        _C.project == target.project,
        _C.rollout == target.rollout,
        _C.series == series,
        _C.unit == unit,
    )


def _stored(part: Contribution) -> tuple[Any, ...]:
    state = MISSING if part.value is None else ENTERED
    outcomes = None if part.outcomes is None else json.dumps(part.outcomes)
    return (state, part.value, part.denominator, part.covariate, outcomes, part.second)


def read_maturing(row: Any) -> Maturing:
    """One row of the columns `MATURING`."""
    value, denominator, covariate, outcomes, second = row[7:12]
    part = Contribution(
        value, denominator, covariate, None if outcomes is None else tuple(outcomes), second
    )
    series, unit, epoch, arm, exposed_us, closes_us, state = row[:7]
    return Maturing(series, unit, epoch, arm, exposed_us, closes_us, state, part)
