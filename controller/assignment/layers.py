"""Which slot of a layer owns which of its 10,000 buckets, so that edits move as few as possible."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal

from controller.assignment.hashing import BUCKETS
from controller.assignment.runs import Ranges
from controller.errors import InvalidInput


def buckets_of(share: float) -> int:
    """Whole buckets of a share as it is written in decimal, rounded down.

    Examples
    --------
    >>> buckets_of(0.29), buckets_of(1 / 3), buckets_of(1.0)
    (2900, 3333, 10000)
    """
    return int((Decimal(repr(share)) * BUCKETS).to_integral_value(ROUND_FLOOR))


def allot(held: Mapping[str, Ranges], wanted: Mapping[str, int]) -> dict[str, Ranges]:
    """The ranges of each slot after an edit: nobody hands over more than it must.

    A slot that shrinks gives up its last buckets and keeps the others; one that grows keeps all it
    has and takes the lowest free ones; one that is gone gives up all. So a slot's new buckets
    contain its old ones, or lie inside them, and the number that changes hands is the least that
    the new sizes allow.

    Parameters
    ----------
    held : mapping of slot to ranges
        ``[start, end)`` of 10,000, in rising order, none of them overlapping.
    wanted : mapping of slot to int
        Buckets each slot shall have; at most 10,000 together.

    Raises
    ------
    InvalidInput
        If a size is negative or they are more than there are.

    Examples
    --------
    >>> allot({"a": ((0, 5000),), "b": ((5000, 10000),)}, {"a": 3000, "b": 6000})
    {'a': ((0, 3000),), 'b': ((3000, 4000), (5000, 10000))}
    """
    if any(count < 0 for count in wanted.values()) or sum(wanted.values()) > BUCKETS:
        raise InvalidInput(f"A layer has {BUCKETS} buckets to share out.", field="slots")
    owners: list[str | None] = [None] * BUCKETS
    for slot, ranges in held.items():
        for bucket in _kept(ranges, wanted.get(slot, 0)):
            owners[bucket] = slot
    free = iter([bucket for bucket, owner in enumerate(owners) if owner is None])
    for slot, count in wanted.items():
        kept = sum(end - start for start, end in held.get(slot, ()))
        for _ in range(count - kept):
            owners[next(free)] = slot
    return {slot: _ranges(owners, slot) for slot in wanted}


def _kept(ranges: Ranges, count: int) -> list[int]:
    """The first `count` buckets of some ranges."""
    return [bucket for start, end in ranges for bucket in range(start, end)][:count]


def _ranges(owners: list[str | None], slot: str) -> Ranges:
    found: list[tuple[int, int]] = []
    for bucket, owner in enumerate(owners):
        if owner != slot:
            continue
        if found and found[-1][1] == bucket:
            found[-1] = (found[-1][0], bucket + 1)
        else:
            found.append((bucket, bucket + 1))
    return tuple(found)
