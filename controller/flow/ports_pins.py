"""The port behind which pins live: a shared memory of arms that may be lost at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.assignment.choice import Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class PinKey:
    """One unit of one project."""

    project: str
    unit_type: str
    unit: str


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

    def read(
        self,
        keys: Sequence[PinKey],
        rollout: str,
        allocation: int,
        *,
        earlier: Sequence[int] = (),
    ) -> list[Pin | None]:
        """The pins of these units in one allocation of one rollout; one round trip.

        Where a unit has none there, the first it has in one of the `earlier` ones.
        """
        ...

    def claim(self, key: PinKey, rollout: str, pin: Pin, *, ttl_seconds: int) -> Pin:
        """The pin that holds from now on: `pin`, unless somebody was first; one round trip."""
        ...

    def claim_many(
        self, claims: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> list[Pin]:
        """`claim` for many units, in one round trip where the store allows it."""
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

    def counts(self) -> PinCounts:
        """What this process has seen."""
        ...
