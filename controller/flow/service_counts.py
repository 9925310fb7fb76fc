"""Numbers of the whole service that only grow, by name: who writes them, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from controller.flow.ports.identities import Tallies

PIN_UNKNOWN: Final = "pin_unknown"
"""Exposures of excepted units that an SDK answered before it knew their pin, by rollout."""
REBUILT: Final = "pins_rebuilt"
"""Pins of exceptions that the pin store had lost and was given back, by rollout."""
REFUSED: Final = "pins_refused"
"""Pins of exceptions that the pin store refused while it took others, by rollout."""
MERGED_KEPT_OUT: Final = "merged_kept_out"
"""Ids of merged units that an override, a holdout or a layer kept out when they were merged, by
rollout: they are answered by that rule, not as the id that is analysed."""
MERGED_RETIRED: Final = "merged_retired."
"""Ids of merged units that see the champion because the bucket of the id they stand for is retired,
by rollout; the number of the allocation follows."""
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
