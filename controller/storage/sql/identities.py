"""Aliases as they are stated, and identities as aggregation applies them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select, text, update

from controller.aggregation.exposures import Target
from controller.flow.ports.identities import Alias, Because, Excepted
from controller.flow.ports.ingest import (
    ENTERED,
    LEFT,
    MISSING,
    OPEN,
    RETIRED,
    First,
    Maturing,
    UnitState,
)
from controller.storage.sql import bulk
from controller.storage.sql.base import to_micros
from controller.storage.sql.database import database_now
from controller.storage.sql.maturation import (
    CONTRIBUTED,
    MATURATIONS,
    MATURING,
    NOTHING_YET,
    SqlMaturations,
    read_maturing,
)
from controller.storage.sql.schema.identities import AliasRow, ExceptionRow, IdentityRow
from controller.storage.sql.units import UNITS

ALIASES: Final[Table] = AliasRow.__table__  # type: ignore[assignment]
IDENTITIES: Final[Table] = IdentityRow.__table__  # type: ignore[assignment]
EXCEPTIONS: Final[Table] = ExceptionRow.__table__  # type: ignore[assignment]
_ALIAS = (
    ALIASES.c.project,
    ALIASES.c.unit_type,
    ALIASES.c.alias,
    ALIASES.c.unit,
    ALIASES.c.root,
)
_KEYS = "project, rollout, series, unit"


class SqlAliases:
    """Implements `flow.ports.identities.Aliases` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take_turn(self, project: str) -> None:
        """One transaction of a project at a time; SQLite has one writer anyway."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(
                text("select pg_advisory_xact_lock(hashtext('aliases'), hashtext(:project))"),
                {"project": project},
            )

    def known(self, project: str, unit_type: str, ids: Sequence[str]) -> Mapping[str, Alias]:
        """What is stated of these ids, by alias."""
        rows = self._connection.execute(
            select(*_ALIAS).where(
                *_typed(ALIASES, project, unit_type),
                bulk.among(self._connection, ALIASES.c.alias, ids),
            )
        )
        return {row.alias: Alias(*row) for row in rows}

    def sizes(self, project: str, unit_type: str, roots: Iterable[str]) -> Mapping[str, int]:
        """How many ids are one with each of these roots that has any, itself included."""
        rows = self._connection.execute(
            select(ALIASES.c.root, func.count())
            .where(
                *_typed(ALIASES, project, unit_type),
                bulk.among(self._connection, ALIASES.c.root, roots),
            )
            .group_by(ALIASES.c.root)
        )
        return {root: 1 + ending for root, ending in rows}

    def add(self, aliases: Sequence[Alias], *, moved: Mapping[str, str], actor: str) -> None:
        """Store new facts; what ended at an id in `moved` ends where that one does."""
        if not aliases:
            return
        table, now_us = ALIASES.c, to_micros(database_now(self._connection))
        name = (aliases[0].project, aliases[0].unit_type)
        for old, new in sorted(moved.items()):
            self._connection.execute(
                update(ALIASES).where(*_typed(ALIASES, *name), table.root == old).values(root=new)
            )
        bulk.insert(
            self._connection,
            ALIASES,
            [(*alias, now_us, actor, None) for alias in sorted(aliases)],
        )


class SqlIdentities:
    """Implements `flow.ports.identities.Identities` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._merging: dict[str, bool] = {}

    def waiting(self, most: int) -> Sequence[Alias]:
        """Stated aliases that have not been applied yet."""
        rows = self._connection.execute(
            # Written out, so that the partial index is seen to fit.
            select(*_ALIAS).where(text("applied_us is null")).limit(most)
        )
        return [Alias(*row) for row in rows]

    def unite(self, aliases: Sequence[Alias], *, at_us: int) -> Mapping[tuple[str, str], set[str]]:
        """Make each pair one identity and mark it applied; every id whose identity grew."""
        grown: dict[tuple[str, str], set[str]] = defaultdict(set)
        by_type: dict[tuple[str, str], list[Alias]] = defaultdict(list)
        for alias in aliases:
            by_type[alias.project, alias.unit_type].append(alias)
        for (project, unit_type), mine in sorted(by_type.items()):
            before = self.groups(
                project, unit_type, {name for one in mine for name in (one.alias, one.unit)}
            )
            together = _united(before, [(one.alias, one.unit) for one in mine])
            self._store(project, unit_type, together)
            grown[project, unit_type] = {unit for group in together for unit in group}
            self._connection.execute(
                update(ALIASES)
                .where(
                    *_typed(ALIASES, project, unit_type),
                    bulk.among(self._connection, ALIASES.c.alias, [one.alias for one in mine]),
                )
                .values(applied_us=at_us)
            )
            self._merging.pop(project, None)
        return grown

    def groups(
        self, project: str, unit_type: str, units: Iterable[str]
    ) -> Mapping[str, tuple[str, ...]]:
        """All ids of the identity of each of these units that has several, in order."""
        if not self._merges(project):
            return {}
        table = IDENTITIES.c
        mine = select(table.identity).where(
            *_typed(IDENTITIES, project, unit_type),
            bulk.among(self._connection, table.unit, units),
        )
        rows = self._connection.execute(
            select(table.identity, table.unit)
            .where(*_typed(IDENTITIES, project, unit_type), table.identity.in_(mine))
            .order_by(table.identity, table.unit)  # as the index has them
            .with_for_update()  # who settles an identity is alone with it
        )
        members: dict[str, list[str]] = defaultdict(list)
        for identity, unit in rows:
            members[identity].append(unit)
        return {unit: tuple(group) for group in members.values() for unit in group}

    def states(self, target: Target, units: Iterable[str]) -> Sequence[UnitState]:
        """How these units stand in every series, locked, in order of (series, unit)."""
        table = UNITS.c
        rows = self._connection.execute(
            select(
                table.series, table.unit, table.epoch, table.arm, table.exposed_us, table.left_for
            )
            .where(
                *_rollout(UNITS, target),
                table.series.in_(sorted(set(target.series.values()))),
                bulk.among(self._connection, table.unit, units),
            )
            .order_by(table.series, table.unit)
            .with_for_update()
        )
        return [UnitState(First(*first), left_for) for *first, left_for in rows]

    def put(self, target: Target, states: Sequence[UnitState]) -> None:
        """Store how units stand, whatever stood there."""
        bulk.insert(
            self._connection,
            UNITS,
            [
                (target.project, target.rollout, *state.first, state.left_for)
                for state in sorted(states)
            ],
            tail=f" on conflict ({_KEYS}) do update set epoch = excluded.epoch, "
            "arm = excluded.arm, exposed_us = excluded.exposed_us, left_for = excluded.left_for",
        )

    def entered(self, target: Target, units: Iterable[str]) -> Collection[tuple[int, str]]:
        """Those of these units, by (series, unit), that have entered a metric or been retired."""
        table = MATURATIONS.c
        rows = self._connection.execute(
            select(table.series, table.unit)
            .where(
                *_rollout(MATURATIONS, target),
                table.metric.in_(sorted(target.metrics)),
                table.series.in_(sorted(set(target.series.values()))),
                bulk.among(self._connection, table.unit, units),
                table.state.in_((ENTERED, MISSING, RETIRED)),
            )
            .distinct()
        )
        return {(series, unit) for series, unit in rows}

    def leave(self, target: Target, firsts: Sequence[First]) -> Sequence[tuple[str, Maturing]]:
        """Mark every metric of these units as left; what stood there, with its metric."""
        if not firsts:
            return []
        table, wanted = MATURATIONS.c, {(first.series, first.unit) for first in firsts}
        rows = self._connection.execute(
            select(table.metric, *MATURING)
            .where(
                *_rollout(MATURATIONS, target),
                table.metric.in_(sorted(target.metrics)),
                table.series.in_(sorted({first.series for first in firsts})),
                bulk.among(self._connection, table.unit, [first.unit for first in firsts]),
            )
            .order_by(table.metric, table.series, table.unit)
            .with_for_update()
        ).all()
        found = [(metric, read_maturing(row)) for metric, *row in rows]
        mine = [(metric, row) for metric, row in found if (row.series, row.unit) in wanted]
        bulk.update(
            self._connection,
            MATURATIONS,
            (table.project, table.rollout, table.metric, table.series, table.unit),
            (table.state,),
            [
                (target.project, target.rollout, metric, row.series, row.unit, LEFT)
                for metric, row in mine
            ],
        )
        gone = Counter((metric, row.epoch, row.arm) for metric, row in mine if row.state == RETIRED)
        SqlMaturations(self._connection).count_retired(
            target, {cell: -n for cell, n in gone.items()}
        )
        return mine

    def reopen(self, target: Target, metric: str, rows: Sequence[Maturing]) -> None:
        """Let units wait (again) for a metric's window, whatever stood there."""
        name, kept = (target.project, target.rollout, metric), MATURATIONS.c
        changed = (kept.epoch, kept.arm, kept.exposed_us, kept.closes_us, kept.state, *CONTRIBUTED)
        settings = ", ".join(f"{column.name} = excluded.{column.name}" for column in changed)
        bulk.insert(
            self._connection,
            MATURATIONS,
            [(*name, *row[:6], OPEN, *NOTHING_YET) for row in sorted(rows)],
            tail=f" on conflict (project, rollout, metric, series, unit) do update set {settings}",
        )

    def excepted(self, target: Target, units: Iterable[str]) -> Mapping[str, Excepted]:
        """Those of these units that the rollout answers as another (or without a condition)."""
        table = EXCEPTIONS.c
        rows = self._connection.execute(
            select(table.unit, table.stands_for, table.reason).where(
                *_rollout(EXCEPTIONS, target), bulk.among(self._connection, table.unit, units)
            )
        )
        return {row.unit: Excepted(*row) for row in rows}

    def bearers(self, target: Target, units: Iterable[str]) -> Mapping[str, str]:
        """Every id that the rollout counts as one with one of these, and what it stands for."""
        return same_unit(self._connection, target, units)

    def merged(self, target: Target) -> Mapping[str, Sequence[str]]:
        """The ids that stand for each bearer in one rollout."""
        table = EXCEPTIONS.c
        rows = self._connection.execute(
            select(table.stands_for, table.unit)
            .where(*_rollout(EXCEPTIONS, target), table.stands_for != table.unit)
            .order_by(table.unit)
        )
        found: dict[str, list[str]] = defaultdict(list)
        for bearer, unit in rows:
            found[bearer].append(unit)
        return found

    def answer_as(self, target: Target, excepted: Sequence[Excepted]) -> int:
        """Store exceptions; how many are new to the rollout. Changed ones are pinned again."""
        known = self.excepted(target, [one.unit for one in excepted])
        changed = [one for one in excepted if known.get(one.unit) != one]
        bulk.insert(
            self._connection,
            EXCEPTIONS,
            [
                (target.project, target.rollout, one.unit, one.stands_for, one.reason, 0, None)
                for one in sorted(changed)
            ],
            tail=" on conflict (project, rollout, unit) do update set "
            "stands_for = excluded.stands_for, reason = excluded.reason, pinned = 0",
        )
        return len({one.unit for one in changed} - set(known))

    def _merges(self, project: str) -> bool:
        """Whether any identity of a project has several ids; asked once a transaction."""
        if project not in self._merging:
            self._merging[project] = _any_identity(self._connection, project)
        return self._merging[project]

    def _store(self, project: str, unit_type: str, together: Sequence[set[str]]) -> None:
        rows = [
            (project, unit_type, unit, min(group)) for group in together for unit in sorted(group)
        ]
        bulk.insert(
            self._connection,
            IDENTITIES,
            sorted(rows),
            tail=" on conflict (project, unit_type, unit) "
            "do update set identity = excluded.identity",
        )


