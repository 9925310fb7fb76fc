"""What a look reads: sufficient statistics, never single units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.aggregation.statistics import Epoch, Statistics
from controller.experiments.metrics import Metric
from controller.rollout.record import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A metric among the champion's units while the slot is at rest: the planner's baseline."""

    units: int
    mean: float
    sd: float


class Measurements(Protocol):
    """Sufficient statistics of one rollout, and the baseline of a slot at rest."""

    def snapshot(self, rollout: Rollout, *, epochs: Sequence[Epoch]) -> Statistics:
        """One consistent snapshot at the current watermark, over every metric of the plan."""
        ...

    def observed(self, project: str, slot: str, metric: Metric) -> Observed | None:
        """Baseline from observed champion units; None where there are fewer than 100."""
        ...

    def observed_days(self, project: str, slot: str) -> Sequence[int]:
        """Units of a slot at rest first seen on each of its last full days (at most 28)."""
        ...
