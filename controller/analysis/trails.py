"""The densities behind a planned test, kept from one counted look to the next.

The stored rows are the whole state of a test; what is kept here is derived from them, under their
name, and only saves the work of deriving it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from controller.analysis.memory import PlannedMemory, Row, rows_name
from controller.stats.chain import Trail
from controller.stats.futility import FutilityPlan, FutilityTrails
from controller.stats.group_sequential import SequentialPlan, null_passage

# A trail of a hundred looks takes about 10 kB, three of them where hope may be given up.
_MOST_KEPT = 1024


class Ladder(NamedTuple):
    """The plans of one test: at alpha / level for each level of Holm's ladder, and futility's."""

    plans: tuple[SequentialPlan, ...]
    futility: FutilityPlan | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trails:
    """Where a test is after its counted looks.

    Attributes
    ----------
    ladder : Ladder
    name : str
        Of the rows (`rows_name`); empty before the first look.
    last : Row or None
        The last of them.
    levels : tuple of Trail
        Under the null, for each level.
    hope : FutilityTrails
        Under the design effect, on the last level; empty where hope is never given up.
    """

    ladder: Ladder
    name: str = ""
    last: Row | None = None
    levels: tuple[Trail, ...]
    hope: FutilityTrails

    def then(self, row: Row, stored: Sequence[Any]) -> Trails:
        """The trails with one more look, and how it is stored; kept for the next."""
        ladder, hope = self.ladder, self.hope
        if ladder.futility is not None and row.futility is not None:
            lowest = row.taken(len(ladder.plans))
            hope = hope.then(ladder.plans[-1], ladder.futility, lowest, row.futility)
        following = Trails(
            ladder=ladder,
            name=rows_name(self.name, stored),
            last=row,
            levels=tuple(
                [
                    trail.then(null_passage(plan, row.taken(level)))
                    for level, (plan, trail) in enumerate(
                        zip(ladder.plans, self.levels, strict=True), start=1
                    )
                ]
            ),
            hope=hope,
        )
        _KEPT.put(following)
        return following


def trails_of(ladder: Ladder, memory: PlannedMemory) -> Trails:
    """The trails of a test that remembers this: kept, or derived look by look."""
    found = _KEPT.get(memory.rows_sha256)
    if found is not None and found.last == memory.last and found.ladder == ladder:
        return found
    trails = Trails(
        ladder=ladder, levels=tuple([Trail() for _ in ladder.plans]), hope=FutilityTrails()
    )
    for stored in memory.stored:
        trails = trails.then(Row.from_document(stored), stored)
    return trails


def forget() -> None:
    """Drop all that is kept: what comes next is derived from its rows."""
    _KEPT.clear()


class _Kept:
    """Least recently used trails, by the name of their rows."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Trails] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> Trails | None:
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def put(self, trails: Trails) -> None:
        with self._lock:
            self._kept[trails.name] = trails
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


_KEPT = _Kept()
