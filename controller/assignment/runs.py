"""Which of 10,000 buckets belongs to which arm: runs, built from weights and edited safely.

Runs are ``((end, arm), ...)`` with rising ends, the last of them 10,000: buckets below the first
end belong to the first arm, and so on. Retired ranges ``((start, end), ...)`` lie over them: their
units see the champion and are not analysed for the rest of the attempt. An edit of weights leaves
the runs alone and retires what would have to move, so no living bucket ever changes arm inside an
attempt; `moves` checks that exactly, on the runs, without sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from controller.assignment.hashing import BUCKETS
from controller.errors import InvalidInput

if TYPE_CHECKING:
    from fractions import Fraction

Runs = tuple[tuple[int, str], ...]
Ranges = tuple[tuple[int, int], ...]
LivingRuns = tuple[tuple[int, str | None], ...]


def build_runs(weights: Mapping[str, float]) -> Runs:
    """Runs that give every arm its weight, in the order of the mapping.

    Parameters
    ----------
    weights : mapping of arm to float
        Non-negative, finite; they are divided by their sum. Buckets are shared out by largest
        remainder, so each arm is within one bucket of its weight.

    Raises
    ------
    InvalidInput
        If a weight is negative or not finite, or there is none above zero.

    Examples
    --------
    >>> build_runs({"champion": 0.5, "challenger": 0.5})
    ((5000, 'champion'), (10000, 'challenger'))
    """
    runs: list[tuple[int, str]] = []
    end = 0
    for arm, count in _bucket_counts(weights).items():
        end += count
        if count:
            runs.append((end, arm))
    return tuple(runs)


def retire(runs: Runs, retired: Ranges, weights: Mapping[str, float]) -> Ranges:
    """The retired ranges after an edit of weights or arms: a new allocation, nobody changes arm.

    An arm that shrinks gives up its last living buckets, an arm that is gone gives up all, an arm
    that should grow keeps what it has. `arm_shares` of the result are the weights that hold from
    then on. What was retired stays retired.

    Raises
    ------
    InvalidInput
        If the weights are malformed, or an arm with a weight would have no living bucket: a new
        arm needs a new attempt with a new salt.

    Examples
    --------
    >>> retire(((5000, "champion"), (10000, "challenger")), (), {"champion": 2, "challenger": 8})
    ((2000, 5000),)
    """
    wanted = _bucket_counts(weights)
    owners = _owners(living(runs, retired))
    for arm in {owner for owner in owners if owner is not None}:
        mine = [bucket for bucket, owner in enumerate(owners) if owner == arm]
        for bucket in mine[wanted.get(arm, 0) :]:
            owners[bucket] = None
    for arm, count in wanted.items():
        if count and arm not in owners:
            raise InvalidInput(
                f"Arm {arm!r} would get units only by moving them from another arm; "
                "start a new attempt instead.",
                field="weights",
            )
    return _gaps(owners)


def living(runs: Runs, retired: Ranges) -> LivingRuns:
    """Runs with the retired ranges laid over them: an arm of None is retired."""
    cuts = sorted({0, *(end for end, _ in runs), *(cut for part in retired for cut in part)})
    merged: list[tuple[int, str | None]] = []
    for start, end in pairwise(cuts):
        dead = any(low <= start < high for low, high in retired)
        arm = None if dead else arm_of(runs, start)
        if merged and merged[-1][1] == arm:
            merged[-1] = (end, arm)
        else:
            merged.append((end, arm))
    return tuple(merged)


def arm_shares(runs: Runs, retired: Ranges = ()) -> dict[str, Fraction]:
    """Each arm's exact share of the living buckets: the weights a unit meets and SRM tests."""
    from fractions import Fraction

    sizes: dict[str, int] = {}
    start = 0
    for end, arm in living(runs, retired):
        if arm is not None:
            sizes[arm] = sizes.get(arm, 0) + end - start
        start = end
    total = sum(sizes.values())
    return {arm: Fraction(size, total) for arm, size in sizes.items()}


