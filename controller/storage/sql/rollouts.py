"""Rollouts, their allocations and their epochs in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from controller.aggregation.statistics import Epoch
from controller.errors import Conflict, StaleVersion
from controller.experiments.models import Model
from controller.experiments.plans import Plan
from controller.rollout.record import Allocation, Draft, Rollout
from controller.rollout.states import TERMINAL, Pause, State, Verdict
from controller.storage.sql.schema.rollouts import AllocationRow, EpochRow, RolloutRow

_AT_REST = tuple(sorted(state.value for state in (*TERMINAL, State.DRAFT)))
_LOOK_COLUMNS = (
    "generation",
    "verdict",
    "reason",
    "judgement",
    "look_number",
    "look_sha256",
    "look_memory",
    "next_look_at",
)


class SqlRollouts:
    """Implements `flow.ports.rollouts.Rollouts` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project: str, rollout: str) -> Rollout | None:
        """One rollout, or None."""
        row = self._connection.execute(
            select(RolloutRow.__table__).where(
                RolloutRow.project == project, RolloutRow.id == rollout
            )
        ).one_or_none()
        return None if row is None else _rollout(row)

    def live_in(self, project: str, slot: str) -> Rollout | None:
        """The one rollout that occupies the slot, or None."""
        row = self._connection.execute(
            select(RolloutRow.__table__)
            .where(
                RolloutRow.project == project,
                RolloutRow.slot == slot,
                RolloutRow.state.not_in(_AT_REST),
            )
            .order_by(RolloutRow.created_at)
            .limit(1)
        ).one_or_none()
        return None if row is None else _rollout(row)

    def live(self, project: str | None = None) -> Sequence[Rollout]:
        """Every rollout that is neither a draft nor terminal, oldest first."""
        query = select(RolloutRow.__table__).where(RolloutRow.state.not_in(_AT_REST))
        if project is not None:
            query = query.where(RolloutRow.project == project)
        rows = self._connection.execute(query.order_by(RolloutRow.created_at, RolloutRow.id))
        return [_rollout(row) for row in rows]

    def in_slot(self, project: str, slot: str) -> Sequence[Rollout]:
        """Newest first."""
        rows = self._connection.execute(
            select(RolloutRow.__table__)
            .where(RolloutRow.project == project, RolloutRow.slot == slot)
            .order_by(RolloutRow.created_at.desc(), RolloutRow.id.desc())
        )
        return [_rollout(row) for row in rows]

    def add(self, rollout: Rollout) -> None:
        """Write a new rollout."""
        self._connection.execute(insert(RolloutRow).values(**_values(rollout)))

    def save(self, rollout: Rollout) -> Rollout:
        """Write if nobody changed it or looked since it was read; return it with generation + 1.

        Raises
        ------
        StaleVersion
            If somebody else wrote first.
        Conflict
            If another rollout lives in the slot already.
        """
        saved = replace(rollout, generation=rollout.generation + 1)
        self._write(rollout, _values(saved), look_number=rollout.look_number)
        return saved

    def save_look(self, rollout: Rollout, *, news: bool, taken: bool = True) -> Rollout:
        """Write what the next look saw, or that the last one stands; news raise the generation.

        Raises
        ------
        StaleVersion
            If somebody changed the rollout, or looked, since it was read.
        """
        saved = replace(rollout, generation=rollout.generation + news)
        values = _values(saved)
        columns = {name: values[name] for name in _LOOK_COLUMNS}
        self._write(rollout, columns, look_number=rollout.look_number - taken)
        return saved

    def _write(self, read: Rollout, values: dict[str, Any], *, look_number: int) -> None:
        query = (
            update(RolloutRow)
            .where(
                RolloutRow.project == read.project,
                RolloutRow.id == read.id,
                RolloutRow.generation == read.generation,
                RolloutRow.look_number == look_number,
            )
            .values(**values)
        )
        try:
            changed = self._connection.execute(query)
        except IntegrityError as problem:
            raise Conflict(f"Another rollout lives in slot {read.slot}.") from problem
        if changed.rowcount != 1:
            raise StaleVersion(f"Rollout {read.id} changed since it was read.")

    def add_allocation(self, project: str, rollout: str, allocation: Allocation) -> None:
        """Open a period of constant arms and weights."""
        self._connection.execute(
            insert(AllocationRow).values(
                project=project,
                rollout=rollout,
                number=allocation.number,
                weights=dict(allocation.weights),
                runs=[list(run) for run in allocation.runs],
                retired=[list(part) for part in allocation.retired],
                analysed=allocation.analysed,
                opened_at=allocation.opened_at,
                eligible=allocation.eligible,
                dropped=dict(allocation.dropped) or None,
            )
        )

    def allocations(self, project: str, rollout: str) -> Sequence[Allocation]:
        """In order of number."""
        rows = self._connection.execute(
            select(AllocationRow.__table__)
            .where(AllocationRow.project == project, AllocationRow.rollout == rollout)
            .order_by(AllocationRow.number)
        )
        return [_allocation(row) for row in rows]

    def add_epoch(
        self, project: str, rollout: str, epoch: Epoch, *, ruleset: int, at: datetime
    ) -> None:
        """Open an epoch: from this ruleset on, first exposures belong to it."""
        self._connection.execute(
            insert(EpochRow).values(
                project=project,
                rollout=rollout,
                number=epoch.number,
                allocation=epoch.allocation,
                enrolled_ppm=round(epoch.enrolled * 1_000_000),
                ruleset=ruleset,
                opened_at=at,
            )
        )

    def epochs(self, project: str, rollout: str) -> Sequence[Epoch]:
        """In order of number, each with the weights of its allocation."""
        rows = self._connection.execute(
            select(
                EpochRow.number, EpochRow.allocation, EpochRow.enrolled_ppm, AllocationRow.weights
            )
            .join(
                AllocationRow,
                (AllocationRow.project == EpochRow.project)
                & (AllocationRow.rollout == EpochRow.rollout)
                & (AllocationRow.number == EpochRow.allocation),
            )
            .where(EpochRow.project == project, EpochRow.rollout == rollout)
            .order_by(EpochRow.number)
        )
        return [
            Epoch(
                number=row.number,
                allocation=row.allocation,
                enrolled=row.enrolled_ppm / 1_000_000,
                weights=row.weights,
            )
            for row in rows
        ]


