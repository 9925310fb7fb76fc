"""Exceptions of one rollout as pins are made from them, and orders to make more of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from controller.flow.ports.identities import Because, Keeping, ToPin
from controller.storage.sql import bulk
from controller.storage.sql.identities import EXCEPTIONS
from controller.storage.sql.schema.identities import ArmKeepingRow
from controller.storage.sql.units import UNITS

KEEPINGS: Final[Table] = ArmKeepingRow.__table__  # type: ignore[assignment]
_C = EXCEPTIONS.c
_K = KEEPINGS.c
_U = UNITS.c


class SqlExceptions:
    """Implements `flow.ports.identities.Exceptions` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def some(self) -> bool:
        """Whether there is any exception in any rollout."""
        return self._connection.scalar(select(_C.unit).limit(1)) is not None

    def unpinned(
        self, project: str, rollout: str, allocation: int, *, most: int
    ) -> Sequence[ToPin]:
        """Exceptions whose pin has not been written for this allocation."""
        rows = self._connection.execute(
            select(_C.unit, _C.stands_for, _C.pinned)
            .where(*_of(project, rollout), _C.pinned < allocation)
            .limit(most)
        )
        return [ToPin(*row) for row in rows]

    def after(self, project: str, rollout: str, unit: str, *, most: int) -> Sequence[ToPin]:
        """The next exceptions in order of unit."""
        rows = self._connection.execute(
            select(_C.unit, _C.stands_for, _C.pinned)
            .where(*_of(project, rollout), _C.unit > unit)
            .order_by(_C.unit)
            .limit(most)
        )
        return [ToPin(*row) for row in rows]

    def mark_pinned(
        self, project: str, rollout: str, allocation: int, pins: Sequence[ToPin]
    ) -> None:
        """Their pins are written; one that has changed since is left to be written again."""
        lock_in_order(self._connection, project, rollout, [pin.unit for pin in pins])
        bulk.update(
            self._connection,
            EXCEPTIONS,
            (_C.project, _C.rollout, _C.unit, _C.stands_for),
            (_C.pinned,),
            [(project, rollout, pin.unit, pin.stands_for, allocation) for pin in pins],
        )

    def order_keeping(self, order: Keeping) -> None:
        """Have units keep their arm; an order that waits and asks for less goes."""
        self._connection.execute(
            delete(KEEPINGS).where(
                *_order_of(order), _K.series == order.series, _K.allocation < order.allocation
            )
        )
        self._connection.execute(insert(KEEPINGS).values(order))

    def keepings(self) -> Sequence[Keeping]:
        """Orders that have not been carried out yet, in order of name."""
        rows = self._connection.execute(
            select(KEEPINGS).order_by(_K.project, _K.rollout, _K.allocation)
        )
        return [Keeping(*row) for row in rows]

    def is_keeping(self, project: str, rollout: str) -> bool:
        """Whether there is one for this rollout."""
        found = select(_K.allocation).where(_K.project == project, _K.rollout == rollout)
        return self._connection.scalar(found.limit(1)) is not None

    def drop_keeping(self, order: Keeping) -> None:
        """Have it carried out no further."""
        self._connection.execute(
            delete(KEEPINGS).where(*_order_of(order), _K.allocation == order.allocation)
        )

    def keep_some(self, order: Keeping, *, most: int) -> int | None:
        """Carry out the next part of an order; how many exceptions are new, None where it is gone.

        `most` units are looked at. With the last of them the order goes.
        """
        mine = (*_order_of(order), _K.allocation == order.allocation)
        row = self._connection.execute(
            select(KEEPINGS).where(*mine).with_for_update()
        ).one_or_none()
        if row is None:
            return None
        order = Keeping(*row)
        ahead = (
            _U.project == order.project,
            _U.rollout == order.rollout,
            _U.series == order.series,
            _U.unit > order.after_unit,
        )
        end = self._connection.scalar(
            select(_U.unit).where(*ahead).order_by(_U.unit).offset(most - 1).limit(1)
        )
        if end is None:
            self._connection.execute(delete(KEEPINGS).where(*mine))
            return self._except(order, *ahead)
        self._connection.execute(update(KEEPINGS).where(*mine).values(after_unit=end))
        return self._except(order, *ahead, _U.unit <= end)

    def _except(self, order: Keeping, *where: ColumnElement[bool]) -> int:
        postgres = self._connection.dialect.name == "postgresql"
        dialect = postgresql if postgres else sqlite
        # In the order in which others insert, so that nobody deadlocks.
        by_unit = _U.unit.collate("C") if postgres else _U.unit
        met = select(
            _U.project,
            _U.rollout,
            _U.unit,
            _U.unit,
            literal(Because.ELIGIBILITY.value),
            literal(0),
        ).where(*where, _U.epoch < order.before_epoch, _U.left_for.is_(None))
        into = dialect.insert(EXCEPTIONS).from_select(
            ["project", "rollout", "unit", "stands_for", "reason", "pinned"], met.order_by(by_unit)
        )
        result = self._connection.execute(
            into.on_conflict_do_nothing(), execution_options={"preserve_rowcount": True}
        )
        return result.rowcount


def lock_in_order(connection: Connection, project: str, rollout: str, units: Iterable[str]) -> None:
    """Take these exceptions in the order in which others insert, so that nobody deadlocks.

    Pins are marked, hashes stored and merges applied by several workers at once; an update alone
    takes its rows in whatever order the planner likes. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        wanted = (*_of(project, rollout), bulk.among(connection, _C.unit, units))
        ordered = select(_C.unit).where(*wanted).order_by(_C.unit.collate("C"))
        connection.execute(ordered.with_for_update())


def _of(project: str, rollout: str) -> tuple[Any, ...]:
    return (_C.project == project, _C.rollout == rollout)


def _order_of(order: Keeping) -> tuple[Any, ...]:
    return (_K.project == order.project, _K.rollout == order.rollout)
