"""Every accepted event, once, and the outcomes of units by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from sqlalchemy import Connection, Table, or_, select, text, update

from controller.aggregation.attribution import Happened
from controller.aggregation.exposures import MET_IN_ROLLOUT, Target
from controller.aggregation.recompute import Exposed
from controller.flow.ports.ingest import EXPOSURE, OUTCOME, LedgerEntry
from controller.storage.sql import bulk
from controller.storage.sql.identities import same_unit
from controller.storage.sql.schema.events import LedgerRow

LEDGER: Table = LedgerRow.__table__  # type: ignore[assignment]


class SqlLedger:
    """Implements `flow.ports.ingest.Ledger` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, entries: Sequence[LedgerEntry]) -> Mapping[tuple[str, str], bytes]:
        """Insert what is new; the digests of those that stood there before."""
        known: dict[tuple[str, str], bytes] = {}
        for project, mine in groupby(sorted(entries, key=_project), key=_project):
            rows = list(mine)
            taken = bulk.insert_new(self._connection, LEDGER, rows, LEDGER.c.event_id)
            if taken:
                known |= self._digests(project, sorted(taken))
        return known

    def outcomes(
        self, target: Target, units: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Sequence[Happened]]:
        """Outcomes of these units that may count for the target's slot, by unit.

        Outcomes of every id of a merged unit are the unit's.
        """
        bearers = same_unit(self._connection, target, units)
        found = outcomes_of(
            self._connection,
            target.project,
            target.slot,
            unit_type=target.unit_type,
            units=[*units, *bearers],
            names=names,
        )
        return _as_one(units, found, bearers) if bearers else found

    def mark_pinned(self, project: str, event_ids: Sequence[str]) -> None:
        """Remember that a pin explained the arm of these exposures."""
        self._connection.execute(
            update(LEDGER)
            .where(
                LEDGER.c.project == project,
                bulk.among(self._connection, LEDGER.c.event_id, event_ids),
            )
            .values(pinned=True)
        )

    def exposures(self, target: Target) -> Iterable[Exposed]:
        """Every exposure of one rollout that is to be analysed if its arm is right."""
        table = LEDGER.c
        rows = self._connection.execute(
            select(
                table.event_id,
                table.occurred_us,
                table.unit,
                table.allocation,
                table.arm,
                table.ruleset,
                table.pinned,
            ).where(
                table.project == target.project,
                table.kind == EXPOSURE,
                table.rollout == target.rollout,
                table.slot == target.slot,
                table.reason.in_(sorted(reason.value for reason in MET_IN_ROLLOUT)),
            )
        )
        for event_id, occurred_us, unit, allocation, arm, ruleset, pinned in rows:
            yield Exposed(event_id, occurred_us, unit, allocation, arm, ruleset, bool(pinned))

    def _digests(self, project: str, event_ids: Sequence[str]) -> dict[tuple[str, str], bytes]:
        rows = self._connection.execute(
            select(LEDGER.c.event_id, LEDGER.c.digest).where(
                LEDGER.c.project == project,
                bulk.among(self._connection, LEDGER.c.event_id, event_ids),
            )
        )
        return {(project, event_id): bytes(digest) for event_id, digest in rows}


def outcomes_of(
    connection: Connection,
    project: str,
    slot: str,
    *,
    unit_type: str,
    units: Sequence[str],
    names: Sequence[str],
) -> Mapping[str, Sequence[Happened]]:
    """Outcomes of these units that may count for a slot: its own, and those that name none."""
    table = LEDGER.c
    rows = connection.execute(
        select(
            table.unit,
            table.occurred_us,
            table.event_id,
            table.name,
            table.value,
            table.corrects,
        ).where(
            table.project == project,
            bulk.among(connection, table.unit, units),
            # Written out, so that the partial index is seen to fit.
            text(f"kind = {OUTCOME}"),
            table.name.in_(names),
            table.unit_type == unit_type,
            or_(table.slot.is_(None), table.slot == slot),
        )
    ).all()
    found: dict[str, list[Happened]] = {}
    for unit, occurred_us, event_id, name, value, corrects in rows:
        outcome = Happened(occurred_us, event_id, name, value, corrects)
        found.setdefault(unit, []).append(outcome)
    return found


def _as_one(
    units: Sequence[str],
    found: Mapping[str, Sequence[Happened]],
    bearers: Mapping[str, str],
) -> dict[str, Sequence[Happened]]:
    """The outcomes of each unit with those of every id that is one with it."""
    together: dict[str, list[Happened]] = {}
    for unit, outcomes in found.items():
        together.setdefault(bearers.get(unit, unit), []).extend(outcomes)
    mine = {unit: together.get(bearers.get(unit, unit)) for unit in units}
    return {unit: outcomes for unit, outcomes in mine.items() if outcomes}


def _project(entry: LedgerEntry) -> str:
    return entry.project