def same_unit(connection: Connection, target: Target, units: Iterable[str]) -> Mapping[str, str]:
    """Every id that a rollout counts as one with one of these units, with the id it stands for."""
    if not _any_identity(connection, target.project):
        return {}
    table = EXCEPTIONS.c
    here = (*_rollout(EXCEPTIONS, target), table.reason == Because.MERGED.value)
    asked = set(units)
    bearers = connection.scalars(
        select(table.stands_for).where(*here, bulk.among(connection, table.unit, asked))
    )
    asked |= set(bearers)
    rows = connection.execute(
        select(table.unit, table.stands_for).where(
            *here, bulk.among(connection, table.stands_for, asked)
        )
    )
    found = {unit: bearer for unit, bearer in rows}  # noqa: C416 - rows are not pairs to mypy
    return found | {bearer: bearer for bearer in found.values()}


def _any_identity(connection: Connection, project: str) -> bool:
    found = select(IDENTITIES.c.unit).where(IDENTITIES.c.project == project).limit(1)
    return connection.scalar(found) is not None


def _united(
    before: Mapping[str, tuple[str, ...]], pairs: Iterable[tuple[str, str]]
) -> list[set[str]]:
    """The groups that these pairs make of the groups that were there."""
    group_of: dict[str, set[str]] = {}
    for unit, group in before.items():
        if unit not in group_of:
            whole = set(group)
            group_of |= dict.fromkeys(group, whole)
    for one, other in pairs:
        mine, theirs = group_of.get(one) or {one}, group_of.get(other) or {other}
        if mine is not theirs:
            whole = mine | theirs
            group_of |= dict.fromkeys(whole, whole)
    return list({id(group): group for group in group_of.values()}.values())


def _typed(table: Table, project: str, unit_type: str) -> tuple[Any, ...]:
    return (table.c.project == project, table.c.unit_type == unit_type)


def _rollout(table: Table, target: Target) -> tuple[Any, ...]:
    return (table.c.project == target.project, table.c.rollout == target.rollout)
