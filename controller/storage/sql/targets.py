"""Rollouts and slots as events meet them: plan, allocations and epochs in one value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from controller.aggregation.exposures import Opened, Split, Target
from controller.aggregation.gates import Since
from controller.assignment.document import read_gates
from controller.experiments.canonical import canonical_json
from controller.experiments.plans import Plan
from controller.storage.sql.base import from_micros, to_micros
from controller.storage.sql.schema.definitions import SlotRow
from controller.storage.sql.schema.rollouts import AllocationRow, EpochRow, RolloutRow
from controller.storage.sql.schema.traffic import GatesRow, PublishedOverrideRow
from controller.storage.sql.traffic import with_arms

STILL_COUNTS_US = 40 * 86_400 * 1_000_000
"""Outcomes change a rollout's numbers for this long after its end: what a post-mortem reads."""

_MOST_KEPT = 200


_VERSION = (
    RolloutRow.project,
    RolloutRow.id,
    RolloutRow.plan_sha256,
    RolloutRow.allocation,
    RolloutRow.epoch,
    RolloutRow.salt,
    select(func.max(GatesRow.ruleset))
    .where(GatesRow.project == RolloutRow.project, GatesRow.slot == RolloutRow.slot)
    .correlate(RolloutRow)
    .scalar_subquery()
    .label("gates"),
    select(EpochRow.ruleset)
    .where(
        EpochRow.project == RolloutRow.project,
        EpochRow.rollout == RolloutRow.id,
        EpochRow.number == RolloutRow.epoch,
    )
    .correlate(RolloutRow)
    .scalar_subquery()
    .label("ruleset"),
)
"""What a target depends on. Allocations and epochs are counted anew after a restore; versions of
rulesets never come twice, so the newest epoch's tells one history from another."""


