"""Exposures become first exposures: verified, stratified by epoch, counted once a unit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from controller.aggregation.exposures import (
    MET_AT_REST,
    MET_IN_ROLLOUT,
    Excluded,
    Placed,
    Target,
)
from controller.aggregation.grid import cuts_of
from controller.aggregation.sums import EMPTY, Sums
from controller.assignment.choice import Reason
from controller.flow.findings import Arrived, Findings
from controller.flow.merging import (
    answered_as_another,
    count_unknown_pins,
    enter_members,
    keep_met_arms,
)
from controller.flow.ports.ingest import (
    ENTERED,
    MISSING,
    First,
    IngestWork,
    LedgerEntry,
    Maturing,
    UnitState,
)
from controller.flow.ports_pins import PinKey, Pins

UNKNOWN_ROLLOUT: Final = "unknown_rollout"


class _Seen(NamedTuple):
    """One verified exposure."""

    first: First
    analysed: bool


def enter_exposures(
    work: IngestWork, exposures: Sequence[Arrived], pins: Pins | None, notes: Findings
) -> None:
    """Store the first exposures among these, and count what is not one."""
    observed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    by_target: dict[tuple[str, str], list[Arrived]] = defaultdict(list)
    for item in exposures:
        entry = item.entry
        if entry.rollout is not None:
            by_target[entry.project, entry.rollout].append(item)
        elif entry.reason not in MET_AT_REST:
            _note_unfit(item, notes)
        elif entry.unit_type is not None and entry.unit and entry.slot:
            units = observed[entry.project, entry.slot]
            units[entry.unit] = min(units.get(entry.unit, entry.occurred_us), entry.occurred_us)
    for (project, slot), units in sorted(observed.items()):
        work.units.observe(project, slot, units)
    for (project, rollout), mine in sorted(by_target.items()):
        target = work.targets.target(project, rollout)
        known: list[Arrived] = []
        for item in mine:
            if target is not None and item.entry.slot == target.slot:
                known.append(item)
                continue
            detail = f"Slot {item.entry.slot!r:.80} has no rollout {rollout!r:.40}."
            notes.note(item.source, UNKNOWN_ROLLOUT, item.place, item.entry.event_id, detail)
        if target is not None and known:
            _admit(work, target, _verified(work, target, known, pins, notes))
            count_unknown_pins(work, target, [item.entry for item in known])


def _admit(work: IngestWork, target: Target, seen: Sequence[_Seen]) -> None:
    """Units that are one with others are settled together, the others one by one."""
    units = {item.first.unit for item in seen}
    groups = work.identities.groups(target.project, target.unit_type, units)
    _Entrance(work, target).admit([item for item in seen if item.first.unit not in groups])
    if groups:
        firsts = [item.first for item in seen if item.first.unit in groups]
        enter_members(work, target, firsts, groups)
    keep_met_arms(work, target, (item.first for item in seen))


def _verified(
    work: IngestWork,
    target: Target,
    exposures: Sequence[Arrived],
    pins: Pins | None,
    notes: Findings,
) -> list[_Seen]:
    """Exposures that name the arm of the split or of a pin; the others are counted."""
    seen: list[_Seen] = []
    doubtful: list[Arrived] = []
    mismatches: Counter[tuple[str, str]] = Counter()
    for item in exposures:
        if item.entry.reason not in MET_IN_ROLLOUT:
            _note_unfit(item, notes)
            mismatches[Excluded.UNFIT_REASON, _known_arm(target, item.entry)] += 1
            continue
        placed = _place(target, item.entry)
        if placed is None:
            doubtful.append(item)
        else:
            seen.append(_seen(item.entry, placed))
    pinned: list[str] = []
    for item, placed in _explained(work, target, doubtful, pins):
        if placed is not None:
            seen.append(_seen(item.entry, placed))
            pinned.append(item.entry.event_id)
            continue
        reason, detail = _refused(target, item.entry)
        mismatches[reason, _known_arm(target, item.entry)] += 1
        notes.note(item.source, reason, item.place, item.entry.event_id, detail)
    if pinned:
        work.ledger.mark_pinned(target.project, pinned)
    work.units.exclude(target, mismatches)
    return seen


def _note_unfit(item: Arrived, notes: Findings) -> None:
    """Say that an exposure names a reason by which no unit meets an arm that counts."""
    detail = f"An exposure by {item.entry.reason!r:.40} is not analysed."
    notes.note(item.source, Excluded.UNFIT_REASON, item.place, item.entry.event_id, detail)


def _known_arm(target: Target, entry: LedgerEntry) -> str:
    """The arm named, or nothing where the rollout has no such arm."""
    return entry.arm if entry.arm is not None and entry.arm in target.arms else ""


def _refused(target: Target, entry: LedgerEntry) -> tuple[Excluded, str]:
    """Why an exposure is not believed: set by hand, kept out, or another arm than the split's."""
    unit, kept = entry.unit or "", target.gates.kept_out(entry.unit or "", entry.ruleset or 0)
    if kept is Reason.OVERRIDE:
        return Excluded.OVERRIDDEN, f"The arm of unit {unit!r:.80} was set by hand."
    if kept is not None:
        return Excluded.ARM_MISMATCH, f"Unit {unit!r:.80} could not take part: {kept.value}."
    detail = f"The split does not give unit {unit!r:.80} the arm {entry.arm!r:.40}."
    return Excluded.ARM_MISMATCH, detail


