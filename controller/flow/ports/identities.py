"""Who is who: stated aliases, identities, and the units that a rollout answers as another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from controller.aggregation.exposures import Target
from controller.flow.ports.ingest import First, Maturing, UnitState


class Alias(NamedTuple):
    """`alias` and `unit` are one; `root` is the id at the end of the chain."""

    project: str
    unit_type: str
    alias: str
    unit: str
    root: str


class Aliases(Protocol):
    """What was stated, as the transaction that states more sees it."""

    def take_turn(self, project: str) -> None:
        """Wait until nobody else states aliases in this project."""
        ...

    def known(self, project: str, unit_type: str, ids: Sequence[str]) -> Mapping[str, Alias]:
        """What is stated of these ids, by alias."""
        ...

    def sizes(self, project: str, unit_type: str, roots: Iterable[str]) -> Mapping[str, int]:
        """How many ids are one with each of these roots that has any, itself included."""
        ...

    def add(self, aliases: Sequence[Alias], *, moved: Mapping[str, str], actor: str) -> None:
        """Store new facts; what ended at an id in `moved` ends where that one does.

        All are of one project and unit type.
        """
        ...


class Because(StrEnum):
    """Why the pure function of a unit's own id is not its answer."""

    MERGED = "merged"
    ELIGIBILITY = "eligibility"


class Excepted(NamedTuple):
    """A unit that one rollout answers as `stands_for`."""

    unit: str
    stands_for: str
    reason: str


class Identities(Protocol):
    """Identities as aggregation knows them, and the rows of their ids."""

    def waiting(self, most: int) -> Sequence[Alias]:
        """Stated aliases that have not been applied yet."""
        ...

    def unite(self, aliases: Sequence[Alias], *, at_us: int) -> Mapping[tuple[str, str], set[str]]:
        """Make each pair one identity and mark it applied; every id whose identity grew."""
        ...

    def groups(
        self, project: str, unit_type: str, units: Iterable[str]
    ) -> Mapping[str, tuple[str, ...]]:
        """All ids of the identity of each of these units that has several, in order."""
        ...

    def states(self, target: Target, units: Iterable[str]) -> Sequence[UnitState]:
        """How these units stand in every series, locked, in order of (series, unit)."""
        ...

    def put(self, target: Target, states: Sequence[UnitState]) -> None:
        """Store how units stand, whatever stood there."""
        ...

    def entered(self, target: Target, units: Iterable[str]) -> Collection[tuple[int, str]]:
        """Those of these units, by (series, unit), that have entered a metric or been retired."""
        ...

    def leave(self, target: Target, firsts: Sequence[First]) -> Sequence[tuple[str, Maturing]]:
        """Mark every metric of these units as left; what stood there, with its metric."""
        ...

    def reopen(self, target: Target, metric: str, rows: Sequence[Maturing]) -> None:
        """Let units wait (again) for a metric's window, whatever stood there."""
        ...

    def excepted(self, target: Target, units: Iterable[str]) -> Mapping[str, Excepted]:
        """Those of these units that the rollout answers as another (or without a condition)."""
        ...

    def bearers(self, target: Target, units: Iterable[str]) -> Mapping[str, str]:
        """Every id that the rollout counts as one with one of these, and what it stands for."""
        ...

    def merged(self, target: Target) -> Mapping[str, Sequence[str]]:
        """The ids that stand for each bearer in one rollout."""
        ...

    def answer_as(self, target: Target, excepted: Sequence[Excepted]) -> int:
        """Store exceptions; how many are new to the rollout. Changed ones are pinned again."""
        ...


class ToPin(NamedTuple):
    """An exception of one live rollout, with what its pin is made from.

    `pinned` is the allocation for which its pin was last written, 0 for none.
    """

    unit: str
    stands_for: str
    pinned: int


class Keeping(NamedTuple):
    """An order: units of `series` first exposed in an epoch below `before_epoch` keep their arm.

    Given by the edit that opened `allocation`; `after_unit` is the last unit that was looked at.
    """

    project: str
    rollout: str
    allocation: int
    series: int
    before_epoch: int
    after_unit: str = ""


class Exceptions(Protocol):
    """What pins are made from."""

    def some(self) -> bool:
        """Whether there is any exception in any rollout."""
        ...

    def unpinned(
        self, project: str, rollout: str, allocation: int, *, most: int
    ) -> Sequence[ToPin]:
        """Exceptions whose pin has not been written for this allocation."""
        ...

    def after(self, project: str, rollout: str, unit: str, *, most: int) -> Sequence[ToPin]:
        """The next exceptions in order of unit."""
        ...

    def mark_pinned(
        self, project: str, rollout: str, allocation: int, pins: Sequence[ToPin]
    ) -> None:
        """Their pins are written; one that has changed since is left to be written again."""
        ...

    def order_keeping(self, order: Keeping) -> None:
        """Have units keep their arm; an order that waits and asks for less goes."""
        ...

    def keepings(self) -> Sequence[Keeping]:
        """Orders that have not been carried out yet, in order of name."""
        ...

    def is_keeping(self, project: str, rollout: str) -> bool:
        """Whether there is one for this rollout."""
        ...

    def drop_keeping(self, order: Keeping) -> None:
        """Have it carried out no further."""
        ...

    def keep_some(self, order: Keeping, *, most: int) -> int | None:
        """Carry out the next part of an order; how many exceptions are new, None where it is gone.

        `most` units are looked at. With the last of them the order goes.
        """
        ...


class Tallies(Protocol):
    """Numbers of the whole service that only grow."""

    def add(self, project: str, changes: Mapping[tuple[str, str], int]) -> None:
        """Add to (subject, name)."""
        ...

    def read(self, project: str, subject: str | None = None) -> Mapping[tuple[str, str], int]:
        """Every number of a project, or of one subject."""
        ...

    def grown(self, project: str, name: str) -> Mapping[str, tuple[int, datetime]]:
        """One number of every subject that has it, with when it last grew."""
        ...


class ProcessReport(NamedTuple):
    """How one running process finds its pin store."""

    process: str
    pins_waiting: int
    pins_available: bool


class Processes(Protocol):
    """What running processes say; silence for 30 s is not running."""

    def report(self, report: ProcessReport) -> None:
        """Say it."""
        ...

    def running(self) -> Sequence[ProcessReport]:
        """What each running process last said."""
        ...
