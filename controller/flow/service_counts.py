"""Numbers of the whole service that only grow, by name: who writes them, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from controller.flow.ports.identities import Tallies

PIN_UNKNOWN: Final = "pin_unknown"
"""Exposures of excepted units that an SDK answered before it knew their pin, by rollout."""
REBUILT: Final = "pins_rebuilt"
"""Pins of exceptions that the pin store had lost and was given back, by rollout."""
EXCEPTED: Final = "excepted_"
"""Excepted units by reason (`merged`, `eligibility`), by rollout."""
PINS: Final = "pins_"
"""What processes saw of the pin store (`skipped`, `written_later`, `lost`), for the deployment."""
DEPLOYMENT: Final = ""
"""The project and the subject of numbers that belong to none."""
EVENTS_LOST: Final = "events_lost"
"""Events that an SDK's spool had to drop before they could be sent, by key."""


class Counting(Protocol):
    """A transaction that holds the tallies."""

    @property
    def tallies(self) -> Tallies: ...


def count_excepted(work: Counting, project: str, rollout: str, new: Mapping[str, int]) -> None:
    """Add units that have just been excepted, by reason."""
    work.tallies.add(project, {(rollout, f"{EXCEPTED}{reason}"): n for reason, n in new.items()})


def excepted_units(work: Counting, project: str, rollout: str) -> int:
    """How many units a rollout does not answer by the pure function of their id."""
    found = work.tallies.read(project, rollout)
    return sum(n for (_, name), n in found.items() if name.startswith(EXCEPTED))