def _place(target: Target, entry: LedgerEntry, *, pinned: bool = False) -> Placed | None:
    return target.place(
        entry.unit or "",
        allocation=entry.allocation or 0,
        arm=entry.arm or "",
        ruleset=entry.ruleset or 0,
        pinned=pinned,
    )


def _seen(entry: LedgerEntry, placed: Placed) -> _Seen:
    first = First(placed.series, entry.unit or "", placed.epoch, entry.arm or "", entry.occurred_us)
    return _Seen(first, placed.analysed)


def _explained(
    work: IngestWork, target: Target, doubtful: Sequence[Arrived], pins: Pins | None
) -> Iterable[tuple[Arrived, Placed | None]]:
    """Each doubtful exposure with its place where an exception or a pin names its arm."""
    if not doubtful:
        return ()
    stored = answered_as_another(work, target, [item.entry for item in doubtful])
    explained: list[tuple[Arrived, Placed | None]] = [
        (item, _place(target, item.entry, pinned=True))
        for item in doubtful
        if item.entry.event_id in stored
    ]
    doubtful = [item for item in doubtful if item.entry.event_id not in stored]
    if pins is None:
        return [*explained, *((item, None) for item in doubtful)]
    by_allocation: dict[int, list[Arrived]] = defaultdict(list)
    for item in doubtful:
        by_allocation[item.entry.allocation or 0].append(item)
    for allocation, mine in sorted(by_allocation.items()):
        keys = [
            PinKey(project=target.project, unit_type=target.unit_type, unit=item.entry.unit or "")
            for item in mine
        ]
        for item, pin in zip(mine, pins.read(keys, target.rollout, allocation), strict=True):
            named = pin is not None and pin.allocation == allocation and pin.arm == item.entry.arm
            explained.append((item, _place(target, item.entry, pinned=True) if named else None))
    return explained


