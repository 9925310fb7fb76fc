"""Compare how merged units stand with what the ledger says each of their ids met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from controller.aggregation.exposures import Excluded, Target
from controller.aggregation.recompute import Exposed
from controller.flow.merging import MERGED, bearer_of, standing
from controller.flow.ports.ingest import First, UnitState

_Key = tuple[int, str]


def merged_differences(
    target: Target,
    exposures: Iterable[Exposed],
    stored: Sequence[UnitState],
    merged: Mapping[str, Sequence[str]],
    entered: Collection[str],
) -> list[str]:
    """What is wrong with the ids of merged units; empty where all is well.

    Parameters
    ----------
    exposures, stored
        Of these ids alone.
    merged : mapping of str to sequence of str
        The ids that stand for each bearer.
    entered : collection of str
        Units that have entered a metric: they are frozen.
    """
    met = _met(target, exposures)
    found = {(state.first.series, state.first.unit): state for state in stored}
    problems = [
        f"unit {unit!r} of series {series} is stored, or exposed, but not both"
        for series, unit in sorted(set(met) ^ set(found))
    ]
    both = set(met) & set(found)
    for bearer, others in sorted(merged.items()):
        for series in sorted(set(target.series.values())):
            ids = [unit for unit in (bearer, *others) if (series, unit) in both]
            if ids:
                mine = [found[series, unit] for unit in ids]
                problems += _wrong([met[series, unit] for unit in ids], mine, entered)
    return problems


def _met(target: Target, exposures: Iterable[Exposed]) -> dict[_Key, UnitState]:
    """Each id's own first exposure; marked where it met two arms."""
    firsts: dict[_Key, list[First]] = defaultdict(list)
    for seen in exposures:
        placed = target.place(
            seen.unit,
            allocation=seen.allocation,
            arm=seen.arm,
            ruleset=seen.ruleset,
            pinned=seen.pinned,
        )
        if placed is not None:
            first = First(placed.series, seen.unit, placed.epoch, seen.arm, seen.occurred_us)
            firsts[placed.series, seen.unit].append(first)
    return {
        key: UnitState(
            min(mine, key=lambda first: (first.exposed_us, first.epoch, first.arm)),
            Excluded.DOUBLE_EXPOSURE.value if len({first.arm for first in mine}) > 1 else None,
        )
        for key, mine in firsts.items()
    }


def _wrong(
    met: Sequence[UnitState], stored: Sequence[UnitState], entered: Collection[str]
) -> Iterator[str]:
    analysed = [one.first.unit for one in stored if one.left_for is None]
    frozen = [unit for unit in analysed if unit in entered]
    bearer = bearer_of(met, frozen)
    for expected, state in zip(met, stored, strict=True):
        wanted = standing(expected, bearer)
        own_reason = state.left_for not in {None, Excluded.DOUBLE_EXPOSURE, *MERGED}
        if not own_reason and state.left_for != wanted.left_for:
            yield f"unit {state.first.unit!r} of series {state.first.series} should be " + (
                wanted.left_for or "analysed"
            )
        # An id that entered before its earliest exposure arrived keeps the one it entered with.
        exact = state.first.unit in analysed and not frozen
        late = state.first.exposed_us > wanted.first.exposed_us
        if state.first != wanted.first and (exact or not late):
            yield (f"unit {state.first.unit!r} of series {state.first.series} stands elsewhere")
