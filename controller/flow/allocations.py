"""The allocation a rollout is in, and the number of its next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from controller.flow.ports.work import Work
from controller.rollout.record import Allocation, Rollout

_COUNTED_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)


def current_allocation(work: Work, rollout: Rollout) -> Allocation | None:
    """The allocation in force; None before the first."""
    allocations = work.rollouts.allocations(rollout.project, rollout.id)
    return next((one for one in allocations if one.number == rollout.allocation), None)


def least_number(work: Work, rollout: Rollout) -> int:
    """What the number of a rollout's next allocation is at least: 1, unless it was restored.

    Pins, exposures and SDKs name an allocation by its number. A backup does not know the numbers
    that were given out after it was made, so a rollout that came out of one goes on with the
    seconds from 2020 to its restore: more than there can have been.
    """
    restored_at = work.deployments.restored_at()
    if restored_at is None or rollout.created_at > restored_at:
        return 1
    return int((restored_at - _COUNTED_FROM).total_seconds())
