"""Units that are one: every id's own exposures are kept, one of the ids is analysed.

In each series the identity stands where its earliest exposure put it; an id of it that has entered
a metric is frozen and stays. The other ids leave: counted as `merged` where they met another arm,
as repeated exposures where they met the same one. Each step is a function of what the ids have met,
so neither the order of exposures nor the moment at which an alias is applied plays a part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from controller.aggregation.exposures import Excluded, Target
from controller.aggregation.grid import cuts_of
from controller.aggregation.sums import EMPTY, Contribution, Sums
from controller.assignment.choice import Reason
from controller.flow.ports.identities import Because, Excepted
from controller.flow.ports.ingest import (
    ENTERED,
    MISSING,
    RETIRED,
    First,
    IngestWork,
    LedgerEntry,
    Maturing,
    UnitState,
)
from controller.flow.restate import restate
from controller.flow.service_counts import MERGED_KEPT_OUT, PIN_UNKNOWN, count_excepted

SAME_ARM: Final = "merged_same_arm"
MET_BOTH: Final = "merged_met_both"
"""Why an id of a merged unit is not analysed itself, beside `Excluded.MERGED`: it met the same arm
as the one that is, or it met two arms by itself."""

NEWEST_RULESET: Final = 2**63
"""Above every version: what holds now."""

MERGED: Final = frozenset({Excluded.MERGED.value, SAME_ARM, MET_BOTH})
_MET_BOTH: Final = frozenset({Excluded.DOUBLE_EXPOSURE.value, MET_BOTH})

_Key = tuple[int, str]
Groups = Mapping[str, tuple[str, ...]]


def enter_members(
    work: IngestWork, target: Target, firsts: Sequence[First], groups: Groups
) -> None:
    """Take in exposures of ids that belong to identities with several ids.

    Parameters
    ----------
    firsts : sequence of First
        Every verified exposure of such ids, repeats included.
    groups : mapping of str to tuple of str
        All ids of the identity of each of them.
    """
    met: dict[_Key, list[First]] = defaultdict(list)
    for first in firsts:
        met[first.series, first.unit].append(first)
    identities = sorted({groups[first.unit] for first in firsts})
    _Merging(work, target, identities).settle(met)


def merge_units(work: IngestWork, target: Target, groups: Groups) -> None:
    """Count as one, in one rollout, what ids met that have just become one."""
    identities = sorted(set(groups.values()))
    merging = _Merging(work, target, identities)
    merging.settle({})
    for key, metric in sorted(target.metrics.items()):
        rows = work.maturations.entered(target, key, merging.analysed)
        if rows:
            restate(work, target, key, metric, rows)


def answered_as_another(
    work: IngestWork, target: Target, entries: Sequence[LedgerEntry]
) -> frozenset[str]:
    """Events of these exposures whose arm is that of the id which their unit stands for."""
    excepted = work.identities.excepted(target, {entry.unit or "" for entry in entries})
    return frozenset(
        entry.event_id
        for entry in entries
        if entry.unit is not None
        and entry.unit in excepted
        and entry.allocation in target.series
        and target.bucket_arm(excepted[entry.unit].stands_for, entry.allocation) == entry.arm
    )


def count_unknown_pins(work: IngestWork, target: Target, entries: Sequence[LedgerEntry]) -> None:
    """Exposures of excepted units that were answered before their pin was known, by rollout."""
    unknown = sum(entry.reason == Reason.PIN_UNKNOWN for entry in entries)
    if unknown:
        work.tallies.add(target.project, {(target.rollout, PIN_UNKNOWN): unknown})


def keep_met_arms(work: IngestWork, target: Target, firsts: Iterable[First]) -> None:
    """Except units whose exposure, from before the condition changed, has only now arrived."""
    if not target.outgrown:
        return
    met = {first.unit for first in firsts if first.epoch in target.outgrown}
    known = work.identities.excepted(target, met) if met else {}
    reason = Because.ELIGIBILITY.value
    excepted = [Excepted(unit, unit, reason) for unit in sorted(met - set(known))]
    if excepted:
        new = work.identities.answer_as(target, excepted)
        count_excepted(work, target.project, target.rollout, {reason: new})


class _Merging:
    """Identities being settled in one rollout, in one transaction."""

    def __init__(
        self, work: IngestWork, target: Target, identities: Sequence[tuple[str, ...]]
    ) -> None:
        self._work = work
        self._target = target
        self._identities = identities
        ids = [unit for group in identities for unit in group]
        self._before = {
            (state.first.series, state.first.unit): state
            for state in work.identities.states(target, ids)
        }
        analysed = [state.first for state in self._before.values() if state.left_for is None]
        self._entered = work.identities.entered(target, [first.unit for first in analysed])
        self._counts: Counter[tuple[int, str]] = Counter()
        self._excluded: Counter[tuple[str, str]] = Counter()
        self.analysed: list[str] = []

    def settle(self, met: Mapping[_Key, Sequence[First]]) -> None:
        """Store how every id stands after these exposures, and what follows from it."""
        series_of: dict[str, set[int]] = defaultdict(set)
        for series, unit in [*self._before, *met]:
            series_of[unit].add(series)
        excepted: list[Excepted] = []
        changed: list[UnitState] = []
        for group in self._identities:
            bearer: str | None = None
            for number in sorted({number for unit in group for number in series_of[unit]}):
                after, analysed = self._in_series(number, group, met)
                changed += [one for one in after if self._before.get(_key(one)) != one]
                bearer = bearer or analysed
            if bearer is not None:
                excepted += [Excepted(unit, bearer, Because.MERGED.value) for unit in group]
        self._store(changed)
        self._except(excepted)

    def _in_series(
        self, series: int, group: Sequence[str], met: Mapping[_Key, Sequence[First]]
    ) -> tuple[list[UnitState], str]:
        """How the ids stand after these exposures, and the one they stand for."""
        states: list[UnitState] = []
        entered: list[str] = []
        for unit in group:
            before, more = self._before.get((series, unit)), met.get((series, unit), ())
            if before is None and not more:
                continue
            frozen = before is not None and (series, unit) in self._entered
            states.append(_folded(before, more, frozen=frozen))
            if frozen:
                entered.append(unit)
            repeats = [first.arm for first in more]
            if before is None:
                repeats.remove(states[-1].first.arm)
            for arm in repeats:
                self._excluded[Excluded.REPEAT_EXPOSURE, arm] += 1
        bearer = bearer_of(states, entered)
        after = [standing(state, bearer) for state in states]
        self.analysed += [one.first.unit for one in after if one.left_for is None]
        return after, bearer.unit

    def _store(self, changed: Sequence[UnitState]) -> None:
        opened: list[First] = []
        left: list[First] = []
        for after in changed:
            before = self._before.get(_key(after))
            if before is not None:
                self._count(before, -1)
                if before.left_for is None and after.left_for is not None:
                    left.append(before.first)
            self._count(after, +1)
            moved = before is None or before.left_for is not None or before.first != after.first
            if after.left_for is None and moved and self._target.analyses(after.first.series):
                opened.append(after.first)
        self._take_out(left)
        self._work.identities.put(self._target, changed)
        for key, fold in sorted(self._target.folds.items()):
            rows = [Maturing(*first, first.exposed_us + fold.closes_us) for first in opened]
            self._work.identities.reopen(self._target, key, rows)
        self._work.units.exclude(self._target, self._excluded)
        self._work.units.count(self._target, self._counts)

    def _count(self, state: UnitState, times: int) -> None:
        if state.left_for is None:
            self._counts[state.first.epoch, state.first.arm] += times
        elif state.left_for == SAME_ARM:
            self._excluded[Excluded.REPEAT_EXPOSURE, state.first.arm] += times
        elif state.left_for in MERGED:
            self._excluded[Excluded.MERGED, state.first.arm] += times
        elif state.left_for == Excluded.DOUBLE_EXPOSURE:
            self._excluded[Excluded.DOUBLE_EXPOSURE, state.first.arm] += times

    def _take_out(self, firsts: Sequence[First]) -> None:
        """Subtract what ids have contributed, exactly."""
        parts: dict[tuple[str, int, str], list[Contribution]] = defaultdict(list)
        longest = max((fold.closes_us, key) for key, fold in self._target.folds.items())[1]
        for key, row in self._work.identities.leave(self._target, firsts):
            if row.state in {ENTERED, MISSING}:
                parts[key, row.epoch, row.arm].append(row.contribution)
            elif row.state == RETIRED and key == longest:  # where it was counted
                self._excluded[Excluded.RETIRED, row.arm] -= 1
        self._work.accumulators.add(
            self._target,
            {
                cell: EMPTY.minus(Sums.of(mine, cuts_of(self._target.metrics[cell[0]])))
                for cell, mine in parts.items()
            },
        )

    def _except(self, wanted: Sequence[Excepted]) -> None:
        """Every id but the bearer is answered as the bearer is; a bearer was perhaps another's."""
        if not wanted:
            return
        known = self._work.identities.excepted(self._target, [one.unit for one in wanted])
        changed = [
            one for one in wanted if one.unit != one.stands_for or _stood_for_another(known, one)
        ]
        new = self._work.identities.answer_as(self._target, changed)
        reason = Because.MERGED.value
        count_excepted(self._work, self._target.project, self._target.rollout, {reason: new})
        self._count_kept_out([one.unit for one in changed if one.unit not in known])

    def _count_kept_out(self, units: Sequence[str]) -> None:
        """Holdouts, layers and overrides go by the id in use: say where that splits an identity."""
        gates = self._target.gates
        kept_out = sum(gates.kept_out(unit, NEWEST_RULESET) is not None for unit in units)
        if kept_out:
            name = (self._target.rollout, MERGED_KEPT_OUT)
            self._work.tallies.add(self._target.project, {name: kept_out})


