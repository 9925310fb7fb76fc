"""Rollouts that split traffic and remember arms, with the allocation they are in."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from controller.experiments.policies import Sticky
from controller.flow.ports.work import Store
from controller.rollout.record import Allocation, Rollout


class Live(NamedTuple):
    """One of them, at one moment of the database's clock."""

    rollout: Rollout
    allocation: Allocation
    now: datetime

    @property
    def name(self) -> tuple[str, str]:
        """Project and rollout."""
        return self.rollout.project, self.rollout.id


def live_rollouts(store: Store) -> list[Live]:
    """All of them in order of name; none while there is no exception anywhere."""
    with store.reading() as work:
        if not work.exceptions.some():
            return []
        found = [
            Live(rollout, allocation, work.now)
            for rollout in work.rollouts.live()
            if rollout.allocation and rollout.frozen_plan.policy.sticky is not Sticky.NONE
            for allocation in work.rollouts.allocations(rollout.project, rollout.id)
            if allocation.number == rollout.allocation
        ]
    return sorted(found, key=lambda one: one.name)
