"""What turning requests into sums needs from the outside: the inbox, and one transaction over it.

Rows on this path are named tuples in the order of their tables' columns and instants are whole
microseconds since 1970: hundreds of thousands of them pass through one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from controller.aggregation.attribution import Happened
from controller.aggregation.exposures import Target
from controller.aggregation.recompute import Entered, Exposed
from controller.aggregation.sums import Contribution, Sums
from controller.errors import ControllerError

if TYPE_CHECKING:
    from controller.flow.ports.identities import Identities, Tallies

Prepared = TypeVar("Prepared")

EXPOSURE: Final = 0
OUTCOME: Final = 1
PREDICTION: Final = 2

OPEN: Final = 0
ENTERED: Final = 1
MISSING: Final = 2
LEFT: Final = 3
RETIRED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request that is about to be accepted."""

    project: str
    key_id: str
    batch_id: str
    digest: str
    received_at: datetime
    events: int
    body: bytes
    verdict: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was stored under a batch id before."""

    digest: str
    verdict: Mapping[str, Any]


class Inbox(Protocol):
    """Requests on disk, one row each."""

    def put(self, received: Received) -> Answered | None:
        """Commit one request to disk; what stood there where the batch id is not new.

        Raises
        ------
        Unavailable
            If it could not be written; nothing was accepted.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An accepted request being aggregated."""

    seq: int
    project: str
    batch_id: str
    key_id: str
    received_us: int
    events: int
    body: bytes


class LedgerEntry(NamedTuple):
    """One event as the ledger keeps it; `detail` is JSON text."""

    project: str
    event_id: str
    kind: int
    digest: bytes
    occurred_us: int
    received_us: int
    unit: str | None = None
    unit_type: str | None = None
    slot: str | None = None
    name: str | None = None
    value: float | None = None
    corrects: str | None = None
    rollout: str | None = None
    allocation: int | None = None
    arm: str | None = None
    ruleset: int | None = None
    reason: str | None = None
    ref: str | None = None
    pinned: bool | None = None
    detail: str | None = None


class Ledger(Protocol):
    """Every accepted event, once."""

    def add(self, entries: Sequence[LedgerEntry]) -> Mapping[tuple[str, str], bytes]:
        """Insert what is new; the digests of those (project, event_id) that stood there before."""
        ...

    def outcomes(
        self, target: Target, units: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Sequence[Happened]]:
        """Outcomes of these units that may count for the target's slot, by unit."""
        ...

    def mark_pinned(self, project: str, event_ids: Sequence[str]) -> None:
        """Remember that a pin explained the arm of these exposures."""
        ...

    def exposures(self, target: Target) -> Iterable[Exposed]:
        """Every exposure of one rollout that is to be analysed if its arm is right."""
        ...


class First(NamedTuple):
    """A unit's first exposure in one series."""

    series: int
    unit: str
    epoch: int
    arm: str
    exposed_us: int


class UnitState(NamedTuple):
    """A unit as stored."""

    first: First
    left_for: str | None


class Units(Protocol):
    """First exposures, and how many there are."""

    def add(self, target: Target, firsts: Sequence[First]) -> Mapping[tuple[int, str], UnitState]:
        """Insert what is new; the (series, unit) that stood there before, locked."""
        ...

    def move(self, target: Target, first: First) -> None:
        """Replace an earlier known first exposure, of a unit that has not entered."""
        ...

    def leave(self, target: Target, series: int, unit: str, reason: str) -> None:
        """Take a unit out of the analysis."""
        ...

    def count(self, target: Target, changes: Mapping[tuple[int, str], int]) -> None:
        """Add to the analysed exposures of (epoch, arm)."""
        ...

    def exclude(self, target: Target, changes: Mapping[tuple[str, str], int]) -> None:
        """Add to what is counted and not analysed, by (reason, arm)."""
        ...

    def all(self, target: Target) -> Iterable[UnitState]:
        """Every unit of one rollout."""
        ...

    def counts(self, target: Target) -> Mapping[tuple[int, str], int]:
        """Analysed exposures by (epoch, arm)."""
        ...

    def observed(self, project: str, slot: str, *, before_us: int, most: int) -> Mapping[str, int]:
        """The newest units of a slot at rest up to an instant, with their exposure."""
        ...

    def observe(self, project: str, slot: str, exposed: Mapping[str, int]) -> None:
        """Remember when units met the champion of a slot at rest; the earliest stays."""
        ...


class Maturing(NamedTuple):
    """One metric of one unit."""

    series: int
    unit: str
    epoch: int
    arm: str
    exposed_us: int
    closes_us: int
    state: int = OPEN
    contribution: Contribution = Contribution(None)