class _Entrance:
    """First exposures entering one rollout in one transaction."""

    def __init__(self, work: IngestWork, target: Target) -> None:
        self._work = work
        self._target = target
        self._counts: Counter[tuple[int, str]] = Counter()
        self._excluded: Counter[tuple[str, str]] = Counter()

    def admit(self, seen: Sequence[_Seen]) -> None:
        if not seen:
            return
        analysed = {item.first.series: item.analysed for item in seen}
        earliest, others = _earliest(seen)
        known = self._work.units.add(self._target, list(earliest.values()))
        new = [first for key, first in earliest.items() if key not in known]
        for first in new:
            self._counts[first.epoch, first.arm] += 1
        self._open([first for first in new if analysed[first.series]])
        for key, state in sorted(known.items()):
            self._again(state, earliest[key], opened=analysed[key[0]])
        for key, arms in sorted(others.items()):
            self._others(key, earliest[key], arms, known.get(key))
        self._work.units.exclude(self._target, self._excluded)
        self._work.units.count(self._target, self._counts)

    def _open(self, firsts: Sequence[First]) -> None:
        for key, fold in sorted(self._target.folds.items()):
            span_us = fold.closes_us
            rows = [Maturing(*first, first.exposed_us + span_us) for first in firsts]
            self._work.maturations.open(self._target, key, rows)

    def _again(self, state: UnitState, first: First, *, opened: bool) -> None:
        """An exposure of a unit that is known: a repeat, an earlier first, or another arm."""
        self._excluded[Excluded.REPEAT_EXPOSURE, first.arm] += 1
        if state.left_for is not None:
            return
        if state.first.arm != first.arm:
            self._leave(state.first, Excluded.DOUBLE_EXPOSURE)
        elif (first.exposed_us, first.epoch) < (state.first.exposed_us, state.first.epoch):
            self._move(state.first, first, opened=opened)

    def _others(
        self,
        key: tuple[int, str],
        first: First,
        arms: Counter[str],
        known: UnitState | None,
    ) -> None:
        """Further exposures of a unit in the same transaction."""
        for arm, count in sorted(arms.items()):
            self._excluded[Excluded.REPEAT_EXPOSURE, arm] += count
        present = known.first if known is not None else first
        left = known is not None and (known.left_for is not None or known.first.arm != first.arm)
        if not left and set(arms) - {present.arm}:
            self._leave(present, Excluded.DOUBLE_EXPOSURE)

    def _move(self, old: First, new: First, *, opened: bool) -> None:
        """Take the earlier exposure, unless the unit has entered a metric: then it is frozen."""
        if self._work.maturations.any_entered(self._target, old.series, old.unit):
            return
        self._counts[old.epoch, old.arm] -= 1
        self._counts[new.epoch, new.arm] += 1
        self._work.units.move(self._target, new)
        if opened:
            for key, fold in sorted(self._target.folds.items()):
                row = Maturing(*new, new.exposed_us + fold.closes_us)
                self._work.maturations.reopen(self._target, key, row)

    def _leave(self, first: First, reason: Excluded) -> None:
        """Take a unit out of every metric, and what it has contributed out of the sums."""
        leave_test(self._work, self._target, first.series, first.unit, reason)
        self._excluded[reason, first.arm] += 1
        self._counts[first.epoch, first.arm] -= 1


def leave_test(work: IngestWork, target: Target, series: int, unit: str, reason: Excluded) -> None:
    """Mark a unit as left and subtract its contributions exactly."""
    work.units.leave(target, series, unit, reason)
    changes: dict[tuple[str, int, str], Sums] = {}
    for key, row in work.maturations.leave(target, series, unit).items():
        if row.state in {ENTERED, MISSING}:
            part = Sums.of([row.contribution], cuts_of(target.metrics[key]))
            changes[key, row.epoch, row.arm] = EMPTY.minus(part)
    work.accumulators.add(target, changes)


def _earliest(
    seen: Sequence[_Seen],
) -> tuple[dict[tuple[int, str], First], Mapping[tuple[int, str], Counter[str]]]:
    """The earliest exposure of each unit in each series, and the arms of the other ones."""
    earliest: dict[tuple[int, str], First] = {}
    others: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for first, _ in seen:
        key = (first.series, first.unit)
        best = earliest.setdefault(key, first)
        if best is first:
            continue
        if (first.exposed_us, first.epoch, first.arm) < (best.exposed_us, best.epoch, best.arm):
            earliest[key] = first
            others[key][best.arm] += 1
        else:
            others[key][first.arm] += 1
    return earliest, others
