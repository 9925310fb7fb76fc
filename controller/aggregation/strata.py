"""In which epoch a value counts: that of the unit's first exposure, unless an edit came between.

A unit whose window is still open when an edit opens a new allocation is either retired by it, and
leaves, or it lives on, and its value counts in the epoch that the edit opened. Both are decided per
metric by comparing the end of its window with the instant of the edit, so it does not matter when
the worker gets round to it.

Why the survivors move: after the edit an arm that shrank has fewer units with late windows than
with early ones, the other arm has not. Were they all left in one epoch, its arms would differ in
*when* their units were exposed, and any drift of the metric would look like an effect (decision
0020). Split at the edit, both parts have one ratio of arms at every instant of exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Retires = Callable[[int, str, str], bool]
"""(allocation, unit, arm) -> whether that allocation has retired the unit's bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """One allocation that goes on with the series of the one before.

    Attributes
    ----------
    allocation : int
    epoch : int
        The first epoch of this allocation.
    at_us : int
        When it opened, microseconds since 1970, database time.
    """

    allocation: int
    epoch: int
    at_us: int


class Strata:
    """The edits of each series of one rollout, in order."""

    def __init__(self, edits: Mapping[int, Sequence[Edited]], retires: Retires) -> None:
        self._edits = edits
        self._retires = retires

    def of(self, series: int, unit: str, arm: str, *, epoch: int, closes_us: int) -> int | None:
        """The epoch in which a value counts, or None where its unit has been retired.

        Parameters
        ----------
        epoch : int
            Of the unit's first exposure.
        closes_us : int
            End of the metric's window for this unit.
        """
        for edit in self._edits.get(series, ()):
            if closes_us <= edit.at_us:
                break
            if self._retires(edit.allocation, unit, arm):
                return None
            epoch = max(epoch, edit.epoch)
        return epoch