class TargetCache:
    """Targets of one process, each kept while its allocations and epochs stand."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[object, Target]] = {}

    def get(self, key: tuple[str, str], version: object) -> Target | None:
        """The target, if nothing about it has changed."""
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] == version else None

    def put(self, key: tuple[str, str], version: object, target: Target) -> None:
        """Keep it; the one kept longest makes room."""
        if len(self._kept) >= _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = (version, target)


class SqlTargets:
    """Implements `flow.ports.ingest.Targets` on one connection."""

    def __init__(self, connection: Connection, cache: TargetCache, now_us: int) -> None:
        self._connection = connection
        self._cache = cache
        self._now_us = now_us
        self._found: dict[tuple[str, str], Target | None] = {}
        self._slots: dict[str, Mapping[str, str]] = {}

    def projects(self) -> Sequence[str]:
        """Every project that has a slot."""
        return self._connection.scalars(
            select(SlotRow.project).distinct().order_by(SlotRow.project)
        ).all()

    def slots(self, project: str) -> Mapping[str, str]:
        """Unit type of each slot."""
        if project not in self._slots:
            rows = self._connection.execute(
                select(SlotRow.key, SlotRow.document).where(SlotRow.project == project)
            )
            self._slots[project] = {key: document["unit"] for key, document in rows}
        return self._slots[project]

    def target(self, project: str, rollout: str) -> Target | None:
        """One rollout that has been submitted, or None."""
        key = (project, rollout)
        if key not in self._found:
            self._found[key] = self._load(project, rollout)
        return self._found[key]

    def targets(self, project: str | None = None) -> Sequence[Target]:
        """Every rollout whose outcomes still count, oldest first."""
        since = from_micros(max(0, self._now_us - STILL_COUNTS_US))
        query = (
            select(*_VERSION)
            .where(
                RolloutRow.plan_sha256.is_not(None),
                RolloutRow.epoch > 0,
                or_(RolloutRow.ended_at.is_(None), RolloutRow.ended_at >= since),
            )
            .order_by(RolloutRow.created_at, RolloutRow.id)
        )
        if project is not None:
            query = query.where(RolloutRow.project == project)
        return [self._kept(row) for row in self._connection.execute(query).all()]

    def _load(self, project: str, rollout: str) -> Target | None:
        row = self._connection.execute(
            select(*_VERSION).where(RolloutRow.project == project, RolloutRow.id == rollout)
        ).one_or_none()
        return None if row is None or row.plan_sha256 is None else self._kept(row)

    def _kept(self, row: Row[*tuple[Any, ...]]) -> Target:
        """The target of a rollout's row, built again only when something about it has changed."""
        key, version = (row.project, row.id), tuple(row)
        target = self._cache.get(key, version)
        if target is None:
            target = self._build(row.project, row.id, row.salt)
            self._cache.put(key, version, target)
        return target

    def _build(self, project: str, rollout: str, salt: str) -> Target:
        document: Any = self._connection.scalar(
            select(RolloutRow.plan).where(RolloutRow.project == project, RolloutRow.id == rollout)
        )
        plan, epochs = Plan.from_document(document), self._epochs(project, rollout)
        return Target(
            project=project,
            rollout=rollout,
            slot=plan.slot.key,
            unit_type=plan.slot.unit,
            salt=salt,
            algo=plan.slot.hash.algo,
            metrics=plan.metrics,
            arms=tuple(plan.arms),
            splits=self._splits(project, rollout),
            epochs=epochs,
            gates=self._gates(project, plan.slot.key, epochs),
        )

    def _splits(self, project: str, rollout: str) -> list[Split]:
        rows = self._connection.execute(
            select(
                AllocationRow.number,
                AllocationRow.runs,
                AllocationRow.retired,
                AllocationRow.analysed,
                AllocationRow.opened_at,
                AllocationRow.eligible,
            )
            .where(AllocationRow.project == project, AllocationRow.rollout == rollout)
            .order_by(AllocationRow.number)
        )
        return [
            Split(
                number=row.number,
                runs=tuple((end, arm) for end, arm in row.runs),
                retired=tuple((start, end) for start, end in row.retired),
                analysed=row.analysed,
                opened_us=to_micros(row.opened_at),
                condition="" if row.eligible is None else canonical_json(row.eligible).decode(),
            )
            for row in rows
        ]

    def _epochs(self, project: str, rollout: str) -> list[Opened]:
        rows = self._connection.execute(
            select(EpochRow.number, EpochRow.allocation, EpochRow.enrolled_ppm, EpochRow.ruleset)
            .where(EpochRow.project == project, EpochRow.rollout == rollout)
            .order_by(EpochRow.number)
        )
        return [Opened(**row._mapping) for row in rows]

    def _gates(self, project: str, slot: str, epochs: Sequence[Opened]) -> list[Since]:
        """The slot's gates from the rollout's first ruleset on, with those in force then.

        Each holds the overrides that were new in it; the first, all that stood.
        """
        began = min((epoch.ruleset for epoch in epochs), default=0)
        in_force = (
            select(func.max(GatesRow.ruleset))
            .where(GatesRow.project == project, GatesRow.slot == slot, GatesRow.ruleset <= began)
            .scalar_subquery()
        )
        rows = self._connection.execute(
            select(GatesRow.ruleset, GatesRow.document)
            .where(
                GatesRow.project == project,
                GatesRow.slot == slot,
                GatesRow.ruleset >= func.coalesce(in_force, 0),
            )
            .order_by(GatesRow.ruleset)
        ).all()
        first = rows[0].ruleset if rows else 0
        new = self._overrides_since(project, slot, first)
        return [
            Since(row.ruleset, read_gates(with_arms(row.document, new.get(row.ruleset, {}))))
            for row in rows
        ]

    def _overrides_since(
        self, project: str, slot: str, first: int
    ) -> Mapping[int, Mapping[str, str]]:
        """Overrides by the ruleset that brought them; what stood before counts as of `first`."""
        rows = self._connection.execute(
            select(
                PublishedOverrideRow.since, PublishedOverrideRow.unit_hash, PublishedOverrideRow.arm
            ).where(
                PublishedOverrideRow.project == project,
                PublishedOverrideRow.slot == slot,
                or_(PublishedOverrideRow.until.is_(None), PublishedOverrideRow.until > first),
            )
        )
        found: dict[int, dict[str, str]] = defaultdict(dict)
        for row in rows:
            found[max(row.since, first)][row.unit_hash] = row.arm
        return found
