"""The port behind which pins live: a shared memory of arms that may be lost at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from controller.assignment.choice import Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class PinKey:
    """One unit of one project."""

    project: str
    unit_type: str
    unit: str


class Wanted(NamedTuple):
    """What is asked about one unit in one allocation of one rollout.

    With `mine` it is a claim: that pin holds from now on, for `ttl_seconds`, unless somebody was
    first. Without, the unit's pin is only read; where it has none there, the first it has in one of
    the `earlier` allocations.
    """

    key: PinKey
    rollout: str
    allocation: int
    earlier: Sequence[int] = ()
    mine: Pin | None = None
    ttl_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PinCounts:
    """What a process has seen of its pin store since it started.

    `skipped` counts answers given without the store (it was down, slow or refused): they came from
    the pure function and differ from a pin only for exceptions. `waiting` of the skipped claims are
    still to be written; `lost` were dropped from that queue because it was full.
    """

    reads: int = 0
    claims: int = 0
    skipped: int = 0
    written_later: int = 0
    waiting: int = 0
    lost: int = 0
    available: bool = True


class Pins(Protocol):
    """Pins of units, first writer wins. No method raises for, or waits long on, a broken store."""

    def settle(self, wanted: Sequence[Wanted]) -> list[Pin | None]:
        """The pin of each that holds, or None; reads and claims go together, in one wait."""
        ...

    def read(
        self,
        keys: Sequence[PinKey],
        rollout: str,
        allocation: int,
        *,
        earlier: Sequence[int] = (),
    ) -> list[Pin | None]:
        """`settle` for units of one rollout that are only read."""
        ...

    def claim(self, key: PinKey, rollout: str, pin: Pin, *, ttl_seconds: int) -> Pin:
        """`settle` for one claim."""
        ...

    def claim_many(
        self, claims: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> list[Pin]:
        """`settle` for claims of one rollout."""
        ...

    def impose(
        self, wanted: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> Sequence[PinKey]:
        """Write the pins of exceptions, whatever stood there: SQL knows better.

        Returns
        -------
        sequence of PinKey
            Those that the store refused, asked twice, while it took the others.

        Raises
        ------
        Unavailable
            If the store does not answer, or refuses all of them.
        """
        ...

    def forget(self, keys: Sequence[PinKey]) -> None:
        """Drop every pin of these units, in every rollout (erasure).

        Raises
        ------
        Unavailable
            If the store does not answer: erasure is repeated, never assumed.
        """
        ...

    def drain(self, limit: int = 1000) -> int:
        """Write claims that were skipped while the store was away; how many were written."""
        ...

    def try_again(self) -> None:
        """Ask a store that did not answer of late once more, where its next trial is due.

        A process without traffic of its own finds out so that the store is back.
        """
        ...

    def counts(self) -> PinCounts:
        """What this process has seen."""
        ...