class Maturations(Protocol):
    """Which metrics of which units wait, and what the others contributed."""

    def open(self, target: Target, metric: str, rows: Iterable[Maturing]) -> None:
        """Units whose window has just begun."""
        ...

    def due(self, target: Target, metric: str, *, through_us: int, most: int) -> Sequence[Maturing]:
        """Open rows that close at or before `through_us`, the earliest first."""
        ...

    def settle(
        self, target: Target, metric: str, rows: Iterable[tuple[Maturing, Contribution]]
    ) -> None:
        """Store in which epoch each row counts, and what it contributes (nothing: missing)."""
        ...

    def retire(self, target: Target, metric: str, rows: Iterable[Maturing]) -> None:
        """Let rows leave that an edit has retired while their window was open, and count them."""
        ...

    def settled(self, target: Target) -> Iterable[Maturing]:
        """Every row of one rollout that waits no longer, without what it contributed."""
        ...

    def entered(self, target: Target, metric: str, units: Sequence[str]) -> Sequence[Maturing]:
        """Those rows of these units that have entered or are missing, locked."""
        ...

    def reopen(self, target: Target, metric: str, row: Maturing) -> None:
        """Give a unit that has not entered another first exposure."""
        ...

    def leave(self, target: Target, series: int, unit: str) -> Mapping[str, Maturing]:
        """Mark every metric of a unit as left; what stood there, by metric."""
        ...

    def all_entered(self, target: Target) -> Iterable[Entered]:
        """Every row that has entered, with a value or without."""
        ...

    def caps(self, target: Target) -> Mapping[str, float]:
        """Frozen caps by metric."""
        ...

    def any_entered(self, target: Target, series: int, unit: str) -> bool:
        """Whether any metric of the unit has entered or been retired: then it is frozen."""
        ...

    def cap(self, target: Target, metric: str) -> float | None:
        """The frozen cap of a metric that is winsorized at a quantile."""
        ...

    def freeze_cap(
        self, target: Target, metric: str, cap: float, *, units: int, origin: str
    ) -> None:
        """Store the cap for ever."""
        ...


class Accumulators(Protocol):
    """The sums a look reads."""

    def add(self, target: Target, changes: Mapping[tuple[str, int, str], Sums]) -> None:
        """Add to the sums of (metric, epoch, arm)."""
        ...

    def read(self, target: Target) -> Mapping[tuple[str, int, str], Sums]:
        """The stored sums."""
        ...

    def carried(self, target: Target) -> Mapping[tuple[str, int, str], Sums]:
        """The part of them whose rows are gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What was wrong with events of one batch, by code."""

    project: str
    batch_id: str
    key_id: str
    code: str
    count: int
    examples: Sequence[Mapping[str, Any]]
    id: str = ""
    at: datetime | None = None


class DeadLetter(NamedTuple):
    """An accepted event, or whole request, that could not be counted."""

    project: str
    batch_id: str
    position: int
    key_id: str
    code: str
    event_id: str | None
    detail: str
    body: bytes


class Problems(Protocol):
    """What operators are told about events."""

    def add(
        self, problems: Sequence[Problem], letters: Sequence[DeadLetter], *, at_us: int
    ) -> None: ...
    def list(self, project: str, *, before: str = "", most: int = 100) -> Sequence[Problem]:
        """Newest first, from before the problem named `before`."""
        ...


class Declaration(NamedTuple):
    """A producer's word that its outcomes are complete."""

    source: str
    through_us: int
    posted_us: int


class Clock(Protocol):
    """Completeness: the watermark, declarations, and when outcomes last arrived."""

    def watermark(self, project: str) -> int:
        """The stored watermark; 0 before the first."""
        ...

    def reach(self, project: str) -> int:
        """What the watermark could be now: min(database time, oldest undone request)."""
        ...

    def advance(self, project: str) -> int:
        """Raise the stored watermark as far as it reaches, never lower it."""
        ...

    def arrived(self, project: str, newest: Mapping[str, int]) -> None:
        """Note when outcomes of these names last arrived."""
        ...

    def declarations(self, project: str, outcome: str) -> Sequence[Declaration]:
        """Every declaration for one outcome."""
        ...

    def declare(
        self, project: str, outcome: str, source: str, *, through_us: int, actor: str
    ) -> None:
        """Store a declaration."""
        ...


class Targets(Protocol):
    """Rollouts and slots as events meet them."""

    def projects(self) -> Sequence[str]:
        """Every project that has a slot."""
        ...

    def slots(self, project: str) -> Mapping[str, str]:
        """Unit type of each slot."""
        ...

    def target(self, project: str, rollout: str) -> Target | None:
        """One rollout that has been submitted, or None."""
        ...

    def targets(self, project: str | None = None) -> Sequence[Target]:
        """Every rollout whose outcomes still count."""
        ...


class IngestWork(Protocol):
    """One transaction from the inbox to the sums."""

    @property
    def now_us(self) -> int:
        """Database time, read once."""
        ...

    @property
    def claimed(self) -> Sequence[Claimed]:
        """The requests this transaction aggregates; they are done when it commits."""
        ...

    @property
    def ledger(self) -> Ledger: ...
    @property
    def units(self) -> Units: ...
    @property
    def maturations(self) -> Maturations: ...
    @property
    def accumulators(self) -> Accumulators: ...
    @property
    def problems(self) -> Problems: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def targets(self) -> Targets: ...
    @property
    def identities(self) -> Identities: ...
    @property
    def tallies(self) -> Tallies: ...


class Indigestible(ControllerError):
    """The database refuses what a request would store; the request is set aside whole."""

    code = "indigestible"


class IngestStore(Protocol):
    """Where ingest transactions come from.

    A transaction that the database refuses because of its content raises `Indigestible` and has
    changed nothing.
    """

    def waiting(self) -> bool:
        """Whether any request waits; asked without a lock."""
        ...

    def aggregating(
        self, budget: int, prepare: Callable[[Sequence[Claimed]], Prepared]
    ) -> AbstractContextManager[tuple[IngestWork, Prepared]]:
        """Claims undone requests holding about `budget` events, at least one request.

        `prepare` sees them before anything is locked where the store can do so, perhaps more than
        once; its result comes back with the transaction.
        """
        ...

    def reading(self) -> AbstractContextManager[IngestWork]:
        """A consistent snapshot; writes are an error."""
        ...

    def maturing(self) -> AbstractContextManager[IngestWork]:
        """Claims nothing; excludes every other ingest transaction while it lasts."""
        ...
