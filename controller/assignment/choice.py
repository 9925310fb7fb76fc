"""What an assignment answers: the arm, the model behind it, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHAMPION = "champion"


class Reason(StrEnum):
    """Why a unit got its answer. A closed list: additions are announced, never renamed."""

    SPLIT = "SPLIT"
    PINNED = "PINNED"
    OVERRIDE = "OVERRIDE"
    HOLDOUT = "HOLDOUT"
    LAYER = "LAYER"
    NOT_ENROLLED = "NOT_ENROLLED"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    RETIRED = "RETIRED"
    NO_ROLLOUT = "NO_ROLLOUT"
    KILLED = "KILLED"
    STALE = "STALE"
    NO_RULESET = "NO_RULESET"
    PIN_UNKNOWN = "PIN_UNKNOWN"
    UNKNOWN_SLOT = "UNKNOWN_SLOT"
    INVALID_UNIT = "INVALID_UNIT"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as application code needs it. `payload` is any JSON; treat it as read-only."""

    name: str
    version: str
    digest: str | None = None
    uri: str | None = None
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A remembered arm of one unit: what the pure function said when the unit was first exposed.

    `bucket` is the enrolment bucket in [0, 1_000_000): the pin counts only in its allocation and
    while that bucket lies inside today's enrolment, so ramp-down and rollback reach it at once.
    """

    allocation: int
    arm: str
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The answer for one unit of one slot.

    Equal answers share one object, so a choice is never changed. `unit` is filled only where an
    exposure may follow later (`peek`, `assign_many`).

    Attributes
    ----------
    arm : str
        ``champion``, ``challenger`` or ``challenger-N``.
    model : Model or None
        None only while no ruleset names one.
    payload : Any
        The model's payload, or the caller's default while there is no ruleset. Read-only.
    reason : Reason
        Why; compares equal to its string.
    rollout, allocation : str and int, or None
        Set where the unit takes part in a rollout (SPLIT, PINNED, PIN_UNKNOWN) or is shown an arm
        of it by hand (OVERRIDE); else None.
    ruleset : int
        Version of the ruleset that decided, 0 while there is none.
    exposed : bool
        Whether meeting this answer is an exposure: enrolled units, and the observed share of a
        slot at rest.
    """

    slot: str
    arm: str
    model: Model | None
    payload: Any
    reason: Reason
    rollout: str | None
    allocation: int | None
    ruleset: int
    exposed: bool = False
    unit: str | None = field(default=None, compare=False)

    def for_unit(self, unit: str) -> Choice:
        """The same answer carrying its unit, so that it can be exposed later."""
        return Choice(
            slot=self.slot,
            arm=self.arm,
            model=self.model,
            payload=self.payload,
            reason=self.reason,
            rollout=self.rollout,
            allocation=self.allocation,
            ruleset=self.ruleset,
            exposed=self.exposed,
            unit=unit,
        )
