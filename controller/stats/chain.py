"""From a history of looks to the sub-density after it, a link at a time.

The history is the truth: what each look let through, and how far apart the looks were. The density
is derived from it, link by link; a process that has just started derives the same bits as one that
kept every link.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.stats.recursion import START, Step, SubDensity, advance


class Passage(NamedTuple):
    """What one look let through: Z in (low, high), reached with this ratio and mean."""

    variance_ratio: float
    mean: float
    low: float
    high: float


class Trail:
    """A test's passages so far, as the density before the last of them.

    The nodes after a look are made for the look to come, so the last link waits until its ratio is
    known; it is then kept, as the next trail begins with it.
    """

    __slots__ = ("_before", "_last", "_made")

    def __init__(self, before: SubDensity = START, last: Passage | None = None) -> None:
        self._before = before
        self._last = last
        self._made: tuple[float, SubDensity] | None = None

    @classmethod
    def of(cls, passages: Iterable[Passage]) -> Trail:
        """The trail of a whole history, in order; the first has a variance ratio of 0."""
        trail = cls()
        for passage in passages:
            trail = trail.then(passage)
        return trail

    def then(self, passage: Passage) -> Trail:
        """The trail with one more look."""
        return Trail(self.density(passage.variance_ratio), passage)

    def density(self, next_ratio: float) -> SubDensity:
        """Sub-density after the last passage, on nodes made for a step of `next_ratio`.

        V_now / V_next of the look to come, in [0, 1); 0 if there is none.
        """
        made = self._made
        if made is not None and made[0] == next_ratio:
            return made[1]
        if self._last is None:
            return self._before
        density = advance(
            self._before,
            Step(variance_ratio=self._last.variance_ratio, mean=self._last.mean),
            going_on=((self._last.low, self._last.high),),
            next_ratio=next_ratio,
        )
        self._made = next_ratio, density
        return density
