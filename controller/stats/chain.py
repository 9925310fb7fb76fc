"""From a history of looks to the sub-density after it, with a cache that never changes a result.

The history is the truth: what each look let through, and how far apart the looks were. The density
is derived from it, link by link; a process that has just started derives the same bits as one that
kept every link.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from controller.stats.recursion import START, Step, SubDensity, advance


class Passage(NamedTuple):
    """What one look let through: Z in (low, high), reached with this ratio and mean."""

    variance_ratio: float
    mean: float
    low: float
    high: float


_Key = tuple[float, tuple[Passage, ...]]


class _DensityCache:
    """Least recently used sub-densities."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[_Key, SubDensity] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _Key) -> SubDensity | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: _Key, density: SubDensity) -> None:
        with self._lock:
            self._kept[key] = density
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


# A density takes about 5 kB: 10 MB hold ten tests of two hundred looks.
_CACHE = _DensityCache(2048)


def density_after(passed: Sequence[Passage], *, next_ratio: float, keep: bool = True) -> SubDensity:
    """Sub-density after the last passage, on nodes made for a next step of `next_ratio`.

    Parameters
    ----------
    passed : sequence of Passage
        Every look so far, in order; the first has a variance ratio of 0.
    next_ratio : float
        V_now / V_next of the look to come, in [0, 1); 0 if there is none.
    keep : bool
        Whether to keep the links for the next call; root searches over the drift do not.
    """
    history = tuple(passed)
    ahead = (*(passage.variance_ratio for passage in history[1:]), next_ratio)
    known, start = START, 0
    for index in range(len(history), 0, -1) if keep else ():
        found = _CACHE.get((ahead[index - 1], history[:index]))
        if found is not None:
            known, start = found, index
            break
    for index in range(start, len(history)):
        passage = history[index]
        known = advance(
            known,
            Step(variance_ratio=passage.variance_ratio, mean=passage.mean),
            going_on=((passage.low, passage.high),),
            next_ratio=ahead[index],
        )
        if keep:
            _CACHE.put((ahead[index], history[: index + 1]), known)
    return known
