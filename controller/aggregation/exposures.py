"""Which arm an exposure should have named: the split, recomputed from the stored allocation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from controller.aggregation.attribution import Fold
from controller.assignment.hashing import BUCKETS, PPM, bucket, prefix
from controller.assignment.runs import LivingRuns, Ranges, Runs, living, moves
from controller.experiments.metrics import Metric


class Excluded(StrEnum):
    """Why something is counted and not analysed."""

    ARM_MISMATCH = "arm_mismatch"
    DOUBLE_EXPOSURE = "double_exposure"
    REPEAT_EXPOSURE = "repeat_exposure"
    ERASED = "erased"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One allocation's arms over 10,000 buckets; `analysed` is False for the A/A check."""

    number: int
    runs: Runs
    retired: Ranges = ()
    analysed: bool = True

    @property
    def living(self) -> LivingRuns:
        """The runs with what is retired laid over them."""
        return living(self.runs, self.retired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An epoch as rulesets know it: the ruleset version that opened it."""

    number: int
    allocation: int
    enrolled_ppm: int
    ruleset: int


class Placed(NamedTuple):
    """Where a verified exposure belongs."""

    series: int
    epoch: int
    analysed: bool


class Target:
    """One rollout as events meet it: its split, its epochs, its metrics.

    Parameters
    ----------
    splits : sequence of Split
        Every allocation, in order of number.
    epochs : sequence of Opened
        Every epoch, in order of number.
    """

    def __init__(
        self,
        *,
        project: str,
        rollout: str,
        slot: str,
        unit_type: str,
        salt: str,
        metrics: Mapping[str, Metric],
        arms: Sequence[str],
        splits: Sequence[Split],
        epochs: Sequence[Opened],
    ) -> None:
        self.project = project
        self.rollout = rollout
        self.slot = slot
        self.unit_type = unit_type
        self.metrics = metrics
        self.folds = {key: Fold(metric) for key, metric in metrics.items()}
        self.arms = frozenset(arms)
        self.series = series_of(splits)
        self._analysed = {split.number: split.analysed for split in splits}
        self._prefix = prefix(salt, unit_type)
        self._runs = {split.number: split.living for split in splits}
        self._ends = {number: [end for end, _ in runs] for number, runs in self._runs.items()}
        self._epochs = sorted(epochs, key=lambda epoch: (epoch.ruleset, epoch.number))
        self._rulesets = [epoch.ruleset for epoch in self._epochs]

    def place(
        self, unit: str, *, allocation: int, arm: str, ruleset: int, pinned: bool = False
    ) -> Placed | None:
        """Series and epoch of an exposure that names the right arm, else None.

        Parameters
        ----------
        ruleset : int
            The version that decided; its epoch is the newest one opened at or before it.
        pinned : bool
            A pin names this arm in this allocation: the split is not asked.
        """
        epoch = self._epoch(ruleset)
        if epoch is None or epoch.allocation != allocation:
            return None
        if not pinned and not self._splits_so(unit, epoch, arm):
            return None
        return Placed(self.series[allocation], epoch.number, self._analysed[allocation])

    def bucket_arm(self, unit: str, allocation: int) -> str | None:
        """The arm that the split alone gives this unit; None where its bucket is retired."""
        digest = sha256(self._prefix + unit.encode()).digest()
        mine = bucket(int.from_bytes(digest[4:8]), BUCKETS)
        return self._runs[allocation][bisect_right(self._ends[allocation], mine)][1]

    def _epoch(self, ruleset: int) -> Opened | None:
        place = bisect_right(self._rulesets, ruleset)
        return self._epochs[place - 1] if place else None

    def _splits_so(self, unit: str, epoch: Opened, arm: str) -> bool:
        digest = sha256(self._prefix + unit.encode()).digest()
        if bucket(int.from_bytes(digest[:4]), PPM) >= epoch.enrolled_ppm:
            return False
        mine = bucket(int.from_bytes(digest[4:8]), BUCKETS)
        runs, ends = self._runs[epoch.allocation], self._ends[epoch.allocation]
        return runs[bisect_right(ends, mine)][1] == arm


def series_of(splits: Sequence[Split]) -> dict[int, int]:
    """The series of each allocation, named by its first allocation.

    A series goes on while no living bucket changes arm; the A/A check, whose data are discarded,
    and the watch after a promotion, which hands units to the new model, begin their own.
    """
    series: dict[int, int] = {}
    previous: Split | None = None
    for split in sorted(splits, key=lambda split: split.number):
        goes_on = (
            previous is not None
            and previous.analysed == split.analysed
            and not moves(previous.living, split.living)
        )
        series[split.number] = series[previous.number] if previous and goes_on else split.number
        previous = split
    return series