def moves(before: LivingRuns, after: LivingRuns) -> list[tuple[int, int, str | None, str]]:
    """Bucket ranges whose units a change would hand to another arm, as (start, end, from, to).

    Empty means that nobody moves. A bucket may leave an arm only by being retired, and a retired
    bucket may not come back.
    """
    ends = sorted({0, *(end for end, _ in before), *(end for end, _ in after)})
    found: list[tuple[int, int, str | None, str]] = []
    for start, end in pairwise(ends):
        old, new = arm_of(before, start), arm_of(after, start)
        if new is not None and new != old:
            found.append((start, end, old, new))
    return found


def arm_of(runs: LivingRuns, bucket: int) -> str | None:
    """The arm that owns a bucket in [0, 10_000); None when it is retired."""
    for end, arm in runs:
        if bucket < end:
            return arm
    raise InvalidInput(f"Bucket {bucket} lies outside [0, {BUCKETS}).", field="bucket")


def check_runs(value: object, *, arms: Mapping[str, object]) -> Runs:
    """Runs read from a document: ends rise strictly to 10,000 and every arm is one of `arms`.

    Raises
    ------
    InvalidInput
        Naming the rule that is broken.
    """
    runs: list[tuple[int, str]] = []
    last = 0
    for end, arm in _pairs(value, "runs"):
        if type(end) is not int or not last < end <= BUCKETS:
            raise InvalidInput(f"The ends of runs rise strictly to {BUCKETS}.", field="runs")
        if not isinstance(arm, str) or arm not in arms:
            raise InvalidInput(f"The run up to {end} names the unknown arm {arm!r}.", field="runs")
        runs.append((end, arm))
        last = end
    if last != BUCKETS:
        raise InvalidInput(f"Runs must cover all {BUCKETS} buckets.", field="runs")
    return tuple(runs)


def check_ranges(value: object, *, field: str) -> Ranges:
    """Bucket ranges read from a document: ``[start, end)`` in rising order without overlap.

    Raises
    ------
    InvalidInput
        Naming the rule that is broken.
    """
    ranges: list[tuple[int, int]] = []
    last = 0
    for start, end in _pairs(value, field):
        if type(start) is not int or type(end) is not int or not last <= start < end <= BUCKETS:
            raise InvalidInput(
                f"{field} are ranges [start, end) in rising order within {BUCKETS}.", field=field
            )
        ranges.append((start, end))
        last = end
    return tuple(ranges)


def _pairs(value: object, field: str) -> list[tuple[object, object]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidInput(f"{field} must be a list of pairs.", field=field)
    pairs: list[tuple[object, object]] = []
    for pair in value:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise InvalidInput(f"{field} must be a list of pairs.", field=field)
        pairs.append((pair[0], pair[1]))
    return pairs


def _bucket_counts(weights: Mapping[str, float]) -> dict[str, int]:
    """Bucket counts that sum to 10,000, by largest remainder in exact arithmetic."""
    from fractions import Fraction

    try:
        exact = {arm: Fraction(weight) for arm, weight in weights.items()}
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidInput("A weight is a finite number.", field="weights") from error
    total = sum(exact.values(), Fraction(0))
    if any(weight < 0 for weight in exact.values()) or total <= 0:
        raise InvalidInput("Weights are not negative and not all zero.", field="weights")
    ideal = {arm: weight * BUCKETS / total for arm, weight in exact.items()}
    counts = {arm: int(share) for arm, share in ideal.items()}
    by_remainder = sorted(ideal, key=lambda arm: counts[arm] - ideal[arm])
    for arm in by_remainder[: BUCKETS - sum(counts.values())]:
        counts[arm] += 1
    return counts


def _owners(runs: LivingRuns) -> list[str | None]:
    owners: list[str | None] = []
    for end, arm in runs:
        owners.extend([arm] * (end - len(owners)))
    return owners


def _gaps(owners: Sequence[str | None]) -> Ranges:
    ranges: list[tuple[int, int]] = []
    for bucket, arm in enumerate(owners):
        if arm is not None:
            continue
        if ranges and ranges[-1][1] == bucket:
            ranges[-1] = (ranges[-1][0], bucket + 1)
        else:
            ranges.append((bucket, bucket + 1))
    return tuple(ranges)
