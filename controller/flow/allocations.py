"""The allocation a rollout is in."""

from __future__ import annotations

from controller.flow.ports.work import Work
from controller.rollout.record import Allocation, Rollout


def current_allocation(work: Work, rollout: Rollout) -> Allocation | None:
    """The allocation in force; None before the first."""
    allocations = work.rollouts.allocations(rollout.project, rollout.id)
    return next((one for one in allocations if one.number == rollout.allocation), None)