def _values(rollout: Rollout) -> dict[str, Any]:
    plan = rollout.plan
    names = rollout.__slots__
    plain = {name: getattr(rollout, name) for name in names if name not in ("draft", "plan")}
    return plain | {
        "state": rollout.state.value,
        "verdict": rollout.verdict.value,
        "document": rollout.draft.document(),
        "plan": None if plan is None else plan.document(),
        "plan_sha256": None if plan is None else plan.sha256,
        "paused": [reason.value for reason in rollout.paused],
        "judgement": None if rollout.judgement is None else dict(rollout.judgement),
        "look_memory": None if rollout.look_memory is None else dict(rollout.look_memory),
        "replaced": None if rollout.replaced is None else rollout.replaced.document(),
    }


def _rollout(row: Row[Any]) -> Rollout:
    values = dict(row._mapping)
    document, plan = values.pop("document"), values.pop("plan")
    replaced = values.pop("replaced")
    values.pop("plan_sha256")
    return Rollout(
        **{
            **values,
            "draft": Draft.from_document(document),
            "plan": None if plan is None else Plan.from_document(plan),
            "state": State(values["state"]),
            "verdict": Verdict(values["verdict"]),
            "paused": tuple(Pause(reason) for reason in values["paused"]),
            "replaced": None if replaced is None else Model.from_document(replaced),
        }
    )


def _allocation(row: Row[Any]) -> Allocation:
    return Allocation(
        number=row.number,
        weights=row.weights,
        runs=tuple((end, arm) for end, arm in row.runs),
        retired=tuple((start, end) for start, end in row.retired),
        analysed=row.analysed,
        opened_at=row.opened_at,
        eligible=row.eligible,
        dropped=row.dropped or {},
    )