def bearer_of(states: Sequence[UnitState], entered: Collection[str]) -> First:
    """The exposure for which one identity stands in one series: the earliest; ids break ties.

    Parameters
    ----------
    states : sequence of UnitState
        At least one id with its own first exposure.
    entered : collection of str
        Ids whose values are in the sums: one of them stays.
    """
    frozen = [state.first for state in states if state.first.unit in entered]
    return min(
        frozen or [state.first for state in states],
        key=lambda first: (first.exposed_us, first.epoch, first.arm, first.unit),
    )


def left_as(first: First, bearer: First, *, met_both: bool) -> str:
    """Why an id that is not the analysed one of its identity is out."""
    if met_both:
        return MET_BOTH
    return SAME_ARM if first.arm == bearer.arm else Excluded.MERGED.value


def standing(state: UnitState, bearer: First) -> UnitState:
    """How one id stands where its identity stands for `bearer`."""
    left = state.left_for
    if left is not None and left not in MERGED | _MET_BOTH:
        return state  # out for a reason of its own, and counted so
    met_both = left in _MET_BOTH
    if state.first.unit == bearer.unit:
        return UnitState(state.first, Excluded.DOUBLE_EXPOSURE.value if met_both else None)
    return UnitState(state.first, left_as(state.first, bearer, met_both=met_both))


def _folded(before: UnitState | None, more: Iterable[First], *, frozen: bool) -> UnitState:
    """An id's own first exposure and whether it met two arms, after further exposures."""
    every = [*([before.first] if before is not None else []), *more]
    earliest = min(every, key=lambda first: (first.exposed_us, first.epoch, first.arm))
    left = before.left_for if before is not None else None
    if len({first.arm for first in every}) > 1:
        left = {None: Excluded.DOUBLE_EXPOSURE.value, SAME_ARM: MET_BOTH,
                Excluded.MERGED.value: MET_BOTH}.get(left, left)  # fmt: skip
    return UnitState(before.first if frozen and before is not None else earliest, left)


def _stood_for_another(known: Mapping[str, Excepted], one: Excepted) -> bool:
    return one.unit in known and known[one.unit].stands_for != one.unit


def _key(state: UnitState) -> _Key:
    return state.first.series, state.first.unit
