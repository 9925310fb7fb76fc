"""Exceptions of the pure function, from SQL to the pin store.

SQL holds, for each rollout, the units that are answered as another id of their identity or in spite
of a lost eligibility. The worker writes a pin for each into the pin store, for the live allocation,
and puts it back where the store lost it. How SDKs learn of them is in `flow.side_documents`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from controller.assignment.choice import Pin
from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit
from controller.assignment.runs import living
from controller.flow.live import Live, live_rollouts
from controller.flow.pinning import pin_seconds
from controller.flow.ports.identities import ToPin
from controller.flow.ports.work import Store
from controller.flow.ports_pins import PinKey, Pins
from controller.flow.service_counts import MERGED_RETIRED, REBUILT, REFUSED
from controller.rollout.record import Allocation, Rollout

NOBODY: Final = "-"
"""The arm of a pin whose unit stands for one in a retired bucket: champion, not analysed."""


def pin_exceptions(store: Store, pins: Pins, *, most: int = 1000) -> bool:
    """Write the pins of exceptions that have none in their live allocation; whether more wait.

    A pin that the store refuses while it takes others is counted and left to `Rebuilder`: it holds
    nobody up.

    Raises
    ------
    Unavailable
        If a store does not answer, or refuses everything; what was not written is written later.
    """
    left = most
    for live in live_rollouts(store):
        name = (live.rollout.project, live.rollout.id, live.allocation.number)
        with store.reading() as work:
            rows = work.exceptions.unpinned(*name, most=left)
        if not rows:
            continue
        refused = _impose(pins, live, rows)
        counts = {REFUSED: refused, f"{MERGED_RETIRED}{name[2]}": _retired(live, rows)}
        with store.writing() as work:
            work.exceptions.mark_pinned(*name, rows)
            seen = {(live.rollout.id, count): n for count, n in counts.items() if n}
            work.tallies.add(live.rollout.project, seen)
        left -= len(rows)
        if left <= 0:
            return True
    return False


class Rebuilder:
    """Goes round all exceptions of live rollouts and writes back the pins that were lost.

    A few at a time while all is well; as fast as it can from the first lost one on, until it has
    been round.
    """

    def __init__(self, store: Store, pins: Pins) -> None:
        self._store = store
        self._pins = pins
        self._place = ("", "", "")  # project, rollout, unit
        self._hurrying = False

    def step(self, *, most: int = 500) -> bool:
        """Look at the next exceptions; whether any since the last round's end had lost its pin.

        Raises
        ------
        Unavailable
            If a store does not answer; the next step looks at the same ones.
        """
        for live in live_rollouts(self._store):
            name = (live.rollout.project, live.rollout.id)
            if name < self._place[:2]:
                continue
            unit = self._place[2] if name == self._place[:2] else ""
            with self._store.reading() as work:
                rows = work.exceptions.after(*name, unit, most=most)
            if rows:
                self._hurrying |= self._put_back(live, rows) > 0
                self._place = (*name, rows[-1].unit)
                return self._hurrying
        self._place, self._hurrying = ("", "", ""), False
        return False

    def _put_back(self, live: Live, rows: Sequence[ToPin]) -> int:
        rollout, allocation = live.rollout, live.allocation
        rows = [row for row in rows if row.pinned == allocation.number]  # the others were not lost
        keys = [_key(rollout, row.unit) for row in rows]
        found = self._pins.read(keys, rollout.id, allocation.number)
        lost = [
            row
            for row, pin in zip(rows, found, strict=True)
            if pin != pin_of(rollout, allocation, row.stands_for)
        ]
        written = len(lost) - _impose(self._pins, live, lost)
        if written:
            with self._store.writing() as work:
                work.tallies.add(rollout.project, {(rollout.id, REBUILT): written})
        return written


def pin_of(rollout: Rollout, allocation: Allocation, stands_for: str) -> Pin:
    """The pin of a unit that is answered as another: its arm and its place in the enrolment."""
    plan = rollout.frozen_plan
    hi, lo = hash_unit(rollout.salt, plan.slot.unit, stands_for, algo=plan.slot.hash.algo)
    runs = living(allocation.runs, allocation.retired)
    arm = runs[bisect_right([end for end, _ in runs], bucket(lo, BUCKETS))][1]
    return Pin(allocation=allocation.number, arm=arm or NOBODY, bucket=bucket(hi, PPM))


def _impose(pins: Pins, live: Live, rows: Sequence[ToPin]) -> int:
    """Write pins; how many of them the store refused."""
    rollout = live.rollout
    wanted = [
        (_key(rollout, row.unit), pin_of(rollout, live.allocation, row.stands_for)) for row in rows
    ]
    ends_at = None if rollout.deadline_at is None else int(rollout.deadline_at.timestamp())
    ttl = pin_seconds(ends_at, now=live.now.timestamp())
    return len(pins.impose(wanted, rollout.id, ttl_seconds=ttl))


def _retired(live: Live, rows: Sequence[ToPin]) -> int:
    """How many of these stand for another id whose bucket is retired."""
    others = (row.stands_for for row in rows if row.stands_for != row.unit)
    return sum(pin_of(live.rollout, live.allocation, one).arm == NOBODY for one in others)


def _key(rollout: Rollout, unit: str) -> PinKey:
    unit_type = rollout.frozen_plan.slot.unit
    return PinKey(project=rollout.project, unit_type=unit_type, unit=unit)
