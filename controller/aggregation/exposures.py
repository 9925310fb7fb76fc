"""Which arm an exposure should have named: the split, recomputed from the stored allocation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from controller.aggregation.attribution import Fold
from controller.aggregation.gates import GateHistory, Since
from controller.aggregation.strata import Edited, Strata
from controller.assignment.choice import Reason
from controller.assignment.hashing import BUCKETS, PPM, SHA256, bucket, hasher, prefix
from controller.assignment.runs import LivingRuns, Ranges, Runs, arm_of, living, moves
from controller.experiments.metrics import Metric


class Excluded(StrEnum):
    """Why something is counted and not analysed."""

    ARM_MISMATCH = "arm_mismatch"
    UNFIT_REASON = "unfit_reason"
    DOUBLE_EXPOSURE = "double_exposure"
    REPEAT_EXPOSURE = "repeat_exposure"
    ERASED = "erased"
    OVERRIDDEN = "overridden"
    RETIRED = "retired"
    MERGED = "merged"


MET_IN_ROLLOUT: Final = frozenset({Reason.SPLIT, Reason.PINNED, Reason.PIN_UNKNOWN})
MET_AT_REST: Final = frozenset({Reason.NO_ROLLOUT})
"""Answers by which a unit meets an arm that counts. An exposure that names another reason, or one
this version does not know, is stored and counted and never analysed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One allocation's arms over 10,000 buckets; `analysed` is False for the A/A check.

    `opened_us` is when it opened, microseconds since 1970, database time.
    """

    number: int
    runs: Runs
    retired: Ranges = ()
    analysed: bool = True
    opened_us: int = 0
    condition: str = ""

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


class StratumOf(Protocol):
    """A unit's first exposure, as far as its stratum depends on it."""

    @property
    def series(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def arm(self) -> str: ...


class Target:
    """One rollout as events meet it: its split, its epochs, its metrics.

    Parameters
    ----------
    algo : int
        Which hash splits; fixed for the life of the rollout.
    splits : sequence of Split
        Every allocation, in order of number.
    epochs : sequence of Opened
        Every epoch, in order of number.
    gates : sequence of Since
        What kept units out of the slot's rollouts, in order of ruleset version.
    """

    def __init__(
        self,
        *,
        project: str,
        rollout: str,
        slot: str,
        unit_type: str,
        salt: str,
        algo: int = SHA256,
        metrics: Mapping[str, Metric],
        arms: Sequence[str],
        splits: Sequence[Split],
        epochs: Sequence[Opened],
        gates: Sequence[Since] = (),
    ) -> None:
        self.project = project
        self.rollout = rollout
        self.slot = slot
        self.unit_type = unit_type
        self.metrics = metrics
        self.folds = {key: Fold(metric) for key, metric in metrics.items()}
        self.arms = frozenset(arms)
        self.gates = GateHistory(gates, unit_type=unit_type)
        self.series = series_of(splits)
        self._analysed = {split.number: split.analysed for split in splits}
        self._prefix = prefix(salt, unit_type)
        self._hash = hasher(algo)
        self._runs = {split.number: split.living for split in splits}
        self._ends = {number: [end for end, _ in runs] for number, runs in self._runs.items()}
        self._epochs = sorted(epochs, key=lambda epoch: (epoch.ruleset, epoch.number))
        self._rulesets = [epoch.ruleset for epoch in self._epochs]
        self._first_runs = {split.number: split.runs for split in splits}
        self._living = {
            number: frozenset(arm for _, arm in runs if arm is not None)
            for number, runs in self._runs.items()
        }
        self.outgrown = _outgrown(splits, self.series, self._epochs)
        self._strata = Strata(_edits(splits, self.series, self._epochs), self._retires)

    def place(
        self, unit: str, *, allocation: int, arm: str, ruleset: int, pinned: bool = False
    ) -> Placed | None:
        """Series and epoch of an exposure that names the right arm, else None.

        A unit that an override, a holdout or another slot's part of a layer kept out under that
        ruleset version has no right arm, and no pin gives it one.

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
        if self.gates.kept_out(unit, ruleset) is not None:
            return None
        if not pinned and not self._splits_so(unit, epoch, arm):
            return None
        return Placed(self.series[allocation], epoch.number, self._analysed[allocation])

    def analyses(self, series: int) -> bool:
        """Whether units of a series enter metrics: not those of an A/A check."""
        return self._analysed[series]

    @property
    def edited(self) -> bool:
        """Whether any series of it goes on through more than one allocation."""
        return len(set(self.series.values())) < len(self.series)

    def stratum(self, first: StratumOf, closes_us: int) -> int | None:
        """The epoch in which a value of this unit counts; None where an edit has retired it.

        Parameters
        ----------
        first : First or Maturing
            The unit's first exposure: series, unit, arm, and the epoch it was exposed in.
        closes_us : int
            End of the metric's window for this unit.
        """
        return self._strata.of(
            first.series, first.unit, first.arm, epoch=first.epoch, closes_us=closes_us
        )

    def _retires(self, allocation: int, unit: str, arm: str) -> bool:
        """Whether an allocation has retired the bucket that gave the unit its arm.

        An arm that came from a pin has another unit's bucket: it goes with the last of its arm.
        """
        if arm not in self._living[allocation]:
            return True
        mine = self.bucket_of(unit)
        own = arm_of(self._first_runs[allocation], mine) == arm
        return own and self._arm_at(allocation, mine) is None

    def bucket_arm(self, unit: str, allocation: int) -> str | None:
        """The arm that the split alone gives this unit; None where its bucket is retired."""
        return self._arm_at(allocation, self.bucket_of(unit))

    def bucket_of(self, unit: str) -> int:
        """The bucket in [0, 10_000) that gives a unit its arm."""
        digest = self._hash(self._prefix + unit.encode())
        return bucket(int.from_bytes(digest[4:8]), BUCKETS)

    def _arm_at(self, allocation: int, place: int) -> str | None:
        return self._runs[allocation][bisect_right(self._ends[allocation], place)][1]

    def _epoch(self, ruleset: int) -> Opened | None:
        place = bisect_right(self._rulesets, ruleset)
        return self._epochs[place - 1] if place else None

    def _splits_so(self, unit: str, epoch: Opened, arm: str) -> bool:
        digest = self._hash(self._prefix + unit.encode())
        if bucket(int.from_bytes(digest[:4]), PPM) >= epoch.enrolled_ppm:
            return False
        mine = bucket(int.from_bytes(digest[4:8]), BUCKETS)
        runs, ends = self._runs[epoch.allocation], self._ends[epoch.allocation]
        return runs[bisect_right(ends, mine)][1] == arm


def _edits(
    splits: Sequence[Split], series: Mapping[int, int], epochs: Sequence[Opened]
) -> dict[int, list[Edited]]:
    """Per series the allocations that came after its first, in order."""
    opened: dict[int, int] = {}
    for epoch in epochs:
        opened[epoch.allocation] = min(epoch.number, opened.get(epoch.allocation, epoch.number))
    found: dict[int, list[Edited]] = {}
    for split in sorted(splits, key=lambda split: split.number):
        if series[split.number] != split.number and split.number in opened:
            edited = Edited(
                allocation=split.number, epoch=opened[split.number], at_us=split.opened_us
            )
            found.setdefault(series[split.number], []).append(edited)
    return found


def _outgrown(
    splits: Sequence[Split], series: Mapping[int, int], epochs: Sequence[Opened]
) -> frozenset[int]:
    """Epochs of the newest series whose units were admitted by another condition than now."""
    newest = max(splits, key=lambda split: split.number, default=None)
    if newest is None or not newest.condition:
        return frozenset()
    other = {
        split.number
        for split in splits
        if series[split.number] == series[newest.number] and split.condition != newest.condition
    }
    return frozenset(epoch.number for epoch in epochs if epoch.allocation in other)


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
