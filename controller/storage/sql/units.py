"""First exposures of units, and the counters over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select, update

from controller.aggregation.exposures import Target
from controller.flow.ports.ingest import First, UnitState
from controller.storage.sql import bulk
from controller.storage.sql.schema.events import (
    ExclusionRow,
    ExposureCountRow,
    ObservedUnitRow,
    UnitRow,
)

UNITS: Table = UnitRow.__table__  # type: ignore[assignment]
OBSERVED: Table = ObservedUnitRow.__table__  # type: ignore[assignment]
COUNTS: Table = ExposureCountRow.__table__  # type: ignore[assignment]
EXCLUSIONS: Table = ExclusionRow.__table__  # type: ignore[assignment]
DAY_US: Final = 86_400_000_000


class SqlUnits:
    """Implements `flow.ports.ingest.Units` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, target: Target, firsts: Sequence[First]) -> Mapping[tuple[int, str], UnitState]:
        """Insert what is new; what stood there before, locked until the transaction ends."""
        by_series: dict[int, list[First]] = defaultdict(list)
        for first in firsts:
            by_series[first.series].append(first)
        known: dict[tuple[int, str], UnitState] = {}
        for series, mine in sorted(by_series.items()):
            rows = [
                (
                    target.project,
                    target.rollout,
                    series,
                    first.unit,
                    first.epoch,
                    first.arm,
                    first.exposed_us,
                    None,
                )
                for first in mine
            ]
            taken = bulk.insert_new(self._connection, UNITS, rows, UNITS.c.unit)
            if taken:
                known |= self._read(target, series, sorted(taken))
        return known

    def move(self, target: Target, first: First) -> None:
        """Replace the first exposure of a unit by an earlier one."""
        self._connection.execute(
            update(UNITS)
            .where(*_named(target, first.series, first.unit))
            .values(epoch=first.epoch, exposed_us=first.exposed_us)
        )

    def leave(self, target: Target, series: int, unit: str, reason: str) -> None:
        """Take a unit out of the analysis."""
        self._connection.execute(
            update(UNITS).where(*_named(target, series, unit)).values(left_for=reason)
        )

    def count(self, target: Target, changes: Mapping[tuple[int, str], int]) -> None:
        """Add to the analysed exposures of (epoch, arm)."""
        bulk.add(
            self._connection,
            COUNTS,
            [COUNTS.c.project, COUNTS.c.rollout, COUNTS.c.epoch, COUNTS.c.arm],
            [(target.project, target.rollout, *key, n) for key, n in changes.items() if n],
        )

    def exclude(self, target: Target, changes: Mapping[tuple[str, str], int]) -> None:
        """Add to what is counted and not analysed, by (reason, arm)."""
        table = EXCLUSIONS.c
        bulk.add(
            self._connection,
            EXCLUSIONS,
            [table.project, table.rollout, table.reason, table.arm],
            [(target.project, target.rollout, *key, n) for key, n in changes.items() if n],
        )

    def all(self, target: Target) -> Iterable[UnitState]:
        """Every unit of one rollout."""
        table = UNITS.c
        rows = self._connection.execute(
            select(
                table.series,
                table.unit,
                table.epoch,
                table.arm,
                table.exposed_us,
                table.left_for,
            ).where(table.project == target.project, table.rollout == target.rollout)
        )
        for *first, left_for in rows:
            yield UnitState(First(*first), left_for)

    def counts(self, target: Target) -> Mapping[tuple[int, str], int]:
        """Analysed exposures by (epoch, arm)."""
        rows = self._connection.execute(
            select(COUNTS.c.epoch, COUNTS.c.arm, COUNTS.c.n).where(
                COUNTS.c.project == target.project, COUNTS.c.rollout == target.rollout
            )
        )
        return {(epoch, arm): n for epoch, arm, n in rows}

    def observed(self, project: str, slot: str, *, before_us: int, most: int) -> Mapping[str, int]:
        """The newest units of a slot at rest up to an instant, with their exposure."""
        rows = self._connection.execute(
            select(OBSERVED.c.unit, OBSERVED.c.exposed_us)
            .where(
                OBSERVED.c.project == project,
                OBSERVED.c.slot == slot,
                OBSERVED.c.exposed_us <= before_us,
            )
            .order_by(OBSERVED.c.exposed_us.desc())
            .limit(most)
        ).all()
        return {row.unit: row.exposed_us for row in rows}

    def observed_by_day(
        self, project: str, slot: str, *, from_day: int, before_day: int
    ) -> list[int]:
        """Units of a slot at rest first seen on each of these days (since 1970, UTC), in order.

        Only days with units are listed: on the others a rollout lived in the slot. The first of
        them is left out, for it is rarely a whole one.
        """
        day = (OBSERVED.c.exposed_us - OBSERVED.c.exposed_us % DAY_US).label("day")
        rows = self._connection.execute(
            select(day, func.count())
            .where(
                OBSERVED.c.project == project,
                OBSERVED.c.slot == slot,
                OBSERVED.c.exposed_us >= from_day * DAY_US,
                OBSERVED.c.exposed_us < before_day * DAY_US,
            )
            .group_by("day")
            .order_by("day")
        )
        return [count for _, count in rows][1:]

    def observe(self, project: str, slot: str, exposed: Mapping[str, int]) -> None:
        """Remember when units met the champion of a slot at rest; the earliest stays."""
        bulk.insert(
            self._connection,
            OBSERVED,
            [(project, slot, unit, exposed_us) for unit, exposed_us in sorted(exposed.items())],
            tail=" on conflict (project, slot, unit) do update set exposed_us = excluded.exposed_us"
            " where excluded.exposed_us < observed_units.exposed_us",
        )

    def _read(
        self, target: Target, series: int, units: Sequence[str]
    ) -> dict[tuple[int, str], UnitState]:
        table = UNITS.c
        rows = self._connection.execute(
            select(table.unit, table.epoch, table.arm, table.exposed_us, table.left_for)
            .where(
                table.project == target.project,
                table.rollout == target.rollout,
                table.series == series,
                bulk.among(self._connection, table.unit, units),
            )
            .order_by(table.unit)
            .with_for_update()
        )
        return {
            (series, unit): UnitState(First(series, unit, epoch, arm, exposed_us), left_for)
            for unit, epoch, arm, exposed_us, left_for in rows
        }


def _named(target: Target, series: int, unit: str) -> tuple[Any, ...]:
    return (
        UNITS.c.project == target.project,
        UNITS.c.rollout == target.rollout,
        UNITS.c.series == series,
        UNITS.c.unit == unit,
    )
